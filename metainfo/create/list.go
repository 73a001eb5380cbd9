package create

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"btd/metainfo"
)

// content is what a torrent is made of.
type content struct {
	fsys     fs.FS
	at       string // where fsys is, if that is known: slash-separated, with a slash at the end
	root     string
	exclude  []string
	skip     func(*UnusableError)
	progress func(Progress)

	single      bool
	files       []file
	total       int64 // bytes
	pieceLength int64
}

// file is one file of the content.
type file struct {
	path   string // in the file system
	size   int64
	offset int64 // in the content
	mtime  time.Time
}

// list finds the files.
func (c *content) list(ctx context.Context, root string, exclude []string) error {
	for _, p := range exclude {
		if _, err := path.Match(p, ""); err != nil || strings.Trim(p, "/") == "" {
			return fmt.Errorf("pattern %s is malformed", strconv.Quote(p))
		}
	}
	c.root, c.exclude = root, exclude
	if !fs.ValidPath(root) || root == "." {
		return fmt.Errorf("%s can't give a torrent its name", strconv.Quote(path.Base(root)))
	}
	top, err := fs.Stat(c.fsys, root)
	if err != nil {
		return err
	}
	switch {
	case top.Mode().IsRegular():
		c.single = true
		err = c.add(root)
	case !top.IsDir():
		err = c.unusable(root, top.Mode(), nil)
	default:
		err = c.walk(ctx, root)
		slices.SortFunc(c.files, func(x, y file) int { return strings.Compare(x.path, y.path) })
	}
	if err != nil {
		return err
	}
	for i := range c.files {
		f := &c.files[i]
		if f.size > math.MaxInt64-c.total {
			return errors.New("too much content")
		}
		f.offset = c.total
		c.total += f.size
	}
	if c.total == 0 {
		return fmt.Errorf("%s holds nothing, or nothing but empty files", strconv.Quote(root))
	}
	return nil
}

// walk collects the files below dir. It follows no symbolic link.
func (c *content) walk(ctx context.Context, dir string) error {
	entries, err := fs.ReadDir(c.fsys, dir)
	if err != nil {
		return c.unusable(dir, fs.ModeDir, err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := dir + "/" + e.Name()
		switch {
		case c.excluded(at[len(c.root)+1:], e.Name()):
		case !utf8.ValidString(e.Name()):
			return &metainfo.PathError{Path: at, Reason: "has a name that is not UTF-8"}
		case e.IsDir():
			err = c.walk(ctx, at)
		case e.Type().IsRegular():
			err = c.add(at)
		default:
			err = c.unusable(at, e.Type(), nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// excluded tells whether a pattern fits a path below the root that ends in
// name. What is above it was asked about before.
func (c *content) excluded(inner, name string) bool {
	for _, p := range c.exclude {
		p = strings.TrimSuffix(p, "/")
		s := name
		if strings.Contains(p, "/") {
			s = inner
		}
		if ok, _ := path.Match(strings.TrimPrefix(p, "/"), s); ok || s == p {
			return true
		}
	}
	return false
}

// add opens a file once, so that one that may not be read is known before
// others are hashed.
func (c *content) add(at string) error {
	if len(c.files) == metainfo.MaxFiles {
		return fmt.Errorf("more than %d files", metainfo.MaxFiles)
	}
	f, err := c.fsys.Open(at)
	if err != nil {
		return c.unusable(at, 0, err)
	}
	defer f.Close()
	if _, ok := f.(io.ReaderAt); !ok {
		return fmt.Errorf("%s can only be read from its start", strconv.Quote(at))
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return changed(at, "it is no file any more")
	}
	c.files = append(c.files, file{path: at, size: info.Size(), mtime: info.ModTime()})
	return nil
}

// unusable words why what is at a path can't be used, for whoever wants to
// know it or as an error.
func (c *content) unusable(at string, mode fs.FileMode, err error) error {
	e := &UnusableError{Path: at}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return changed(at, "it has vanished")
	case errors.Is(err, fs.ErrPermission):
		e.Reason = "may not be read: permission denied"
	case err != nil:
		return err
	case mode&fs.ModeSymlink != 0:
		e.Reason = c.linkText(at)
	case mode&fs.ModeNamedPipe != 0:
		e.Reason = "is a named pipe"
	case mode&fs.ModeSocket != 0:
		e.Reason = "is a socket"
	case mode&fs.ModeDevice != 0:
		e.Reason = "is a device"
	default:
		e.Reason = "is neither a file nor a directory"
	}
	if c.skip == nil || at == c.root {
		return e
	}
	c.skip(e)
	return nil
}

// linkText says where a symbolic link leads.
func (c *content) linkText(at string) string {
	const link = "is a symbolic link"
	target, err := fs.ReadLink(c.fsys, at)
	if err != nil {
		return link
	}
	text := link + " to " + strconv.Quote(target)
	if _, err := fs.Stat(c.fsys, at); errors.Is(err, fs.ErrNotExist) {
		return text + ", which is not there"
	}
	full := path.Join(path.Dir(at), target)
	if path.IsAbs(target) {
		inside, ok := strings.CutPrefix(path.Clean(target), c.at)
		if full = inside; !ok || c.at == "" {
			full = ""
		}
	}
	if full == c.root || strings.HasPrefix(full, c.root+"/") {
		return text + ", inside " + strconv.Quote(c.root)
	}
	return text + ", outside " + strconv.Quote(c.root)
}

// changed is the error about a file that is not what it was.
func changed(at, what string) error {
	return fmt.Errorf("%s: %w: %s", strconv.Quote(at), ErrChanged, what)
}

// same compares a file with what it was when it was listed.
func (f *file) same(now fs.FileInfo) error {
	switch {
	case !now.Mode().IsRegular():
		return changed(f.path, "it is no file any more")
	case now.Size() != f.size:
		return changed(f.path, fmt.Sprintf("it had %d bytes, now it has %d", f.size, now.Size()))
	case !now.ModTime().Equal(f.mtime):
		return changed(f.path, "it was written to at "+now.ModTime().UTC().Format(time.RFC3339))
	}
	return nil
}

// confirm looks at all files once more after they were hashed.
func (c *content) confirm(ctx context.Context) error {
	for i := range c.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, err := fs.Stat(c.fsys, c.files[i].path)
		if errors.Is(err, fs.ErrNotExist) {
			return changed(c.files[i].path, "it has vanished")
		}
		if err == nil {
			err = c.files[i].same(now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
