package pexset

import (
	"net/netip"
	"time"

	"btd/peerwire"
)

// Limits on what one peer may tell us.
const (
	burst     = 2                // messages that may come at once
	regain    = 50 * time.Second // until there is room for another one; less than Every, since clocks and networks are not exact
	maxEarly  = 20               // messages that came too early, before the peer counts as hostile
	maxSingle = 500              // addresses in all
)

// Listener takes what one peer tells. The zero value is ready.
type Listener struct {
	room  float64 // messages that may come now
	last  time.Time
	early int
	taken int
}

// Verdict says what to make of a message.
type Verdict uint8

// The verdicts.
const (
	Taken   Verdict = iota
	Early           // came too early and was not looked at
	Hostile         // that happened too often: the connection may be closed (BEP 11)
)

// Take is the addresses in a message that are worth trying, from a peer at
// from, who shook hands some time before now.
func (l *Listener) Take(now time.Time, from netip.Addr, m *peerwire.PEX) (addrs []peerwire.PEXPeer, v Verdict) {
	if l.last.IsZero() {
		l.room = burst
	} else {
		l.room = min(burst, l.room+float64(now.Sub(l.last))/float64(regain))
	}
	l.last = now
	if l.room < 1 {
		if l.early++; l.early > maxEarly {
			return nil, Hostile
		}
		return nil, Early
	}
	l.room--
	hosts := make(map[netip.Addr]bool, len(m.Added))
	for _, p := range m.Added {
		ip := p.Addr.Addr()
		if len(addrs) == Most || l.taken == maxSingle {
			break
		}
		if !sensible(p.Addr, from) || hosts[ip] && !ip.IsLoopback() {
			continue
		}
		if z := from.Zone(); z != "" && ip.Is6() && ip.IsLinkLocalUnicast() { // in the network where we met
			p.Addr = netip.AddrPortFrom(ip.WithZone(z), p.Addr.Port())
		}
		hosts[ip] = true
		l.taken++
		addrs = append(addrs, p)
	}
	return addrs, Taken
}
