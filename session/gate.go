package session

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
)

// gate admits up to max holders at a time; nobody waits.
type gate struct {
	max  int64
	held atomic.Int64
}

func (g *gate) take() bool {
	if g.held.Add(1) > g.max {
		g.held.Add(-1)
		return false
	}
	return true
}

func (g *gate) put() { g.held.Add(-1) }

// admit is take for holders that give their place back once.
func (g *gate) admit() (release func(), ok bool) {
	if !g.take() {
		return nil, false
	}
	return sync.OnceFunc(g.put), true
}

// callers counts whose incoming handshakes are under way, so that one host that
// says nothing cannot hold every place. The zero value is ready.
type callers struct {
	mu   sync.Mutex
	from map[netip.Addr]int
}

// enter notes one more of a host, see hostOf, unless it has most of them.
func (c *callers) enter(from netip.Addr, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from[from] >= most {
		return false
	}
	if c.from == nil {
		c.from = map[netip.Addr]int{}
	}
	c.from[from]++
	return true
}

func (c *callers) leave(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from[from]--; c.from[from] <= 0 {
		delete(c.from, from)
	}
}

// turns lets a few run at a time; the others wait.
type turns chan struct{}

func (w turns) do(ctx context.Context, f func() error) error {
	select {
	case w <- struct{}{}:
		defer func() { <-w }()
		return f()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end waits until nobody runs, and lets nobody run from now on. It tells whether
// that came before ctx ended.
func (w turns) end(ctx context.Context) bool {
	for range cap(w) {
		select {
		case w <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// caps are what the session may do at a time, in all torrents together.
type caps struct {
	slots    slots // peers that are served
	conns    gate  // connections
	dials    gate  // outgoing connections being made
	incoming gate  // incoming handshakes
	callers  callers
	checks   turns // torrents being verified

	adoptions turns // new torrents whose content is looked at
}

func newCaps(cfg Config) caps {
	return caps{
		slots:    slots{max: cfg.UploadSlots},
		conns:    gate{max: int64(cfg.MaxPeers)},
		dials:    gate{max: int64(cfg.MaxHalfOpen)},
		incoming: gate{max: int64(cfg.MaxIncoming)},
		checks:   make(turns, cfg.ActiveChecks),

		adoptions: make(turns, adoptions),
	}
}
