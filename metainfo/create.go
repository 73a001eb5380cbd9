package metainfo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// CreateOptions say what goes into a new torrent beside the content. The
// zero value is valid.
type CreateOptions struct {
	PieceLength int64      // bytes, 1 to 512 MiB; 0 means one that gives 1,000 to 2,000 pieces
	Private     bool       // BEP 27
	Trackers    [][]string // announce URLs in tiers (BEP 12)
	WebSeeds    []string   // BEP 19
	Comment     string
	Source      string // goes into info and so changes the info-hash
	CreatedBy   string
	Created     time.Time // zero is left out
}

// The range that pieceLength chooses from, bytes.
const (
	minChosen  = 16 << 10
	maxChosen  = 16 << 20
	mostPieces = 2000 // to aim at
)

// Create makes a .torrent of root, a file or directory in fsys that gives the
// torrent its name. Files are in the byte order of their paths and carry no
// attributes, so that the same content makes the same info-hash everywhere.
// Empty directories are left out. Anything but regular files and directories
// below root is refused, and so is every name that Parse refuses.
//
// All cores hash, if the files of fsys implement io.ReaderAt; memory does not
// grow with the content or with the length of pieces.
func Create(ctx context.Context, fsys fs.FS, root string, o CreateOptions) ([]byte, error) {
	m := Metainfo{WebSeeds: o.WebSeeds, Comment: o.Comment, CreatedBy: o.CreatedBy, Created: o.Created}
	if err := checkURLs(o); err != nil {
		return nil, err
	}
	m.Trackers = MergeTrackers(nil, o.Trackers)
	c := content{fsys: fsys, root: root}
	if err := c.list(ctx); err != nil {
		return nil, fmt.Errorf("metainfo: listing %s: %w", quote(root), err)
	}
	c.pieceLength = o.PieceLength
	if c.pieceLength == 0 {
		c.pieceLength = pieceLength(c.total)
	}
	sums, err := c.hash(ctx)
	if err != nil {
		return nil, fmt.Errorf("metainfo: hashing: %w", err)
	}
	m.Raw = c.info(sums, o)
	b := m.Bytes()
	got, err := Parse(b)
	if err != nil {
		return nil, err
	}
	if len(got.Files) != len(c.files) || got.Total != c.total {
		return nil, errors.New("metainfo: the new torrent does not read back as it was written")
	}
	return b, nil
}

// checkURLs refuses what Parse would skip.
func checkURLs(o CreateOptions) error {
	for _, tier := range o.Trackers {
		for _, s := range tier {
			if _, err := TrackerURL(s); err != nil {
				return err
			}
		}
	}
	for _, s := range o.WebSeeds {
		if _, err := WebSeedURL(s); err != nil {
			return err
		}
	}
	return nil
}

// pieceLength is the least power of two that cuts total bytes into at most
// mostPieces pieces, within bounds.
func pieceLength(total int64) int64 {
	n := int64(minChosen)
	for n < maxChosen && total > n*mostPieces || n < MaxPieceLength && total > n*MaxPieces {
		n *= 2
	}
	return n
}

// content is what a torrent is made of.
type content struct {
	fsys        fs.FS
	root        string
	single      bool
	files       []source
	total       int64 // bytes
	pieceLength int64
}

// source is one file of the content.
type source struct {
	path   string // in the file system
	length int64
	offset int64 // in the content
}

// list finds the files and checks everything that can be checked before the
// content is read.
func (c *content) list(ctx context.Context) error {
	if name := path.Base(c.root); !fs.ValidPath(c.root) || checkName(name) != "" {
		return fmt.Errorf("%s can't give a torrent its name", quote(name))
	}
	top, err := fs.Stat(c.fsys, c.root)
	if err != nil {
		return err
	}
	switch {
	case top.Mode().IsRegular():
		c.single = true
		c.files = []source{{path: c.root, length: top.Size()}}
	case !top.IsDir():
		return errors.New("neither a file nor a directory")
	default:
		if err := c.walk(ctx, c.root); err != nil {
			return err
		}
		slices.SortFunc(c.files, func(x, y source) int { return strings.Compare(x.path, y.path) })
	}
	for i := range c.files {
		f := &c.files[i]
		if f.length > math.MaxInt64-c.total {
			return errors.New("too much content")
		}
		f.offset = c.total
		c.total += f.length
	}
	return c.check()
}

// walk collects the files below dir. It reads a directory at a time and does
// not follow symbolic links.
func (c *content) walk(ctx context.Context, dir string) error {
	entries, err := fs.ReadDir(c.fsys, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := dir + "/" + e.Name()
		why := checkName(e.Name())
		switch {
		case why != "":
		case !utf8.ValidString(e.Name()):
			why = "has a name that is not UTF-8"
		case len(at) > maxPath:
			why = fmt.Sprintf("has a path of more than %d bytes", maxPath)
		}
		if why != "" {
			return &PathError{at, why}
		}
		if e.IsDir() {
			if err := c.walk(ctx, at); err != nil {
				return err
			}
			continue
		}
		if !e.Type().IsRegular() {
			return &PathError{at, "is neither a file nor a directory"}
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if len(c.files) == MaxFiles {
			return fmt.Errorf("more than %d files", MaxFiles)
		}
		c.files = append(c.files, source{path: at, length: info.Size()})
	}
	return nil
}

// check refuses before hashing what Parse would refuse after it.
func (c *content) check() error {
	if c.total == 0 {
		return errors.New("there is nothing but empty files")
	}
	if c.single {
		return nil
	}
	files := make([]File, len(c.files))
	for i, f := range c.files {
		files[i].Path = f.path
	}
	return checkClashes(files, len(c.root)+1)
}

// info is the info dictionary.
func (c *content) info(sums []byte, o CreateOptions) []byte {
	b := []byte{'d'}
	if c.single {
		b = appendInt(b, "length", c.total)
	} else {
		b = appendKey(b, "files", 'l')
		for _, f := range c.files {
			b = appendInt(append(b, 'd'), "length", f.length)
			b = appendList(appendString(b, "path"), strings.Split(f.path[len(c.root)+1:], "/"))
			b = append(b, 'e')
		}
		b = append(b, 'e')
	}
	b = appendText(b, "name", path.Base(c.root))
	b = appendInt(b, "piece length", c.pieceLength)
	b = appendString(b, "pieces")
	b = strconv.AppendInt(b, int64(len(sums)), 10)
	b = append(append(b, ':'), sums...)
	if o.Private {
		b = appendInt(b, "private", 1)
	}
	if o.Source != "" {
		b = appendText(b, "source", o.Source)
	}
	return append(b, 'e')
}
