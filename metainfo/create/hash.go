package create

import (
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"sort"
	"sync"

	"btd/piece/sha1x"
)

const (
	sumLen = sha1.Size

	// stripe is how much of each of several pieces is read at once, bytes.
	// That of all lanes is still in the processor's cache when it is hashed.
	stripe = 64 << 10

	// alone is the same where pieces are hashed one after the other, bytes.
	alone = 256 << 10

	// maxSpread is how far apart pieces lie at most that are read side by side,
	// bytes. They are read ahead in one go, for disks that turn.
	maxSpread = 128 << 20

	// maxWorkers bounds the memory of all workers together to 32 MiB.
	maxWorkers = 32
)

// job is one hashing of the content.
type job struct {
	*content
	sums    []byte
	workers int

	mu   sync.Mutex
	next int64 // the first piece that nobody has taken
	done int64 // bytes
}

// hash writes the SHA-1 of every piece into sums.
func (c *content) hash(ctx context.Context, sums []byte) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	j := &job{content: c, sums: sums}
	j.workers = min(len(sums)/sumLen, runtime.GOMAXPROCS(0), maxWorkers)
	var group sync.WaitGroup
	for range j.workers {
		group.Go(func() {
			w := newWorker(j)
			defer w.close()
			if err := w.run(ctx); err != nil {
				stop(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// take is the next pieces [from, to) for somebody with room bytes of memory
// and so many lanes: as many as fit, or long ones that are read side by side.
// The last of the long ones are divided among the workers.
func (j *job) take(room int64, lanes int) (from, to int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	left := int64(len(j.sums)/sumLen) - j.next
	n := room / j.pieceLength
	if n < int64(lanes) {
		n = min(int64(lanes), max(1, maxSpread/j.pieceLength), (left+int64(j.workers)-1)/int64(j.workers))
	}
	from = j.next
	j.next += min(n, left)
	return from, j.next
}

// tell counts n bytes that were hashed.
func (j *job) tell(n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done += n
	if j.progress != nil {
		j.progress(Progress{Files: len(j.files), Done: j.done, Total: j.total})
	}
}

// worker hashes some pieces at a time. It is one goroutine's.
type worker struct {
	*job
	hasher sha1x.Hasher
	buf    []byte
	lanes  []lane
	parts  []sha1x.Part
	open   []handle
	oldest int // of open
}

// lane is a piece being hashed.
type lane struct {
	stream    sha1x.Stream
	piece     int64
	off, left int64 // in the content, of what is to be read next
	data      [1][]byte
}

// handle is a file that is open.
type handle struct {
	n    int // which of the files; -1 is none
	file fs.File
	r    io.ReaderAt // file
}

func newWorker(j *job) *worker {
	lanes, each := sha1x.Lanes(), stripe
	if lanes == 1 {
		each = alone
	}
	w := &worker{job: j, buf: make([]byte, lanes*each), lanes: make([]lane, lanes), open: make([]handle, lanes)}
	for i := range w.open {
		w.open[i].n = -1
	}
	return w
}

func (w *worker) close() {
	for i := range w.open {
		w.drop(i)
	}
}

func (w *worker) run(ctx context.Context) error {
	for {
		from, to := w.take(int64(len(w.buf)), len(w.lanes))
		if from == to {
			return nil
		}
		var err error
		if start, end := w.span(from, to); end-start <= int64(len(w.buf)) {
			err = w.neighbours(ctx, from, to)
		} else {
			w.prefetch(start, end)
			err = w.spread(ctx, from, to)
		}
		if err != nil {
			return err
		}
	}
}

// span is where pieces [from, to) are in the content.
func (w *worker) span(from, to int64) (start, end int64) {
	return from * w.pieceLength, min(to*w.pieceLength, w.total)
}

// neighbours hashes pieces that the buffer has room for, after one read.
func (w *worker) neighbours(ctx context.Context, from, to int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	start, end := w.span(from, to)
	if err := w.read(w.buf[:end-start], start); err != nil {
		return err
	}
	for from < to {
		n := min(to-from, int64(len(w.lanes)))
		lanes := w.begin(from, n)
		for i := range lanes {
			l := &lanes[i]
			w.add(l, w.buf[l.off-start:][:l.left])
		}
		w.finish(lanes)
		from += n
	}
	w.tell(end - start)
	return nil
}

// spread hashes pieces that the buffer has no room for, a bit of each in turn.
func (w *worker) spread(ctx context.Context, from, to int64) error {
	lanes := w.begin(from, to-from)
	share := int64(len(w.buf) / len(w.lanes))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum := int64(0)
		for i := range lanes {
			l := &lanes[i]
			n := min(share, l.left)
			if n == 0 {
				continue
			}
			p := w.buf[int64(i)*share:][:n]
			if err := w.read(p, l.off); err != nil {
				return err
			}
			w.add(l, p)
			l.off, l.left, sum = l.off+n, l.left-n, sum+n
		}
		if sum == 0 {
			w.finish(lanes)
			return nil
		}
		w.flush()
		w.tell(sum)
	}
}

// begin puts n pieces into lanes.
func (w *worker) begin(from, n int64) []lane {
	lanes := w.lanes[:n]
	for i := range lanes {
		l := &lanes[i]
		l.piece = from + int64(i)
		start, end := w.span(l.piece, l.piece+1)
		l.off, l.left = start, end-start
		l.stream.Reset()
	}
	return lanes
}

// add leaves p, which comes next of a lane, to hash.
func (w *worker) add(l *lane, p []byte) {
	l.data[0] = p
	w.parts = append(w.parts, sha1x.Part{Stream: &l.stream, Data: l.data[:]})
}

func (w *worker) flush() {
	w.hasher.WriteAll(w.parts)
	w.parts = w.parts[:0]
}

func (w *worker) finish(lanes []lane) {
	w.flush()
	for i := range lanes {
		sum := w.hasher.Sum(&lanes[i].stream)
		copy(w.sums[lanes[i].piece*sumLen:], sum[:])
	}
}

// each calls do for every file that content [from, to) lies in, with the range
// in the file. Empty files have nothing of it.
func (w *worker) each(from, to int64, do func(n int, off, length int64) error) error {
	n := sort.Search(len(w.files), func(n int) bool { return w.files[n].offset+w.files[n].size > from })
	for ; from < to; n++ {
		f := &w.files[n]
		length := min(to, f.offset+f.size) - from
		if length == 0 {
			continue
		}
		if err := do(n, from-f.offset, length); err != nil {
			return err
		}
		from += length
	}
	return nil
}

// read fills p from an offset of the content.
func (w *worker) read(p []byte, from int64) error {
	return w.each(from, from+int64(len(p)), func(n int, off, length int64) error {
		r, err := w.handle(n)
		if err != nil {
			return err
		}
		got, err := r.ReadAt(p[:length], off)
		p = p[length:]
		switch {
		case int64(got) == length:
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return changed(w.files[n].path, "it has become shorter")
		}
		return err
	})
}

// handle is file n, open. As many stay open as pieces are read side by side.
func (w *worker) handle(n int) (io.ReaderAt, error) {
	for i := range w.open {
		if w.open[i].n == n {
			return w.open[i].r, nil
		}
	}
	f, err := w.fsys.Open(w.files[n].path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, changed(w.files[n].path, "it has vanished")
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = w.files[n].same(info)
	}
	r, ok := f.(io.ReaderAt)
	if err == nil && !ok {
		err = errors.ErrUnsupported // add has seen that it is one
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	w.drop(w.oldest)
	w.open[w.oldest] = handle{n, f, r}
	w.oldest = (w.oldest + 1) % len(w.open)
	return r, nil
}

func (w *worker) drop(i int) {
	if h := &w.open[i]; h.file != nil {
		h.file.Close()
		*h = handle{n: -1}
	}
}

// prefetch asks for content to be read ahead where the system can. Small files
// are not worth opening for it: they are read whole soon.
func (w *worker) prefetch(from, to int64) {
	_ = w.each(from, to, func(n int, off, length int64) error {
		if length < 1<<20 {
			return nil
		}
		r, err := w.handle(n)
		if err == nil {
			readAhead(r, off, length)
		}
		return err // whoever reads will say so
	})
}
