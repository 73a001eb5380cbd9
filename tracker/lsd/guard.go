package lsd

import (
	"net/netip"
	"time"
)

// How many packets are looked at.
const (
	sourceBurst = 40  // of one source at once: some clients send one for each torrent
	sourceRate  = 1.0 // a second, after that
	totalBurst  = 400 // of all
	totalRate   = 200.0
	maxSources  = 1024
)

// guard limits how many packets are looked at, of each source and in all. The
// zero value is ready.
type guard struct {
	all     bucket
	sources map[netip.Addr]*bucket
}

// bucket is how many packets may come now.
type bucket struct {
	used float64 // of burst
	at   time.Time
}

// take takes one packet out, if there is one.
func (b *bucket) take(now time.Time, burst, rate float64) bool {
	b.used = max(0, b.used-now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.used+1 > burst {
		return false
	}
	b.used++
	return true
}

// allow tells whether a packet from an address may be looked at.
func (g *guard) allow(from netip.Addr, now time.Time) bool {
	b := g.sources[from]
	if b != nil && !b.take(now, sourceBurst, sourceRate) {
		return false
	}
	if !g.all.take(now, totalBurst, totalRate) {
		return false
	}
	if b == nil {
		g.add(from, now)
	}
	return true
}

// add takes in a source whose first packet came. The one that was silent the
// longest makes room.
func (g *guard) add(from netip.Addr, now time.Time) {
	if g.sources == nil {
		g.sources = map[netip.Addr]*bucket{}
	}
	if len(g.sources) >= maxSources {
		var oldest netip.Addr
		at := now
		for a, b := range g.sources {
			if !b.at.After(at) {
				oldest, at = a, b.at
			}
		}
		delete(g.sources, oldest)
	}
	g.sources[from] = &bucket{used: 1, at: now}
}
