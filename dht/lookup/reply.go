package lookup

import (
	"net/netip"
	"slices"
	"time"

	"btd/dht/contact"
)

// OnReply takes a reply. It reports whether the reply counts: then what was
// searched for can be handed on, if it has it. It does not if nobody there was
// asked, or has answered already, or if it has another id than it was asked
// for.
func (l *Lookup) OnReply(r Reply, now time.Time) bool {
	c := l.byAddr[r.From]
	if c == nil || c.state != waiting && c.state != stalled {
		return false
	}
	if r.RTT > 0 {
		l.cfg.RTT.Add(r.RTT)
	}
	if why := l.identify(c, r); why != "" {
		l.stats.Refused++
		l.fail(c)
		l.trace(Event{At: now, Kind: Refused, Node: c.node, Hop: c.hop, RTT: r.RTT, Why: why})
		return false
	}
	late := c.state == stalled
	c.state, c.rtt = answered, r.RTT
	if len(r.Token) <= maxToken {
		c.token = string(r.Token)
	}
	if l.cfg.Announce && c.token == "" {
		c.state = useless
	}
	if c.by != nil {
		c.by.under--
		c.by.ok++
	}
	l.answers++
	l.stats.Replies++
	if r.Values && l.stats.Hops == 0 {
		l.stats.Hops, l.stats.FirstAt = c.hop, now.Sub(l.began)
	}
	taken := l.take(c, r.Nodes)
	l.stats.Believed += taken
	l.trace(Event{
		At: now, Kind: Answered, Node: c.node, Hop: c.hop, RTT: r.RTT, Late: late,
		Named: len(r.Nodes), New: taken, Values: r.Values,
	})
	return true
}

// identify holds a reply's id against the one that was asked for, and those by
// which others named the node: one that names it wrongly hides nobody.
func (l *Lookup) identify(c *candidate, r Reply) (why string) {
	key := contact.KeyOf(r.ID)
	if key == l.self {
		return "our own id"
	}
	for _, o := range l.list {
		if o != c && o.node.ID == r.ID && (o.state == answered || o.state == useless) {
			return "an id that answered from another address"
		}
	}
	if !c.unnamed {
		if c.node.ID == r.ID {
			return ""
		}
		if !slices.Contains(c.others, r.ID) {
			c.told = r.ID
			return "another id"
		}
	}
	c.node.ID, c.unnamed = r.ID, false
	c.secure = contact.Secure(r.ID, r.From.Addr())
	l.list = slices.Delete(l.list, slices.Index(l.list, c), slices.Index(l.list, c)+1)
	c.dist = key.Xor(l.target)
	l.insert(c)
	return ""
}

// OnError tells that the node at addr answered with an error message, or that
// no query could be sent to it.
func (l *Lookup) OnError(addr netip.AddrPort, now time.Time) {
	c := l.byAddr[addr]
	if c == nil || c.state != waiting && c.state != stalled {
		return
	}
	l.fail(c)
	l.trace(Event{At: now, Kind: Failed, Node: c.node, Hop: c.hop})
}

// fail gives a candidate up.
func (l *Lookup) fail(c *candidate) {
	c.state = failed
	l.stats.Failed++
	if c.network != 0 {
		l.asked[c.network]--
	}
	if c.by != nil {
		c.by.under--
		c.by.bad++
	}
}

// trusted reports whether the candidate is asked in its turn. Those kept in
// reserve, those nearer than any node should be, and those whose only source
// named nobody yet who answered and has three on trust, are asked last.
func (l *Lookup) trusted(c *candidate) bool {
	if l.short {
		return c.cached || l.answers > 0
	}
	if c.by == nil {
		return !c.reserve || l.answers > 0 // from then on, distance alone counts
	}
	if l.cfg.Bits > 0 && !c.secure && c.dist.Zeros() > l.cfg.Bits+farBits {
		return false
	}
	return c.named > 1 || c.by.under+c.by.bad < credit+creditEach*c.by.ok
}

// mayAsk holds a candidate against the rule of diversity, and the search
// against its bound.
func (l *Lookup) mayAsk(c *candidate) bool {
	return l.room() && (c.network == 0 || l.asked[c.network] < perNetwork)
}

// take makes candidates of those of the named nodes that are closest to the
// target, and returns how many were new.
func (l *Lookup) take(from *candidate, nodes []contact.Node) (taken int) {
	var best [maxTaken]struct {
		dist contact.Key
		at   int
	}
	n := 0
	for i, node := range nodes[:min(len(nodes), maxNamed)] {
		if !contact.MayName(from.node.Addr, node.Addr) {
			continue
		}
		d := contact.KeyOf(node.ID).Xor(l.target)
		if n == maxTaken {
			if !d.Less(best[n-1].dist) {
				continue
			}
		} else {
			n++
		}
		at := n - 1
		for ; at > 0 && d.Less(best[at-1].dist); at-- {
			best[at] = best[at-1]
		}
		best[at].dist, best[at].at = d, i
	}
	for _, b := range best[:n] {
		if l.add(nodes[b.at], from, false) != nil {
			taken++
		}
	}
	return taken
}

// add makes a candidate of a node, if the rules allow it and it is new.
func (l *Lookup) add(n contact.Node, by *candidate, unnamed bool) *candidate {
	if old := l.byAddr[n.Addr]; old != nil && (old.told.IsZero() || old.told != n.ID) {
		switch {
		case by == nil:
		case old.node.ID != n.ID:
			if len(old.others) < maxNames && !slices.Contains(old.others, n.ID) {
				old.others = append(old.others, n.ID)
			}
		case old.by != by:
			old.named++
			old.reserve = false // it is near, however slow: others name it
		}
		return nil
	}
	key := contact.KeyOf(n.ID)
	if key == l.self && !unnamed || n.Addr.Addr().Is4() == l.cfg.IPv6 || contact.ScopeOf(n.Addr) == contact.Unusable {
		return nil
	}
	if l.cfg.Refuse != nil && l.cfg.Refuse(n) {
		return nil
	}
	c := &candidate{
		node: n, dist: key.Xor(l.target), network: contact.NetworkOf(n.Addr),
		unnamed: unnamed, by: by, hop: 1, named: 1,
	}
	if unnamed {
		c.dist = contact.Key{Hi: ^uint64(0), Mid: ^uint64(0), Lo: ^uint32(0)}
	} else {
		c.secure = contact.Secure(n.ID, n.Addr.Addr())
		same := 0
		for _, o := range l.list {
			if o.dist == c.dist {
				same++
			}
		}
		if same >= perID {
			return nil
		}
	}
	if by != nil {
		c.hop = by.hop + 1
	}
	if !l.makeRoom(c) {
		return nil
	}
	l.byAddr[n.Addr] = c
	l.insert(c)
	return c
}

// insert puts a candidate in its place in the list.
func (l *Lookup) insert(c *candidate) {
	at, _ := slices.BinarySearchFunc(l.list, c, func(o, c *candidate) int {
		switch {
		case o.dist.Less(c.dist):
			return -1
		case c.dist.Less(o.dist):
			return 1
		}
		return 0
	})
	l.list = slices.Insert(l.list, at, c)
}

// makeRoom drops the farthest candidate that was not asked, if that is what it
// takes to keep c.
func (l *Lookup) makeRoom(c *candidate) bool {
	if len(l.list) < maxCandidates {
		return true
	}
	for i := len(l.list) - 1; i >= 0; i-- {
		o := l.list[i]
		if o.dist.Less(c.dist) {
			return false
		}
		if o.state == fresh || o.state == failed {
			if o.state == fresh {
				delete(l.byAddr, o.node.Addr) // failed ones are remembered, not to be asked again
			}
			l.list = slices.Delete(l.list, i, i+1)
			return true
		}
	}
	return false
}
