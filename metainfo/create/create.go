package create

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"btd/metainfo"
)

// Options say what goes into a new torrent beside the content, and who is told
// what meanwhile. The zero value is valid.
type Options struct {
	PieceLength int64      // bytes, 1 to 512 MiB; 0 means one that gives 1,000 to 2,000 pieces
	Private     bool       // BEP 27; changes the info-hash
	Source      string     // goes into info and so changes the info-hash
	Trackers    [][]string // announce URLs in tiers (BEP 12)
	WebSeeds    []string   // BEP 19
	Comment     string
	CreatedBy   string
	Created     time.Time // to the second; zero is left out

	// Exclude are patterns of path.Match. One without a slash fits the name of
	// a file, or of a directory with all that is in it; one with a slash fits
	// the path below the root.
	Exclude []string

	// Skip, if not nil, is told of each file and directory that is left out
	// because it can't be used. nil means that the first of them is an error.
	Skip func(*UnusableError)

	// Progress, if not nil, is told how far hashing is, about once a MiB. Calls
	// come one at a time, from several goroutines, and hold up hashing.
	Progress func(Progress)
}

// Progress is how far hashing is.
type Progress struct {
	Files       int
	Done, Total int64 // bytes
}

// ErrChanged is wrapped by errors about files that changed or vanished between
// the first look at them and the end of hashing.
var ErrChanged = errors.New("it changed while the torrent was made")

// UnusableError names a file or directory that can't go into a torrent, and
// says why. Options.Skip leaves it out.
type UnusableError struct {
	Path   string // slash-separated, from the directory that holds the root
	Reason string // reads on from the path
}

// Error is one line that is safe to print: the path is quoted.
func (e *UnusableError) Error() string { return strconv.Quote(e.Path) + " " + e.Reason }

// Path makes a .torrent of a file or directory, which gives the torrent its
// name. A symbolic link at path itself is followed, and its name is used.
func Path(ctx context.Context, name string, o Options) ([]byte, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	dir, base := filepath.Split(full)
	if base == "" {
		return nil, fmt.Errorf("create: %s has no name that the torrent could have", strconv.Quote(full))
	}
	c := content{fsys: os.DirFS(dir), at: filepath.ToSlash(dir)}
	return c.torrent(ctx, base, o)
}

// Torrent is Path for root in a file system whose files are io.ReaderAt.
func Torrent(ctx context.Context, fsys fs.FS, root string, o Options) ([]byte, error) {
	return (&content{fsys: fsys}).torrent(ctx, root, o)
}

func (c *content) torrent(ctx context.Context, root string, o Options) ([]byte, error) {
	m := &metainfo.Metainfo{Comment: o.Comment, CreatedBy: o.CreatedBy, Created: o.Created.Truncate(time.Second)}
	m.Private, m.Source = o.Private, o.Source
	if err := setURLs(m, o); err != nil {
		return nil, err
	}
	c.skip, c.progress = o.Skip, o.Progress
	if err := c.list(ctx, root, o.Exclude); err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	if m.PieceLength = o.PieceLength; m.PieceLength == 0 {
		m.PieceLength = pieceLength(c.total)
	}
	c.pieceLength = m.PieceLength
	pieces, err := c.pieces()
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	// What Parse refuses is refused now, and not after hours of hashing.
	m.Name, m.Single, m.Files = path.Base(root), c.single, c.entries(root)
	m.Sums = make([]byte, pieces*sumLen)
	if _, err := m.Make(); err != nil {
		return nil, err
	}
	if err := c.hash(ctx, m.Sums); err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	if err := c.confirm(ctx); err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	return m.Make()
}

// setURLs takes trackers and web seeds, each once, and refuses what Parse
// would skip.
func setURLs(m *metainfo.Metainfo, o Options) error {
	known := map[string]bool{}
	for _, tier := range o.Trackers {
		var t []string
		for _, s := range tier {
			u, err := metainfo.TrackerURL(s)
			if err != nil {
				return err
			}
			if !known[u] {
				known[u] = true
				t = append(t, u)
			}
		}
		if t != nil {
			m.Trackers = append(m.Trackers, t)
		}
	}
	for _, s := range o.WebSeeds {
		u, err := metainfo.WebSeedURL(s)
		if err != nil {
			return err
		}
		if !slices.Contains(m.WebSeeds, u) {
			m.WebSeeds = append(m.WebSeeds, u)
		}
	}
	return nil
}

// The range that pieceLength chooses from, bytes.
const (
	minChosen  = 16 << 10
	maxChosen  = 16 << 20
	mostPieces = 2000 // to aim at
)

// pieceLength is the least power of two that cuts total bytes into at most
// mostPieces pieces, within bounds.
func pieceLength(total int64) int64 {
	n := int64(minChosen)
	for n < maxChosen && total > n*mostPieces || n < metainfo.MaxPieceLength && total > n*metainfo.MaxPieces {
		n *= 2
	}
	return n
}

// pieces is how many there will be.
func (c *content) pieces() (int, error) {
	if c.pieceLength < 1 || c.pieceLength > metainfo.MaxPieceLength {
		return 0, fmt.Errorf("piece length %d, want 1 to %d bytes", c.pieceLength, metainfo.MaxPieceLength)
	}
	n := (c.total-1)/c.pieceLength + 1
	if n > metainfo.MaxPieces {
		return 0, fmt.Errorf("%d pieces of %d bytes, at most %d are supported", n, c.pieceLength, metainfo.MaxPieces)
	}
	return int(n), nil
}

// entries are the files as the torrent has them.
func (c *content) entries(root string) []metainfo.File {
	out := make([]metainfo.File, len(c.files))
	cut := len(root) - len(path.Base(root))
	for i, f := range c.files {
		out[i] = metainfo.File{Path: f.path[cut:], Length: f.size, Offset: f.offset}
	}
	return out
}
