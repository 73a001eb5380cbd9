package dhtpace

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Class is how much a torrent needs the DHT.
type Class uint8

// The classes, the most urgent first.
const (
	Hungry Class = iota // a download that needs peers
	Steady              // a download that has enough, or a seed that others know
	Lonely              // a seed that nobody was seen to want
	classes
)

// Config holds a pacer's settings. The zero value is valid.
type Config struct {
	Hungry, Calm Budget // zero: 300 queries a second and 6,000 at once; 400 and 1,600

	HungryEvery time.Duration // 0 means 10 s; doubles while nobody is found
	HungryMost  time.Duration // 0 means 16 min
	FoundEvery  time.Duration // of a hungry one for which somebody was found; 0 means 4 min
	SteadyEvery time.Duration // 0 means 20 min
	LonelyEvery time.Duration // 0 means 28 min
	BusyWait    time.Duration // until a search that found no place is tried again; 0 means 2 s
	AwayWait    time.Duration // until searches go on after one that no node answered; 0 means 15 s

	// Gather is how long calm torrents that become due wait for each other: what
	// happens at once costs less than the same spread over time. 0 means 10 s;
	// where there are more than the budget allows, 2 s are enough.
	Gather time.Duration
}

// Budget is for one kind of torrents.
type Budget struct {
	Rate   float64 // queries a second
	Burst  float64 // queries that may be sent at once after a rest
	AtOnce int     // searches; 0 means 32 for hungry ones, 16 for others
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if c.Hungry.Rate == 0 {
		c.Hungry.Rate, c.Hungry.Burst = 300, 6000
	}
	if c.Calm.Rate == 0 {
		c.Calm.Rate, c.Calm.Burst = 400, 1600
	}
	if c.Hungry.AtOnce == 0 {
		c.Hungry.AtOnce = 32
	}
	if c.Calm.AtOnce == 0 {
		c.Calm.AtOnce = 16
	}
	def(&c.HungryEvery, 10*time.Second)
	def(&c.HungryMost, 16*time.Minute)
	def(&c.FoundEvery, 4*time.Minute)
	def(&c.SteadyEvery, 20*time.Minute)
	def(&c.LonelyEvery, 28*time.Minute)
	def(&c.BusyWait, 2*time.Second)
	def(&c.AwayWait, 15*time.Second)
	def(&c.Gather, 10*time.Second)
	return c
}

const (
	guess      = 50 // queries of a search, before one has ended
	weight     = 16 // searches over which the average goes
	lonelyTurn = 4  // each so many starts of calm ones, one is for a lonely one
	again      = 20 * time.Second
	refill     = 2 * time.Second // of a budget that is used up
)

// Pacer orders the searches of all torrents. It is for one goroutine at a time.
type Pacer[T any] struct {
	cfg    Config
	rng    *rand.Rand
	queues [classes]queue[T]
	lanes  [2]lane
	turn   int
}

// lane is what hungry torrents, or all others, have to spend.
type lane struct {
	Budget
	has     float64 // queries; negative after more was spent
	at      time.Time
	running int
	mean    float64   // queries of a search
	rest    time.Time // nothing begins before
	gather  time.Time // nor before this, see Config.Gather
}

// Item is a torrent.
type Item[T any] struct {
	Value    T
	class    Class
	lane     uint8 // that its search was begun in
	flying   bool
	gone     bool
	urgent   bool // to be searched for again as soon as its search is over
	vain     int  // searches in a row that found nobody
	unheard  int  // in a row of which nobody acknowledged the announce
	due      time.Time
	began    time.Time // of the last search; zero: there was none
	reserved float64
	pos      int // in its queue; -1: in none
}

// Class is the item's class.
func (it *Item[T]) Class() Class { return it.class }

// New makes a pacer.
func New[T any](cfg Config, rng *rand.Rand) *Pacer[T] {
	p := &Pacer[T]{cfg: cfg.withDefaults(), rng: rng}
	for i, b := range []Budget{p.cfg.Hungry, p.cfg.Calm} {
		p.lanes[i] = lane{Budget: b, has: b.Burst, mean: guess}
	}
	return p
}

// Add takes a torrent in. It is due at once.
func (p *Pacer[T]) Add(v T, c Class, now time.Time) *Item[T] {
	it := &Item[T]{Value: v, class: c, due: now, pos: -1}
	if l := &p.lanes[1]; c != Hungry && l.has > 0 {
		l.gather = sooner(l.gather, now)
	}
	heap.Push(&p.queues[c], it)
	return it
}

// Remove forgets a torrent. Its search, if one runs, is still to be told of
// with Done.
func (p *Pacer[T]) Remove(it *Item[T]) {
	it.gone = true
	p.unqueue(it)
}

func (p *Pacer[T]) unqueue(it *Item[T]) {
	if it.pos >= 0 {
		heap.Remove(&p.queues[it.class], it.pos)
	}
}

// Set changes a torrent's class. One that becomes hungry is due at once, unless
// it was searched for a moment ago.
func (p *Pacer[T]) Set(it *Item[T], c Class, now time.Time) {
	if it.gone || it.class == c {
		return
	}
	p.unqueue(it)
	it.class, it.vain = c, 0
	switch {
	case it.flying:
		return
	case it.began.IsZero():
		it.due = now
	case c == Hungry:
		it.due = later(now, it.began.Add(again))
	default:
		it.due = it.began.Add(p.every(it, false))
	}
	heap.Push(&p.queues[c], it)
}

// Now makes a torrent due at once: because its user asks for it, or since there
// is something new to announce.
func (p *Pacer[T]) Now(it *Item[T], now time.Time) {
	switch {
	case it.gone:
	case it.flying:
		it.urgent = true
	case it.due.After(now):
		it.due = now
		heap.Fix(&p.queues[it.class], it.pos)
		p.lanes[1].gather = now
	}
}

// Next takes the torrent that is to be searched for now. If there is none, it
// tells when to ask again; zero means after the next other call.
func (p *Pacer[T]) Next(now time.Time) (it *Item[T], wait time.Time) {
	for i := range p.lanes {
		l := &p.lanes[i]
		c, due, ok := p.head(uint8(i), now)
		if !ok || l.running >= l.AtOnce {
			continue // Done comes before anything can begin
		}
		at, pause := later(later(due, l.rest), l.gather), p.cfg.Gather
		if !at.After(now) {
			at, pause = l.ready(now), min(pause, refill)
		}
		if at.After(now) {
			if i == 1 && !l.gather.After(now) {
				l.gather = now.Add(pause)
			}
			wait = sooner(wait, later(at, l.gather))
			continue
		}
		it = heap.Pop(&p.queues[c]).(*Item[T])
		if i == 1 {
			p.turn++
		}
		it.flying, it.urgent, it.lane, it.began, it.reserved = true, false, uint8(i), now, l.mean
		l.has -= it.reserved
		l.running++
		return it, time.Time{}
	}
	return nil, wait
}

// head is the class whose first torrent is the next of a lane.
func (p *Pacer[T]) head(lane uint8, now time.Time) (c Class, due time.Time, ok bool) {
	if lane == 0 {
		q := p.queues[Hungry]
		if len(q) == 0 {
			return 0, due, false
		}
		return Hungry, q[0].due, true
	}
	steady, lonely := p.queues[Steady], p.queues[Lonely]
	switch {
	case len(steady) == 0 && len(lonely) == 0:
		return 0, due, false
	case len(steady) == 0:
		return Lonely, lonely[0].due, true
	case len(lonely) == 0:
		return Steady, steady[0].due, true
	}
	s, l := steady[0].due, lonely[0].due
	lonelyFirst := l.Before(s)
	if !s.After(now) && !l.After(now) { // more than there is time for
		lonelyFirst = p.turn%lonelyTurn == lonelyTurn-1
	}
	if lonelyFirst {
		return Lonely, l, true
	}
	return Steady, s, true
}

// ready refills the budget and tells when there is something to spend.
func (l *lane) ready(now time.Time) time.Time {
	if !l.at.IsZero() {
		l.has = min(l.Burst, l.has+l.Rate*max(0, now.Sub(l.at).Seconds()))
	}
	l.at = now
	if l.has > 0 {
		return now
	}
	return now.Add(time.Duration((1-l.has)/l.Rate*float64(time.Second)) + time.Millisecond)
}

// Outcome is how a search ended.
type Outcome uint8

// The outcomes.
const (
	Over    Outcome = iota
	Busy            // it found no place
	Away            // no node answered
	Unheard         // nodes answered, but none acknowledged the announce
)

// mostUnheard is how often the wait after Unheard is doubled.
const mostUnheard = 8

// Done ends a search, which cost queries and found others, ourselves not
// counted.
func (p *Pacer[T]) Done(it *Item[T], how Outcome, queries, others int, now time.Time) {
	if !it.flying {
		return
	}
	l := &p.lanes[it.lane]
	it.flying = false
	l.running--
	l.has += it.reserved - float64(queries)
	switch how {
	case Busy:
		l.rest = later(l.rest, now.Add(p.cfg.BusyWait))
		it.due = now.Add(p.cfg.BusyWait)
	case Away:
		l.rest = later(l.rest, now.Add(p.cfg.AwayWait))
		it.due = now.Add(p.cfg.AwayWait)
	default:
		if how == Over {
			it.unheard = 0
		}
		l.mean += (float64(queries) - l.mean) / weight
		if it.vain++; others > 0 {
			it.vain = 0
		}
		if it.class != Hungry && it.lane == 1 {
			p.judge(it, others)
		}
		it.due = it.began.Add(p.every(it, others > 0))
		if it.class == Hungry && it.lane == 1 { // since it began
			it.due = later(now, it.began.Add(again))
		}
		if how == Unheard { // others are not held up, and nodes that never do it cannot have us try all the time
			it.due = sooner(it.due, now.Add(p.cfg.AwayWait<<it.unheard))
			it.unheard = min(it.unheard+1, mostUnheard)
		}
	}
	if it.urgent {
		it.due = now
	}
	if !it.gone {
		heap.Push(&p.queues[it.class], it)
	}
}

// judge tells lonely torrents from others by what a search found.
func (p *Pacer[T]) judge(it *Item[T], others int) {
	if others > 0 {
		it.class = Steady
	} else if it.class == Steady && it.vain > 1 {
		it.class = Lonely
	}
}

// every is the pause between two searches for a torrent.
func (p *Pacer[T]) every(it *Item[T], found bool) time.Duration {
	d := p.cfg.SteadyEvery
	switch {
	case it.class == Hungry && found:
		d = p.cfg.FoundEvery
	case it.class == Hungry:
		d = min(p.cfg.HungryMost, p.cfg.HungryEvery<<min(max(0, it.vain-1), 10))
	case it.class == Lonely:
		d = p.cfg.LonelyEvery
	}
	return d - time.Duration(p.rng.Int64N(int64(d)/8+1)) // so that what began together does not stay so
}

// Len is how many torrents there are, those being searched for not counted.
func (p *Pacer[T]) Len() (n int) {
	for _, q := range p.queues {
		n += len(q)
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// queue is a heap by deadline.
type queue[T any] []*Item[T]

func (q queue[T]) Len() int           { return len(q) }
func (q queue[T]) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue[T]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].pos, q[j].pos = i, j
}

// Push is for container/heap.
func (q *queue[T]) Push(x any) {
	it := x.(*Item[T])
	it.pos = len(*q)
	*q = append(*q, it)
}

// Pop is for container/heap.
func (q *queue[T]) Pop() any {
	old := *q
	it := old[len(old)-1]
	old[len(old)-1] = nil
	it.pos = -1
	*q = old[:len(old)-1]
	return it
}
