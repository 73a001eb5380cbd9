package metainfo

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
)

// chunk is how much is read at a time, bytes.
const chunk = 256 << 10

// hash is the SHA-1 of every piece. Each worker takes the next piece that
// nobody has taken, until all are done or one met an error.
func (c *content) hash(ctx context.Context) ([]byte, error) {
	if c.pieceLength < 1 || c.pieceLength > MaxPieceLength {
		return nil, fmt.Errorf("piece length %d, want 1 to %d bytes", c.pieceLength, MaxPieceLength)
	}
	pieces := (c.total-1)/c.pieceLength + 1
	if pieces > MaxPieces {
		return nil, fmt.Errorf("%d pieces of %d bytes, at most %d are supported", pieces, c.pieceLength, MaxPieces)
	}
	workers, err := c.workers(pieces)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		sums  = make([]byte, pieces*sha1.Size)
		taken atomic.Int64
		group sync.WaitGroup
	)
	for range workers {
		group.Go(func() {
			r := reader{content: c, buf: make([]byte, min(chunk, c.pieceLength))}
			defer r.close()
			for i := taken.Add(1) - 1; i < pieces; i = taken.Add(1) - 1 {
				sum, err := r.sum(ctx, i)
				if err != nil {
					stop(err)
					return
				}
				copy(sums[i*sha1.Size:], sum[:])
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return sums, nil
}

// workers is how many workers the files bear: one, if they can only be read
// from the start to the end.
func (c *content) workers(pieces int64) (int, error) {
	f, err := c.fsys.Open(c.files[0].path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, ok := f.(io.ReaderAt); !ok {
		return 1, nil
	}
	return int(min(pieces, int64(runtime.GOMAXPROCS(0)))), nil
}

// reader reads pieces of the content. It keeps one file open.
type reader struct {
	*content
	buf  []byte
	file fs.File // nil if none is open
	open int     // which of the files it is
	at   int64   // where reading goes on, if file can't seek
}

// sum is the SHA-1 of piece i.
func (r *reader) sum(ctx context.Context, i int64) (sum [sha1.Size]byte, err error) {
	from := i * r.pieceLength
	to := min(from+r.pieceLength, r.total)
	n := sort.Search(len(r.files), func(n int) bool { return r.files[n].offset+r.files[n].length > from })
	h := sha1.New()
	for ; from < to; n++ {
		f := r.files[n]
		for end := min(to, f.offset+f.length); from < end; {
			if err := ctx.Err(); err != nil {
				return sum, err
			}
			b := r.buf[:min(int64(len(r.buf)), end-from)]
			if err := r.read(n, from-f.offset, b); err != nil {
				return sum, err
			}
			h.Write(b)
			from += int64(len(b))
		}
	}
	h.Sum(sum[:0])
	return sum, nil
}

// read fills b from offset off of file n.
func (r *reader) read(n int, off int64, b []byte) error {
	if r.file == nil || r.open != n || r.at > off {
		if err := r.reopen(n); err != nil {
			return err
		}
	}
	var err error
	if at, ok := r.file.(io.ReaderAt); ok {
		var got int
		if got, err = at.ReadAt(b, off); got == len(b) {
			return nil
		}
	} else {
		if _, err = io.CopyN(io.Discard, r.file, off-r.at); err == nil {
			_, err = io.ReadFull(r.file, b)
		}
		r.at = off + int64(len(b))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &fs.PathError{Op: "read", Path: r.files[n].path, Err: errors.New("the file has become shorter")}
	}
	return err
}

// reopen closes the file that is open and opens file n.
func (r *reader) reopen(n int) error {
	r.close()
	f, err := r.fsys.Open(r.files[n].path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != r.files[n].length {
		err = &fs.PathError{Op: "read", Path: r.files[n].path, Err: errors.New("the file changed while the torrent was made")}
	}
	if err != nil {
		f.Close()
		return err
	}
	r.file, r.open, r.at = f, n, 0
	return nil
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}
