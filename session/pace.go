package session

import (
	"context"
	"math"
	"sync"
	"time"

	"btd/metainfo"
	"btd/piece"
	"btd/session/shaper"
)

// pace holds the session's rate limits: one scheduler per direction, and the
// goroutine that turns their crank.
type pace struct {
	s        *Session
	up, down director
}

func (p *pace) init(s *Session) {
	p.s = s
	p.up.init(s.cfg.Limits.Up)
	p.down.init(s.cfg.Limits.Down)
}

// run hands out what the limits allow until ctx ends. It sleeps while nothing
// is limited or nobody wants anything.
func (p *pace) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, d := range []*director{&p.up, &p.down} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			d.run(ctx)
		}()
	}
	wg.Wait()
}

// director shares the bytes of one direction. What goes to neighbours that are
// outside the session's limits has a scheduler of its own, without one.
type director struct {
	mu     sync.Mutex
	shaper *shaper.Shaper
	near   *shaper.Shaper
	wake   chan struct{} // capacity 1
}

// owner is whom a leaf's grants go to.
type owner struct {
	t  *torrent
	p  *peer
	up bool
}

func (d *director) init(limit int64) {
	d.shaper = shaper.New(shaper.Config{Limit: limit, Step: piece.BlockSize})
	d.near = shaper.New(shaper.Config{Step: piece.BlockSize})
	d.wake = make(chan struct{}, 1)
}

func (d *director) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.wake:
		}
		timer.Reset(d.turn(time.Now()))
	}
}

// granted is what a turn gave to the peers of one torrent.
type granted struct {
	up   bool
	list []grant
}

type grant struct {
	p     *peer
	bytes int64
}

func (g *granted) apply(t *torrent) {
	for _, x := range g.list {
		switch {
		case x.p.closed:
		case g.up:
			x.p.up.grant += x.bytes
			if len(x.p.up.queue) == 0 { // it took back what it asked for meanwhile
				t.flow.up.settle(x.p, x.p.owed())
			}
			t.touch(x.p)
		default:
			x.p.down.grant += x.bytes
			if x.p.down.choked && len(x.p.down.allowed) == 0 {
				t.flow.down.settle(x.p, 0)
			}
			t.hungry(x.p)
		}
	}
}

// turn delivers what is due and returns when to look again.
func (d *director) turn(now time.Time) time.Duration {
	d.mu.Lock()
	wait := time.Hour
	byTorrent := map[*torrent]*granted{}
	for _, s := range []*shaper.Shaper{d.shaper, d.near} {
		grants, next := s.Tick(now)
		for _, g := range grants {
			o := g.Leaf.Tag.(owner)
			b := byTorrent[o.t]
			if b == nil {
				b = &granted{up: o.up}
				byTorrent[o.t] = b
			}
			b.list = append(b.list, grant{o.p, g.Bytes})
		}
		if !next.IsZero() {
			wait = min(wait, max(next.Sub(now), time.Millisecond))
		}
	}
	d.mu.Unlock()
	for t, b := range byTorrent {
		t.in.post(b)
	}
	return wait
}

func (d *director) kick() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// setLimit changes the limit of the whole direction, bytes per second.
func (d *director) setLimit(limit int64) {
	d.mu.Lock()
	d.shaper.SetLimit(limit, time.Now())
	d.mu.Unlock()
	d.kick()
}

// Limits are the rates of the whole session.
func (s *Session) Limits() Limits {
	s.pace.up.mu.Lock()
	defer s.pace.up.mu.Unlock()
	s.pace.down.mu.Lock()
	defer s.pace.down.mu.Unlock()
	return Limits{Up: s.pace.up.shaper.Limit(), Down: s.pace.down.shaper.Limit()}
}

// SetSessionLimits changes the rates of the whole session, for later runs as
// well unless their configuration says otherwise.
func (s *Session) SetSessionLimits(_ context.Context, l Limits) error {
	if err := l.check(); err != nil {
		return err
	}
	s.rememberLimits(l)
	s.pace.up.setLimit(l.Up)
	s.pace.down.setLimit(l.Down)
	for _, e := range s.entries() {
		if t := e.running(); t != nil {
			t.tell(func(t *torrent) {
				for _, p := range t.peers.all {
					t.hungry(p)
				}
			})
		}
	}
	return nil
}

// flows are a torrent's two directions.
type flows struct {
	up, down flow
}

// flow is one direction of a torrent: its rate, and its part in the session's
// schedulers.
type flow struct {
	meter
	d     *director
	up    bool
	lan   bool         // the torrent stays in the local network
	share *shaper.Flow // within the session's limits
	near  *shaper.Flow // outside of them
	leafs map[*peer]leaf
}

// leaf is a peer's part in one of the schedulers.
type leaf struct {
	*shaper.Leaf
	s *shaper.Shaper
}

func (f *flows) init(t *torrent, l Limits) {
	lan := t.e.scope() == metainfo.ScopeLAN
	f.up.open(&t.s.pace.up, true, lan, l.Up)
	f.down.open(&t.s.pace.down, false, lan, l.Down)
}

func (f *flow) open(d *director, up, lan bool, limit int64) {
	f.d, f.up, f.lan = d, up, lan
	f.leafs = map[*peer]leaf{}
	d.mu.Lock()
	f.share, f.near = d.shaper.Torrent(limit), d.near.Torrent(f.nearLimit(limit))
	d.mu.Unlock()
}

// nearLimit is the limit for neighbours that are outside of the session's: a
// torrent that stays in the local network is held to its own by it, and one of
// the Internet has freed them of all limits.
func (f *flow) nearLimit(own int64) int64 {
	if f.lan {
		return own
	}
	return 0
}

// free tells whether a peer is outside of the session's limits.
func (t *torrent) free(p *peer) bool {
	return metainfo.ScopeLAN.Covers(p.addr.Addr()) && (t.s.cfg.FreeLocal || t.e.scope() == metainfo.ScopeLAN)
}

func (f *flows) setLimits(t *torrent, l Limits) {
	f.up.setLimit(l.Up)
	f.down.setLimit(l.Down)
	for _, p := range t.peers.all {
		t.hungry(p)
	}
}

func (f *flow) setLimit(limit int64) {
	f.d.mu.Lock()
	f.share.SetLimit(limit, time.Now())
	f.near.SetLimit(f.nearLimit(limit), time.Now())
	f.d.mu.Unlock()
	f.d.kick()
}

func (f *flows) join(t *torrent, p *peer) {
	free := t.free(p)
	f.up.add(t, p, free)
	f.down.add(t, p, free)
}

func (f *flow) add(t *torrent, p *peer, free bool) {
	f.d.mu.Lock()
	l := leaf{f.share.Peer(), f.d.shaper}
	if free {
		l = leaf{f.near.Peer(), f.d.near}
	}
	l.Tag = owner{t, p, f.up}
	f.d.mu.Unlock()
	f.leafs[p] = l
}

func (f *flows) leave(p *peer) {
	f.up.remove(p)
	f.down.remove(p)
}

func (f *flow) remove(p *peer) {
	l, ok := f.leafs[p]
	if !ok {
		return
	}
	unused := p.down.grant
	if f.up {
		unused = p.up.grant
	}
	f.d.mu.Lock()
	l.s.Refund(l.Leaf, unused)
	l.Close()
	f.d.mu.Unlock()
	delete(f.leafs, p)
}

func (f *flows) close() {
	for _, x := range []*flow{&f.up, &f.down} {
		x.d.mu.Lock()
		x.share.Close()
		x.near.Close()
		x.d.mu.Unlock()
	}
}

// unlimited tells whether nothing holds p back in this direction.
func (f *flow) unlimited(p *peer) bool {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.leafs[p].Unlimited()
}

// want asks for n bytes more for p, beyond what it was granted.
func (f *flow) want(p *peer, n int64) {
	f.d.mu.Lock()
	began := n > 0 && f.leafs[p].Wanted() == 0
	f.leafs[p].Want(n)
	f.d.mu.Unlock()
	if began {
		f.d.kick()
	}
}

// refund gives back a grant that was not used.
func (f *flow) refund(p *peer, n int64) {
	l, ok := f.leafs[p]
	if !ok || n <= 0 || f.unlimited(p) {
		return
	}
	f.d.mu.Lock()
	l.s.Refund(l.Leaf, n)
	f.d.mu.Unlock()
}

// settle says how many bytes p waits for since that became less, and gives back
// what was granted beyond them: who cannot use a share of a limit has none.
func (f *flow) settle(p *peer, owed int64) {
	if _, ok := f.leafs[p]; !ok {
		return
	}
	if f.unlimited(p) {
		owed = 0 // it need not ask
	}
	grant := &p.down.grant
	if f.up {
		grant = &p.up.grant
	}
	f.want(p, max(0, owed-*grant))
	f.refund(p, *grant-owed)
	*grant = min(*grant, owed)
}

// allow is how many blocks may be requested from p now, at most n.
func (f *flow) allow(p *peer, n int) int {
	if f.unlimited(p) {
		return n
	}
	if most := int(p.down.grant / piece.BlockSize); most < n {
		f.want(p, int64(n)*piece.BlockSize-p.down.grant)
		return most
	}
	return n
}

// room is how many bytes may be sent to p now.
func (f *flow) room(p *peer) int {
	if f.unlimited(p) {
		return math.MaxInt
	}
	return int(p.up.grant)
}
