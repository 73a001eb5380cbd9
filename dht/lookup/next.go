package lookup

import "time"

// Next appends the queries that are to be sent now and says when to call
// again if nothing is heard before.
func (l *Lookup) Next(now time.Time, dst []Query) ([]Query, time.Time) {
	l.expire(now)
	dst = l.ask(now, dst, false)
	if l.window(true) < l.cfg.K {
		dst = l.ask(now, dst, true) // nothing better is left
	}
	return dst, l.wake(now)
}

// expire lets queries stall, and gives up those that are too old.
func (l *Lookup) expire(now time.Time) {
	for _, c := range l.list {
		if c.state != waiting && c.state != stalled {
			continue
		}
		age := now.Sub(c.sent)
		if age >= l.cfg.Timeout {
			l.fail(c)
			l.trace(Event{At: now, Kind: TimedOut, Node: c.node, Hop: c.hop})
			continue
		}
		if c.state == waiting && age >= c.stall {
			c.state = stalled
			l.trace(Event{At: now, Kind: Stalled, Node: c.node, Hop: c.hop})
		}
	}
}

// ask fills the window with queries. Those named by nodes that lost their say
// are left out, unless all is true.
func (l *Lookup) ask(now time.Time, dst []Query, all bool) []Query {
	seats, busy := 0, 0
	for _, c := range l.list {
		if seats == l.cfg.K || busy == l.cfg.Alpha {
			break
		}
		switch c.state {
		case failed, useless:
			continue
		case stalled:
			if l.cfg.Announce && !c.again && l.room() {
				dst = l.send(c, now, dst)
				seats++
				busy++
			}
			continue
		case answered:
			seats++
		case waiting:
			seats++
			busy++
		case fresh:
			if !all && !l.trusted(c) || !l.room() || !l.mayAsk(c) {
				continue
			}
			dst = l.send(c, now, dst)
			seats++
			busy++
		}
	}
	return dst
}

func (l *Lookup) room() bool { return l.stats.Queries < l.cfg.MaxQueries }

func (l *Lookup) send(c *candidate, now time.Time, dst []Query) []Query {
	c.again = c.state == stalled
	if c.again {
		l.stats.Repeated++
	} else if c.network != 0 {
		l.asked[c.network]++
	}
	c.state, c.sent = waiting, now
	c.stall = l.cfg.RTT.Stall()
	if c.rtt > 0 {
		c.stall = min(c.stall, max(2*c.rtt, minStall))
	}
	l.stats.Queries++
	l.trace(Event{At: now, Kind: Sent, Node: c.node, Hop: c.hop, Again: c.again})
	return append(dst, Query{c.node, c.again})
}

// window counts the candidates that hold a place among the closest.
func (l *Lookup) window(trustedOnly bool) (n int) {
	for _, c := range l.list {
		switch c.state {
		case answered, waiting:
			n++
		case fresh:
			if l.room() && l.mayAsk(c) && (!trustedOnly || l.trusted(c)) {
				n++
			}
		}
	}
	return n
}

// wake is when something changes by itself.
func (l *Lookup) wake(now time.Time) time.Time {
	next := now.Add(l.cfg.Timeout)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	for _, c := range l.list {
		switch c.state {
		case waiting:
			sooner(c.sent.Add(c.stall))
		case stalled:
			sooner(c.sent.Add(2 * c.stall))
			sooner(c.sent.Add(l.cfg.Timeout))
		}
	}
	return next
}

// Done reports whether the search is over: the closest have answered and no
// nearer one is likely to; or there is nobody left to ask.
func (l *Lookup) Done(now time.Time) bool {
	count := 0
	for _, c := range l.list {
		switch c.state {
		case answered:
			count++
		case waiting, stalled:
			if now.Sub(c.sent) < 2*c.stall || l.answers == 0 {
				return false
			}
		case fresh:
			if l.room() && l.mayAsk(c) && l.trusted(c) {
				return false
			}
		}
		if count == l.cfg.K {
			break
		}
	}
	if count < l.cfg.K && l.window(false) > count {
		return false
	}
	if !l.traced {
		l.traced = true
		l.trace(Event{At: now, Kind: Finished})
	}
	return true
}
