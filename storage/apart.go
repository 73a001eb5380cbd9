package storage

import (
	"errors"
	"io"
	"sync"

	"btd/piece"
)

// apart says which pieces have their bytes of a skipped file in the parts file
// although the file is there: it is somebody else's, and so was not written to.
// The other pieces are read where the file is.
type apart struct {
	mu sync.Mutex
	in map[share]bool
}

// share is what a piece has of a file.
type share struct {
	file  int
	piece piece.Index
}

func (a *apart) put(s share, in bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.in == nil {
		a.in = make(map[share]bool)
	}
	if in {
		a.in[s] = true
	} else {
		delete(a.in, s)
	}
}

func (a *apart) has(s share) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.in[s]
}

// forget is for a file whose bytes are all where they belong.
func (a *apart) forget(file int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.in {
		if s.file == file {
			delete(a.in, s)
		}
	}
}

// foreign tells whether a file belongs to somebody else.
func (t *Torrent) foreign(file int) bool { return t.o.Foreign != nil && t.o.Foreign(file) }

// isApart tells whether what piece i has of a skipped file that is there is in
// the parts file. With write it is from now on if somebody else has the file.
// The caller holds t.layout.
func (t *Torrent) isApart(file int, i piece.Index, write bool) (bool, error) {
	flags := &t.flags[file]
	if flags.Load()&flagApart == 0 {
		if !write || !t.foreign(file) {
			return false, nil
		}
		flags.Or(flagApart)
	}
	in := t.apart.has(share{file, i})
	if in || !write {
		return in, nil
	}
	// Blocks of the piece may have been written to the file before it was
	// somebody else's. One worker at a time has a piece.
	if err := t.setApart(file, i); err != nil {
		return false, err
	}
	t.apart.put(share{file, i}, true)
	return true, nil
}

// setApart copies to the parts file what there is of piece i in a file, zeros
// where that ends too early.
func (t *Torrent) setApart(file int, i piece.Index) error {
	f := &t.info.Files[file]
	off, end := max(f.Offset, t.geo.Offset(i)), min(f.Offset+f.Length, t.geo.Offset(i)+t.geo.Length(i))
	src, err := t.acquire(file, false)
	if err != nil && (!missing(err) || t.gone(err)) {
		return err
	}
	if err == nil {
		defer t.release(src)
	}
	dst, err := t.acquire(partsFile, true)
	if err != nil {
		return err
	}
	defer t.release(dst)
	buf := make([]byte, min(end-off, readBuffer))
	for off < end {
		p, n := buf[:min(int64(len(buf)), end-off)], 0
		if src != nil {
			if n, err = src.f.ReadAt(p, off-f.Offset); err != nil && !errors.Is(err, io.EOF) {
				return wrap(opRead, t.tree.dir, t.path(file), err)
			}
		}
		clear(p[n:])
		_, err = dst.f.WriteAt(p, t.partsOffset(off))
		t.wrote(partsFile)
		if err != nil {
			return wrap("write", t.tree.dir, t.partsName(), err)
		}
		off += int64(len(p))
	}
	return nil
}

// setTheirs takes over, before the first use of files, what the parts file has
// of files that are somebody else's.
func (t *Torrent) setTheirs(held []span) {
	for _, r := range held {
		t.flags[r.file].Or(flagApart)
		t.apart.put(t.shareOf(r), true)
	}
}

func (t *Torrent) shareOf(r span) share {
	return share{r.file, piece.Index(r.off / t.geo.PieceLength())}
}

// weighTheirs leaves out of that what is of no use: the piece must be right
// with it, and wrong with what is in the files. It may be bytes of another piece,
// by the size of the blocks of the file system, or of one that was never whole.
func (t *Torrent) weighTheirs(held []span) error {
	pieces := make(map[piece.Index][]share)
	for _, r := range held {
		s := t.shareOf(r)
		pieces[s.piece] = append(pieces[s.piece], s)
	}
	c := comparison{t: t, buf: make([]byte, min(t.geo.PieceLength(), readBuffer))}
	t.layout.RLock()
	defer t.layout.RUnlock()
	for i, shares := range pieces {
		put := func(in bool) (right bool, err error) {
			for _, s := range shares {
				t.apart.put(s, in)
			}
			return c.right(span{off: t.geo.Offset(i)}, fromFiles)
		}
		right, err := put(false)
		if err == nil && !right {
			if right, err = put(true); err == nil && !right {
				_, err = put(false)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
