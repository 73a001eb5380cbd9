package lookup

import "time"

// Next appends the queries that are to be sent now and says when to call
// again if nothing is heard before.
func (l *Lookup) Next(now time.Time, dst []Query) ([]Query, time.Time) {
	l.expire(now)
	l.lengthen(now)
	if l.short {
		return l.askShort(now, dst), l.wake(now)
	}
	dst = l.ask(now, dst, false)
	if l.hopeful(now, false) < l.need() {
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
		switch {
		case age >= l.cfg.Timeout:
			l.fail(c)
			l.trace(Event{At: now, Kind: TimedOut, Node: c.node, Hop: c.hop})
		case c.state == waiting && age >= c.stall:
			c.state = stalled
			l.trace(Event{At: now, Kind: Stalled, Node: c.node, Hop: c.hop})
		}
	}
}

// ask fills the window with queries. Those that are asked last are left out,
// unless all is true.
func (l *Lookup) ask(now time.Time, dst []Query, all bool) []Query {
	width, alpha := l.need()+moreWidth, l.cfg.Alpha
	if l.answeredOf(width) >= nearEnd {
		alpha += moreAlpha // all that are left have to be asked anyway
	}
	seats, busy := 0, 0
	for _, c := range l.list {
		if seats == width || busy >= alpha {
			break
		}
		switch c.state {
		case stalled:
			dst = l.repeat(c, now, dst)
		case answered:
			seats++
		case waiting:
			dst = l.repeat(c, now, dst)
			seats++
			busy++
		case fresh:
			if c.by == nil && seats >= l.need() {
				continue // the places beyond are for news
			}
			if l.mayAsk(c) && (all || l.trusted(c)) && !l.onHold(c, now) {
				dst = l.send(c, now, dst)
				seats++
				busy++
			}
		}
	}
	return dst
}

// answeredOf is how many of the window's candidates have answered.
func (l *Lookup) answeredOf(width int) (n int) {
	seats := 0
	for _, c := range l.list {
		switch c.state {
		case answered:
			n++
			seats++
		case waiting, fresh:
			seats++
		}
		if seats == width {
			break
		}
	}
	return n
}

// send asks a candidate.
func (l *Lookup) send(c *candidate, now time.Time, dst []Query) []Query {
	if c.network != 0 {
		l.asked[c.network]++
	}
	c.state, c.sent = waiting, now
	if c.by != nil {
		c.by.under++
	}
	c.stall = l.cfg.RTT.Stall()
	if c.rtt > 0 {
		c.stall = min(c.stall, max(2*c.rtt, minStall))
	}
	c.lost = now.Add(l.lost(c))
	if l.cfg.Announce && !l.short {
		c.againAt = now.Add(l.cfg.RTT.Usual())
	}
	l.stats.Queries++
	l.trace(Event{At: now, Kind: Sent, Node: c.node, Hop: c.hop})
	return append(dst, Query{c.node, false})
}

// repeat asks a candidate once more when that is due.
func (l *Lookup) repeat(c *candidate, now time.Time, dst []Query) []Query {
	if c.again || c.againAt.IsZero() || now.Before(c.againAt) || !l.room() || l.onHold(c, now) {
		return dst
	}
	return l.resend(c, now, now.Add(l.cfg.RTT.Usual()*5/4), dst)
}

// resend asks a candidate for the second time.
func (l *Lookup) resend(c *candidate, now, lost time.Time, dst []Query) []Query {
	c.again, c.lost = true, lost
	l.stats.Queries++
	l.stats.Repeated++
	l.trace(Event{At: now, Kind: Sent, Node: c.node, Hop: c.hop, Again: true})
	return append(dst, Query{c.node, true})
}

// need is how many of the closest have to answer: more than wanted as long as
// nobody has what is searched for.
func (l *Lookup) need() int {
	if l.cfg.Values && l.stats.Hops == 0 && !l.short {
		return l.cfg.K + moreIfNone
	}
	return l.cfg.K
}

// room reports whether one more query may be sent.
func (l *Lookup) room() bool {
	return l.stats.Queries < l.cfg.MaxQueries && (!l.short || l.stats.Queries < shortQueries)
}

// onHold reports whether the candidate is not to be asked now, and notes until
// when.
func (l *Lookup) onHold(c *candidate, now time.Time) bool {
	if l.cfg.Hold == nil {
		return false
	}
	c.held = l.cfg.Hold(c.node.Addr)
	return c.held.After(now)
}

// hopeful counts the candidates that have answered or are about to; with
// last, also those that are asked last and those on hold.
func (l *Lookup) hopeful(now time.Time, last bool) (n int) {
	for _, c := range l.list {
		switch c.state {
		case answered, waiting:
			n++
		case fresh:
			if l.mayAsk(c) && (last || l.trusted(c) && !c.held.After(now)) {
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
		sooner(c.held)
		if c.state != waiting && c.state != stalled {
			continue
		}
		sooner(c.sent.Add(c.stall))
		sooner(c.lost)
		sooner(c.sent.Add(l.cfg.Timeout))
		if !c.again {
			sooner(c.againAt)
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
			if now.Before(c.lost) || l.answers == 0 {
				return false
			}
		case fresh:
			if l.mayAsk(c) && l.trusted(c) && !l.onHold(c, now) {
				return false
			}
		}
		if count == l.need() {
			break
		}
	}
	if count < l.need() && l.hopeful(now, true) > count {
		return false
	}
	if !l.over {
		l.over = true
		l.trace(Event{At: now, Kind: Finished})
	}
	return true
}
