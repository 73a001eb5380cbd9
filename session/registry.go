package session

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"btd/metainfo"
)

// registry finds torrents by hash, in the order of the queue.
type registry struct {
	mu   sync.RWMutex
	wire map[[20]byte]*entry // by Hash.Wire
	next int64               // queue position for the next torrent
}

func (r *registry) init() {
	r.wire = map[[20]byte]*entry{}
}

func (r *registry) add(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wire[e.hash.Wire()] != nil {
		return false
	}
	r.wire[e.hash.Wire()] = e
	r.next = max(r.next, e.place+1)
	return true
}

func (r *registry) remove(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.wire, e.hash.Wire())
}

func (r *registry) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.wire)
}

// place is the queue position behind everything else.
func (r *registry) place() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return r.next
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

// entries are all torrents in the order of the queue.
func (s *Session) entries() []*entry {
	s.reg.mu.RLock()
	all := slices.Collect(maps.Values(s.reg.wire))
	s.reg.mu.RUnlock()
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.place, b.place) })
	return all
}
