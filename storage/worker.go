package storage

import (
	"time"

	"btd/piece"
	"btd/piece/sha1x"
)

// maxRun is how many blocks a worker takes at once.
const maxRun = 64

// worker is the memory of one write worker.
type worker struct {
	s      *Store
	jobs   []job // of the batch; their number is that of the lanes
	parts  []sha1x.Part
	hasher sha1x.Hasher
	vec    vector
	read   []byte // for what is read back
}

// What a worker does to blocks [from, from+n) of a piece.
const (
	jobNone   = iota
	jobWrite  // write them; hash them if they follow the prefix
	jobReread // read them back and hash them
	jobZeros  // hash zeros
)

type job struct {
	w      *work
	kind   int
	from   int
	n      int
	bufs   []*piece.Buffer // the blocks to write
	data   [][]byte        // the same, to hash
	hash   bool            // they follow the prefix
	last   bool            // and end the piece
	fresh  bool            // nothing of the piece was hashed before
	gen    uint32
	result Result
	final  bool // result counts
}

// work is one worker: it takes pieces from the queue until the Store closes.
// Those that wait are taken together, since hashing many takes little more
// time than hashing one. So that they gather, only one worker hashes at a time
// unless there is enough for two.
func (s *Store) work() {
	k := &worker{s: s, jobs: make([]job, sha1x.Lanes())}
	for i := range k.jobs {
		k.jobs[i].bufs, k.jobs[i].data = make([]*piece.Buffer, 0, maxRun), make([][]byte, 0, maxRun)
	}
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		n := 0
		if q.gather.due && (!q.hashing || q.queued >= len(k.jobs)) {
			n = q.popAll(k.jobs)
			q.gather.took(time.Now(), q.queued, q.held > q.hard)
		}
		if n > 0 {
			k.batch(k.jobs[:n])
			continue
		}
		if q.closed && q.first == nil {
			return
		}
		q.waiting++
		q.work.Wait()
		q.waiting--
	}
}

// popAll takes pieces from the queue, one for each of jobs, and tells how many
// there were.
func (q *queue) popAll(jobs []job) int {
	for i := range jobs {
		w := q.pop()
		if w == nil {
			return i
		}
		w.where = workActive
		jobs[i].w = w
	}
	return len(jobs)
}

// batch does one job of each piece in jobs. It is called and returns with
// queue.mu held.
func (k *worker) batch(jobs []job) {
	q := &k.s.queue
	work := false
	for i := range jobs {
		q.take(&jobs[i])
		work = work || jobs[i].kind != jobNone
	}
	if work {
		q.hashing = true
		q.mu.Unlock()
		k.hash(jobs)
		q.mu.Lock()
		q.hashing = false
		if q.first != nil {
			q.work.Signal()
		}
	}
	behind := false
	for i := range jobs {
		w := jobs[i].w
		k.step(&jobs[i])
		behind = behind || w.where == workQueued && w.contig-w.prefix >= 2*q.run
	}
	if behind { // it comes in faster than it is hashed: a wait for each run would hold it up
		q.gather.due = true
	}
}

// hash adds the blocks of all jobs to the hashes of their pieces.
func (k *worker) hash(jobs []job) {
	for i := range jobs {
		j := &jobs[i]
		if j.kind != jobNone && j.fresh {
			j.w.stream.Reset()
		}
		t := j.w.t
		off, n := j.content()
		if j.kind == jobWrite && t.pads {
			t.zeroPads(j.bufs, off, n)
		}
		switch {
		case !j.hash:
			continue
		case j.kind == jobWrite:
			for _, b := range j.bufs {
				j.data = append(j.data, b[:min(n, piece.BlockSize)])
				n -= piece.BlockSize
			}
		case j.kind == jobZeros:
			for ; n > 0; n -= piece.BlockSize {
				j.data = append(j.data, zeros[:min(n, piece.BlockSize)])
			}
		default: // read back when it is its turn
			continue
		}
		k.parts = append(k.parts, sha1x.Part{Stream: &j.w.stream, Data: j.data})
	}
	k.hasher.WriteAll(k.parts)
	clear(k.parts)
	k.parts = k.parts[:0]
}

// content is what j is about: n bytes from off on.
func (j *job) content() (off, n int64) {
	geo := j.w.t.geo
	begin := int64(j.from) * piece.BlockSize
	return geo.Offset(j.w.piece) + begin, min(int64(j.n)*piece.BlockSize, geo.Length(j.w.piece)-begin)
}

// step does what is left of j after hashing. It is called and returns with
// queue.mu held.
func (k *worker) step(j *job) {
	w := j.w
	q, t := &k.s.queue, w.t
	if j.kind != jobNone {
		q.mu.Unlock()
		k.do(j)
		k.vec.clear()
		taken := len(j.bufs)
		k.s.pool.freeAll(j.bufs)
		q.mu.Lock()
		q.held -= taken
		if j.gen == w.gen {
			if freed := q.finish(w, j); freed != nil {
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
	clear(j.bufs)
	clear(j.data)
	*j = job{bufs: j.bufs[:0], data: j.data[:0]}
}

// take chooses the next job of j.w and moves its buffers to j.
func (q *queue) take(j *job) {
	w := j.w
	j.gen, j.from, j.fresh = w.gen, w.prefix, w.prefix == 0
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
		return
	}
	kind := w.state[j.from]
	for j.n < maxRun && j.from+j.n < len(w.state) && w.state[j.from+j.n] == kind {
		at := j.from + j.n
		if kind == blockHeld {
			j.bufs = append(j.bufs, w.bufs[at])
			w.bufs[at], w.state[at] = nil, blockBusy
		}
		j.n++
	}
	w.held -= len(j.bufs)
	j.hash = j.from == w.prefix
	j.last = j.hash && j.from+j.n == len(w.state)
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
		q.enqueue(w)
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

// do writes, and hashes what is not in memory. It fills in the result if there
// is one.
func (k *worker) do(j *job) {
	w := j.w
	t := w.t
	off, n := j.content()
	err := t.prepared()
	if err == nil {
		switch j.kind {
		case jobWrite:
			err = t.writeRun(k, j.bufs, off, n)
		case jobReread:
			err = k.reread(w, off, n)
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
	j.result.OK = k.hasher.Sum(&w.stream) == t.info.Sum(int(w.piece))
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

// writeRun writes blocks to content [off, off+n).
func (t *Torrent) writeRun(k *worker, bufs []*piece.Buffer, off, n int64) error {
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
	c.write = true
	for {
		s, err := c.next()
		if err != nil || s.n == 0 {
			return err
		}
		if s.file != padFile {
			if err := t.writeSpan(k, bufs, s, int(pos)); err != nil {
				return err
			}
		}
		pos += s.n
	}
}

// writeSpan writes to one file from byte pos of the blocks.
func (t *Torrent) writeSpan(k *worker, bufs []*piece.Buffer, s span, pos int) error {
	h, err := t.acquire(s.file, true)
	if err != nil {
		return err
	}
	defer t.release(h)
	if t.s.fault != nil {
		err = t.s.fault("write", t.path(s.file))
	}
	if err == nil {
		err = k.vec.writeAt(h.f, bufs, pos, int(s.n), s.off)
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
		k.hasher.Write(&w.stream, p)
		k.s.readBack.Add(int64(len(p)))
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return nil
}
