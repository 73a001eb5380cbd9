package dht

import (
	"net/netip"
	"time"

	"btd/dht/contact"
)

const (
	paceGap   = 400 * time.Millisecond
	paceBurst = 20
	maxPaced  = maxPending // addresses that are remembered
)

// pace spreads what searches ask of one global address: 20 queries at once, and
// 2.5 a second. Most nodes answer 5 a second, averaged over 10 s. Some answer
// nothing for minutes to who asks more, and in a small network all searches ask
// the same few. Its memory is bounded: what does not fit into it is not held
// back.
type pace struct {
	full  map[netip.AddrPort]time.Time // when paceBurst queries may be sent at once again
	swept time.Time
}

// due is when an address may be asked; a time that is over if it may be now.
func (p *pace) due(addr netip.AddrPort) time.Time {
	return p.full[addr].Add(-(paceBurst - 1) * paceGap)
}

// asked counts a query.
func (p *pace) asked(addr netip.AddrPort, now time.Time) {
	if contact.ScopeOf(addr) != contact.Global {
		return
	}
	if p.full == nil {
		p.full = map[netip.AddrPort]time.Time{}
	}
	at, known := p.full[addr]
	if !known && len(p.full) >= maxPaced && !p.sweep(now) {
		return
	}
	if at.Before(now) {
		at = now
	}
	at = at.Add(paceGap)
	if most := now.Add(paceBurst * paceGap); at.After(most) {
		at = most // upkeep does not wait
	}
	p.full[addr] = at
}

// sweep forgets those that were not asked of late. It reports whether there is
// room for one more.
func (p *pace) sweep(now time.Time) bool {
	if now.Sub(p.swept) < paceGap {
		return false
	}
	p.swept = now
	for addr, at := range p.full {
		if !at.After(now) {
			delete(p.full, addr)
		}
	}
	return len(p.full) < maxPaced
}
