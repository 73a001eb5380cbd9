package session

import (
	"cmp"
	"slices"
	"sync"

	"btd/metainfo"
)

// registry finds torrents by hash, and keeps them in the order of the queue.
type registry struct {
	mu    sync.RWMutex
	wire  map[[20]byte]*entry // by Hash.Wire
	order []*entry            // ascending by place; readers hold parts of it, so that it only grows or is made anew
	dead  int                 // entries of order that were removed
	next  int64               // the last queue position that was given
}

func (r *registry) init() {
	r.wire = map[[20]byte]*entry{}
}

// add takes e in, behind everything else if it has no place yet. It returns
// false if there is a torrent with this hash.
func (r *registry) add(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wire[e.hash.Wire()] != nil {
		return false
	}
	if e.place == 0 {
		e.place = r.next + 1
		e.rec.Queue = e.place
	}
	r.wire[e.hash.Wire()] = e
	if e.place > r.next {
		r.order = append(r.order, e)
	} else {
		at, _ := slices.BinarySearchFunc(r.order, e, byPlace)
		r.order = slices.Insert(slices.Clip(r.order), at, e)
	}
	r.next = max(r.next, e.place)
	return true
}

// load takes in what a start brings back: all at once, in any order.
func (r *registry) load(all []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(all, byPlace)
	for _, e := range all {
		r.wire[e.hash.Wire()] = e
		r.next = max(r.next, e.place)
	}
	r.order = all
}

func byPlace(a, b *entry) int { return cmp.Compare(a.place, b.place) }

func (r *registry) remove(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wire[e.hash.Wire()] == e {
		delete(r.wire, e.hash.Wire())
		r.dead++
	}
}

func (r *registry) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.wire)
}

// byWire finds the torrent that a handshake names.
func (s *Session) byWire(h [20]byte) *entry {
	s.reg.mu.RLock()
	defer s.reg.mu.RUnlock()
	return s.reg.wire[h]
}

func (s *Session) find(h metainfo.Hash) (*entry, error) {
	e := s.byWire(h.Wire())
	if e == nil || !e.await() {
		return nil, ErrNotFound
	}
	return e, nil
}

// entries are all torrents in the order of the queue. The caller must not
// change the list.
func (s *Session) entries() []*entry { return s.reg.list() }

func (r *registry) list() []*entry {
	r.mu.RLock()
	list, dead := r.order, r.dead
	r.mu.RUnlock()
	if dead == 0 {
		return list[:len(list):len(list)]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead > 0 {
		live := make([]*entry, 0, len(r.wire)+len(r.wire)/8)
		for _, e := range r.order {
			if r.wire[e.hash.Wire()] == e {
				live = append(live, e)
			}
		}
		r.order, r.dead = live, 0
	}
	return r.order[:len(r.order):len(r.order)]
}
