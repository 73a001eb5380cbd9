package metainfo

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"
)

const (
	// MaxFiles is the largest number of files in a torrent.
	MaxFiles = 1 << 20

	maxNames = 4 << 20   // names in all paths together
	maxPaths = 128 << 20 // bytes of all paths together: the torrent's name counts once per file
	batch    = 512       // files that the library decodes at a time, so that its garbage stays small
)

// fileReader turns the files key into Files.
type fileReader struct {
	name  string
	files []File
	total int64
	paths []byte // all paths after each other
	ends  []int  // of the paths, one for each file

	// The files that wait to be decoded are the last of files, which have
	// only their attributes so far. Their lengths and paths wait as two
	// bencoded lists: the library is several times faster with plain lists
	// than with dictionaries, and never sees keys that nobody asked for.
	pending    int
	count      int // names in paths so far
	rawLengths []byte
	rawPaths   []byte
	lengths    []int64
	names      [][]string
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
		name:       name,
		files:      make([]File, 0, n),
		paths:      make([]byte, 0, min(len(list)+n*len(name), maxPaths)),
		ends:       make([]int, 0, n),
		rawLengths: []byte{'l'},
		rawPaths:   []byte{'l'},
	}
	for e := range list.elements() {
		if err := r.add(e); err != nil {
			return nil, 0, err
		}
		if r.pending == batch {
			if err := r.flush(); err != nil {
				return nil, 0, err
			}
		}
	}
	if err := r.flush(); err != nil {
		return nil, 0, err
	}
	all, from := string(r.paths), 0
	for i, to := range r.ends {
		r.files[i].Path, from = all[from:to], to
	}
	return r.files, r.total, checkClashes(r.files, len(name)+1)
}

// add checks the shape of one element and queues it.
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
	r.rawLengths = append(r.rawLengths, length...)
	r.rawPaths = append(r.rawPaths, path...)
	r.files = append(r.files, f)
	r.pending++
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

// flush decodes and checks the files that wait.
func (r *fileReader) flush() error {
	r.rawLengths, r.rawPaths = append(r.rawLengths, 'e'), append(r.rawPaths, 'e')
	r.lengths, r.names = r.lengths[:0], r.names[:0]
	if err := bencode.Unmarshal(r.rawLengths, &r.lengths); err != nil {
		return malformed("length of a file: %v", err)
	}
	if err := bencode.Unmarshal(r.rawPaths, &r.names); err != nil {
		return malformed("path of a file: %v", err)
	}
	waiting := r.files[len(r.files)-r.pending:]
	for i := range waiting {
		if err := r.complete(&waiting[i], r.lengths[i], r.names[i]); err != nil {
			return err
		}
	}
	r.rawLengths, r.rawPaths, r.pending = append(r.rawLengths[:0], 'l'), append(r.rawPaths[:0], 'l'), 0
	return nil
}

// complete checks what was decoded of a file and puts it in.
func (r *fileReader) complete(f *File, length int64, names []string) error {
	if f.Pad {
		names = []string{".pad", strconv.FormatInt(length, 10)}
	}
	why := r.appendPath(names)
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
		return &PathError{r.name + "/" + strings.Join(names, "/"), why}
	}
	f.Length, f.Offset = length, r.total
	r.total += length
	return nil
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

// shown is what an error shows of a path that is too long.
func (r *fileReader) shown(path value) string {
	b := []byte(r.name)
	for name := range path.elements() {
		b = append(append(b, '/'), name.text()...)
		if len(b) > maxPath {
			return string(b[:maxPath])
		}
	}
	return string(b)
}

// appendPath checks a path and puts it behind the others.
func (r *fileReader) appendPath(names []string) (why string) {
	if len(names) == 0 {
		return "has an empty path"
	}
	from := len(r.paths)
	r.paths = append(r.paths, r.name...)
	for _, name := range names {
		name = toUTF8(name)
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
