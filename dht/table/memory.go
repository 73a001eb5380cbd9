package table

import (
	"net/netip"
	"time"
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
