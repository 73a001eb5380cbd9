package table

import (
	"net/netip"
	"time"

	"btd/dht/krpc"
)

// memory is a bounded set of addresses, each for a time. The oldest is
// forgotten for a new one.
type memory struct {
	size  int
	lasts time.Duration
	until map[netip.AddrPort]time.Time
	order []netip.AddrPort // a ring
	next  int
}

func (m *memory) add(addr netip.AddrPort, now time.Time) {
	if m.until == nil {
		m.until = map[netip.AddrPort]time.Time{}
	}
	if _, known := m.until[addr]; !known {
		if len(m.order) < m.size {
			m.order = append(m.order, addr)
		} else {
			delete(m.until, m.order[m.next])
			m.order[m.next] = addr
			m.next = (m.next + 1) % m.size
		}
	}
	m.until[addr] = now.Add(m.lasts)
}

func (m *memory) has(addr netip.AddrPort, now time.Time) bool {
	until, known := m.until[addr]
	return known && now.Before(until)
}

// forget makes an address one like any other; its place in the ring stays.
func (m *memory) forget(addr netip.AddrPort) {
	if _, known := m.until[addr]; known {
		m.until[addr] = time.Time{}
	}
}

// sayings are the ids that nodes told which are not in the table, each for a
// time. The oldest is forgotten for a new one.
type sayings struct {
	size  int
	lasts time.Duration
	ids   map[netip.AddrPort]saying
	order []netip.AddrPort // a ring
	next  int
}

type saying struct {
	id    krpc.ID
	until time.Time
}

func (s *sayings) get(addr netip.AddrPort, now time.Time) (id krpc.ID, known bool) {
	said, known := s.ids[addr]
	return said.id, known && now.Before(said.until)
}

// set notes the id of an address.
func (s *sayings) set(addr netip.AddrPort, id krpc.ID, now time.Time) {
	if s.ids == nil {
		s.ids = map[netip.AddrPort]saying{}
	}
	if _, known := s.ids[addr]; known {
		// Its place in the ring stays.
	} else if len(s.order) < s.size {
		s.order = append(s.order, addr)
	} else {
		delete(s.ids, s.order[s.next])
		s.order[s.next] = addr
		s.next = (s.next + 1) % s.size
	}
	s.ids[addr] = saying{id, now.Add(s.lasts)}
}
