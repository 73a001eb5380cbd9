package tracker

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"
)

const (
	never = time.Duration(math.MaxInt64)

	backoffFirst   = 15 * time.Second // after one failure; doubled with each more
	backoffRefused = time.Minute      // the same where the tracker refused
	backoffMax     = time.Hour
	offFirst       = 10 * time.Minute // before a family that led nowhere is tried again; doubled each time
	offMax         = 6 * time.Hour
	needMinimum    = 2 * time.Minute  // between announces for want of peers, where the tracker states no minimum
	userFloor      = 10 * time.Second // between announces that a user asks for
	userMinimum    = time.Minute      // of a stated minimum interval, what holds a user back
	maxEarly       = 10
)

// Due returns the announces that are to be made now, and when to call it
// again: at that time, or after any other method was called, whichever comes
// first. The zero time means that nothing is due until then. Calling it at
// other times does no harm and no good.
func (s *Schedule) Due(now time.Time) (announces []Announce, next time.Time) {
	t := s.at(now)
	announces, s.leaving = s.leaving, nil
	if !s.running {
		return announces, time.Time{}
	}
	if t < s.start {
		return announces, s.base.Add(s.start)
	}
	soonest := never
	s.walk(func(e *entry) (settled bool) {
		if e.st == nil {
			e.st = s.newState(e.url)
		}
		if e.st.disabled != "" {
			return false
		}
		for i := range s.cfg.Families {
			if f := &e.st.fam[i]; !f.flying && s.due(f) <= t {
				announces = append(announces, s.launch(e, i, t))
			}
		}
		settled, wake := s.look(e.st, t)
		soonest = min(soonest, wake)
		return settled
	})
	if soonest == never {
		return announces, time.Time{}
	}
	return announces, s.base.Add(soonest)
}

// walk visits trackers in order until one settles the matter: for all, or for
// its tier.
func (s *Schedule) walk(visit func(e *entry) (settled bool)) {
	done, tier := false, -1
	for i := range s.order {
		e := &s.order[i]
		if s.cfg.AllTiers && e.tier != tier {
			done, tier = false, e.tier
		}
		if !done {
			done = visit(e)
		}
	}
}

func (s *Schedule) newState(url string) *state {
	st := &state{swarm: unknownScrape}
	if err := CheckURL(url); err != nil {
		st.disabled = err.Error()
	}
	return st
}

// look tells whether a tracker works, or may well do so soon, and when its
// state will change by itself.
func (s *Schedule) look(st *state, t time.Duration) (settled bool, wake time.Duration) {
	wake = never
	if st.disabled != "" {
		return false, wake
	}
	for i := range s.cfg.Families {
		f := &st.fam[i]
		switch {
		case f.phase == phaseOK:
			settled = true
		case f.phase == phaseNew && f.flying && t < f.tried+s.cfg.Patience:
			settled = true
			wake = min(wake, f.tried+s.cfg.Patience)
		}
		if !f.flying {
			wake = min(wake, s.due(f))
		}
	}
	return settled, wake
}

// due is when the next announce over one family is to be made.
func (s *Schedule) due(f *famState) time.Duration {
	switch {
	case f.phase != phaseOK:
		return f.next
	case s.event(f) != None:
		return f.tried // events do not wait for an interval
	case s.need:
		return min(f.next, f.last+s.earliest(f))
	}
	return f.next
}

// earliest is the time between announces for want of peers.
func (s *Schedule) earliest(f *famState) time.Duration {
	wait := f.minimum
	if wait == 0 {
		wait = min(needMinimum, f.interval)
	}
	return min(wait<<f.early, max(f.interval, f.minimum))
}

// event is what the next announce over one family has to say.
func (s *Schedule) event(f *famState) Event {
	switch {
	case !f.started:
		return Started
	case s.complete && f.leecher:
		return Completed
	}
	return None
}

// launch makes an announce.
func (s *Schedule) launch(e *entry, i int, t time.Duration) Announce {
	f := &e.st.fam[i]
	f.flying, f.tried = true, t
	s.serial++
	fl := flight{id: s.serial, st: e.st, fam: i, event: s.event(f), complete: s.complete}
	s.flights = append(s.flights, fl)
	return Announce{
		ID: fl.id, URL: e.url, Family: s.cfg.Families[i], Event: fl.event,
		TrackerID: e.st.trackerID, NumWant: s.cfg.NumWant,
	}
}

// land ends an announce. An unknown id belongs to one that no longer matters.
func (s *Schedule) land(id int) (flight, bool) {
	i := slices.IndexFunc(s.flights, func(f flight) bool { return f.id == id })
	if i < 0 {
		return flight{}, false
	}
	fl := s.flights[i]
	s.flights = slices.Delete(s.flights, i, i+1)
	fl.st.fam[fl.fam].flying = false
	return fl, true
}

// Succeeded reports the answer to an announce.
func (s *Schedule) Succeeded(now time.Time, id int, r Response) {
	t := s.at(now)
	fl, ok := s.land(id)
	if !ok {
		return
	}
	st, f := fl.st, &fl.st.fam[fl.fam]
	st.announces++
	st.peers, st.warning = len(r.Peers), r.Warning
	st.swarm = ScrapeResult{r.Seeds, r.Leechers, r.Downloads}
	if r.TrackerID != "" {
		st.trackerID = r.TrackerID
	}
	f.phase, f.fails, f.err, f.last = phaseOK, 0, "", t
	f.minimum = clampMin(int64(r.MinInterval / time.Second))
	f.interval = max(clampInterval(int64(r.Interval/time.Second)), f.minimum)
	f.next = t + f.interval + s.upTo(min(f.interval/32, time.Minute))
	if s.need {
		f.early = min(f.early+1, maxEarly)
	} else {
		f.early = 0
	}
	switch fl.event {
	case Started:
		f.started, f.leecher = true, !fl.complete
	case Completed:
		f.leecher = false
	}
	s.promote(st)
}

// promote moves a tracker to the front of its tier (BEP 12).
func (s *Schedule) promote(st *state) {
	at := slices.IndexFunc(s.order, func(e entry) bool { return e.st == st })
	if at < 0 {
		return
	}
	e := s.order[at]
	for ; at > 0 && s.order[at-1].tier == e.tier; at-- {
		s.order[at] = s.order[at-1]
	}
	s.order[at] = e
}

// Failed reports that an announce was not answered well.
func (s *Schedule) Failed(now time.Time, id int, err error) {
	t := s.at(now)
	fl, ok := s.land(id)
	if !ok {
		return
	}
	st, f := fl.st, &fl.st.fam[fl.fam]
	var refused *FailureError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, ErrClosed): // not the tracker's doing
		f.next = t + backoffFirst
		f.tried = f.next // holds back events, too
		return
	case errors.Is(err, ErrURL):
		st.disabled = err.Error()
		return
	case errors.Is(err, ErrNoFamily):
		f.phase, f.err, f.fails = phaseOff, err.Error(), f.fails+1
		f.next = t + s.backoff(offFirst, offMax, f.fails)
		if !s.unreachable(st) {
			return
		}
		for i := range s.cfg.Families { // the network may be down: nothing is learnt of a single family
			other := &st.fam[i]
			other.phase = phaseFailed
			other.next = t + s.backoff(backoffFirst, backoffMax, other.fails)
		}
		return
	}
	f.phase, f.err = phaseFailed, err.Error()
	f.fails++
	f.next = t + s.backoff(backoffFirst, backoffMax, f.fails)
	if errors.As(err, &refused) {
		switch {
		case refused.Never:
			st.disabled = f.err
		case refused.RetryIn > 0:
			f.next = t + min(max(refused.RetryIn, time.Minute), maxInterval) + s.upTo(time.Minute)
		default:
			f.next = max(t+s.backoff(backoffRefused, backoffMax, f.fails), f.last+f.minimum)
		}
	}
}

// unreachable tells whether no family leads to a tracker.
func (s *Schedule) unreachable(st *state) bool {
	for i := range s.cfg.Families {
		if st.fam[i].phase != phaseOff {
			return false
		}
	}
	return true
}

// backoff is the time to wait after some failures in a row: doubling, with a
// random quarter taken off, up to a limit.
func (s *Schedule) backoff(first, limit time.Duration, fails int) time.Duration {
	d := min(first<<min(fails-1, 16), limit)
	return d - s.upTo(d/4)
}

// upTo is a random time below d.
func (s *Schedule) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.rng.Int64N(int64(d)))
}
