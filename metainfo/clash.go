package metainfo

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// checkClashes refuses files that could not stand beside each other: two with
// the same path, also when only letter case differs, or one whose path is a
// directory of another. Pad files are never written and so never in the way.
//
// Folded paths are sorted with the separator first, so that what clashes
// stands side by side: equal paths, and a file before what would lie below
// it. prefix is the length of what all paths begin with.
func checkClashes(files []File, prefix int) error {
	size := 0
	for i := range files {
		size += len(files[i].Path) - prefix + 1
	}
	var (
		folded = make([]byte, 0, size)
		order  = make([]foldedPath, 0, len(files))
	)
	for i := range files {
		if files[i].Pad {
			continue
		}
		from := len(folded)
		folded = appendFolded(folded, files[i].Path[prefix:])
		order = append(order, foldedPath{file: int32(i), from: int32(from), to: int32(len(folded))})
	}
	for i := range order {
		var head [8]byte
		copy(head[:], folded[order[i].from:order[i].to])
		order[i].head = binary.BigEndian.Uint64(head[:])
	}
	text := string(folded)
	slices.SortFunc(order, func(x, y foldedPath) int {
		if c := cmp.Compare(x.head, y.head); c != 0 {
			return c
		}
		if c := strings.Compare(text[x.from:x.to], text[y.from:y.to]); c != 0 {
			return c
		}
		return cmp.Compare(x.file, y.file)
	})
	for i := 1; i < len(order); i++ {
		x, y := order[i-1], order[i]
		if strings.HasPrefix(text[y.from:y.to], text[x.from:x.to]) {
			return clash(files, x, y)
		}
	}
	return nil
}

type foldedPath struct {
	head     uint64 // the first bytes: most comparisons end here
	from, to int32  // where the folded path is
	file     int32
}

// clash words what is wrong with two files; x is the shorter or the earlier.
func clash(files []File, x, y foldedPath) error {
	first, second := files[x.file].Path, files[y.file].Path
	switch {
	case first == second:
		return &PathError{second, "is there twice"}
	case x.to-x.from == y.to-y.from:
		return &PathError{second, "is the same as " + quote(first) + " where letter case, or dots and spaces at the end, do not count"}
	}
	return &PathError{first, "is a file, but also a directory of " + quote(second)}
}
