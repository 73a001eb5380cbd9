package session

import (
	"sort"

	"btd/metainfo"
	"btd/piece"
)

// layout answers which files lie where in a torrent's content.
type layout struct {
	info *metainfo.Info
	geo  piece.Geometry
}

// first is the index of the first file that ends after offset off.
func (l layout) first(off int64) int {
	f := l.info.Files
	return sort.Search(len(f), func(i int) bool { return f[i].Offset+f[i].Length > off })
}

// overlap calls f with every file that has bytes in [off, off+n), and how
// many.
func (l layout) overlap(off, n int64, f func(file int, bytes int64)) {
	for i := l.first(off); i < len(l.info.Files) && l.info.Files[i].Offset < off+n; i++ {
		lo := max(off, l.info.Files[i].Offset)
		hi := min(off+n, l.info.Files[i].Offset+l.info.Files[i].Length)
		if hi > lo {
			f(i, hi-lo)
		}
	}
}

// span is the range of pieces that overlap file i; ok is false for an empty
// file.
func (l layout) span(i int) (first, last piece.Index, ok bool) {
	f := l.info.Files[i]
	if f.Length == 0 {
		return 0, 0, false
	}
	first, last = l.geo.Span(f.Offset, f.Length)
	return first, last, true
}

// ends is how long file i has to be to hold its share of piece n, bytes.
func (l layout) ends(i int, n piece.Index) int64 {
	f := l.info.Files[i]
	return min(l.geo.Offset(n)+l.geo.Length(n)-f.Offset, f.Length)
}

// each calls f with every piece that overlaps file i.
func (l layout) each(i int, f func(piece.Index)) {
	if first, last, ok := l.span(i); ok {
		for n := first; n <= last; n++ {
			f(n)
		}
	}
}

// bytesOf counts the bytes of piece i in files for which keep is true.
func (l layout) bytesOf(i piece.Index, keep func(file int) bool) int64 {
	var n int64
	l.overlap(l.geo.Offset(i), l.geo.Length(i), func(f int, bytes int64) {
		if keep(f) {
			n += bytes
		}
	})
	return n
}

// allPad tells whether piece i holds nothing but padding (BEP 47).
func (l layout) allPad(i piece.Index) bool {
	all := true
	l.overlap(l.geo.Offset(i), l.geo.Length(i), func(f int, _ int64) { all = all && l.info.Files[f].Pad })
	return all
}
