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
	guardNet   = 8    // times as much for all of a /64 of IPv6: a host can take many of its addresses, but so can its neighbours
	guardMost  = 4096 // addresses and nets that are remembered
)

// Guard bounds how much work an address can cause. The zero value is ready.
// It may be used from any goroutine.
type Guard struct {
	mu    sync.Mutex
	seen  map[netip.Prefix]*allowance
	swept time.Time
}

// allowance is what an address, or a net, may still begin.
type allowance struct {
	share float64 // of what one address has
	left  float64
	at    time.Time
}

// refill adds what has come since.
func (a *allowance) refill(now time.Time) {
	if d := now.Sub(a.at); d > 0 {
		a.left = min(a.share*guardBurst, a.left+a.share*guardRate*d.Seconds())
		a.at = now
	}
}

// Admit tells whether addr may begin a handshake now. Of a /64 of IPv6 each
// address is limited, so that one host cannot keep all others of its network
// out, and so is the whole.
func (g *Guard) Admit(addr netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	host, net64 := netsOf(addr)
	var all *allowance
	if net64.IsValid() {
		if all = g.of(net64, guardNet, now); !all.some(now) {
			return false // and its addresses take no memory
		}
	}
	one := g.of(host, 1, now)
	if !one.some(now) {
		return false
	}
	one.left--
	if all != nil {
		all.left--
	}
	return true
}

// some tells whether there is some left now.
func (a *allowance) some(now time.Time) bool {
	a.refill(now)
	return a.left >= 1
}

// Proved gives back what Admit took of a member.
func (g *Guard) Proved(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	host, net64 := netsOf(addr)
	for _, p := range []netip.Prefix{host, net64} {
		if a := g.seen[p]; a != nil && p.IsValid() {
			a.left = min(a.share*guardBurst, a.left+1)
		}
	}
}

// netsOf is an address, and of IPv6 its /64.
func netsOf(addr netip.Addr) (host, net64 netip.Prefix) {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		net64, _ = addr.Prefix(64) // has that many bits
	}
	return netip.PrefixFrom(addr, addr.BitLen()), net64
}

// of is the allowance of an address or a net. Those for whom there is no room
// share one.
func (g *Guard) of(p netip.Prefix, share float64, now time.Time) *allowance {
	if a := g.seen[p]; a != nil {
		return a
	}
	if len(g.seen) >= guardMost && now.Sub(g.swept) >= time.Second {
		g.swept = now
		for q, a := range g.seen {
			if a.refill(now); a.left >= a.share*guardBurst {
				delete(g.seen, q)
			}
		}
	}
	if len(g.seen) >= guardMost {
		p, share = netip.Prefix{}, 1
		if a := g.seen[p]; a != nil {
			return a
		}
	}
	if g.seen == nil {
		g.seen = map[netip.Prefix]*allowance{}
	}
	a := &allowance{share: share, left: share * guardBurst, at: now}
	g.seen[p] = a
	return a
}
