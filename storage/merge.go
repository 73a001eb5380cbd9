package storage

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"io"

	"btd/piece"
)

// mergeBuffer is how much is compared and copied at a time, bytes. There are two
// of them for each file.
const mergeBuffer = 64 << 10

// move is what became of the bytes that the parts file holds of a file.
type move struct {
	file   int
	copied bool   // the file was written to
	spare  []span // what the parts file need not keep once the file is synced
}

// merge copies ranges of the content from the parts file to the file where they
// belong now. It overwrites data only if the piece is right with the bytes of
// the parts file and wrong without, or for begun blocks (see begun). If all is
// where it belongs, no file is opened for writing, and none is marked. The caller
// holds layout for writing.
func (t *Torrent) merge(file int, held, begun []span) (move, error) {
	m := move{file: file}
	if len(held) == 0 {
		return m, nil
	}
	parts, err := t.acquire(partsFile, false)
	if err != nil {
		return m, err
	}
	defer t.release(parts)
	size := min(t.geo.PieceLength(), mergeBuffer)
	c := comparison{t: t, parts: parts, begun: begun, buf: make([]byte, size), other: make([]byte, size)}
	lacking, spare, err := c.sift(file, held)
	m.spare = spare
	if err != nil || len(lacking) == 0 {
		return m, err
	}
	if err := t.mark(t.info.Files[file].Offset, 1); err != nil {
		return m, err
	}
	dst, err := t.acquire(file, true)
	if err != nil {
		return m, err
	}
	defer t.release(dst)
	m.copied = true
	for _, r := range lacking {
		if err := t.copyOut(parts, dst, r, c.buf); err != nil {
			return m, err
		}
	}
	m.spare = append(m.spare, lacking...)
	return m, nil
}

// copyOut copies one range from the parts file.
func (t *Torrent) copyOut(parts, dst *handle, r span, buf []byte) error {
	base := t.info.Files[r.file].Offset
	for off, end := r.off, r.off+r.n; off < end; {
		p := buf[:min(int64(len(buf)), end-off)]
		// The last block of the parts file may end inside the range.
		n, err := parts.f.ReadAt(p, t.partsOffset(off))
		if n == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if n == 0 {
			return wrap(opRead, t.tree.dir, t.partsName(), err)
		}
		if t.s.fault != nil {
			if err := t.s.fault("write", t.path(r.file)); err != nil {
				return wrap("write", t.tree.dir, t.path(r.file), err)
			}
		}
		_, err = dst.f.WriteAt(p[:n], off-base)
		t.wrote(r.file)
		if err != nil {
			return wrap("write", t.tree.dir, t.path(r.file), err)
		}
		off += int64(n)
	}
	return nil
}

// moved makes what was copied durable and only then deletes it from the parts
// file; that is deleted itself when nothing needs it. If nothing was copied,
// there may be no way to write here, and then the parts file stays as it is.
func (t *Torrent) moved(moves []move) error {
	var files []int
	copied := false
	for _, m := range moves {
		copied = copied || m.copied
		if m.copied || len(m.spare) > 0 {
			files = append(files, m.file)
		}
	}
	if len(files) > 0 {
		err := t.syncFiles(files)
		if err == nil {
			err = t.tree.syncDirs()
		}
		if err != nil {
			return err
		}
		if err := t.punch(moves); err != nil && copied {
			return err
		}
	}
	if err := t.dropParts(); err != nil && copied {
		return err
	}
	return nil
}

func (t *Torrent) punch(moves []move) error {
	h, err := t.acquire(partsFile, true)
	if err != nil {
		return err
	}
	defer t.release(h)
	for _, m := range moves {
		for _, r := range m.spare {
			punch(h.f, t.partsOffset(r.off), r.n)
		}
	}
	return nil
}

// comparison is how it is found out what of the parts file belongs into a file.
type comparison struct {
	t          *Torrent
	parts      *handle
	begun      []span // blocks that the parts file has of pieces under construction
	buf, other []byte // of one size
}

// sift tells which of the ranges that the parts file holds of a file are to be
// copied to it, and which need not be kept: the file has the same bytes, or its
// piece is right without them. Of a piece under construction the blocks that were
// received are copied: it is about to be right with them. A range that is neither
// stays where it is.
func (c *comparison) sift(file int, held []span) (lacking, spare []span, err error) {
	t := c.t
	dst, err := t.acquire(file, false)
	if missing(err) && !t.gone(err) {
		return held, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer t.release(dst)
	base := t.info.Files[file].Offset
	for _, r := range held {
		if lacks(dst, r.off-base, r.n) {
			lacking = append(lacking, r)
			continue
		}
		same, blank, err := c.compare(dst, r)
		if err != nil {
			return nil, nil, err
		}
		begun := within(c.begun, r)
		if blank && (same || len(begun) == 0) { // a block of the parts file that begins or ends with another file's bytes
			continue
		}
		if !same {
			if same, err = c.right(r, fromFiles); err != nil {
				return nil, nil, err
			}
		}
		if same {
			spare = append(spare, r)
			continue
		}
		better, err := c.right(r, fromParts)
		if err == nil && !better {
			better, err = c.right(r, fromAllParts)
		}
		if err != nil {
			return nil, nil, err
		}
		if better {
			lacking = append(lacking, r)
		} else {
			lacking = append(lacking, begun...)
		}
	}
	return lacking, spare, nil
}

// within is what spans, in content offsets, have in common with r.
func within(spans []span, r span) (out []span) {
	for _, s := range spans {
		off, end := max(s.off, r.off), min(s.off+s.n, r.off+r.n)
		if off < end {
			out = append(out, span{file: r.file, off: off, n: end - off})
		}
	}
	return out
}

// lacks tells whether an open file has nothing in [off, off+n).
func lacks(h *handle, off, n int64) bool {
	fi, err := h.f.Stat()
	return err == nil && (fi.Size() <= off || !hasData(h.f, off, off+n))
}

// compare tells whether a file has the same bytes as the parts file, or the
// parts file only zeros, where the file reaches to the end of r.
func (c *comparison) compare(dst *handle, r span) (same, blank bool, err error) {
	t := c.t
	base := t.info.Files[r.file].Offset
	same, blank = true, true
	for off, end := r.off, r.off+r.n; off < end && (same || blank); {
		p := c.buf[:min(int64(len(c.buf)), end-off)]
		q := c.other[:len(p)]
		if _, err := t.fill(c.parts, p, t.partsOffset(off)); err != nil {
			return false, false, err
		}
		n, err := t.fill(dst, q, off-base)
		if err != nil {
			return false, false, err
		}
		same = same && n == len(q) && bytes.Equal(p, q)
		blank = blank && n == len(q) && zero(p)
		off += int64(len(p))
	}
	return same, blank, nil
}

// zero tells whether p, which is not empty, has only zeros.
func zero(p []byte) bool { return p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }

// fill reads p from an open file, zeros behind its end, and tells how many
// bytes the file had.
func (t *Torrent) fill(h *handle, p []byte, off int64) (n int, err error) {
	if t.s.fault != nil {
		err = t.s.fault("read", t.path(h.file))
	}
	if err == nil {
		n, err = h.f.ReadAt(p, off)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	clear(p[n:])
	return n, wrap(opRead, t.tree.dir, t.path(h.file), err)
}

// Where the bytes of a piece come from, for right.
const (
	fromFiles    = iota // from where they belong
	fromParts           // those of one range, and those that are nowhere else, from the parts file
	fromAllParts        // from the parts file where it has more than zeros
)

// right tells whether the piece around r has the right hash.
func (c *comparison) right(r span, from int) (bool, error) {
	t := c.t
	i := piece.Index(r.off / t.geo.PieceLength())
	sum := sha1.New()
	for off, end := t.geo.Offset(i), t.geo.Offset(i)+t.geo.Length(i); off < end; {
		p := c.buf[:min(int64(len(c.buf)), end-off)]
		at := off
		w := t.cursor(off, int64(len(p)))
		for {
			s, err := w.next()
			if err != nil {
				return false, err
			}
			if s.n == 0 {
				break
			}
			if ok, err := c.read(p[at-off:][:s.n], at, s, r, from); !ok || err != nil {
				return false, err
			}
			at += s.n
		}
		sum.Write(p)
		off += int64(len(p))
	}
	return [20]byte(sum.Sum(nil)) == t.info.Sum(int(i)), nil
}

// read fills p from content offset off, which is span s. It returns false if
// the bytes are not all there. A file whose path leads elsewhere is missing: to
// say so is for whoever reads that file.
func (c *comparison) read(p []byte, off int64, s, r span, from int) (ok bool, err error) {
	t := c.t
	if s.file == padFile {
		clear(p)
		return true, nil
	}
	n := 0
	h, err := t.acquire(s.file, false)
	switch {
	case err == nil:
		defer t.release(h)
		if n, err = t.fill(h, p, s.off); err != nil {
			return false, err
		}
	case obstructed(err) && !t.gone(err):
		clear(p)
	default:
		return false, err
	}
	if s.file == partsFile || from == fromFiles {
		return n == len(p), nil
	}
	base := t.partsOffset(off) - off
	for at, end := base+off, base+off+s.n; at < end; {
		begin, to := nextData(c.parts.f, at, end)
		if begin >= to {
			break
		}
		if err := c.overlay(p, off, begin-base, to-base, h, s, r, from); err != nil {
			return false, err
		}
		at = to
	}
	return true, nil
}

// overlay puts what the parts file holds in content [lo, hi) over p, which is
// content from off on as h has it, nil if there is no file.
func (c *comparison) overlay(p []byte, off, lo, hi int64, h *handle, s, r span, from int) error {
	t := c.t
	a, b := min(max(r.off, lo), hi), min(max(r.off+r.n, lo), hi)
	for k, x := range [3][2]int64{{lo, a}, {a, b}, {b, hi}} {
		n := x[1] - x[0]
		if n <= 0 {
			continue
		}
		mine := k == 1
		if !mine && from == fromParts && h != nil && !lacks(h, s.off+x[0]-off, n) {
			continue
		}
		q := c.other[:n]
		if _, err := t.fill(c.parts, q, t.partsOffset(x[0])); err != nil {
			return err
		}
		if mine || from == fromParts || !zero(q) {
			copy(p[x[0]-off:], q)
		}
	}
	return nil
}
