package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"btd/dht"
	"btd/dht/lookup"
	"btd/session/dhtpace"
)

// seeker announces all started torrents, active or idle, in the DHT and finds
// peers there: from one goroutine, with one pacer for all. Torrents
// that are private (BEP 27) or stay in the local network never come here.
type seeker struct {
	s        *Session
	node     node // nil if there is none
	problem  string
	wake     chan struct{} // capacity 1
	locals   []netip.Addr
	saved    time.Time                     // of run
	external [2]atomic.Pointer[netip.Addr] // how others see us over IPv4 and IPv6

	mu     sync.Mutex
	closed bool
	pace   *dhtpace.Pacer[*sought]
	items  map[*entry]*sought
	flying sync.WaitGroup // searches under way
}

// sought is one torrent's part of the seeker.
type sought struct {
	e    *entry
	item *dhtpace.Item[*sought]

	cancel func() // of the search under way
	gone   bool
	asked  atomic.Int64 // nodes, since the torrent was started
	others atomic.Int64 // peers found by the search under way, ourselves not counted
}

func (d *seeker) init() {
	d.saved = time.Now()
	d.pace = dhtpace.New[*sought](dhtpace.Config{}, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	d.items = map[*entry]*sought{}
}

// start begins announcing e. It does nothing if that is done already, or must
// not be.
func (d *seeker) start(e *entry) {
	if d.node == nil || !e.inDHT() {
		return
	}
	rec, _ := e.record()
	class := dhtpace.Hungry
	if rec.Complete {
		class = dhtpace.Lonely // until somebody is seen
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.items[e] != nil {
		return
	}
	k := &sought{e: e}
	k.item = d.pace.Add(k, class, time.Now())
	d.items[e] = k
	d.rouse()
}

// stop ends announcing e, and the search for it.
func (d *seeker) stop(e *entry) {
	d.mu.Lock()
	k := d.items[e]
	var cancel func()
	if k != nil {
		delete(d.items, e)
		d.pace.Remove(k.item)
		k.gone, cancel = true, k.cancel
	}
	d.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// need says how much e needs peers: it is told by the torrent's loop.
func (d *seeker) need(e *entry, class dhtpace.Class) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.items[e]; k != nil {
		d.pace.Set(k.item, class, time.Now())
		d.rouse()
	}
}

// again makes e's turn come at once.
func (d *seeker) again(e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.items[e]; k != nil {
		d.pace.Now(k.item, time.Now())
		d.rouse()
	}
}

// asked is how many nodes were asked for e's peers since it was started.
func (d *seeker) asked(e *entry) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.items[e]; k != nil {
		return int(k.asked.Load())
	}
	return 0
}

func (d *seeker) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run begins what is due until ctx ends.
func (d *seeker) run(ctx context.Context) {
	if d.node == nil {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	upkeep := time.NewTicker(time.Minute)
	defer upkeep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-upkeep.C:
			d.tend(time.Now())
		case <-timer.C:
		case <-d.wake:
		}
		timer.Reset(d.round())
	}
}

// round begins the searches that are due and returns how long none will be.
func (d *seeker) round() time.Duration {
	now := time.Now()
	for {
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			return time.Hour
		}
		it, wait := d.pace.Next(now)
		if it == nil {
			d.mu.Unlock()
			if wait.IsZero() {
				return time.Hour
			}
			return max(wait.Sub(now), time.Millisecond)
		}
		d.flying.Add(1)
		calm := it.Class() != dhtpace.Hungry
		d.mu.Unlock()
		d.begin(it.Value, calm)
	}
}

// begin searches for peers of k's torrent and announces it. A torrent of which
// only the link is known is not announced: it may turn out to be private.
func (d *seeker) begin(k *sought, calm bool) {
	rec, _ := k.e.record()
	q := dht.Search{Kind: dht.GetPeers, Calm: calm, Announce: rec.Magnet == "", Port: d.s.port(), Seed: rec.Complete, NoSeed: rec.Complete}
	hash := k.e.hash.Wire()
	q.Target.SetBytes(hash[:])
	q.Peers = func(peers []netip.AddrPort) { d.found(k, peers) }
	if rec.Magnet != "" {
		q.Trace = func(ev lookup.Event) {
			if ev.Kind == lookup.Sent && !ev.Again {
				k.asked.Add(1)
			}
		}
	}
	k.others.Store(0)
	over := false // guarded by mu
	cancel := d.node.Start(q, func(r dht.Results) {
		d.mu.Lock()
		over, k.cancel = true, nil
		d.mu.Unlock()
		d.end(k, r)
	})
	d.mu.Lock()
	if !over {
		k.cancel = cancel
	}
	drop := k.gone && !over
	d.mu.Unlock()
	if drop || !k.e.inDHT() {
		cancel()
	}
}

// found hands peers to k's torrent. It is called by the DHT and does not block.
func (d *seeker) found(k *sought, peers []netip.AddrPort) {
	addrs := make([]netip.AddrPort, 0, len(peers))
	for _, a := range peers {
		if !d.ourselves(a) {
			addrs = append(addrs, a)
		}
	}
	k.others.Add(int64(len(addrs)))
	d.mu.Lock()
	gone := k.gone
	d.mu.Unlock()
	if len(addrs) == 0 || gone || !k.e.inDHT() {
		return
	}
	d.s.foundSoon(k.e, addrs, FromDHT)
}

// end takes the result of a search in. It is called by the DHT.
func (d *seeker) end(k *sought, r dht.Results) {
	defer d.flying.Done()
	how, queries, others, heard := dhtpace.Over, 0, int(k.others.Load()), false
	for _, one := range []*dht.Result{r.IPv4, r.IPv6} {
		if one != nil {
			queries += one.Stats.Queries
			heard = heard || len(one.Codes) > 0
			if one.Stored > 0 || errors.Is(one.Err, dht.ErrRefused) {
				queries += 8
			}
		}
	}
	switch err := r.Err(); {
	case errors.Is(err, dht.ErrBusy):
		how = dhtpace.Busy
		d.s.count("dht_busy")
	case errors.Is(err, dht.ErrNoNodes):
		how = dhtpace.Away
	case errors.Is(err, dht.ErrRefused) && !heard:
		how = dhtpace.Unheard
	}
	if v := k.e.view.Load(); others == 0 && v != nil && (v.Peers > 0 || v.Swarm.Leechers > 0) {
		others = 1 // somebody wants it, as others tell
	}
	d.mu.Lock()
	d.pace.Done(k.item, how, queries, others, time.Now())
	d.mu.Unlock()
	d.rouse()
}

// close ends all searches and the node, and records what it knew.
func (d *seeker) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	if d.node == nil {
		return
	}
	d.save()
	if err := d.node.Close(); err != nil {
		d.s.log.Warn("closing the DHT node", "err", err)
	}
	d.flying.Wait()
}

// hunger is how much a torrent that lacks peers, or does not, needs the DHT.
func hunger(lonely bool) dhtpace.Class {
	if lonely {
		return dhtpace.Hungry
	}
	return dhtpace.Steady
}
