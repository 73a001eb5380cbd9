package lookup

import "time"

// shortQueries is the most that a short search sends.
const shortQueries = 12

// askShort asks those that were the closest in an earlier search, all at once;
// those that did not answer once more, since a packet may have been lost; and
// others that turn out to be as near, or take the place of one that is gone.
func (l *Lookup) askShort(now time.Time, dst []Query) []Query {
	seats := 0
	for _, c := range l.list {
		if seats == l.need() {
			break
		}
		switch c.state {
		case answered:
			seats++
		case waiting, stalled:
			if !now.Before(c.lost) && l.cfg.Announce && c.cached && !c.again && l.room() && !l.onHold(c, now) {
				dst = l.resend(c, now, now.Add(l.lost(c)), dst)
			}
			if now.Before(c.lost) {
				seats++
			}
		case fresh:
			if l.mayAsk(c) && l.trusted(c) && !l.onHold(c, now) {
				dst = l.send(c, now, dst)
				seats++
			}
		}
	}
	return dst
}

// lost is how long the end of the search waits for a candidate. Of those that
// answered in an earlier search it is known how long they take.
func (l *Lookup) lost(c *candidate) time.Duration {
	if l.short && c.cached && c.rtt > 0 {
		return min(max(2*c.rtt, minLost), maxLost)
	}
	return l.cfg.RTT.Lost()
}

// lengthen makes a short search one like any other, once more than half of the
// nodes that it began with are gone.
func (l *Lookup) lengthen(now time.Time) {
	if !l.short {
		return
	}
	cached, gone := 0, 0
	for _, c := range l.list {
		if !c.cached {
			continue
		}
		cached++
		switch c.state {
		case waiting, stalled:
			if !now.Before(c.lost) {
				gone++
			}
		case useless, failed:
			gone++
		}
	}
	l.short = (cached-gone)*2 >= l.cfg.K
}
