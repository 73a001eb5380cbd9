package storage

import (
	"sync"
	"time"

	"btd/piece"
	"btd/piece/sha1x"
)

// What a block of a piece under construction is.
const (
	blockMissing = iota
	blockHeld    // in memory
	blockBusy    // with a worker
	blockStored  // written
	blockPad     // zeros of a pad file: nothing to receive, nothing to write
)

// Where a piece under construction is.
const (
	workIdle   = iota // nowhere: new, or without a block in memory
	workParked        // waits for more blocks
	workQueued        // waits for a worker
	workActive        // with a worker
)

// work is a piece under construction. It is guarded by queue.mu, except
// stream, which belongs to the worker that has the piece.
type work struct {
	t     *Torrent
	piece piece.Index
	bufs  []*piece.Buffer
	state []uint8

	prefix   int // blocks [0, prefix) are hashed
	contig   int // blocks [0, contig) were received
	received int // blocks received, pads not counted
	held     int // blocks in memory that no worker has
	where    uint8
	flush    bool   // write what is held, even if it leaves gaps
	gen      uint32 // grows when the blocks are abandoned

	stream     sha1x.Stream
	next, prev *work // in the queue (next only) or among the parked
}

// torrentWork is a torrent's part of the queue.
type torrentWork struct {
	pieces  map[piece.Index]*work
	spare   []*work
	pending int // pieces queued or active
	closed  bool
}

// queue hands pieces to workers, one worker at a time for each piece. Pieces
// whose blocks do not make a run yet are parked, the one parked first in
// front; when they hold too much memory, that one is written as it is.
type queue struct {
	mu      sync.Mutex
	work    sync.Cond // a piece was queued
	done    sync.Cond // a torrent has no pending pieces
	run     int       // blocks that make a run
	soft    int       // blocks that may be parked
	hard    int       // blocks in memory beyond which no piece waits for others
	held    int       // blocks in memory, those with workers included
	parkedN int       // blocks in memory in parked pieces
	parked  work      // sentinel of a ring
	first   *work
	last    *work
	latest  *work // that was queued, and perhaps taken since
	queued  int
	gather  gather
	waiting int // workers without work
	started int
	hashing bool   // a worker hashes
	start   func() // starts a worker
	workers int    // how many may be started
	closed  bool
}

func (q *queue) init(runBytes, capacity, workers int, start func()) {
	q.workers, q.start = workers, start
	q.work.L, q.done.L = &q.mu, &q.mu
	q.run = max(runBytes/piece.BlockSize, 1)
	q.soft, q.hard = max(capacity/2, 1), capacity*7/8
	q.gather.init(sha1x.Lanes(), q.ripe)
	q.parked.next, q.parked.prev = &q.parked, &q.parked
}

// ripe ends the wait for more pieces, unless they still come.
func (q *queue) ripe() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first == nil {
		q.gather.armed = false
	} else if q.gather.rang(time.Now()) {
		q.wake()
	}
}

func (q *queue) stats() (held, queued int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held, q.queued
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.gather.hurry()
	q.work.Broadcast()
}

// Write takes a block and its memory. It never blocks. Blocks of a piece may
// come in any order; one that is there already is ignored.
func (t *Torrent) Write(b piece.Block, buf *piece.Buffer) {
	if _, ok := t.geo.CheckBlock(uint32(b.Piece), b.Begin, b.Length); !ok {
		t.s.Free(buf)
		return
	}
	q := &t.s.queue
	q.mu.Lock()
	unused := q.add(t, b, buf)
	q.mu.Unlock()
	if unused {
		t.s.Free(buf)
	}
}

// add puts a block to its piece and tells whether the buffer was not needed.
func (q *queue) add(t *Torrent, b piece.Block, buf *piece.Buffer) (unused bool) {
	if t.work.closed || q.closed {
		return true
	}
	w := t.work.pieces[b.Piece]
	if w == nil {
		w = t.newWork(b.Piece)
		t.work.pieces[b.Piece] = w
	}
	n := b.Number()
	if w.state[n] == blockMissing && buf != nil {
		w.bufs[n], w.state[n] = buf, blockHeld
		w.held++
		w.received++
		q.held++
		if w.where == workParked {
			q.parkedN++
		}
		w.advance()
	} else {
		unused = true
	}
	if w.where == workIdle || w.where == workParked {
		if w.ready(q.run) {
			q.enqueue(w)
		} else if w.where == workIdle {
			q.park(w)
		}
	}
	if q.parkedN > q.soft {
		oldest := q.parked.next
		oldest.flush = true
		q.enqueue(oldest)
	}
	return unused
}

// advance moves contig past what was received.
func (w *work) advance() {
	for w.contig < len(w.state) && w.state[w.contig] != blockMissing {
		w.contig++
	}
}

// ready tells whether there is a run to hash.
func (w *work) ready(run int) bool {
	return w.contig == len(w.state) || w.contig-w.prefix >= run
}

func (w *work) complete() bool { return w.contig == len(w.state) }

// park puts w at the end of the parked pieces.
func (q *queue) park(w *work) {
	w.where = workParked
	w.prev, w.next = q.parked.prev, &q.parked
	w.prev.next, w.next.prev = w, w
	q.parkedN += w.held
}

func (q *queue) unpark(w *work) {
	w.prev.next, w.next.prev = w.next, w.prev
	w.prev, w.next = nil, nil
	w.where = workIdle
	q.parkedN -= w.held
}

// enqueue gives w to the workers, and starts one more if they are all busy.
func (q *queue) enqueue(w *work) {
	if w.where == workParked {
		q.unpark(w)
	}
	w.where = workQueued
	w.t.work.pending++
	q.push(w)
	other := q.latest != w || w.prefix == 0
	q.latest = w
	if q.gather.came(time.Now(), q.queued, other, w.flush || q.held > q.hard) {
		q.wake()
	}
}

// wake gives what is queued to a worker, and starts one more if they are all
// busy.
func (q *queue) wake() {
	if q.waiting > 0 {
		q.work.Signal()
	} else if q.started < q.workers {
		q.started++
		q.start()
	}
}

func (q *queue) push(w *work) {
	w.next = nil
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.queued++
}

func (q *queue) pop() *work {
	w := q.first
	if w == nil {
		return nil
	}
	q.first = w.next
	if q.first == nil {
		q.last = nil
	}
	w.next = nil
	q.queued--
	return w
}

// newWork is an empty piece under construction.
func (t *Torrent) newWork(i piece.Index) *work {
	n := t.geo.Blocks(i)
	var w *work
	if k := len(t.work.spare); k > 0 {
		w = t.work.spare[k-1]
		t.work.spare = t.work.spare[:k-1]
	} else {
		full := t.geo.Blocks(0) // no piece has more
		w = &work{t: t, bufs: make([]*piece.Buffer, full), state: make([]uint8, full)}
	}
	w.piece, w.bufs, w.state = i, w.bufs[:n], w.state[:n]
	w.clear()
	return w
}

// clear makes w a piece of which nothing was received.
func (w *work) clear() {
	clear(w.bufs)
	clear(w.state)
	w.prefix, w.contig, w.received, w.held, w.flush = 0, 0, 0, 0, false
	if w.t.pads {
		w.markPads()
		w.advance()
	}
}

// markPads marks the blocks that lie wholly in pad files: all but those that
// another file has bytes of.
func (w *work) markPads() {
	for n := range w.state {
		w.state[n] = blockPad
	}
	files := w.t.info.Files
	off, n := w.t.geo.Offset(w.piece), w.t.geo.Length(w.piece)
	for i := w.t.fileAt(off); i < len(files) && files[i].Offset < off+n; i++ {
		f := &files[i]
		if f.Pad || f.Length == 0 {
			continue
		}
		first := (max(f.Offset, off) - off) / piece.BlockSize
		last := (min(f.Offset+f.Length, off+n) - off - 1) / piece.BlockSize
		clear(w.state[first : last+1]) // missing
	}
}

// recycle keeps w's memory for another piece, within reason.
func (t *Torrent) recycle(w *work) {
	if most := max(1, 4096/cap(w.state)); len(t.work.spare) < min(most, 32) {
		t.work.spare = append(t.work.spare, w)
	}
}

// Abandon forgets the blocks received of a piece that is not complete. No
// Result comes for them, unless one was on its way already.
func (t *Torrent) Abandon(i piece.Index) {
	q := &t.s.queue
	q.mu.Lock()
	var freed []*piece.Buffer
	if w := t.work.pieces[i]; w != nil {
		freed = q.abandon(w)
	}
	q.mu.Unlock()
	t.s.pool.freeAll(freed)
}

// abandon empties w and returns the buffers it held. A worker that has the
// piece, or is about to get it, drops it.
func (q *queue) abandon(w *work) []*piece.Buffer {
	freed := q.takeHeld(w)
	w.gen++
	w.clear()
	if w.where == workIdle || w.where == workParked {
		if w.where == workParked {
			q.unpark(w)
		}
		delete(w.t.work.pieces, w.piece)
		w.t.recycle(w)
	}
	return freed
}

// takeHeld takes all buffers that w holds.
func (q *queue) takeHeld(w *work) []*piece.Buffer {
	if w.held == 0 {
		return nil
	}
	freed := make([]*piece.Buffer, 0, w.held)
	for n, s := range w.state {
		if s == blockHeld {
			freed = append(freed, w.bufs[n])
			w.bufs[n], w.state[n] = nil, blockMissing
		}
	}
	q.held -= w.held
	if w.where == workParked {
		q.parkedN -= w.held
	}
	w.held = 0
	return freed
}

// flush waits until t has no piece with a worker or waiting for one.
func (q *queue) flush(t *Torrent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gather.hurry()
	defer q.gather.calm()
	if q.first != nil {
		q.wake()
	}
	for t.work.pending > 0 {
		q.done.Wait()
	}
}

// drop refuses further blocks of t, forgets its unfinished pieces and waits
// for the rest.
func (q *queue) drop(t *Torrent) {
	q.mu.Lock()
	t.work.closed = true
	var freed []*piece.Buffer
	for _, w := range t.work.pieces {
		if !w.complete() {
			freed = append(freed, q.abandon(w)...)
		}
	}
	t.work.spare = nil
	q.latest = nil // it may be one of t's
	q.mu.Unlock()
	t.s.pool.freeAll(freed)
	q.flush(t)
}
