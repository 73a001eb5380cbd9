package storage

import (
	"errors"
	"fmt"
	"maps"
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
	all := make(map[int][]span)
	var theirs []span
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
			if t.foreign(i) {
				theirs = append(theirs, held...)
				continue
			}
		}
		all[i] = held
	}
	t.setTheirs(theirs)
	var moved []move
	for _, i := range slices.Sorted(maps.Keys(all)) {
		t.layout.Lock()
		m, err := t.merge(i, all[i], nil)
		t.layout.Unlock()
		if err != nil {
			return err
		}
		moved = append(moved, m)
	}
	if err := t.moved(moved); err != nil {
		return err
	}
	return t.weighTheirs(theirs)
}

// Still keeps bytes from moving out of the parts file until the function that
// it returns is called: for a caller that records what the files are.
func (t *Torrent) Still() (end func()) {
	t.prepare.Lock()
	return t.prepare.Unlock
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
		moved = append(moved, m)
	}
	return t.moved(moved)
}

// flagPlace is the flags that say where a skipped file is.
const flagPlace = flagInPlace | flagInParts | flagApart

// place makes a file skipped or wanted, and forgets where it was looked for.
func (t *Torrent) place(file int, skip bool) {
	t.skip[file] = skip
	t.flags[file].And(^uint32(flagPlace))
}

// unskip makes a skipped file wanted and moves its bytes there.
func (t *Torrent) unskip(file int) (move, error) {
	t.layout.Lock()
	defer t.layout.Unlock()
	held, err := t.heldInParts(file)
	if err != nil {
		return move{}, err
	}
	begun := t.begun(file, held)
	was := t.flags[file].Load() & flagPlace
	t.place(file, false)
	m, err := t.merge(file, held, begun)
	if err != nil {
		t.skip[file] = true
		t.flags[file].Or(was)
	} else {
		t.apart.forget(file)
	}
	return m, err
}

// begun lists the blocks of pieces under construction that the parts file may
// have of a skipped file, in content offsets. They are hashed, or will be, as if
// they were where they belong. The caller holds layout for writing: a block that
// is not written yet goes to where the file is then.
func (t *Torrent) begun(file int, held []span) (begun []span) {
	all := t.flags[file].Load()&flagInParts != 0
	q := &t.s.queue
	last := -1
	for _, r := range held {
		i := t.shareOf(r).piece
		if int(i) == last || !all && !t.apart.has(share{file, i}) {
			continue
		}
		last = int(i)
		q.mu.Lock()
		if w := t.work.pieces[i]; w != nil {
			for n, s := range w.state {
				if s == blockStored || s == blockBusy {
					off := int64(n) * piece.BlockSize
					begun = append(begun, span{off: t.geo.Offset(i) + off, n: min(piece.BlockSize, t.geo.Length(i)-off)})
				}
			}
		}
		q.mu.Unlock()
	}
	return begun
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
