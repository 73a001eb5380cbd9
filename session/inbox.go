package session

import "sync"

// event is something that happened to a torrent. Only the torrent's loop
// applies it.
type event interface {
	apply(t *torrent)
}

// inbox carries events to a torrent's loop. Posting never blocks: what can be
// posted is bounded by the posters (a reader has two batches, storage has the
// memory lease, a dial has its slot).
type inbox struct {
	mu   sync.Mutex
	q    []event
	shut bool
	wake chan struct{} // capacity 1
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// post adds ev and tells whether the loop will see it.
func (b *inbox) post(ev event) bool {
	b.mu.Lock()
	if b.shut {
		b.mu.Unlock()
		return false
	}
	b.q = append(b.q, ev)
	first := len(b.q) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return true
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.q)
}

// isShut tells whether posts fail.
func (b *inbox) isShut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shut
}

// drain takes what is there. spare is an earlier result that is done with.
func (b *inbox) drain(spare []event) []event {
	b.mu.Lock()
	q := b.q
	b.q = spare[:0]
	b.mu.Unlock()
	return q
}

// closeIfEmpty makes further posts fail, unless something waits.
func (b *inbox) closeIfEmpty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = len(b.q) == 0
	return b.shut
}

// close makes further posts fail and returns what was left.
func (b *inbox) close() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	q := b.q
	b.q = nil
	return q
}

// call is an event that runs a function in the loop.
type call func(t *torrent)

func (c call) apply(t *torrent) { c(t) }
