package session

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"btd/peerwire"
	"btd/peerwire/secure"
	"btd/piece"
)

// writeTimeout is how long a peer may leave us unable to write anything.
const writeTimeout = 60 * time.Second

// conn is a peer's connection that gives its place back when it is closed.
type conn struct {
	net.Conn
	channel *secure.Conn // over Conn, where the torrent has a secret; set before anybody else has the conn
	once    sync.Once
	release func()
}

// Close closes the connection. It may be called often.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.Conn.Close()
		c.release()
	})
	return err
}

// startWire starts the reader and the writer of an admitted peer.
func (t *torrent) startWire(p *peer) {
	raw := p.wire.conn.(*conn).stream()
	r := peerwire.NewReader(raw, peerwire.ReaderConfig{
		Alloc: t.s.store.Alloc, Free: t.s.store.Free,
		MaxMessage: max(maxExtended, (t.geo.Pieces()+7)/8+8),
		Credit:     &p.wire.credit,
	})
	t.spawn(func() { p.readLoop(t.ctx, t.in, r) })
	// The files may come after the peer. No run is handed to its writer before.
	read := func(i piece.Index, begin uint32, dst []byte) error { return t.disk.files.Read(i, begin, dst) }
	w := writer{p: p, in: t.in, w: peerwire.NewWriter(raw), read: read, bufs: t.s.runBufs}
	t.spawn(func() { w.loop(t.ctx) })
}

// maxExtended bounds the extension messages we accept, bytes.
const maxExtended = 256 << 10

// readLoop gathers messages into batches until the connection ends.
func (p *peer) readLoop(ctx context.Context, in *inbox, r *peerwire.Reader) {
	defer r.Release()
	for {
		var b *batch
		select {
		case b = <-p.wire.free:
		case <-ctx.Done():
			return
		}
		b.err = b.fill(r)
		if failed := b.err != nil; !in.post(b) || failed {
			return
		}
	}
}

// fill reads one message and as many more as can be had without waiting.
func (b *batch) fill(r *peerwire.Reader) error {
	for len(b.msgs) < maxBatch {
		b.msgs = append(b.msgs, peerwire.Message{})
		m := &b.msgs[len(b.msgs)-1]
		if err := r.Next(m); err != nil {
			b.msgs = b.msgs[:len(b.msgs)-1]
			return err
		}
		if m.Payload != nil {
			m.Payload = slices.Clone(m.Payload)
		}
		if !r.Buffered() {
			return nil
		}
	}
	return nil
}

// tellEvery is how long the loop is left without news of a peer that is being
// sent to.
const tellEvery = 100 * time.Millisecond

// writer sends a peer's output: control messages as they come, runs after
// reading them from disk.
type writer struct {
	p    *peer
	in   *inbox
	w    *peerwire.Writer
	read func(i piece.Index, begin uint32, dst []byte) error
	bufs *runBuffers
}

func (w *writer) loop(ctx context.Context) {
	var ctl []byte
	var told time.Time
	for {
		var r run
		var ok bool
		ctl, r, ok = w.p.wire.out.take(ctl[:0])
		if !ok {
			return
		}
		if len(ctl) == 0 && r.total == 0 {
			select {
			case <-w.p.wire.out.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := w.send(ctl, r)
		if err != nil {
			failed := err // a variable of its own, since it is moved to the heap
			w.p.wire.sentEvent.failed.Store(&failed)
		}
		now, news := time.Now(), r.total > 0 && !w.p.wire.out.stocked() || len(ctl) >= peerwire.MetadataPiece
		if err != nil || news || r.total > 0 && now.Sub(told) >= tellEvery {
			told = now
			w.report()
		}
		if err != nil {
			return
		}
		if cap(ctl) > 64<<10 {
			ctl = nil
		}
	}
}

// errUnreadable marks a run that could not be read from disk.
var errUnreadable = errors.New("reading for a peer")

type readError struct {
	piece piece.Index
	err   error
}

func (e *readError) Error() string   { return errUnreadable.Error() + ": " + e.err.Error() }
func (e *readError) Unwrap() []error { return []error{errUnreadable, e.err} }

func (w *writer) send(ctl []byte, r run) error {
	w.w.Encoded(ctl)
	if r.total > 0 {
		buf := w.bufs.get(r.total)
		defer w.bufs.put(buf)
		data := buf[:r.total]
		if err := w.read(r.piece, r.begin, data); err != nil {
			return &readError{r.piece, err}
		}
		at := r.begin
		for _, size := range r.sizes[:r.parts] {
			w.w.Piece(uint32(r.piece), at, data[:size])
			data = data[size:]
			at += size
		}
	}
	_, err := w.w.Flush(time.Now().Add(writeTimeout))
	payload := int64(r.total)
	if err != nil {
		payload = 0
	}
	w.p.wire.written.Add(payload)
	if r.total > 0 {
		w.p.wire.landed.Add(int64(r.cost()))
	}
	return err
}

// report tells the loop that the writer got on.
func (w *writer) report() {
	ev := &w.p.wire.sentEvent
	if ev.queued.CompareAndSwap(false, true) {
		w.in.post(ev)
	}
}

// runBuffers is a free list of buffers for runs. It keeps a few and leaves
// the rest to the garbage collector.
type runBuffers struct {
	mu   sync.Mutex
	free [][]byte
}

const keepRunBuffers = 16

func (b *runBuffers) get(size int) []byte {
	if size <= slowRun {
		return make([]byte, size) // a slow peer may hold it for long
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf
	}
	return make([]byte, maxRun)
}

func (b *runBuffers) put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(buf) == maxRun && len(b.free) < keepRunBuffers {
		b.free = append(b.free, buf)
	}
}
