package follow

import "strings"

// File is a file of a version.
type File struct {
	Path   string // with slashes, below the download directory
	Length int64  // bytes
	Pad    bool
}

func (f File) content() bool { return !f.Pad && f.Length > 0 }

// Match says for each file of the next version which file of the old one may
// hold the same bytes, -1 for none: the one of the same name below the
// torrent's own directory, else the only one left of exactly its length. It is
// a guess: what is taken over is to be verified.
func Match(old, next []File) []int {
	byName := make(map[string]int, len(old))
	for i, f := range old {
		if f.content() {
			byName[inner(f.Path)] = i
		}
	}
	out := make([]int, len(next))
	used := make([]bool, len(old))
	for i, f := range next {
		out[i] = -1
		if at, ok := byName[inner(f.Path)]; ok && f.content() {
			out[i], used[at] = at, true
		}
	}
	const several = -1
	byLength := map[int64]int{}
	for i, f := range old {
		if f.content() && !used[i] {
			if _, taken := byLength[f.Length]; taken {
				i = several
			}
			byLength[f.Length] = i
		}
	}
	for i, f := range next {
		if at, ok := byLength[f.Length]; ok && at != several && out[i] < 0 && f.content() {
			out[i] = at
			delete(byLength, f.Length)
		}
	}
	return out
}

// Same says for each file of the next version which file of the old one has the
// same name below the torrent's own directory, -1 for none: what was chosen for
// that one is meant for this one.
func Same(old, next []File) []int {
	byName := make(map[string]int, len(old))
	for i, f := range old {
		if !f.Pad {
			byName[inner(f.Path)] = i
		}
	}
	out := make([]int, len(next))
	for i, f := range next {
		out[i] = -1
		if at, ok := byName[inner(f.Path)]; ok && !f.Pad {
			out[i] = at
		}
	}
	return out
}

// inner is a path below the torrent's own directory; "" is the file of a
// torrent that has only one.
func inner(path string) string {
	_, rest, _ := strings.Cut(path, "/")
	return rest
}

// Collide tells whether the two versions cannot lie in one directory: where one
// has a file, the other has a directory.
func Collide(old, next []File) bool {
	return blocks(old, next) || blocks(next, old)
}

// blocks tells whether a file of a is a directory of b.
func blocks(a, b []File) bool {
	files := make(map[string]bool, len(a))
	for _, f := range a {
		if !f.Pad {
			files[strings.ToLower(f.Path)] = true
		}
	}
	for _, f := range b {
		path := strings.ToLower(f.Path)
		for at := strings.LastIndexByte(path, '/'); at >= 0 && !f.Pad; at = strings.LastIndexByte(path, '/') {
			if path = path[:at]; files[path] {
				return true
			}
		}
	}
	return false
}
