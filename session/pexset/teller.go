package pexset

import (
	"net/netip"
	"slices"
	"time"

	"btd/peerwire"
)

const (
	// Most is how many contacts a message tells of, and of how many it says
	// that they are gone (BEP 11).
	Most = 50

	// Every is the shortest time between two messages (BEP 11).
	Every = time.Minute

	// soon is how long after the handshake the first message is sent, so that
	// connections made at the same time are in it.
	soon = 2 * time.Second
)

// Teller knows what one peer was told.
type Teller struct {
	next time.Time // no message before this
	told map[netip.AddrPort]peerwire.PEXFlags
}

// NewTeller returns the Teller of a peer that shook hands at now.
func NewTeller(now time.Time) *Teller {
	return &Teller{next: now.Add(soon), told: map[netip.AddrPort]peerwire.PEXFlags{}}
}

// Due tells whether a message may be sent.
func (t *Teller) Due(now time.Time) bool { return !now.Before(t.next) }

// Message is what to tell a peer now, and ok is false if there is nothing, or
// it is too early. to is the peer's address as we see it, and self that at
// which others reach it, if known; neither is told of. contacts are the peers
// that we are connected to, at the addresses where they listen, the most
// worthwhile first.
//
// What does not fit is told the next time.
func (t *Teller) Message(now time.Time, to, self netip.AddrPort, contacts []peerwire.PEXPeer) (m peerwire.PEX, ok bool) {
	if !t.Due(now) {
		return m, false
	}
	here := make(map[netip.AddrPort]bool, len(contacts))
	whom := netip.AddrPortFrom(to.Addr().WithZone(""), to.Port())
	for _, c := range contacts {
		addr := netip.AddrPortFrom(c.Addr.Addr().Unmap(), c.Addr.Port())
		if z := addr.Addr().Zone(); z != "" && z == to.Addr().Zone() { // a neighbour of both of us
			addr = netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port())
		}
		if here[addr] || addr == whom || addr == self || !sensible(addr, to.Addr()) {
			continue
		}
		here[addr] = true
		if _, known := t.told[addr]; !known && len(m.Added) < Most {
			m.Added = append(m.Added, peerwire.PEXPeer{Addr: addr, Flags: c.Flags})
		}
	}
	for addr := range t.told {
		if !here[addr] {
			m.Dropped = append(m.Dropped, addr)
		}
	}
	if len(m.Added)+len(m.Dropped) == 0 {
		return m, false
	}
	slices.SortFunc(m.Dropped, netip.AddrPort.Compare)
	m.Dropped = m.Dropped[:min(len(m.Dropped), Most)]
	for _, p := range m.Added {
		t.told[p.Addr] = p.Flags
	}
	for _, a := range m.Dropped {
		delete(t.told, a)
	}
	t.next = now.Add(Every)
	return m, true
}
