package tracker

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

const maxTrackers = 256 // of one torrent; the rest are ignored

// ScheduleConfig holds the settings of a schedule. The zero value is valid.
type ScheduleConfig struct {
	Families []Family      // announced separately, at most two; nil means IPv4 and IPv6
	Spread   time.Duration // the first announce is put off by a random part of this, so that many torrents started together make no storm
	Delay    time.Duration // the first announce is put off by this, and Spread comes on top
	Patience time.Duration // how long an announce may go unanswered before the next tracker is tried beside it; 0 means 15 s
	NumWant  int           // copied to announces
	AllTiers bool          // announce to one tracker of every tier, rather than to the first that works (BEP 12)
}

func (c ScheduleConfig) withDefaults() ScheduleConfig {
	if len(c.Families) == 0 {
		c.Families = bothFamilies[:]
	}
	c.Families = c.Families[:min(len(c.Families), len(bothFamilies))]
	if c.Patience <= 0 {
		c.Patience = 15 * time.Second
	}
	return c
}

var bothFamilies = [2]Family{IPv4, IPv6}

// Announce is one announce that is to be made now. Its result is reported
// with Succeeded or Failed and its ID.
type Announce struct {
	ID        int
	URL       string
	Family    Family
	Event     Event
	TrackerID string
	NumWant   int
}

// Schedule decides when the trackers of one torrent are asked. It is pure and
// belongs to one goroutine.
//
// Trackers are tried in order: by tier, at random within a tier. The first
// one that works, over either family, is the one that is used; those before
// it are tried again from time to time. Within its tier a tracker that
// answers goes to the front (BEP 12).
//
// State of a tracker is kept from its first announce on: a torrent whose
// first tracker works pays for one.
type Schedule struct {
	cfg     ScheduleConfig
	rng     *rand.Rand
	base    time.Time // instants are kept as time since base
	clock   time.Duration
	start   time.Duration // no announce before this
	order   []entry       // ascending by tier
	flights []flight
	leaving []Announce // to trackers that were removed
	serial  int

	running  bool
	complete bool
	need     bool // peers
}

// entry is one tracker. st is nil until it is first looked at.
type entry struct {
	url  string
	tier int
	st   *state
}

// state is what is known of one tracker.
type state struct {
	fam       [2]famState // by place in ScheduleConfig.Families
	disabled  string      // why it is never asked; "" if it is
	trackerID string
	warning   string
	announces int
	peers     int
	swarm     ScrapeResult
}

type phase uint8

const (
	phaseNew    phase = iota // not asked yet
	phaseOK                  // the last answer was good
	phaseFailed              // the last announce was not answered well
	phaseOff                 // this family cannot reach the tracker
)

// famState is what is known of one tracker over one family.
type famState struct {
	phase   phase
	flying  bool // an announce is under way
	started bool // it answered a started event, so that it will want a stopped one
	leecher bool // it was told that data is missing, so that it will want a completed event
	early   uint8
	fails   int // in a row

	tried    time.Duration // last sent
	last     time.Duration // last good answer
	next     time.Duration
	interval time.Duration
	minimum  time.Duration // as stated by the tracker
	err      string
}

// flight is an announce under way.
type flight struct {
	id       int
	st       *state
	fam      int
	event    Event
	complete bool // nothing was missing when it was sent
}

// NewSchedule makes the schedule of a torrent with these tiers of URLs. It is
// idle until Start.
func NewSchedule(tiers [][]string, cfg ScheduleConfig, rng *rand.Rand) *Schedule {
	s := &Schedule{cfg: cfg.withDefaults(), rng: rng}
	seen := make(map[string]bool)
	tier := 0
	for _, urls := range tiers {
		first := len(s.order)
		for _, u := range urls {
			if !seen[u] && len(s.order) < maxTrackers {
				seen[u] = true
				s.order = append(s.order, entry{url: u, tier: tier})
			}
		}
		added := s.order[first:]
		rng.Shuffle(len(added), func(i, j int) { added[i], added[j] = added[j], added[i] })
		if len(added) > 0 {
			tier++
		}
	}
	return s
}

// at converts an instant, and notes it.
func (s *Schedule) at(now time.Time) time.Duration {
	if s.base.IsZero() {
		s.base = now.Add(-time.Second) // so that 0 means never
	}
	s.clock = max(s.clock, now.Sub(s.base))
	return s.clock
}

// Start begins announcing. Call Completed before it for a torrent that is
// complete already: then no completed event is sent.
func (s *Schedule) Start(now time.Time) {
	t := s.at(now)
	if s.running {
		return
	}
	s.running, s.start = true, t+max(0, s.cfg.Delay)
	if s.cfg.Spread > 0 {
		s.start += time.Duration(s.rng.Int64N(int64(s.cfg.Spread)))
	}
	for _, e := range s.order {
		if e.st != nil {
			e.st.restart()
		}
	}
}

// restart forgets all that could delay a first announce.
func (st *state) restart() {
	st.disabled = ""
	for i := range st.fam {
		f := &st.fam[i]
		*f = famState{last: f.last, tried: f.tried}
	}
}

// Completed says that all data is here. Trackers that were told otherwise get
// a completed event, once.
func (s *Schedule) Completed(now time.Time) {
	s.at(now)
	s.complete = true
}

// NeedPeers says whether more addresses are wanted than are known: then
// announces are made before the interval is over, but not before the minimum
// interval, and less and less early while it lasts.
func (s *Schedule) NeedPeers(now time.Time, need bool) {
	s.at(now)
	s.need = need
}

// Reannounce asks for announces as soon as possible, because a user wants
// them: interval, back-off and spread no longer count. A minimum interval
// counts up to one minute.
func (s *Schedule) Reannounce(now time.Time) {
	t := s.at(now)
	s.start = min(s.start, t)
	for _, e := range s.order {
		if e.st == nil {
			continue
		}
		e.st.disabled = ""
		for i := range e.st.fam {
			f := &e.st.fam[i]
			soonest := t
			if f.phase != phaseNew {
				soonest = max(t, f.tried+userFloor, f.last+min(f.minimum, userMinimum))
			}
			if f.phase == phaseNew || soonest < f.next {
				f.next = soonest
			}
		}
	}
}

// Stop ends announcing. It returns the stopped events that are due: one for
// each tracker and family that answered a started event. Their results need
// not be reported; those of earlier announces are ignored from now on.
func (s *Schedule) Stop(now time.Time) []Announce {
	s.at(now)
	out := s.leaving
	s.leaving, s.flights, s.running = nil, nil, false
	for _, e := range s.order {
		if e.st != nil {
			out = s.farewell(e, out)
		}
	}
	return out
}

// farewell appends the stopped events for one tracker.
func (s *Schedule) farewell(e entry, out []Announce) []Announce {
	for i, family := range s.cfg.Families {
		f := &e.st.fam[i]
		if f.started {
			s.serial++
			out = append(out, Announce{ID: s.serial, URL: e.url, Family: family, Event: Stopped, TrackerID: e.st.trackerID})
		}
		f.started, f.flying = false, false
	}
	return out
}

// Add adds a tracker to a tier, the first being 0; a negative tier, or one
// that does not exist, means a new last one. A URL that is known already is
// left where it is.
func (s *Schedule) Add(tier int, url string) error {
	if err := CheckURL(url); err != nil {
		return err
	}
	last := -1
	for _, e := range s.order {
		if e.url == url {
			return nil
		}
		last = e.tier
	}
	if len(s.order) >= maxTrackers {
		return errors.New("too many trackers")
	}
	if tier < 0 || tier > last {
		tier = last + 1
	}
	at := len(s.order)
	for at > 0 && s.order[at-1].tier > tier {
		at--
	}
	s.order = slices.Insert(s.order, at, entry{url: url, tier: tier})
	return nil
}

// Remove removes a tracker and tells whether it was there. If it had
// answered, the next Due holds stopped events for it.
func (s *Schedule) Remove(url string) bool {
	at := slices.IndexFunc(s.order, func(e entry) bool { return e.url == url })
	if at < 0 {
		return false
	}
	e := s.order[at]
	s.order = slices.Delete(s.order, at, at+1)
	if e.st != nil {
		s.leaving = s.farewell(e, s.leaving)
		s.flights = slices.DeleteFunc(s.flights, func(f flight) bool { return f.st == e.st })
	}
	return true
}
