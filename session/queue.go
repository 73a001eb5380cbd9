package session

import (
	"context"
	"time"
)

// queue decides which torrents may be active: all seeds, as far as the
// configuration allows, and the first few downloads.
type queue struct {
	s    *Session
	wake chan struct{} // capacity 1
}

// idleSeedEvery is how often torrents that seed without a loop are looked
// at, to count their seeding time.
const idleSeedEvery = time.Minute

func newQueue(s *Session) *queue { return &queue{s: s, wake: make(chan struct{}, 1)} }

// kick asks for a new round: something was added, completed or stopped.
func (q *queue) kick() {
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

// round starts what may run and holds back what must wait.
func (q *queue) round() {
	downloads, seeds := 0, 0
	for _, e := range q.s.entries() {
		if q.s.closing.Load() {
			return
		}
		switch place := e.claim(q.s.cfg, &downloads, &seeds); place {
		case placeRun:
			q.s.wake(e, false)
		case placeAnnounce:
			q.s.announcer.start(e, nil)
			q.s.refresh(e)
		case placeWait:
			q.hold(e)
		}
	}
}

// hold makes e wait; a loop that runs for it is ended.
func (q *queue) hold(e *entry) {
	q.s.announcer.stop(e)
	if t := e.running(); t != nil {
		t.stop()
		<-t.done
	}
	q.s.refresh(e)
}

type place int

const (
	placeNone     place = iota // stopped or removed
	placeRun                   // a download that has a place
	placeAnnounce              // a seed: its loop runs when a peer wants it
	placeWait
)

// claim takes a place for e if there is one left.
func (e *entry) claim(cfg Config, downloads, seeds *int) place {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.removed || e.fresh || e.rec.Stopped:
		return placeNone
	case e.rec.Complete:
		if e.run != nil && cfg.ActiveSeeds > 0 && e.busy() {
			if *seeds++; *seeds > cfg.ActiveSeeds {
				e.queued = true
				return placeWait
			}
		}
		e.queued = false
		return placeAnnounce
	case cfg.ActiveDownloads > 0 && *downloads >= cfg.ActiveDownloads:
		e.queued = true
		return placeWait
	}
	e.queued = false
	if !e.failing {
		*downloads++
	}
	return placeRun
}

// busy tells whether a seeding torrent has peers.
func (e *entry) busy() bool {
	v := e.view.Load()
	return v != nil && v.Peers > 0
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
	q.round() // seeds that had to wait may find a place
}
