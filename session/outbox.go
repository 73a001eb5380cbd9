package session

import (
	"sync"

	"btd/piece"
)

const (
	maxRun      = 256 << 10 // bytes of a run, and so of the buffer a writer needs
	maxRunParts = 16        // requests in a run
	stock       = 2         // runs that wait, with which the loop need not hear of each one sent
)

// run is a stretch of one piece that a peer asked for in one or more
// requests that follow each other. It is read from disk at once and sent as
// one "piece" message per request.
type run struct {
	piece piece.Index
	begin uint32
	sizes [maxRunParts]uint32 // of the requests, in order
	parts int                 // how many of sizes count
	total int                 // their sum, at most maxRun
}

// cost is what the run counts for while it waits: a run is not for nothing,
// however few bytes it has.
func (r *run) cost() int { return max(r.total, piece.BlockSize) }

// add appends a request that starts where the run ends.
func (r *run) add(size uint32) {
	r.sizes[r.parts] = size
	r.parts++
	r.total += int(size)
}

// cut removes the request at begin from the run and returns what came after
// it. ok is false if the run holds no such request.
func (r *run) cut(begin, size uint32) (rest run, ok bool) {
	at := r.begin
	for n := range r.parts {
		s := r.sizes[n]
		if at != begin || s != size {
			at += s
			continue
		}
		rest = run{piece: r.piece, begin: at + s}
		for _, s := range r.sizes[n+1 : r.parts] {
			rest.add(s)
		}
		r.parts, r.total = n, int(at-r.begin)
		return rest, true
	}
	return run{}, false
}

// outbox carries what the loop wants sent to a peer's writer goroutine.
// Control messages go before runs that were put in with them.
type outbox struct {
	mu   sync.Mutex
	ctl  []byte
	runs []run
	head int // runs before this one were taken
	shut bool
	wake chan struct{} // capacity 1
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put adds the loop's pending output. It reports how many control bytes wait
// now: a peer that does not read lets them pile up.
func (o *outbox) put(ctl []byte, runs []run) int {
	o.mu.Lock()
	o.ctl = append(o.ctl, ctl...)
	if o.head > 0 && len(o.runs)+len(runs) > cap(o.runs) {
		o.runs, o.head = append(o.runs[:0], o.runs[o.head:]...), 0
	}
	o.runs = append(o.runs, runs...)
	n := len(o.ctl)
	o.mu.Unlock()
	o.signal()
	return n
}

// stocked tells whether the writer has runs enough to be busy while the loop
// is left alone.
func (o *outbox) stocked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.runs)-o.head >= stock
}

// waiting is how many control bytes the writer has not taken yet.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.ctl)
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take gives the writer the control bytes, appended to ctl, and the first
// run that waits, if any. ok is false once the outbox was closed.
func (o *outbox) take(ctl []byte) (out []byte, r run, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ctl = append(ctl, o.ctl...)
	o.ctl = o.ctl[:0]
	if cap(o.ctl) > 64<<10 {
		o.ctl = nil
	}
	if o.head < len(o.runs) {
		r = o.runs[o.head]
		o.head++
	}
	if o.head == len(o.runs) {
		o.runs, o.head = o.runs[:0], 0
	}
	return ctl, r, !o.shut
}

// withdraw removes a request that the writer has not taken yet. freed is how
// much less the runs that wait cost now: less than nothing where it parts one
// in two small ones.
func (o *outbox) withdraw(i piece.Index, begin, size uint32) (freed int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for k := o.head; k < len(o.runs); k++ {
		if o.runs[k].piece != i {
			continue
		}
		freed = o.runs[k].cost()
		rest, ok := o.runs[k].cut(begin, size)
		if !ok {
			continue
		}
		tail := append([]run(nil), o.runs[k+1:]...)
		if o.runs[k].total > 0 {
			freed -= o.runs[k].cost()
			k++
		}
		o.runs = o.runs[:k]
		if rest.total > 0 {
			freed -= rest.cost()
			o.runs = append(o.runs, rest)
		}
		o.runs = append(o.runs, tail...)
		return freed, true
	}
	return 0, false
}

// drop removes all runs that the writer has not taken yet and returns them.
func (o *outbox) drop() []run {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := append([]run(nil), o.runs[o.head:]...)
	o.runs, o.head = o.runs[:0], 0
	return r
}

func (o *outbox) close() {
	o.mu.Lock()
	o.shut = true
	o.mu.Unlock()
	o.signal()
}
