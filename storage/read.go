package storage

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"btd/piece"
)

// Read fills dst from byte begin of piece i. It blocks. Pad files read as
// zeros. It does not look at the hash: the caller knows which pieces it has. The
// error wraps ErrChanged if a file is not what Seal said.
func (t *Torrent) Read(i piece.Index, begin uint32, dst []byte) error {
	if len(dst) == 0 {
		return nil
	}
	if _, ok := t.geo.Index(uint32(i)); !ok || int64(begin)+int64(len(dst)) > t.geo.Length(i) {
		return fmt.Errorf("%w: piece %d, %d bytes from %d", ErrRange, i, len(dst), begin)
	}
	if err := t.gate.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	err := t.prepared()
	if err == nil {
		t.layout.RLock()
		err = t.readHere(dst, t.geo.Offset(i)+int64(begin), t.seal.Load())
		t.layout.RUnlock()
	}
	if errors.Is(err, ErrChanged) {
		t.forget() // the name may lead to another file by now
		return err
	}
	if err != nil {
		t.failed(err)
		return err
	}
	t.s.read.Add(int64(len(dst)))
	return nil
}

// BlockSums reads piece i back and returns the SHA-1 of each of its blocks. It
// blocks.
func (t *Torrent) BlockSums(i piece.Index) ([][20]byte, error) {
	if _, ok := t.geo.Index(uint32(i)); !ok {
		return nil, fmt.Errorf("%w: piece %d", ErrRange, i)
	}
	if err := t.gate.enter(); err != nil {
		return nil, err
	}
	defer t.gate.leave()
	err := t.prepared()
	if err == nil {
		var sums [][20]byte
		if sums, err = t.blockSums(i); err == nil {
			return sums, nil
		}
	}
	t.failed(err)
	return nil, err
}

func (t *Torrent) blockSums(i piece.Index) ([][20]byte, error) {
	sums := make([][20]byte, t.geo.Blocks(i))
	buf := t.s.Alloc()
	defer t.s.Free(buf)
	for n := range sums {
		b := t.geo.Block(i, n)
		p := buf[:b.Length]
		if err := t.readAt(p, t.geo.Offset(i)+int64(b.Begin)); err != nil {
			return nil, err
		}
		sums[n] = sha1.Sum(p)
	}
	return sums, nil
}

// HasData tells whether any byte of piece i may be on disk. It is false only if
// the whole range is missing, beyond the end of its file, a hole or padding.
func (t *Torrent) HasData(i piece.Index) bool {
	if _, ok := t.geo.Index(uint32(i)); !ok || t.gate.enter() != nil {
		return false
	}
	defer t.gate.leave()
	if t.prepared() != nil {
		return true
	}
	data, err := t.hasData(t.geo.Offset(i), t.geo.Length(i))
	return data || err != nil
}

// hasData looks for data in content [off, off+n). Pad files have none: they are
// zeros without a look.
func (t *Torrent) hasData(off, n int64) (bool, error) {
	t.layout.RLock()
	defer t.layout.RUnlock()
	c := t.cursor(off, n)
	for {
		s, err := c.next()
		if err != nil || s.n == 0 {
			return false, err
		}
		if s.file == padFile {
			continue
		}
		h, err := t.acquire(s.file, false)
		if missing(err) && !t.gone(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		data := hasData(h.f, s.off, s.off+s.n)
		t.release(h)
		if data {
			return true, nil
		}
	}
}

// FileStat is what the file system says of a file.
type FileStat struct {
	Size    int64 // bytes
	ModTime int64 // ns since 1970
	Exists  bool  // there is a regular file; the rest is zero if not
}

// Stat looks at every file of the torrent, without opening any. Pad files do
// not exist.
func (t *Torrent) Stat() ([]FileStat, error) {
	if err := t.gate.enter(); err != nil {
		return nil, err
	}
	defer t.gate.leave()
	stats := make([]FileStat, len(t.info.Files))
	absent := "" // a directory that is not there, with a slash behind it
	for i := range stats {
		if t.info.Files[i].Pad || absent != "" && strings.HasPrefix(t.path(i), absent) {
			continue
		}
		fi, err := t.tree.lstat(t.path(i))
		switch {
		case err == nil && regular(fi) == nil:
			stats[i] = FileStat{Size: fi.Size(), ModTime: fi.ModTime().UnixNano(), Exists: true}
		case err != nil && (t.gone(err) || !obstructed(err)):
			t.failed(err)
			return nil, err
		case missing(err):
			absent = t.absent(err)
		}
	}
	t.keepTree()
	return stats, nil
}

// absent is the directory below the root whose absence err tells of, with a
// slash behind it, or "".
func (t *Torrent) absent(err error) string {
	var e *Error
	if !errors.As(err, &e) || e.Op != opOpen {
		return ""
	}
	rel, err := filepath.Rel(t.tree.dir, e.Path)
	if err != nil || rel == "." {
		return ""
	}
	return filepath.ToSlash(rel) + "/"
}

// readAt fills p from content offset off, zeros for pad files.
func (t *Torrent) readAt(p []byte, off int64) error {
	t.layout.RLock()
	defer t.layout.RUnlock()
	return t.readHere(p, off, nil)
}

// readHere is readAt for a caller that holds layout. With a seal, the files
// must be as it says.
func (t *Torrent) readHere(p []byte, off int64, seal *[]FileStat) error {
	c := t.cursor(off, int64(len(p)))
	for {
		s, err := c.next()
		if err != nil || s.n == 0 {
			return err
		}
		if s.file == padFile {
			clear(p[:s.n])
		} else if err := t.readSpan(p[:s.n], s, seal); err != nil {
			return err
		}
		p = p[s.n:]
	}
}

func (t *Torrent) readSpan(p []byte, s span, seal *[]FileStat) error {
	h, err := t.acquire(s.file, false)
	if err != nil {
		return err
	}
	defer t.release(h)
	if t.s.fault != nil {
		err = t.s.fault("read", t.path(s.file))
	}
	if err == nil {
		_, err = h.f.ReadAt(p, s.off)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil || short(err) {
		if changed := t.intact(seal, s.file, h.f); changed != nil {
			err = changed
		}
	}
	return wrap(opRead, t.tree.dir, t.path(s.file), err)
}

// readable tells, as an error, whether content [off, off+n) is all there by
// the size of its files.
func (t *Torrent) readable(off, n int64) error {
	t.layout.RLock()
	defer t.layout.RUnlock()
	c := t.cursor(off, n)
	for {
		s, err := c.next()
		if err != nil || s.n == 0 {
			return err
		}
		if s.file == padFile {
			continue
		}
		fi, err := t.tree.lstat(t.path(s.file))
		if err == nil && fi.Size() < s.off+s.n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
}

// prefetch asks for content [off, off+n) to be read ahead where the system can.
func (t *Torrent) prefetch(off, n int64) {
	t.layout.RLock()
	defer t.layout.RUnlock()
	c := t.cursor(off, n)
	for s, err := c.next(); err == nil && s.n > 0; s, err = c.next() {
		if s.file == padFile {
			continue
		}
		h, err := t.acquire(s.file, false)
		if err != nil {
			return // whoever reads will say so
		}
		prefetch(h.f, s.off, s.n)
		t.release(h)
	}
}
