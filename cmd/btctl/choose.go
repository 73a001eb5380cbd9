package main

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// named is a file that can be chosen.
type named struct {
	index int
	path  string // slash-separated, the torrent's directory included
	pad   bool
}

// chooseFiles finds the files that the words name: an index, a range of
// indexes (2-5), or a pattern as in a shell (*.mkv, extras/*). A pattern
// without a slash fits the name of a file, or of a directory with all that is
// in it; one with a slash fits the path. single is a torrent without a
// directory of its own.
func chooseFiles(files []named, single bool, words []string) ([]int, error) {
	chosen := map[int]bool{}
	for _, word := range words {
		if word == "" {
			return nil, usagef("an empty word names no file")
		}
		if from, to, ok := indexRange(word); ok {
			if err := chooseRange(files, chosen, from, to); err != nil {
				return nil, err
			}
			continue
		}
		if _, err := path.Match(word, ""); err != nil && !slices.ContainsFunc(files, func(f named) bool { return f.path == word }) {
			return nil, usagef("pattern %q is malformed", word)
		}
		found := false
		for _, f := range files {
			if !f.pad && fits(f.path, single, word) {
				chosen[f.index], found = true, true
			}
		}
		if !found {
			return nil, missingError{fmt.Sprintf("no file fits %q: btctl files lists them", word)}
		}
	}
	out := make([]int, 0, len(chosen))
	for i := range chosen {
		out = append(out, i)
	}
	slices.Sort(out)
	return out, nil
}

// maxIndex bounds the files of a torrent whose number is not known.
const maxIndex = 1 << 20

// indexesOf is what the words name of files that are not known yet: indexes
// and ranges of them.
func indexesOf(words []string) ([]int, error) {
	var out []int
	for _, word := range words {
		from, to, ok := indexRange(word)
		switch {
		case !ok:
			return nil, usagef("%q: the names of a magnet link's files are not known yet: give indexes (0, 2-5), or choose with btctl priority later", word)
		case to < from:
			return nil, usagef("range %d-%d runs backwards", from, to)
		case to >= maxIndex:
			return nil, usagef("index %d is above %d", to, maxIndex-1)
		}
		for i := from; i <= to; i++ {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// indexRange reads 3 and 2-5.
func indexRange(word string) (from, to int, ok bool) {
	a, b, isRange := strings.Cut(word, "-")
	if !isRange {
		b = a
	}
	from, err1 := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	return from, to, err1 == nil && err2 == nil && from >= 0
}

func chooseRange(files []named, chosen map[int]bool, from, to int) error {
	if to < from {
		return usagef("range %d-%d runs backwards", from, to)
	}
	if to >= len(files) {
		return missingError{fmt.Sprintf("there is no file %d: indexes run from 0 to %d", to, len(files)-1)}
	}
	found := false
	for _, f := range files[from : to+1] {
		if !f.pad {
			chosen[f.index], found = true, true
		}
	}
	switch {
	case found:
		return nil
	case from == to:
		return missingError{fmt.Sprintf("file %d is padding, which is never stored: choose another", from)}
	}
	return missingError{fmt.Sprintf("files %d to %d are padding, which is never stored: choose others", from, to)}
}

// fits tells whether a pattern names the file or a directory above it.
func fits(full string, single bool, pattern string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	inner := full
	if !single {
		_, inner, _ = strings.Cut(full, "/")
	}
	match := func(s string) bool {
		if s == pattern {
			return true
		}
		ok, err := path.Match(pattern, s)
		return err == nil && ok
	}
	if !strings.Contains(pattern, "/") {
		return slices.ContainsFunc(strings.Split(inner, "/"), match)
	}
	for _, s := range []string{inner, full} {
		for dir := s; strings.Contains(dir, "/"); dir = path.Dir(dir) {
			if match(dir) {
				return true
			}
		}
	}
	return false
}
