package tracker

import "time"

// The states of a tracker for display.
const (
	StatusIdle       = "idle"       // not asked, because it is not its turn
	StatusAnnouncing = "announcing" // an answer is awaited
	StatusWorking    = "working"    // the last answer was good, over one family at least
	StatusFailed     = "failed"     // see View.Error; it is tried again
	StatusDisabled   = "disabled"   // never asked; see View.Error
)

// View is a picture of one tracker of a torrent.
type View struct {
	URL       string
	Tier      int
	Status    string // one of the Status words
	Error     string // the last failure; beside StatusWorking that of the other family
	Warning   string // from the last answer
	Announces int    // good answers
	Failures  int    // in a row
	Peers     int    // addresses in the last answer
	Swarm     ScrapeResult
	Last      time.Time // last good answer; zero if none
	Next      time.Time // next announce; zero if none is planned
}

// View shows all trackers in the order in which they are tried.
func (s *Schedule) View() []View {
	out := make([]View, 0, len(s.order))
	for _, e := range s.order {
		v := View{URL: e.url, Tier: e.tier, Status: StatusIdle, Swarm: unknownScrape}
		if e.st != nil {
			s.describe(e.st, &v)
		}
		out = append(out, v)
	}
	if !s.running {
		return out
	}
	i := 0
	planned := make(map[string]time.Duration, len(out))
	s.walk(func(e *entry) bool {
		if e.st == nil {
			planned[e.url] = max(s.start, s.clock)
			return true
		}
		settled, _ := s.look(e.st, s.clock)
		planned[e.url] = s.nextOf(e.st)
		return settled
	})
	for i = range out {
		if at, ok := planned[out[i].URL]; ok && at != never {
			out[i].Next = s.base.Add(at)
		}
	}
	return out
}

// nextOf is when a tracker is asked next.
func (s *Schedule) nextOf(st *state) time.Duration {
	next := never
	for i := range s.cfg.Families {
		if f := &st.fam[i]; st.disabled == "" && !f.flying && f.phase != phaseOff {
			next = min(next, max(s.due(f), s.start, s.clock))
		}
	}
	return next
}

// describe fills in what is known of one tracker.
func (s *Schedule) describe(st *state, v *View) {
	v.Warning, v.Announces, v.Peers, v.Swarm = st.warning, st.announces, st.peers, st.swarm
	working, failed, flying := false, false, false
	failures := -1
	for i := range s.cfg.Families {
		f := &st.fam[i]
		flying = flying || f.flying
		working = working || f.phase == phaseOK
		failed = failed || f.phase == phaseFailed
		if f.phase != phaseOff && (failures < 0 || f.fails < failures) {
			failures = f.fails
		}
		if f.last > 0 && s.base.Add(f.last).After(v.Last) {
			v.Last = s.base.Add(f.last)
		}
	}
	v.Failures = max(failures, 0)
	switch {
	case st.disabled != "":
		v.Status = StatusDisabled
	case flying:
		v.Status = StatusAnnouncing
	case working:
		v.Status = StatusWorking
	case failed:
		v.Status = StatusFailed
	}
	v.Error = s.reason(st, working)
}

// reason puts the last failures of both families into words. The family is
// named where it makes a difference.
func (s *Schedule) reason(st *state, working bool) string {
	if st.disabled != "" {
		return st.disabled
	}
	text := ""
	for i, family := range s.cfg.Families {
		f := &st.fam[i]
		if f.phase != phaseFailed || f.err == "" || f.err == text {
			continue
		}
		part := f.err
		if working || text != "" {
			part = family.String() + ": " + part
		}
		if text != "" {
			text += "; "
		}
		text += part
	}
	return text
}
