package session

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"btd/metainfo"
	"btd/session/dhtpace"
	"btd/tracker"
)

const (
	announceTimeout = 10 * time.Minute       // the client bounds the request itself; the rest is waiting for a turn
	stopTimeout     = 5 * time.Second        // for all `stopped` together at the end
	maxAnnounces    = 512                    // under way at a time, before more that are due wait; per host the client allows eight
	announceEvery   = 500 * time.Millisecond // due announces go together: waking up costs more than an announce
	startBurst      = 16                     // first announces that may be made at once
	startWithin     = 15 * time.Minute       // first announces of everything take no longer, however many there are
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

	mu     sync.Mutex // never taken under an entry's
	closed bool
	items  map[*entry]*announced
	ending map[[20]byte]chan struct{} // closed when the last words on a torrent were delivered
	queue  announceQueue
	flying int // announces under way
	rng    *rand.Rand
	only   [2]tracker.Family // IPv4 and IPv6, to be cut

	// When the next first announce of a torrent that lacks something, or of a
	// seed, has its turn: many that start together must make no storm, and a
	// download must not wait behind seeds.
	lacking, seeds time.Time
}

// announced is one torrent's part of the announcer.
type announced struct {
	e     *entry
	sched *tracker.Schedule
	at    time.Time
	pos   int
	swarm SwarmCounts

	flying int             // announces under way
	ctx    context.Context // of those; nil while there are none
	quit   context.CancelFunc
}

func newAnnouncer(s *Session) *announcer {
	end, kill := context.WithCancel(context.Background())
	work, rest := context.WithCancel(end)
	return &announcer{
		s: s, only: [2]tracker.Family{tracker.IPv4, tracker.IPv6}, wake: make(chan struct{}, 1), work: work, rest: rest, end: end, kill: kill,
		items: map[*entry]*announced{}, ending: map[[20]byte]chan struct{}{}, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
}

// start begins announcing e to the trackers of its record. It does nothing if e
// is announced already, or was stopped meanwhile.
func (a *announcer) start(e *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.items[e] != nil || a.closed || !e.serves() {
		return
	}
	rec, _ := e.record() // under a.mu: whoever changes it later finds e announced
	now := time.Now()
	it := &announced{e: e, swarm: SwarmCounts{-1, -1, -1}, pos: -1}
	turn := &a.lacking
	if rec.Complete {
		turn = &a.seeds
	}
	it.sched = tracker.NewSchedule(rec.Trackers, tracker.ScheduleConfig{
		Delay: a.turn(turn, now), Families: a.families(),
		AllTiers: rec.Magnet != "", // a link puts its trackers into no order
	}, a.rng)
	if rec.Complete {
		it.sched.Completed(now)
	}
	it.sched.Start(now)
	a.items[e] = it
	a.s.seeker.start(e)
	a.s.near.start(e)
	a.pump(it, now)
}

// turn is how long a first announce has to wait for its turn: a few may go at
// once, the others follow at an even pace.
func (a *announcer) turn(next *time.Time, now time.Time) time.Duration {
	step := min(time.Second/time.Duration(a.s.cfg.AnnounceRate), startWithin/time.Duration(a.s.reg.len()+1))
	if early := now.Add(-startBurst * step); next.Before(early) {
		*next = early
	}
	*next = next.Add(step)
	return max(0, next.Sub(now))
}

// families are those that announces can leave from: nil means both.
func (a *announcer) families() []tracker.Family {
	switch addr := a.s.bound(); {
	case !addr.IsValid():
		return nil
	case addr.Is4():
		return a.only[:1]
	default:
		return a.only[1:]
	}
}

// stop ends announcing e and sends `stopped` in the background.
func (a *announcer) stop(e *entry) {
	a.mu.Lock()
	a.s.seeker.stop(e)
	a.s.near.stop(e)
	it := a.items[e]
	if it == nil {
		a.mu.Unlock()
		return
	}
	delete(a.items, e)
	if it.pos >= 0 {
		heap.Remove(&a.queue, it.pos)
	}
	if it.quit != nil {
		it.quit() // nothing may overtake the last words
	}
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
			sent.Go(func() { a.say(ctx, e, an) })
		}
		sent.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.ending[e.hash.Wire()] == over {
			delete(a.ending, e.hash.Wire())
		}
	}()
}

// say delivers last words.
func (a *announcer) say(ctx context.Context, e *entry, an tracker.Announce) {
	if _, err := a.s.trackers.Announce(ctx, a.request(e, an)); err != nil {
		a.s.log.Debug("stopped was not delivered", "tracker", an.URL, "err", err)
	}
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

// retrack takes over the trackers that e's record has by now. It does not matter
// who of several that changed them comes here last.
func (a *announcer) retrack(e *entry) {
	a.with(e, func(s *tracker.Schedule, _ time.Time) {
		rec, _ := e.record()
		had, last := map[string]int{}, -1 // tiers of the schedule: theirs are numbered in another way once one is empty
		for _, v := range s.View() {
			had[v.URL], last = v.Tier, max(last, v.Tier)
		}
		for url := range had {
			if !listed(rec.Trackers, url) {
				s.Remove(url)
			}
		}
		for _, urls := range rec.Trackers {
			tier := last + 1
			for _, u := range urls {
				if at, ok := had[u]; ok {
					tier = at
				}
			}
			for _, u := range urls {
				if _, ok := had[u]; !ok && s.Add(tier, u) == nil {
					last = max(last, tier)
				}
			}
		}
	})
}

func (a *announcer) completed(e *entry) {
	a.with(e, func(s *tracker.Schedule, now time.Time) { s.Completed(now) })
	a.s.seeker.need(e, dhtpace.Steady)
	a.s.seeker.again(e) // as a seed
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
	if len(due) > 0 && it.ctx == nil {
		it.ctx, it.quit = context.WithCancel(a.work)
	}
	for _, an := range due {
		a.wg.Add(1)
		a.flying++
		it.flying++
		go a.announce(it, an, it.ctx)
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
		a.rouse()
	}
}

func (a *announcer) rouse() {
	select {
	case a.wake <- struct{}{}:
	default:
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
	for len(a.queue) > 0 && !a.queue[0].at.After(now) && a.flying < maxAnnounces {
		a.pump(a.queue[0], now)
	}
	if len(a.queue) == 0 || a.flying >= maxAnnounces { // land looks again
		return time.Hour
	}
	age := now.Sub(a.s.began)
	at := age + max(a.queue[0].at.Sub(now), time.Millisecond)
	return (at + announceEvery - 1).Truncate(announceEvery) - age
}

// announce does one announce and takes its result in.
func (a *announcer) announce(it *announced, an tracker.Announce, work context.Context) {
	defer a.wg.Done()
	defer a.land(it)
	a.mu.Lock()
	over := a.ending[it.e.hash.Wire()]
	a.mu.Unlock()
	if over != nil {
		select {
		case <-over:
		case <-work.Done():
			return
		}
	}
	ctx, cancel := context.WithTimeout(work, announceTimeout)
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
		// A tracker inside a network sees what says nothing outside of it, and one
		// that lies would have us take a neighbour for ourselves.
		if resp.External.IsValid() && !metainfo.ScopeLAN.Covers(resp.External) {
			a.s.external.Store(&resp.External)
		}
		it.swarm = SwarmCounts{resp.Seeds, resp.Leechers, resp.Downloads}
	}
	a.pump(it, now)
	a.mu.Unlock()
	if err != nil {
		a.s.log.Debug("announce", "tracker", an.URL, "torrent", it.e.hash, "err", err)
		return
	}
	it.e.setSwarm(SwarmCounts{resp.Seeds, resp.Leechers, resp.Downloads})
	a.s.found(it.e, resp.Peers, FromTracker)
}

// land ends one announce.
func (a *announcer) land(it *announced) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if it.flying--; it.flying == 0 {
		it.quit()
		it.ctx, it.quit = nil, nil
	}
	if a.flying--; a.flying == maxAnnounces-1 {
		a.rouse()
	}
}

// request fills in what a tracker is told of e.
func (a *announcer) request(e *entry, an tracker.Announce) tracker.Request {
	r := tracker.Request{
		URL: an.URL, InfoHash: e.announcedHash(), PeerID: a.s.peerID, Port: a.s.port(),
		Uploaded: e.tot.up.Load() - e.tot.upBase, Downloaded: e.tot.down.Load() - e.tot.downBase,
		Left: max(0, e.tot.left.Load()), Corrupt: e.tot.corrupt.Load(),
		Event: an.Event, NumWant: an.NumWant, Key: a.s.key, TrackerID: an.TrackerID, Family: an.Family,
	}
	if !e.secret().IsZero() { // sizes say what it is
		r.Uploaded, r.Downloaded, r.Corrupt = 0, 0, 0
		r.Left = min(r.Left, 1) * leftUnknown
	}
	return r
}

// close sends `stopped` for every torrent, many at a time, and waits for at
// most stopTimeout.
func (a *announcer) close() {
	a.rest() // they would hold places at their hosts
	type word struct {
		e  *entry
		an tracker.Announce
	}
	var last []word
	a.mu.Lock()
	a.closed = true
	now := time.Now()
	for e, it := range a.items {
		for _, an := range it.sched.Stop(now) {
			last = append(last, word{e, an})
		}
	}
	a.items, a.queue = map[*entry]*announced{}, nil
	a.mu.Unlock()
	timer := time.AfterFunc(stopTimeout, a.kill)
	defer timer.Stop()
	words := make(chan word)
	for range min(maxAnnounces, len(last)) {
		a.wg.Go(func() {
			for w := range words {
				a.say(a.end, w.e, w.an)
			}
		})
	}
	for _, w := range last {
		words <- w
	}
	close(words)
	a.wg.Wait()
	a.kill()
}

// enoughPeers is how many connections a download should have before it stops
// asking its trackers for more than they offer by themselves.
const enoughPeers = 5

// askForPeers tells the announcer when a download has too few peers, and when
// that is over.
func (t *torrent) askForPeers() {
	state := t.state()
	lonely := (state == StateDownloading || state == StateMetadata) && t.peers.count() < enoughPeers
	if lonely == t.clock.lonely {
		return
	}
	t.clock.lonely = lonely
	t.s.seeker.need(t.e, hunger(lonely))
	t.s.announcer.with(t.e, func(s *tracker.Schedule, now time.Time) { s.NeedPeers(now, lonely) })
}

// found hands addresses to e's loop, and wakes the loop if it sleeps.
func (s *Session) found(e *entry, addrs []netip.AddrPort, src Source) {
	if len(addrs) == 0 {
		return
	}
	s.deliver(e, call(func(t *torrent) { t.learn(addrs, src) }))
}

// foundSoon is found for a caller that must not wait.
func (s *Session) foundSoon(e *entry, addrs []netip.AddrPort, src Source) {
	t := s.wake(e, false)
	if t == nil || t.in.post(call(func(t *torrent) { t.learn(addrs, src) })) {
		return
	}
	s.wg.Add(1)
	go func() { // its loop is about to end
		defer s.wg.Done()
		s.found(e, addrs, src)
	}()
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
