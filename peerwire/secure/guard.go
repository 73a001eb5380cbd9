package secure

import (
	"net/netip"
	"sync"
	"time"
)

// How often an address may begin without proving a secret: a burst, and then
// so many a second. Members give back what they took.
const (
	guardBurst = 64
	guardRate  = 2.0
	guardMost  = 4096 // addresses that are remembered
)

// Guard bounds how much work an address can cause. The zero value is ready.
// It may be used from any goroutine.
type Guard struct {
	mu    sync.Mutex
	seen  map[netip.Prefix]*allowance
	swept time.Time
}

// allowance is what an address may still begin.
type allowance struct {
	left float64
	at   time.Time
}

// refill adds what has come since.
func (a *allowance) refill(now time.Time) {
	if d := now.Sub(a.at); d > 0 {
		a.left = min(guardBurst, a.left+guardRate*d.Seconds())
		a.at = now
	}
}

// Admit tells whether addr may begin a handshake now.
func (g *Guard) Admit(addr netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.of(netOf(addr), now)
	a.refill(now)
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// Proved gives back what Admit took of a member.
func (g *Guard) Proved(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.seen[netOf(addr)]; a != nil {
		a.left = min(guardBurst, a.left+1)
	}
}

// of is the allowance of a net. Those for whom there is no room share one.
func (g *Guard) of(p netip.Prefix, now time.Time) *allowance {
	if a := g.seen[p]; a != nil {
		return a
	}
	if len(g.seen) >= guardMost && now.Sub(g.swept) >= time.Second {
		g.swept = now
		for q, a := range g.seen {
			if a.refill(now); a.left >= guardBurst {
				delete(g.seen, q)
			}
		}
	}
	if len(g.seen) >= guardMost {
		p = netip.Prefix{}
		if a := g.seen[p]; a != nil {
			return a
		}
	}
	if g.seen == nil {
		g.seen = map[netip.Prefix]*allowance{}
	}
	a := &allowance{left: guardBurst, at: now}
	g.seen[p] = a
	return a
}

// netOf is what one host is likely to have to itself: an IPv4 address, or a
// /64 of IPv6.
func netOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
