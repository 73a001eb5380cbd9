package storage

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"slices"

	"btd/piece"
)

// partsName is the hidden file that holds the bytes of skipped files.
func (t *Torrent) partsName() string { return "." + t.info.Hash.String() + ".btd-parts" }

// prepared is called before the first use of files. Bytes that the parts file
// holds for files that are wanted now, or that are there all the same, are
// moved to them: the choice may have changed while the torrent was closed, or
// a move may have been cut short.
func (t *Torrent) prepared() error {
	if t.ready.Load() {
		return nil
	}
	t.prepare.Lock()
	defer t.prepare.Unlock()
	if t.ready.Load() {
		return nil
	}
	t.keepTree()
	fi, err := t.tree.lstat(t.partsName())
	if err == nil {
		err = wrap("open", t.tree.dir, t.partsName(), regular(fi))
	}
	switch {
	case err == nil:
		if err := t.mergeAll(); err != nil {
			return err
		}
	case !missing(err) || t.gone(err):
		return err
	}
	t.ready.Store(true)
	return nil
}

func (t *Torrent) mergeAll() error {
	var moved []move
	for i := range t.info.Files {
		held, err := t.heldInParts(i)
		if err != nil {
			return err
		}
		if len(held) == 0 {
			continue
		}
		if t.skipped(i) {
			parts, err := t.inParts(i)
			if err != nil {
				return err
			}
			if parts {
				continue
			}
		}
		if err := t.mark(t.info.Files[i].Offset, 1); err != nil {
			return err
		}
		t.layout.Lock()
		err = t.merge(i, held)
		t.layout.Unlock()
		if err != nil {
			return err
		}
		moved = append(moved, move{i, held})
	}
	return t.moved(moved)
}

// SetSkip says which files are not wanted from now on (nil means none). Bytes
// of files that became wanted move there from the parts file; files that are
// there stay and stay in use, wanted or not. It blocks. After an error some
// files may have changed already, and it can be called again.
func (t *Torrent) SetSkip(skip []bool) error {
	if skip != nil && len(skip) != len(t.info.Files) {
		return fmt.Errorf("storage: skip list of %d, want %d", len(skip), len(t.info.Files))
	}
	if err := t.gate.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	err := t.prepared()
	if err == nil {
		t.prepare.Lock()
		err = t.setSkip(skip)
		t.prepare.Unlock()
	}
	if err == nil && t.empties.Load() {
		err = t.createEmpty()
	}
	if err != nil {
		t.failed(err)
	}
	return err
}

func (t *Torrent) setSkip(skip []bool) error {
	t.layout.Lock()
	if t.skip == nil {
		t.skip = make([]bool, len(t.info.Files))
	}
	t.layout.Unlock()
	var moved []move
	for i := range t.info.Files {
		want := skip == nil || !skip[i]
		if t.skip[i] != want { // only SetSkip changes it
			continue
		}
		if !want {
			t.layout.Lock()
			t.place(i, true)
			t.layout.Unlock()
			continue
		}
		m, err := t.unskip(i)
		if err != nil {
			return errors.Join(err, t.moved(moved))
		}
		if len(m.held) > 0 {
			moved = append(moved, m)
		}
	}
	return t.moved(moved)
}

// place makes a file skipped or wanted, and forgets where it was looked for.
func (t *Torrent) place(file int, skip bool) {
	t.skip[file] = skip
	t.flags[file].And(^uint32(flagInPlace | flagInParts))
}

// unskip makes a skipped file wanted and moves its bytes there.
func (t *Torrent) unskip(file int) (move, error) {
	f := &t.info.Files[file]
	if f.Length > 0 && !f.Pad {
		if err := t.mark(f.Offset, 1); err != nil {
			return move{}, err
		}
	}
	t.layout.Lock()
	defer t.layout.Unlock()
	held, err := t.heldInParts(file)
	if err != nil {
		return move{}, err
	}
	was := t.flags[file].Load() & (flagInPlace | flagInParts)
	t.place(file, false)
	if err := t.merge(file, held); err != nil {
		t.skip[file] = true
		t.flags[file].Or(was)
		return move{}, err
	}
	return move{file, held}, nil
}

// move is what was copied from the parts file to a file.
type move struct {
	file int
	held []span // in the parts file
}

// heldInParts lists what the parts file holds of a file: ranges that hold data,
// by content offset and cut at the bounds of pieces.
func (t *Torrent) heldInParts(file int) (held []span, err error) {
	f := &t.info.Files[file]
	if f.Length == 0 || f.Pad {
		return nil, nil
	}
	h, err := t.acquire(partsFile, false)
	if missing(err) && !t.gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer t.release(h)
	size := t.geo.PieceLength()
	end := f.Offset + f.Length
	// The pieces at both ends may be shared; those between follow each other
	// in the parts file as they do in the content.
	first := min((f.Offset/size+1)*size, end)
	last := max(first, (end-1)/size*size)
	for _, r := range [3][2]int64{{f.Offset, first}, {first, last}, {last, end}} {
		if r[0] >= r[1] {
			continue
		}
		base := t.partsOffset(r[0]) - r[0]
		for at := r[0]; at < r[1]; {
			from, to := nextData(h.f, base+at, base+r[1])
			for at = from - base; at < to-base; {
				n := min(to-base, (at/size+1)*size) - at
				held = append(held, span{file: file, off: at, n: n})
				at += n
			}
			at = max(at, to-base)
		}
	}
	return held, nil
}

// merge copies ranges of the content from the parts file to where they belong
// now. It overwrites data only if the piece is right with the bytes of the
// parts file and wrong without. The caller holds layout for writing.
func (t *Torrent) merge(file int, held []span) error {
	if len(held) == 0 {
		return nil
	}
	h, err := t.acquire(partsFile, false)
	if err != nil {
		return err
	}
	defer t.release(h)
	dst, err := t.acquire(file, true)
	if err != nil {
		return err
	}
	defer t.release(dst)
	base := t.info.Files[file].Offset
	buf := make([]byte, min(t.geo.PieceLength(), readBuffer))
	for _, r := range held {
		if fi, err := dst.f.Stat(); err == nil && fi.Size() > r.off-base && hasData(dst.f, r.off-base, r.off-base+r.n) {
			better, err := t.partsBetter(h, r, buf)
			if err != nil {
				return err
			}
			if !better {
				continue
			}
		}
		if err := t.copyOut(h, dst, r, buf); err != nil {
			return err
		}
	}
	return nil
}

// copyOut copies one range from the parts file.
func (t *Torrent) copyOut(h, dst *handle, r span, buf []byte) error {
	base := t.info.Files[r.file].Offset
	for off, end := r.off, r.off+r.n; off < end; {
		p := buf[:min(int64(len(buf)), end-off)]
		// The last block of the parts file may end inside the range.
		n, err := h.f.ReadAt(p, t.partsOffset(off))
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

// partsBetter tells whether the piece around r is right with the bytes of the
// parts file, and wrong with those of the file.
func (t *Torrent) partsBetter(h *handle, r span, buf []byte) (bool, error) {
	i := piece.Index(r.off / t.geo.PieceLength())
	with := func(parts bool) (bool, error) {
		sum := sha1.New()
		for off, end := t.geo.Offset(i), t.geo.Offset(i)+t.geo.Length(i); off < end; {
			p := buf[:min(int64(len(buf)), end-off)]
			if err := t.readHere(p, off, nil); err != nil && (!short(err) || t.gone(err)) {
				return false, err
			} else if err != nil {
				clear(p)
			}
			if from, to := max(r.off, off), min(r.off+r.n, off+int64(len(p))); parts && from < to {
				if _, err := h.f.ReadAt(p[from-off:to-off], t.partsOffset(from)); err != nil {
					return false, nil
				}
			}
			sum.Write(p)
			off += int64(len(p))
		}
		return [20]byte(sum.Sum(nil)) == t.info.Sum(int(i)), nil
	}
	if ok, err := with(false); ok || err != nil {
		return false, err
	}
	return with(true)
}

// moved makes what was copied durable and only then deletes it from the parts
// file; that is deleted itself when nothing needs it.
func (t *Torrent) moved(moved []move) error {
	if len(moved) > 0 {
		files := make([]int, len(moved))
		for n, m := range moved {
			files[n] = m.file
		}
		err := t.syncFiles(files)
		if err == nil {
			err = t.tree.syncDirs()
		}
		if err == nil {
			err = t.punch(moved)
		}
		if err != nil {
			return err
		}
	}
	return t.dropParts()
}

func (t *Torrent) punch(moved []move) error {
	h, err := t.acquire(partsFile, true)
	if err != nil {
		return err
	}
	defer t.release(h)
	for _, m := range moved {
		for _, r := range m.held {
			punch(h.f, t.partsOffset(r.off), r.n)
		}
	}
	return nil
}

// dropParts deletes the parts file if no file is skipped or it holds nothing.
func (t *Torrent) dropParts() error {
	t.syncing.Lock()
	defer t.syncing.Unlock()
	t.layout.Lock()
	defer t.layout.Unlock()
	h, err := t.acquire(partsFile, false)
	if missing(err) && !t.gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	fi, err := h.f.Stat()
	data := err != nil
	if err == nil {
		from, to := nextData(h.f, 0, fi.Size())
		data = from < to
	}
	t.release(h)
	if data && slices.Contains(t.skip, true) {
		return nil
	}
	t.closeFile(partsFile)
	t.dirtyMu.Lock()
	t.dirty = slices.DeleteFunc(t.dirty, func(i int) bool { return i == partsFile })
	t.flag(partsFile).And(^uint32(flagDirty | flagSeen))
	t.dirtyMu.Unlock()
	return t.tree.remove(t.partsName(), false)
}

// closeFile closes one file as soon as nobody uses it.
func (t *Torrent) closeFile(file int) {
	c := &t.s.handles
	c.mu.Lock()
	h := t.open[file]
	unused := h != nil && c.detach(h)
	c.mu.Unlock()
	if unused {
		h.f.Close()
	}
}
