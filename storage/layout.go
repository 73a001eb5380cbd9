package storage

import (
	"errors"
	"io/fs"
	"slices"
	"sort"

	"btd/piece"
)

// fileAt is the first file that ends after content offset off.
func (t *Torrent) fileAt(off int64) int {
	files := t.info.Files
	return sort.Search(len(files), func(i int) bool { return files[i].Offset+files[i].Length > off })
}

// padFile stands for a pad file where a file number is asked for.
const padFile = -2

// span is where a range of the content lives.
type span struct {
	file int   // number of the file, partsFile or padFile
	off  int64 // offset in that file, bytes
	n    int64 // bytes
}

// cursor walks over a range of the content, span by span. The caller holds
// t.layout.
type cursor struct {
	t        *Torrent
	i        int
	off, end int64
	write    bool // what is walked over is about to be written
}

func (t *Torrent) cursor(off, n int64) cursor {
	return cursor{t: t, i: t.fileAt(off), off: off, end: off + n}
}

// next is the next span; its n is 0 at the end.
func (c *cursor) next() (span, error) {
	files := c.t.info.Files
	for c.off < c.end && files[c.i].Offset+files[c.i].Length <= c.off {
		c.i++
	}
	if c.off >= c.end {
		return span{}, nil
	}
	f := &files[c.i]
	s := span{file: c.i, off: c.off - f.Offset, n: min(f.Offset+f.Length, c.end) - c.off}
	switch {
	case f.Pad:
		s.file = padFile
	case c.t.skipped(c.i):
		i := piece.Index(c.off / c.t.geo.PieceLength())
		parts, err := c.t.inParts(c.i)
		if err == nil && !parts {
			parts, err = c.t.isApart(c.i, i, c.write)
		}
		if err != nil {
			return span{}, err
		}
		if parts || c.t.flags[c.i].Load()&flagApart != 0 { // the next piece may be elsewhere
			s.n = min(s.n, c.t.geo.Offset(i)+c.t.geo.Length(i)-c.off)
		}
		if parts {
			s.file, s.off = partsFile, c.t.partsOffset(c.off)
		}
	}
	c.off += s.n
	return s, nil
}

func (t *Torrent) skipped(file int) bool { return t.skip != nil && t.skip[file] }

// inParts tells whether the bytes of a skipped file are in the parts file. A
// file that is there all the same is used where it is, unless it is somebody
// else's (see apart). That is looked up once.
func (t *Torrent) inParts(file int) (bool, error) {
	flags := &t.flags[file]
	if x := flags.Load(); x&(flagInPlace|flagInParts) == 0 {
		place := uint32(flagInPlace)
		fi, err := t.tree.lstat(t.path(file))
		if err == nil {
			err = regular(fi)
		}
		switch {
		case err == nil:
		case t.gone(err):
			return false, err
		case obstructed(err):
			place = flagInParts
		default:
			return false, err
		}
		// Of two that look at once, the first decides.
		for !flags.CompareAndSwap(x, x|place) {
			if x = flags.Load(); x&(flagInPlace|flagInParts) != 0 {
				break
			}
		}
	}
	return flags.Load()&flagInParts != 0, nil
}

// gone tells whether err says that the download directory is missing, where
// it should be there.
func (t *Torrent) gone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Op == opDir && e.Path == t.tree.dir && !(errors.Is(err, fs.ErrNotExist) && t.tree.mayCreate())
}

// findEdges lists the pieces that several files share. They are what the parts
// file is for, so they come first in it.
func (t *Torrent) findEdges() []piece.Index {
	var edges []piece.Index
	prev := int64(-1) // last piece of the file before
	for i := range t.info.Files {
		f := &t.info.Files[i]
		if f.Pad || f.Length == 0 {
			continue
		}
		first, last := t.geo.Span(f.Offset, f.Length)
		if int64(first) == prev && (len(edges) == 0 || edges[len(edges)-1] != first) {
			edges = append(edges, first)
		}
		prev = int64(last)
	}
	return edges
}

// partsOffset is where the byte at content offset off is in the parts file.
// The place follows from the file list alone, so it needs no index: shared
// pieces one after the other, then every piece by number. Holes cost nothing,
// and the latter are used only for what was still under way when its file was
// deselected.
func (t *Torrent) partsOffset(off int64) int64 {
	size := t.geo.PieceLength()
	i := piece.Index(off / size)
	edges := t.edges()
	slot, shared := slices.BinarySearch(edges, i)
	if !shared {
		slot = len(edges) + int(i)
	}
	return int64(slot)*size + off%size
}

// padded tells whether content [off, off+n) lies wholly in pad files.
func (t *Torrent) padded(off, n int64) bool {
	if !t.pads {
		return false
	}
	files := t.info.Files
	for i := t.fileAt(off); i < len(files) && files[i].Offset < off+n; i++ {
		if files[i].Length > 0 && !files[i].Pad {
			return false
		}
	}
	return true
}

// Pad tells whether a block lies wholly in pad files: it is zeros, is never
// requested, and counts as written.
func (t *Torrent) Pad(b piece.Block) bool {
	return t.padded(t.geo.Offset(b.Piece)+int64(b.Begin), int64(b.Length))
}
