package storage

import (
	"crypto/sha1"

	"btd/piece"
)

// maxRun is how many blocks a worker takes at once.
const maxRun = 64

// worker is the memory of one write worker.
type worker struct {
	s    *Store
	bufs []*piece.Buffer // blocks of the job
	vec  vector
	sum  [sha1.Size]byte
	read []byte // for what is read back
}

// What a worker does to blocks [from, from+n) of a piece.
const (
	jobNone   = iota
	jobWrite  // write them; hash them if they follow the prefix
	jobReread // read them back and hash them
	jobZeros  // hash zeros
)

type job struct {
	kind   int
	from   int
	n      int
	hash   bool // they follow the prefix
	last   bool // and end the piece
	fresh  bool // nothing of the piece was hashed before
	gen    uint32
	result Result
	final  bool // result counts
}

// work is one worker: it takes pieces from the queue until the Store closes.
func (s *Store) work() {
	k := &worker{s: s}
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		w := q.pop()
		if w == nil {
			if q.closed {
				return
			}
			q.waiting++
			q.work.Wait()
			q.waiting--
			continue
		}
		w.where = workActive
		k.step(w)
	}
}

// step does one job of w. It is called and returns with queue.mu held.
func (k *worker) step(w *work) {
	q, t := &k.s.queue, w.t
	j := q.take(w, k)
	if j.kind != jobNone {
		q.mu.Unlock()
		if j.fresh {
			w.hash.Reset()
		}
		k.do(w, &j)
		taken := len(k.bufs)
		k.s.pool.freeAll(k.bufs)
		clear(k.bufs)
		k.bufs = k.bufs[:0]
		k.vec.clear()
		q.mu.Lock()
		q.held -= taken
		if j.gen == w.gen {
			if freed := q.finish(w, &j); freed != nil {
				k.s.pool.freeAll(freed)
			}
		} else {
			j.final = false
		}
	}
	if !j.final {
		q.settle(w)
	} else if t.o.Done != nil {
		q.mu.Unlock()
		t.o.Done(j.result)
		q.mu.Lock()
	}
	t.work.pending--
	if t.work.pending == 0 {
		q.done.Broadcast()
	}
}

// take chooses the next job of w and moves its buffers to k.
func (q *queue) take(w *work, k *worker) job {
	j := job{gen: w.gen, from: w.prefix, fresh: w.prefix == 0}
	if w.prefix < len(w.state) && (w.ready(q.run) || w.flush && w.state[w.prefix] == blockHeld) {
		switch w.state[w.prefix] {
		case blockHeld:
			j.kind = jobWrite
		case blockStored:
			j.kind = jobReread
		case blockPad:
			j.kind = jobZeros
		}
	}
	if j.kind == jobNone && w.flush && w.held > 0 {
		j.kind = jobWrite
		for j.from = w.prefix; w.state[j.from] != blockHeld; j.from++ {
		}
	}
	if j.kind == jobNone {
		w.flush = false
		return j
	}
	kind := w.state[j.from]
	for j.n < maxRun && j.from+j.n < len(w.state) && w.state[j.from+j.n] == kind {
		at := j.from + j.n
		if kind == blockHeld {
			k.bufs = append(k.bufs, w.bufs[at])
			w.bufs[at], w.state[at] = nil, blockBusy
		}
		j.n++
	}
	w.held -= len(k.bufs)
	j.hash = j.from == w.prefix
	j.last = j.hash && j.from+j.n == len(w.state)
	return j
}

// finish books what a job did. It returns buffers that are not needed.
func (q *queue) finish(w *work, j *job) []*piece.Buffer {
	if j.final {
		freed := q.takeHeld(w)
		delete(w.t.work.pieces, w.piece)
		w.where = workIdle
		w.t.recycle(w)
		return freed
	}
	if j.kind == jobWrite {
		for n := j.from; n < j.from+j.n; n++ {
			w.state[n] = blockStored
		}
	}
	if j.hash {
		w.prefix = j.from + j.n
	}
	return nil
}

// settle puts a piece that a worker is done with for now where it belongs.
func (q *queue) settle(w *work) {
	if w.held == 0 {
		w.flush = false
	}
	switch {
	case w.ready(q.run) || w.flush:
		w.where = workQueued
		w.t.work.pending++
		q.push(w)
	case w.received == 0:
		w.where = workIdle
		delete(w.t.work.pieces, w.piece)
		w.t.recycle(w)
	case w.held == 0:
		w.where = workIdle
	default:
		q.park(w)
	}
}

// do hashes and writes. It fills in the result if there is one.
func (k *worker) do(w *work, j *job) {
	t := w.t
	begin := int64(j.from) * piece.BlockSize
	off := t.geo.Offset(w.piece) + begin
	n := min(int64(j.n)*piece.BlockSize, t.geo.Length(w.piece)-begin)
	err := t.prepared()
	if err == nil && j.kind == jobWrite {
		if t.pads {
			t.zeroPads(k.bufs, off, n)
		}
		if j.hash {
			left := n
			for _, b := range k.bufs {
				w.hash.Write(b[:min(left, piece.BlockSize)])
				left -= piece.BlockSize
			}
		}
		err = t.writeRun(k, off, n)
	}
	if err == nil && j.kind == jobReread {
		err = k.reread(w, off, n)
	}
	if err == nil && j.kind == jobZeros {
		for left := n; left > 0; left -= piece.BlockSize {
			w.hash.Write(zeros[:min(left, piece.BlockSize)])
		}
	}
	if err == nil && !j.last {
		return
	}
	j.final = true
	j.result = Result{Piece: w.piece, Err: err}
	if err != nil {
		t.failed(err)
		return
	}
	sum := w.hash.Sum(k.sum[:0])
	j.result.OK = string(sum) == string(t.info.Sums[int(w.piece)*sha1.Size:][:sha1.Size])
	if !j.result.OK {
		j.result.Blocks, _ = t.blockSums(w.piece)
	}
}

// zeros is what pad files hold.
var zeros [piece.BlockSize]byte

// zeroPads makes the bytes of pad files zero, whatever a peer sent.
func (t *Torrent) zeroPads(bufs []*piece.Buffer, off, n int64) {
	files := t.info.Files
	for i := t.fileAt(off); i < len(files) && files[i].Offset < off+n; i++ {
		if !files[i].Pad {
			continue
		}
		from, to := max(files[i].Offset, off)-off, min(files[i].Offset+files[i].Length, off+n)-off
		for from < to {
			at := from % piece.BlockSize
			end := min(at+to-from, piece.BlockSize)
			clear(bufs[from/piece.BlockSize][at:end])
			from += end - at
		}
	}
}

// writeRun writes k's blocks to content [off, off+n).
func (t *Torrent) writeRun(k *worker, off, n int64) error {
	if err := t.mark(off, n); err != nil {
		return err
	}
	if !t.empties.Load() {
		if err := t.createEmpty(); err != nil {
			return err
		}
	}
	t.layout.RLock()
	defer t.layout.RUnlock()
	pos := int64(0)
	c := t.cursor(off, n)
	for {
		s, err := c.next()
		if err != nil || s.n == 0 {
			return err
		}
		if s.file != padFile {
			if err := t.writeSpan(k, s, int(pos)); err != nil {
				return err
			}
		}
		pos += s.n
	}
}

// writeSpan writes to one file from byte pos of k's blocks.
func (t *Torrent) writeSpan(k *worker, s span, pos int) error {
	h, err := t.acquire(s.file, true)
	if err != nil {
		return err
	}
	defer t.release(h)
	if t.s.fault != nil {
		err = t.s.fault("write", t.path(s.file))
	}
	if err == nil {
		err = k.vec.writeAt(h.f, k.bufs, pos, int(s.n), s.off)
	}
	t.wrote(s.file) // even a failed write may have changed the file
	if err != nil {
		return wrap("write", t.tree.dir, t.path(s.file), err)
	}
	t.s.written.Add(s.n)
	return nil
}

// reread hashes content that was written out of order.
func (k *worker) reread(w *work, off, n int64) error {
	if k.read == nil {
		k.read = make([]byte, 16*piece.BlockSize)
	}
	for n > 0 {
		p := k.read[:min(n, int64(len(k.read)))]
		if err := w.t.readAt(p, off); err != nil {
			return err
		}
		w.hash.Write(p)
		k.s.readBack.Add(int64(len(p)))
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return nil
}
