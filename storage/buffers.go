package storage

import (
	"slices"
	"sync"
	"unsafe"

	"btd/piece"
)

// pool is the free list of block buffers and the account of the memory
// budget. Buffers come from one arena outside the Go heap where the platform
// has one: they do not raise the collector's target, the most recently used
// one is handed out first, and idle ones go back to the system. Beyond the
// arena buffers come from the heap.
type pool struct {
	busy func() // called when a buffer goes out

	mu       sync.Mutex
	capacity int    // blocks of budget
	arena    []byte // reserved, touched as it is used; nil before the first use
	failed   bool   // the arena could not be reserved
	next     int    // blocks of the arena that were handed out at least once
	hot      []*piece.Buffer
	cold     []*piece.Buffer // given back to the system, their addresses kept
	low      int             // least len(hot) since the last trim
	out      int
	leased   int
	closed   bool
}

func (p *pool) init(memory int64, busy func()) {
	p.busy = busy
	p.capacity = max(int(memory/piece.BlockSize), 1)
}

func (p *pool) alloc() *piece.Buffer {
	p.mu.Lock()
	p.out++
	b := p.take()
	p.mu.Unlock()
	if b == nil {
		b = new(piece.Buffer)
	}
	p.busy()
	return b
}

// take is a buffer of the free list or the arena, or nil.
func (p *pool) take() *piece.Buffer {
	if n := len(p.hot); n > 0 {
		b := p.hot[n-1]
		p.hot = p.hot[:n-1]
		p.low = min(p.low, n-1)
		return b
	}
	if n := len(p.cold); n > 0 {
		b := p.cold[n-1]
		p.cold = p.cold[:n-1]
		return b
	}
	if p.arena == nil && !p.failed && !p.closed {
		p.arena = reserve(p.capacity * piece.BlockSize)
		p.failed = p.arena == nil
	}
	if at := p.next * piece.BlockSize; at < len(p.arena) {
		p.next++
		return (*piece.Buffer)(p.arena[at : at+piece.BlockSize])
	}
	return nil
}

func (p *pool) free(b *piece.Buffer) {
	p.mu.Lock()
	p.put(b)
	p.mu.Unlock()
}

func (p *pool) freeAll(bs []*piece.Buffer) {
	if len(bs) == 0 {
		return
	}
	p.mu.Lock()
	// Backwards, so that the run is handed out again in its order: blocks that
	// lie side by side are written as one.
	for _, b := range slices.Backward(bs) {
		p.put(b)
	}
	p.mu.Unlock()
}

func (p *pool) put(b *piece.Buffer) {
	p.out--
	switch {
	case p.closed:
	case p.arena == nil && len(p.hot) < p.capacity, p.owns(b):
		p.hot = append(p.hot, b)
	}
}

// owns tells whether b lies in the arena.
func (p *pool) owns(b *piece.Buffer) bool {
	if len(p.arena) == 0 {
		return false
	}
	at := uintptr(unsafe.Pointer(b)) - uintptr(unsafe.Pointer(unsafe.SliceData(p.arena)))
	return at < uintptr(len(p.arena))
}

func (p *pool) lease(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = max(min(n, p.capacity-p.leased-p.out), 0)
	p.leased += n
	return n
}

func (p *pool) tight() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leased+p.out > p.capacity-p.capacity/4
}

func (p *pool) unlease(n int) {
	p.mu.Lock()
	p.leased = max(p.leased-n, 0)
	p.mu.Unlock()
}

// trim gives back the buffers that lay unused since the last trim and tells
// whether some may be given back later.
func (p *pool) trim() (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(p.low, len(p.hot))
	for _, b := range p.hot[:n] {
		if p.arena != nil {
			release(b[:])
			p.cold = append(p.cold, b)
		}
	}
	rest := copy(p.hot, p.hot[n:])
	clear(p.hot[rest:])
	p.hot = p.hot[:rest]
	p.low = rest
	return rest > 0 || p.out > 0
}

func (p *pool) stats() (capacity, leased, out int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.capacity, p.leased, p.out
}

// close gives the arena back unless somebody still holds a buffer of it.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.hot, p.cold = nil, nil
	if p.out == 0 && p.arena != nil {
		unreserve(p.arena)
		p.arena = nil
	}
	p.failed = true
}
