package session

import (
	"context"
	"slices"
	"sync"
	"time"
)

// queue decides which torrents may be active: all seeds, as far as the
// configuration allows, and the first few downloads.
//
// A round costs what has changed, plus a look at the torrents that lack
// something: with very many seeds it does not matter how many there are. Where
// the number of busy seeds is limited, every round looks at everything.
type queue struct {
	s    *Session
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	touched []*entry // to be looked at in the next round
	all     bool     // everything is

	lacking []lacking // by place; belongs to the queue's goroutine
}

// lacking is a torrent that has, or wants, one of the places for downloads.
type lacking struct {
	e    *entry
	held bool // it waits, and what there was of it was ended
}

// idleSeedEvery is how often torrents that seed without a loop are looked
// at, to count their seeding time.
const idleSeedEvery = time.Minute

func newQueue(s *Session) *queue { return &queue{s: s, wake: make(chan struct{}, 1)} }

// kick asks for a round that looks at everything.
func (q *queue) kick() {
	q.mu.Lock()
	q.all = true
	q.mu.Unlock()
	q.rouse()
}

// touch asks for a new round because of e: it was added, completed or stopped.
func (q *queue) touch(e *entry) {
	q.mu.Lock()
	if q.s.cfg.ActiveSeeds > 0 {
		q.all = true
	} else if !q.all {
		q.touched = append(q.touched, e)
	}
	q.mu.Unlock()
	q.rouse()
}

func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) run(ctx context.Context) {
	ticker := time.NewTicker(idleSeedEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			q.countIdleSeeds()
		case <-q.wake:
			began := time.Now()
			q.round()
			// With very many torrents a round takes a while: a burst of
			// changes shares the next one.
			rest := min(5*time.Since(began), 200*time.Millisecond)
			if rest > time.Millisecond {
				select {
				case <-ctx.Done():
				case <-time.After(rest):
				}
			}
		}
	}
}

// take empties the list of what is to be looked at. all is nil unless that is
// everything.
func (q *queue) take() (touched, all []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	touched = q.touched
	if q.all {
		touched, all = nil, q.s.entries()
	}
	q.touched, q.all = nil, false
	return touched, all
}

// round starts what may run and holds back what must wait.
func (q *queue) round() {
	touched, all := q.take()
	p := places{cfg: q.s.cfg}
	if all != nil {
		q.lacking = q.lacking[:0]
		if p.cfg.ActiveSeeds > 0 {
			for _, e := range all {
				p.countSeed(e)
			}
		}
		for _, e := range all {
			if e.lacks() {
				q.lacking = append(q.lacking, lacking{e: e})
			} else {
				q.settle(&p, &lacking{e: e})
			}
		}
	}
	for _, e := range touched {
		at, found := slices.BinarySearchFunc(q.lacking, e, func(l lacking, e *entry) int { return byPlace(l.e, e) })
		switch {
		case found:
			q.lacking[at].held = false
		case e.lacks():
			q.lacking = slices.Insert(q.lacking, at, lacking{e: e})
		default:
			q.settle(&p, &lacking{e: e})
		}
	}
	kept := q.lacking[:0]
	for _, l := range q.lacking {
		if q.settle(&p, &l) {
			kept = append(kept, l)
		}
	}
	clear(q.lacking[len(kept):])
	q.lacking = kept
}

// settle gives one torrent what is its due. It returns false if the torrent
// no longer has to do with the places for downloads.
func (q *queue) settle(p *places, l *lacking) (lacks bool) {
	if q.s.closing.Load() {
		return true
	}
	e := l.e
	switch p.claim(e) {
	case placeRun:
		l.held = false
		q.s.wake(e, false)
	case placeAnnounce:
		e.takeMeta()
		q.s.announcer.start(e)
		if !e.serves() { // stopped at this very moment
			q.s.announcer.stop(e)
		}
		q.s.restate(e)
		return false
	case placeWait:
		if !l.held {
			e.takeMeta() // it may wait for long
			q.hold(e)
			l.held = true
		}
	case placeNone:
		e.takeMeta()
		return false
	}
	return true
}

// hold makes e wait; a loop that runs for it is ended.
func (q *queue) hold(e *entry) {
	q.s.announcer.stop(e)
	if t := e.running(); t != nil {
		t.stop()
		<-t.done
	}
	q.s.restate(e)
}

type place int

const (
	placeNone     place = iota // stopped or removed
	placeRun                   // a download that has a place
	placeAnnounce              // a seed: its loop runs when a peer wants it
	placeWait
)

// places are what a round has to give.
type places struct {
	cfg       Config
	downloads int // taken
	seeds     int // seeds that have peers and may go on
	seen      int // those among them that claim has come across
}

// countSeed counts e if it uploads to somebody.
func (p *places) countSeed(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.uploads() {
		p.seeds++
	}
}

// uploads tells whether e is a seed that runs and has peers. The caller holds
// e.mu.
func (e *entry) uploads() bool {
	return e.wakeable() && e.rec.Complete && e.run != nil && e.busy()
}

// claim takes a place for e if there is one left. A seed that had to wait goes
// on waiting until there are fewer busy ones.
func (p *places) claim(e *entry) place {
	e.mu.Lock()
	defer e.mu.Unlock()
	limit := p.cfg.ActiveSeeds
	switch {
	case e.removed || e.fresh || e.rec.Stopped || e.suspect && e.run != nil:
		return placeNone // a check that a user asked for is left alone
	case e.rec.Complete && limit > 0 && e.queued && p.seeds >= limit:
		return placeWait
	case e.rec.Complete && limit > 0 && e.uploads():
		if p.seen++; p.seen > limit {
			p.seeds--
			e.queued = true
			return placeWait
		}
		return placeAnnounce
	case e.rec.Complete:
		if e.queued {
			e.queued = false
			p.seeds++
		}
		return placeAnnounce
	case e.rec.Magnet != "": // costs little, and may wait for very long
		e.queued = false
		return placeRun
	case p.cfg.ActiveDownloads > 0 && p.downloads >= p.cfg.ActiveDownloads:
		e.queued = true
		return placeWait
	}
	e.queued = false
	if !e.failing {
		p.downloads++
	}
	return placeRun
}

// busy tells whether a seeding torrent has peers.
func (e *entry) busy() bool {
	v := e.view.Load()
	return v != nil && v.Peers > 0
}

// lacks tells whether e may want one of the places for downloads.
func (e *entry) lacks() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.rec.Complete
}

// countIdleSeeds counts the time of seeds that have no loop, and stops those
// that have seeded enough.
func (q *queue) countIdleSeeds() {
	for _, e := range q.s.entries() {
		e.mu.Lock()
		idle := e.run == nil && e.rec.Complete && e.wakeable()
		e.mu.Unlock()
		if !idle {
			continue
		}
		e.tot.active.Add(int64(idleSeedEvery))
		e.tot.seeding.Add(int64(idleSeedEvery))
		if why := q.s.seededEnough(e); why != "" {
			q.s.stopSoon(e, why)
		}
	}
	q.kick() // seeds that had to wait may find a place
}
