package table

import (
	"net/netip"
	"time"
)

// What is remembered of liars.
const (
	maxLiars = 256
	lieLasts = time.Hour
)

// liars are the addresses of nodes that were caught lying, the oldest of which
// is forgotten for a new one.
type liars struct {
	until map[netip.AddrPort]time.Time
	order []netip.AddrPort // a ring
	next  int
}

func (l *liars) add(addr netip.AddrPort, now time.Time) {
	if l.until == nil {
		l.until = map[netip.AddrPort]time.Time{}
	}
	if _, known := l.until[addr]; !known {
		if len(l.order) < maxLiars {
			l.order = append(l.order, addr)
		} else {
			delete(l.until, l.order[l.next])
			l.order[l.next] = addr
			l.next = (l.next + 1) % maxLiars
		}
	}
	l.until[addr] = now.Add(lieLasts)
}

func (l *liars) has(addr netip.AddrPort, now time.Time) bool {
	until, known := l.until[addr]
	return known && now.Before(until)
}
