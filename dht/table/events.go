package table

import (
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// Answered tells of a reply that matches a query of ours, whatever it was sent
// for. asked is the node as it was asked, with a zero id if that was not known;
// id is the one in the reply; rtt is the time since the query was sent, 0 if
// that is not known.
//
// A node that answers with another id than it was asked for has lied only if it
// had told us an id itself: otherwise the lie may be of whoever named it so, who
// loses credit. Or else anybody could have us refuse anybody. Who tells a second
// id is not believed any more for an hour.
func (t *Table) Answered(asked contact.Node, id krpc.ID, rtt time.Duration, now time.Time) {
	t.hear(now)
	t.dead.forget(asked.Addr)
	e := t.byAddr[asked.Addr]
	if !asked.ID.IsZero() && asked.ID != id && !t.misnamed(e, asked.Addr, id, now) {
		return
	}
	if e != nil && e.node.ID != id {
		t.report(e, false)
		t.remove(e) // somebody else lives there now
		t.fill(int(e.bucket), now)
		e = nil
	}
	if e == nil {
		if e = t.admit(contact.Node{ID: id, Addr: asked.Addr}, now); e == nil {
			return
		}
	}
	if s := t.byAddr[e.source]; s != nil && !e.proven() {
		s.named++
	}
	t.report(e, true)
	if e.live && e.fails > 0 {
		t.good++
	}
	switch {
	case rtt <= 0:
	case e.rtt == 0 || !e.proven():
		e.rtt = rtt
	default:
		e.rtt += (rtt - e.rtt) / 4
	}
	if e.first.IsZero() {
		e.first = now
	}
	e.answered, e.fails, e.restored = now, 0, false
	b := &t.buckets[e.bucket]
	b.changed = now
	if t.keeper.began.IsZero() {
		t.keeper.began = now
	}
	if !e.live {
		t.promote(e, now)
	}
}

// TimedOut tells that a query to addr went unanswered, whatever it was sent
// for. A reply that comes later makes it good with Answered.
func (t *Table) TimedOut(addr netip.AddrPort, now time.Time) {
	t.misses++
	if t.misses == downAfter {
		t.forgive()
	}
	e := t.byAddr[addr]
	if e == nil {
		return
	}
	if t.LinkDown() {
		e.probing = false
		return
	}
	t.report(e, false)
	if !e.live {
		t.dead.add(addr, now)
		t.remove(e)
		return
	}
	if e.fails > 0 && !t.heard.After(e.failed) {
		return // nothing was heard since its last miss: that may be our link
	}
	if e.fails++; e.fails == 1 {
		t.good--
		t.keeper.hurry = hurryAfter
	}
	e.failed = now
	if e.fails > 1 {
		t.dead.add(addr, now)
		t.remove(e)
		t.fill(int(e.bucket), now)
		return
	}
	if s := t.ready(int(e.bucket), now); s != nil {
		t.swap(e, s, now)
	}
}

// Lied tells that the node at addr was caught lying. It is forgotten, and
// refused for an hour. Whoever named it loses credit, and is refused as well
// if it named three liars, and more of them than others that answered.
func (t *Table) Lied(addr netip.AddrPort, now time.Time) {
	t.liars.add(addr, now)
	e := t.byAddr[addr]
	if e == nil {
		return
	}
	t.disown(e, now)
}

// disown forgets a node that is not what was said of it, and takes credit from
// whoever said so.
func (t *Table) disown(e *entry, now time.Time) {
	s := t.byAddr[e.source]
	t.report(e, false)
	t.remove(e)
	t.fill(int(e.bucket), now)
	if s == nil {
		return
	}
	if s.blame++; s.blame >= 3 && s.blame > s.named {
		t.Lied(s.node.Addr, now)
	}
}

// misnamed handles the answer of a node, known as e or not at all, with another
// id than it was asked for. It reports whether the node is believed.
func (t *Table) misnamed(e *entry, addr netip.AddrPort, id krpc.ID, now time.Time) bool {
	told, known := t.told.get(addr, now)
	if e != nil && e.proven() {
		told, known = e.node.ID, true
	}
	switch {
	case known && told == id:
		return true // it says what it always said
	case known:
		t.Lied(addr, now)
	default:
		t.told.set(addr, id, now)
		if e != nil {
			t.disown(e, now)
		}
	}
	return false
}

// Refuses reports whether the node was caught lying not long ago, or is known by
// another id. A zero id is not looked at.
func (t *Table) Refuses(n contact.Node, now time.Time) bool {
	told, known := t.told.get(n.Addr, now)
	if e := t.byAddr[n.Addr]; e != nil && e.proven() {
		told, known = e.node.ID, true
	}
	return t.liars.has(n.Addr, now) || known && told != n.ID && !n.ID.IsZero()
}

// Seen tells of a query that came from a node that does not say it is
// read-only (BEP 43).
func (t *Table) Seen(id krpc.ID, addr netip.AddrPort, now time.Time) {
	t.hear(now)
	if e := t.byAddr[addr]; e != nil {
		if e.node.ID == id {
			e.queried = now
		}
		return
	}
	t.admit(contact.Node{ID: id, Addr: addr}, now)
}

// Renamed reports whether a query from addr with this id is a sign that the node
// there has taken an id that fits its address (BEP 42), and is known by the one
// before. A query may be forged: only an answer changes what is known.
func (t *Table) Renamed(id krpc.ID, addr netip.AddrPort) bool {
	e := t.byAddr[addr]
	return e != nil && e.node.ID != id && !e.secure && contact.Secure(id, addr.Addr())
}

// Named tells of the nodes in the reply of the node at from to a FindNode of
// Upkeep, even if there are none. Those in replies to a search need not be told:
// they are asked in the search, if they are of use, and answer for themselves.
// Four of them count, and only those that are nearer to the target than who
// names them, so that nobody fills the table with friends; in a small network
// all.
func (t *Table) Named(from netip.AddrPort, nodes []contact.Node, now time.Time) {
	source := t.byAddr[from]
	if source == nil {
		return
	}
	taken := 0
	for _, n := range nodes[:min(len(nodes), maxNamed)] {
		if t.byAddr[n.Addr] != nil || !contact.MayName(from, n.Addr) || t.Refuses(n, now) {
			continue
		}
		if t.good >= smallNetwork && source.target != (contact.Key{}) {
			if taken == namedEach {
				break
			}
			if to := source.target; !contact.KeyOf(n.ID).Xor(to).Less(source.key.Xor(to)) {
				continue
			}
		}
		if e := t.admit(n, now); e != nil {
			e.source = from
			t.buckets[e.bucket].dry = 0
			taken++
		}
	}
	if i, ok := t.bucketOf(source.target); ok && taken == 0 && source.target != (contact.Key{}) {
		t.buckets[i].dry++
	}
}

// hear notes that something came in, so that our link is up.
func (t *Table) hear(now time.Time) {
	t.heard, t.misses = now, 0
}

// forgive takes back what was held against nodes since anything was heard.
func (t *Table) forgive() {
	for i := range t.deepest + 1 {
		for _, e := range t.buckets[i].live {
			if e.fails == 1 && e.failed.After(t.heard) {
				e.fails = 0
				t.good++
			}
		}
	}
}
