package metainfo

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

const (
	// MaxFiles is the largest number of files in a torrent.
	MaxFiles = 1 << 20

	maxNames = 4 << 20   // names in all paths together
	maxPaths = 128 << 20 // bytes of all paths together: the torrent's name counts once per file
)

// fileReader turns the files key into Files. It takes numbers and names from
// the scanned input itself: a torrent of 10,000 files is read four times faster
// than through the library, and somebody waits for it.
type fileReader struct {
	name  string
	files []File
	total int64
	paths []byte // all paths after each other
	ends  []int  // of the paths, one for each file
	count int    // names in paths so far
}

// readFiles reads the files of a multi-file torrent called name (BEP 3).
func readFiles(list value, name string) ([]File, int64, error) {
	n := 0
	for range list.elements() {
		if n++; n > MaxFiles {
			return nil, 0, malformed("more than %d files", MaxFiles)
		}
	}
	r := fileReader{
		name:  name,
		files: make([]File, 0, n),
		paths: make([]byte, 0, min(len(list)+n*len(name), maxPaths)),
		ends:  make([]int, 0, n),
	}
	for e := range list.elements() {
		if err := r.add(e); err != nil {
			return nil, 0, err
		}
	}
	all, from := string(r.paths), 0
	for i, to := range r.ends {
		r.files[i].Path, from = all[from:to], to
	}
	return r.files, r.total, checkClashes(r.files, len(name)+1)
}

// add reads one element.
func (r *fileReader) add(e value) error {
	var attr, length, path, path8 value
	for key, v := range e.entries() {
		switch string(key) {
		case "attr":
			attr = v
		case "length":
			length = v
		case "path":
			path = v
		case "path.utf-8":
			path8 = v
		}
	}
	var f File
	f.setAttributes(attr.text())
	if isPath(path8, true) {
		path = path8
	}
	if f.Pad {
		path = value("le") // not used, may be missing or anything (BEP 47)
	}
	if f.Symlink && length == nil {
		length = value("i0e") // may be left out (BEP 47)
	}
	switch {
	case e.kind() != 'd':
		return malformed("file %d is not a dictionary", len(r.files))
	case !isPath(path, false):
		return malformed("file %d has no path that is a list of strings", len(r.files))
	case length.kind() != 'i':
		return malformed("file %d has no length that is an integer", len(r.files))
	}
	if err := r.bound(path); err != nil {
		return err
	}
	n, err := strconv.ParseInt(string(length[1:len(length)-1]), 10, 64)
	if err != nil {
		return malformed("length of file %d: %v", len(r.files), err)
	}
	if err := r.complete(&f, n, path); err != nil {
		return err
	}
	r.files = append(r.files, f)
	return nil
}

// setAttributes reads attr (BEP 47). Unknown letters are ignored.
func (f *File) setAttributes(attr []byte) {
	for _, c := range attr {
		switch c {
		case 'p':
			f.Pad = true
		case 'x':
			f.Executable = true
		case 'h':
			f.Hidden = true
		case 'l':
			f.Symlink = true
		}
	}
}

// isPath tells whether v is a list of strings, and of UTF-8 if that is asked.
func isPath(v value, utf bool) bool {
	n := 0
	for e := range v.elements() {
		if e.kind() != 's' || utf && !utf8.Valid(e.text()) {
			return false
		}
		n++
	}
	return v.kind() == 'l' && (n > 0 || !utf)
}

// complete checks length and path of a file and puts them in.
func (r *fileReader) complete(f *File, length int64, path value) error {
	if f.Pad {
		path = padPath(length)
	}
	why := r.appendPath(path)
	switch {
	case why != "":
	case length < 0:
		why = fmt.Sprintf("has the length %d", length)
	case length > math.MaxInt64-r.total:
		why = fmt.Sprintf("has the length %d, too much for the sum of all lengths", length)
	case f.Symlink && length > 0:
		why = "is a symbolic link that has a length"
	}
	if why != "" {
		return &PathError{r.shown(path), why}
	}
	f.Length, f.Offset = length, r.total
	r.total += length
	return nil
}

// padPath is the path that a pad file goes by.
func padPath(length int64) value {
	n := strconv.FormatInt(length, 10)
	return fmt.Appendf(nil, "l4:.pad%d:%se", len(n), n)
}

// bound refuses a path that is too long before it is decoded.
func (r *fileReader) bound(path value) error {
	size := len(r.name)
	for name := range path.elements() {
		size += 1 + len(name.text())
		if r.count++; r.count > maxNames {
			return malformed("more than %d names in paths", maxNames)
		}
		if size > maxPath {
			return &PathError{r.shown(path), fmt.Sprintf("has a path of more than %d bytes", maxPath)}
		}
	}
	return nil
}

// shown is what an error shows of a path.
func (r *fileReader) shown(path value) string {
	b := []byte(r.name)
	if len(path) == 2 {
		b = append(b, '/')
	}
	for name := range path.elements() {
		b = append(append(b, '/'), name.text()...)
		if len(b) > maxPath {
			return string(b[:maxPath])
		}
	}
	return string(b)
}

// appendPath checks a path and puts it behind the others.
func (r *fileReader) appendPath(path value) (why string) {
	if path[1] == 'e' {
		return "has an empty path"
	}
	from := len(r.paths)
	r.paths = append(r.paths, r.name...)
	for part := range path.elements() {
		name := toUTF8(string(part.text()))
		if why := checkName(name); why != "" {
			return why
		}
		r.paths = append(append(r.paths, '/'), name...)
		if len(r.paths)-from > maxPath {
			return fmt.Sprintf("has a path of more than %d bytes", maxPath)
		}
	}
	if len(r.paths) > maxPaths {
		return fmt.Sprintf("is where the paths together come to more than %d bytes", maxPaths)
	}
	r.ends = append(r.ends, len(r.paths))
	return ""
}
