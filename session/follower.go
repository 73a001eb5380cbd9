package session

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"btd/dht"
	"btd/dht/krpc"
	"btd/session/dhtpace"
	"btd/storage/resume"
)

const (
	followRetry = 30 * time.Second // until what went wrong with a follow is tried again
	handovers   = 2                // switches to a new version at a time
)

// followPace is when items are looked at and kept alive: each hour, for others
// forget them after two; sooner while nothing is found. All share a budget of
// queries, so that a thousand of them cost no more than a few searches a minute.
func followPace() dhtpace.Config {
	budget := dhtpace.Budget{Rate: 100, Burst: 1000, AtOnce: 4}
	return dhtpace.Config{
		Hungry: budget, Calm: budget, HungryEvery: 15 * time.Second, HungryMost: time.Hour,
		FoundEvery: time.Hour, SteadyEvery: time.Hour, LonelyEvery: time.Hour,
	}
}

// follower looks after mutable items of the DHT that name torrents (BEP 46):
// those that are followed and those that are published. A look at an item also
// stores the newest version of it again.
type follower struct {
	s     *Session
	wake  chan struct{} // capacity 1
	moves turns
	admin sync.Mutex // held while an errand is made, changed or ended by a user

	mu      sync.Mutex
	closed  bool
	pace    *dhtpace.Pacer[*errand]
	follows map[[20]byte]*errand  // by target
	pubs    map[[20]byte]*errand  // likewise
	todo    map[*errand]time.Time // what has work to do, and not before when
	changed chan struct{}         // closed, and made anew, when a follow moved on or failed to
}

// errand is one item. Its fields are guarded by follower.mu.
type errand struct {
	published bool // else it is followed
	key       [32]byte
	target    krpc.ID
	salt      []byte
	turn      *dhtpace.Item[*errand] // nil while it is not looked at
	item      *dht.Item              // the newest; nil: none was seen
	fresh     bool                   // item was just published: nobody else's may be replaced by it

	begun, ended int           // looks
	wanted       int           // the look that somebody waits for
	over         chan struct{} // closed, and made anew, when a look ends
	looked       time.Time
	stored       int
	problem      string // of the last look
	bad, refused int64
	cancel       func() // of the look under way
	gone         bool

	pub resume.Publication // of what is published

	follow  resume.Follow // of what is followed
	news    *dht.Item     // to be taken in
	taking  bool          // that is under way
	failed  string        // why it does not get on
	working bool
	busy    chan struct{}      // capacity 1: held by whoever changes follow or pub
	halt    context.CancelFunc // of the work under way
}

func newErrand(i *resume.Item) *errand {
	x := &errand{key: i.Key, salt: i.Salt, over: make(chan struct{}), busy: make(chan struct{}, 1)}
	x.hold(i)
	x.target = (&dht.Item{K: i.Key[:], Salt: i.Salt}).Target()
	return x
}

// hold makes i the newest item.
func (x *errand) hold(i *resume.Item) {
	if x.item = nil; len(i.V) > 0 {
		x.item = &dht.Item{K: bytes.Clone(i.Key[:]), Salt: i.Salt, Seq: i.Seq, V: i.V, Sig: i.Sig}
	}
}

// newFollower brings back what was followed and published. What cannot be read
// is told and left out.
func newFollower(s *Session) *follower {
	f := &follower{
		s: s, wake: make(chan struct{}, 1), moves: make(turns, handovers),
		pace:    dhtpace.New[*errand](followPace(), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		follows: map[[20]byte]*errand{}, pubs: map[[20]byte]*errand{}, todo: map[*errand]time.Time{},
		changed: make(chan struct{}),
	}
	follows, bad, err := s.db.Follows()
	pubs, worse, perr := s.db.Publications()
	for _, err := range append(append(bad, worse...), err, perr) {
		if err != nil {
			s.log.Error("what is followed or published in the DHT could not be read: say it again", "err", err)
		}
	}
	for _, rec := range follows {
		x := newErrand(&rec.Item)
		x.follow = rec
		f.follows[x.target.AsByteArray()] = x
		f.schedule(x)
		f.todo[x] = time.Time{}
	}
	for _, rec := range pubs {
		x := newErrand(&rec.Item)
		x.published, x.pub = true, rec
		f.pubs[x.target.AsByteArray()] = x
		if !rec.Stopped {
			f.schedule(x)
		}
	}
	return f
}

// schedule makes x be looked at from now on. The caller holds f.mu, or is alone.
func (f *follower) schedule(x *errand) {
	if f.s.seeker.node == nil || x.turn != nil {
		return
	}
	class := dhtpace.Steady
	if x.item == nil {
		class = dhtpace.Hungry
	}
	x.turn = f.pace.Add(x, class, time.Now())
}

func (f *follower) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run looks at items and does what comes of it until ctx ends.
func (f *follower) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-f.wake:
		}
		wait := f.looks()
		timer.Reset(min(wait, f.works(ctx, &wg)))
	}
}

// looks begins those that are due and returns how long none will be.
func (f *follower) looks() time.Duration {
	now := time.Now()
	for {
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			return time.Hour
		}
		it, wait := f.pace.Next(now)
		if it == nil {
			f.mu.Unlock()
			if wait.IsZero() {
				return time.Hour
			}
			return max(wait.Sub(now), time.Millisecond)
		}
		x := it.Value
		x.begun++
		n := x.begun
		f.mu.Unlock()
		f.begin(x, it, n)
	}
}

// begin looks at x for the n-th time, and stores the newest version again.
func (f *follower) begin(x *errand, it *dhtpace.Item[*errand], n int) {
	q := dht.Search{Kind: dht.Get, Target: x.target, Salt: x.salt}
	q.Put = func(found *dht.Item) *dht.Item { return f.newest(x, found) }
	over := false // guarded by mu
	cancel := f.s.seeker.node.Start(q, func(r dht.Results) {
		f.mu.Lock()
		over, x.cancel = true, nil
		f.mu.Unlock()
		f.end(x, it, n, r)
	})
	f.mu.Lock()
	if !over {
		x.cancel = cancel
	}
	drop := !over && (x.gone || f.closed)
	f.mu.Unlock()
	if drop {
		cancel()
	}
}

// newest is what is to be stored where found is the newest item.
func (f *follower) newest(x *errand, found *dht.Item) *dht.Item {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case x.gone:
		return nil
	case x.item == nil || found != nil && found.Seq > x.item.Seq:
		return found
	}
	i := *x.item
	i.CAS = x.fresh
	return &i
}

// end takes the result of a look in. It is called by the DHT.
func (f *follower) end(x *errand, it *dhtpace.Item[*errand], n int, r dht.Results) {
	how, queries := dhtpace.Over, 0
	for _, one := range []*dht.Result{r.IPv4, r.IPv6} {
		if one != nil {
			queries += one.Stats.Queries + one.Stored + len(one.Codes)
		}
	}
	err := r.Err()
	switch {
	case errors.Is(err, dht.ErrBusy):
		how = dhtpace.Busy
	case errors.Is(err, dht.ErrNoNodes):
		how = dhtpace.Away
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	x.ended, x.looked, x.stored, x.fresh = n, now, r.Stored(), x.fresh && r.Stored() == 0
	x.bad += int64(r.Bad())
	x.problem = ""
	found := 0
	if i := r.Item(); i != nil && f.believe(x, i) {
		found = 1
	}
	if err != nil && x.stored == 0 && (x.item != nil || !errors.Is(err, dht.ErrNotFound)) {
		x.problem = dhtError(err).Error()
	}
	f.pace.Done(it, how, queries, found, now)
	if x.item != nil || found > 0 {
		f.pace.Set(it, dhtpace.Steady, now)
	}
	if x.wanted > n {
		f.pace.Now(it, now)
	}
	close(x.over)
	x.over = make(chan struct{})
	f.rouse()
}

// believe tells whether an item is one of x, and has it taken in if it is news.
// The caller holds f.mu.
func (f *follower) believe(x *errand, i *dht.Item) bool {
	if !i.Mutable() || i.Target() != x.target || i.Check() != nil {
		x.bad++
		f.s.count("follow_bad_items")
		return false
	}
	if x.published {
		f.compare(x, i)
		return true
	}
	track := trackOf(&x.follow)
	before := track
	if track.Found(i.Seq, i.V).Refused() {
		x.refused++
		f.s.count("follow_old_items")
		return false
	}
	if track != before && (x.news == nil || i.Seq > x.news.Seq) {
		x.news = i
		f.todo[x] = time.Time{}
	}
	return true
}

// works starts what is to be done for items and returns when there is more.
func (f *follower) works(ctx context.Context, wg *sync.WaitGroup) time.Duration {
	now, wait := time.Now(), time.Hour
	f.mu.Lock()
	defer f.mu.Unlock()
	for x, at := range f.todo {
		switch {
		case x.gone:
			delete(f.todo, x)
		case x.working: // looks again when it is through
		case at.After(now):
			wait = min(wait, at.Sub(now))
		default:
			delete(f.todo, x)
			x.working = true
			var own context.Context
			own, x.halt = context.WithCancel(ctx)
			wg.Go(func() { f.work(own, x) })
		}
	}
	return wait
}

// work does what is to be done for x.
func (f *follower) work(ctx context.Context, x *errand) {
	var err error
	select {
	case x.busy <- struct{}{}:
		defer func() { <-x.busy }() // last: what is noted below is of x as it is now
		if !f.ended(x) {
			err = f.step(ctx, x)
		}
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	interrupted := ctx.Err() != nil
	x.taking = false
	f.moved()
	x.halt()
	x.working = false
	switch {
	case interrupted:
		f.todo[x] = time.Time{} // once whoever did so is through
	case err != nil:
		x.failed = err.Error()
		f.s.log.Warn("an item of the DHT is not done with, trying again", "key", hex.EncodeToString(x.key[:]), "err", err)
		f.todo[x] = time.Now().Add(followRetry)
	default:
		x.failed = ""
	}
	f.rouse()
}

// step does what an item calls for. The caller holds x.busy.
func (f *follower) step(ctx context.Context, x *errand) error {
	if x.published {
		return f.remember(x)
	}
	return f.pursue(ctx, x)
}

func (f *follower) ended(x *errand) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return x.gone
}

// close ends all looks.
func (f *follower) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.rouse()
}
