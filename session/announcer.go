package session

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"btd/tracker"
)

const (
	announceTimeout = 10 * time.Minute // the client bounds the request itself; the rest is waiting for a turn
	stopTimeout     = 5 * time.Second  // for all `stopped` together at the end
	maxAnnounces    = 256              // under way at a time; per host the client allows eight
)

// announcer talks to the trackers of all started torrents, active or idle,
// from one goroutine and one heap of deadlines.
type announcer struct {
	s    *Session
	wake chan struct{}      // capacity 1
	wg   sync.WaitGroup     // announces under way
	work context.Context    // of announces but the last
	end  context.Context    // of the last ones
	rest context.CancelFunc // ends work
	kill context.CancelFunc // ends end

	mu     sync.Mutex
	closed bool
	items  map[*entry]*announced
	ending map[[20]byte]chan struct{} // closed when the last words on a torrent were delivered
	queue  announceQueue
	rng    *rand.Rand
}

// announced is one torrent's part of the announcer.
type announced struct {
	e     *entry
	sched *tracker.Schedule
	at    time.Time
	pos   int
	swarm SwarmCounts
	ctx   context.Context // of its announces
	quit  context.CancelFunc
}

func newAnnouncer(s *Session) *announcer {
	end, kill := context.WithCancel(context.Background())
	work, rest := context.WithCancel(end)
	return &announcer{
		s: s, wake: make(chan struct{}, 1), work: work, rest: rest, end: end, kill: kill,
		items: map[*entry]*announced{}, ending: map[[20]byte]chan struct{}{}, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
}

// start begins announcing e; trackers are used unless the record has its own
// list. It does nothing if e is announced already.
func (a *announcer) start(e *entry, tiers [][]string) {
	rec, _ := e.record()
	if len(rec.Trackers) > 0 {
		tiers = rec.Trackers
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.items[e] != nil || a.closed {
		return
	}
	now := time.Now()
	it := &announced{e: e, swarm: SwarmCounts{-1, -1, -1}, pos: -1}
	it.ctx, it.quit = context.WithCancel(a.work)
	it.sched = tracker.NewSchedule(tiers, tracker.ScheduleConfig{Spread: a.s.spread()}, a.rng)
	if rec.Complete {
		it.sched.Completed(now)
	}
	it.sched.Start(now)
	a.items[e] = it
	a.pump(it, now)
}

// stop ends announcing e and sends `stopped` in the background.
func (a *announcer) stop(e *entry) {
	a.mu.Lock()
	it := a.items[e]
	if it == nil {
		a.mu.Unlock()
		return
	}
	delete(a.items, e)
	if it.pos >= 0 {
		heap.Remove(&a.queue, it.pos)
	}
	it.quit() // nothing may overtake the last words
	last := it.sched.Stop(time.Now())
	a.farewell(e, last)
	a.mu.Unlock()
}

// farewell sends `stopped` in the background. Announces of the same torrent,
// should it be started again, wait for that. The caller holds a.mu.
func (a *announcer) farewell(e *entry, last []tracker.Announce) {
	if len(last) == 0 {
		return
	}
	before, over := a.ending[e.hash.Wire()], make(chan struct{})
	a.ending[e.hash.Wire()] = over
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		defer close(over)
		if before != nil {
			<-before
		}
		ctx, cancel := context.WithTimeout(a.end, stopTimeout)
		defer cancel()
		var sent sync.WaitGroup
		for _, an := range last {
			sent.Go(func() {
				if _, err := a.s.trackers.Announce(ctx, a.request(e, an)); err != nil {
					a.s.log.Debug("stopped was not delivered", "tracker", an.URL, "err", err)
				}
			})
		}
		sent.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.ending[e.hash.Wire()] == over {
			delete(a.ending, e.hash.Wire())
		}
	}()
}

// with runs f on e's schedule, if e is announced, and looks again what is due.
func (a *announcer) with(e *entry, f func(s *tracker.Schedule, now time.Time)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	it := a.items[e]
	if it == nil {
		return false
	}
	now := time.Now()
	f(it.sched, now)
	a.pump(it, now)
	return true
}

func (a *announcer) completed(e *entry) {
	a.with(e, func(s *tracker.Schedule, now time.Time) { s.Completed(now) })
}

// swarm is what e's trackers last said of the swarm.
func (a *announcer) swarm(e *entry) SwarmCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	if it := a.items[e]; it != nil {
		return it.swarm
	}
	return SwarmCounts{-1, -1, -1}
}

// pump starts the announces of it that are due and puts it where its
// schedule says. The caller holds a.mu.
func (a *announcer) pump(it *announced, now time.Time) {
	if a.closed {
		return
	}
	due, next := it.sched.Due(now)
	for _, an := range due {
		a.wg.Add(1)
		go a.announce(it, an)
	}
	switch {
	case next.IsZero() && it.pos >= 0:
		heap.Remove(&a.queue, it.pos)
		return
	case next.IsZero():
		return
	}
	it.at = next
	if it.pos >= 0 {
		heap.Fix(&a.queue, it.pos)
	} else {
		heap.Push(&a.queue, it)
	}
	if it.pos == 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// run announces what is due until ctx ends.
func (a *announcer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-a.wake:
		}
		timer.Reset(a.round())
	}
}

// round starts what is due and returns how long nothing will be.
func (a *announcer) round() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for len(a.queue) > 0 && !a.queue[0].at.After(now) {
		a.pump(a.queue[0], now)
	}
	if len(a.queue) == 0 {
		return time.Hour
	}
	return max(a.queue[0].at.Sub(now), time.Millisecond)
}

// announce does one announce and takes its result in.
func (a *announcer) announce(it *announced, an tracker.Announce) {
	defer a.wg.Done()
	a.mu.Lock()
	over := a.ending[it.e.hash.Wire()]
	a.mu.Unlock()
	if over != nil {
		select {
		case <-over:
		case <-it.ctx.Done():
			return
		}
	}
	ctx, cancel := context.WithTimeout(it.ctx, announceTimeout)
	defer cancel()
	resp, err := a.s.trackers.Announce(ctx, a.request(it.e, an))
	a.mu.Lock()
	now := time.Now()
	if a.items[it.e] != it {
		a.mu.Unlock()
		return
	}
	if err != nil {
		it.sched.Failed(now, an.ID, err)
	} else {
		it.sched.Succeeded(now, an.ID, resp)
		it.swarm = SwarmCounts{resp.Seeds, resp.Leechers, resp.Downloads}
	}
	a.pump(it, now)
	a.mu.Unlock()
	if err != nil {
		a.s.log.Debug("announce", "tracker", an.URL, "torrent", it.e.hash, "err", err)
		return
	}
	if resp.External.IsValid() {
		a.s.external.Store(&resp.External)
	}
	it.e.setSwarm(SwarmCounts{resp.Seeds, resp.Leechers, resp.Downloads})
	a.s.found(it.e, resp.Peers, FromTracker)
}

// request fills in what a tracker is told of e.
func (a *announcer) request(e *entry, an tracker.Announce) tracker.Request {
	return tracker.Request{
		URL: an.URL, InfoHash: e.hash.Wire(), PeerID: a.s.peerID, Port: a.s.port(),
		Uploaded: e.tot.up.Load() - e.tot.upBase, Downloaded: e.tot.down.Load() - e.tot.downBase,
		Left: max(0, e.tot.left.Load()), Corrupt: e.tot.corrupt.Load(),
		Event: an.Event, NumWant: an.NumWant, Key: a.s.key, TrackerID: an.TrackerID, Family: an.Family,
	}
}

// close sends `stopped` for every torrent, all at once, and waits for at most
// stopTimeout.
func (a *announcer) close() {
	a.rest() // they would hold places at their hosts
	a.mu.Lock()
	a.closed = true
	var all []*entry
	for e := range a.items {
		all = append(all, e)
	}
	a.mu.Unlock()
	for _, e := range all {
		a.stop(e)
	}
	timer := time.AfterFunc(stopTimeout, a.kill)
	a.wg.Wait()
	timer.Stop()
	a.kill()
}

// enoughPeers is how many connections a download should have before it stops
// asking its trackers for more than they offer by themselves.
const enoughPeers = 5

// askForPeers tells the announcer when a download has too few peers, and when
// that is over.
func (t *torrent) askForPeers() {
	lonely := t.state() == StateDownloading && t.peers.count() < enoughPeers
	if lonely == t.clock.lonely {
		return
	}
	t.clock.lonely = lonely
	t.s.announcer.with(t.e, func(s *tracker.Schedule, now time.Time) { s.NeedPeers(now, lonely) })
}

// found hands addresses to e's loop, and wakes the loop if it sleeps.
func (s *Session) found(e *entry, addrs []netip.AddrPort, src Source) {
	if len(addrs) == 0 {
		return
	}
	s.deliver(e, call(func(t *torrent) { t.learn(addrs, src) }))
}

// announceQueue is a heap by deadline.
type announceQueue []*announced

func (q announceQueue) Len() int           { return len(q) }
func (q announceQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q announceQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].pos, q[j].pos = i, j
}

func (q *announceQueue) Push(x any) {
	it := x.(*announced)
	it.pos = len(*q)
	*q = append(*q, it)
}

func (q *announceQueue) Pop() any {
	old := *q
	it := old[len(old)-1]
	old[len(old)-1] = nil
	it.pos = -1
	*q = old[:len(old)-1]
	return it
}
