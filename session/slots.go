package session

import "sync"

// slots shares the session's upload slots among its torrents. Every torrent
// may have one, so that none starves.
type slots struct {
	mu   sync.Mutex
	max  int
	used int
}

// resize changes a holding from held to want as far as the cap allows, and
// returns the new holding.
func (s *slots) resize(held, want int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= held
	got := min(want, max(s.max-s.used, min(want, 1)))
	s.used += got
	return got
}
