package table

import (
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// What upkeep keeps to.
const (
	startRate   = 10               // queries per second to nodes of an earlier run
	settling    = 10 * time.Minute // how long after the start the table may fill at Config.Busy
	selfSearch  = 30 * time.Minute // between searches for ourselves
	retryAfter  = 5 * time.Second  // from the first miss to the second query
	freshSmall  = 13 * time.Minute // a node of a small bucket is asked again: BEP 5 calls it good for 15 min
	freshLarge  = 26 * time.Minute // the same for large buckets, of which there is always another to hand out
	sweepAfter  = time.Minute      // the same while many turn out dead
	reaskSpare  = 10 * time.Minute
	window      = 10 // queries that say whether many nodes are dead
	dryAfter    = 3  // FindNodes that name nobody new: there are no more nodes
	wideTries   = 16
	improveEach = 3 // of this many queries, one looks for something better
)

// Kind is what Upkeep asks for.
type Kind uint8

// The kinds of actions.
const (
	None     Kind = iota // nothing now
	Ping                 // send a ping to Node
	FindNode             // send find_node for Target to Node, and call Named for each node in the reply
	Search               // run a search for Target, to the end
)

// Action is what Upkeep asks for.
type Action struct {
	Kind   Kind
	Node   contact.Node
	Target krpc.ID
}

// keeper is the state of upkeep.
type keeper struct {
	began    time.Time
	searched time.Time // for ourselves, last
	next     time.Time // query, not before
	turn     int
	results  [window]bool // of queries to nodes that were good: whether they failed
	counted  int
	restored []netip.AddrPort // to be asked, the best first
}

// Failing reports whether more than a fifth of the last ten nodes that Upkeep
// asked, and that were good before, did not answer, while our link works.
func (t *Table) Failing() bool {
	k := &t.keeper
	if k.counted < window || t.LinkDown() {
		return false
	}
	failed := 0
	for _, f := range k.results {
		if f {
			failed++
		}
	}
	return failed*5 > window
}

// report notes how a query of upkeep ended. Only nodes that were good say
// something about the table.
func (t *Table) report(e *entry, ok bool) {
	if e.probing && e.live && e.fails == 0 {
		t.keeper.results[t.keeper.counted%window] = !ok
		t.keeper.counted++
	}
	e.probing = false
}

// Upkeep says what to ask next, or None, and when to call again. The budget is
// Config.Idle, and Config.Busy while the table fills or Failing is true. It
// asks for a Search for our own id when the first node has answered, after
// Rehome, and each half an hour.
func (t *Table) Upkeep(now time.Time) (Action, time.Time) {
	k := &t.keeper
	if t.good > 0 && (k.searched.IsZero() || now.Sub(k.searched) >= selfSearch) {
		k.searched = now
		return Action{Kind: Search, Target: t.self.ID()}, now
	}
	if now.Before(k.next) {
		return Action{}, k.next
	}
	if e := t.nextRestored(); e != nil {
		k.next = now.Add(time.Second / startRate)
		return t.probe(e, now), k.next
	}
	filling := now.Sub(k.began) < settling && !t.LinkDown()
	rate := t.cfg.Idle
	if filling || t.Failing() {
		rate = t.cfg.Busy
	}
	pause := time.Duration(float64(time.Second) / rate)
	a := t.choose(now, filling)
	if a.Kind == None {
		k.next = now.Add(min(pause, time.Second*5))
		return a, k.next
	}
	k.turn++
	k.next = now.Add(pause)
	return a, k.next
}

func (t *Table) nextRestored() *entry {
	k := &t.keeper
	for len(k.restored) > 0 {
		e := t.byAddr[k.restored[0]]
		k.restored = k.restored[1:]
		if e != nil && e.restored {
			return e
		}
	}
	k.restored = nil
	return nil
}

// choose picks whom to ask. Suspects come before the rest, since they either
// can be handed out again or free a place; then who was not heard of for too
// long; then free places. Every now and then it is the turn of something that
// makes the table better, however much else there is to do.
func (t *Table) choose(now time.Time, filling bool) Action {
	if t.keeper.turn%improveEach == 0 && !t.Failing() {
		if a := t.improve(now, filling); a.Kind != None {
			return a
		}
	}
	if e := t.suspect(now); e != nil {
		return t.probe(e, now)
	}
	if e := t.stalest(now); e != nil {
		return t.probe(e, now)
	}
	if a := t.widen(now); a.Kind != None {
		return a
	}
	return t.improve(now, filling)
}

// probe asks a node. It is asked for nodes of its own bucket where these are
// wanted.
func (t *Table) probe(e *entry, now time.Time) Action {
	e.probing, e.asked = true, now
	i := int(e.bucket)
	if t.wanted(i) {
		return t.find(e, i)
	}
	return Action{Kind: Ping, Node: e.node}
}

// find asks a node for others of bucket i.
func (t *Table) find(e *entry, i int) Action {
	t.buckets[i].dry++
	target := t.random().Mix(t.self, i).Mix(t.self.Flip(i), i+1)
	return Action{Kind: FindNode, Node: e.node, Target: target.ID()}
}

func (t *Table) random() contact.Key {
	return contact.Key{Hi: t.rng.Uint64(), Mid: t.rng.Uint64(), Lo: t.rng.Uint32()}
}

// wanted reports whether a bucket could do with more nodes to choose from.
func (t *Table) wanted(i int) bool {
	b := &t.buckets[i]
	untried := 0
	for _, e := range b.spare {
		if !e.proven() && e.asked.IsZero() {
			untried++
		}
	}
	return untried < max(capacity(i)-len(b.live), capacity(i)/4)
}

// suspect is a node that missed one query, and is to be asked once more.
func (t *Table) suspect(now time.Time) (first *entry) {
	for i := range t.deepest + 1 {
		for _, e := range t.buckets[i].live {
			if e.fails == 0 || e.probing && now.Sub(e.asked) < time.Minute {
				continue
			}
			if now.Sub(e.failed) < retryAfter && !e.queried.After(e.failed) {
				continue
			}
			if first == nil || e.failed.Before(first.failed) {
				first = e
			}
		}
	}
	return first
}

// stalest is the good node that is most overdue to be asked.
func (t *Table) stalest(now time.Time) (worst *entry) {
	overdue := 1.0
	failing := t.Failing()
	for i := range t.deepest + 1 {
		period := freshLarge
		switch {
		case failing:
			period = sweepAfter
		case capacity(i) == K:
			period = freshSmall
		}
		for _, e := range t.buckets[i].live {
			if e.fails > 0 || e.probing && now.Sub(e.asked) < time.Minute {
				continue
			}
			last := e.answered
			if !failing && e.queried.After(last) {
				last = e.queried // BEP 5: who answered once and asks us is good
			}
			if o := float64(now.Sub(last)) / float64(period); o >= overdue {
				overdue, worst = o, e
			}
		}
	}
	return worst
}

// widen looks for nodes for free places: spares of that bucket, or others that
// nobody told us of yet. The deepest buckets that have room come first.
func (t *Table) widen(now time.Time) Action {
	for i := t.deepest; i >= 0; i-- {
		b := &t.buckets[i]
		if len(b.live) >= capacity(i) {
			continue
		}
		if e := t.untried(i, now); e != nil {
			return t.probe(e, now)
		}
		if b.dry < dryAfter || now.Sub(b.changed) > 15*time.Minute {
			b.changed = now // of the search, at least
			if e := t.near1(i); e != nil {
				e.probing, e.asked = true, now
				return t.find(e, i)
			}
		}
	}
	return Action{}
}

// untried is the spare of a bucket to be asked next: one that answered before,
// the quickest of them, or the latest to be heard of.
func (t *Table) untried(i int, now time.Time) (best *entry) {
	for _, e := range t.buckets[i].spare {
		if now.Sub(e.asked) < reaskSpare || !t.fits(e, nil) {
			continue
		}
		if best == nil || t.worseSpare(best, e) {
			best = e
		}
	}
	return best
}

// near1 is a good node to ask for others of bucket i: one of it, or of the
// closest bucket that has any.
func (t *Table) near1(i int) *entry {
	var found [maxClosest]*entry
	target := t.random().Mix(t.self, i).Mix(t.self.Flip(i), i+1)
	n := t.closest(target, K, &found)
	if n == 0 {
		return nil
	}
	return found[t.rng.IntN(n)]
}

// improve looks for better nodes in full buckets: a spare that answered, has
// been known for long enough and would push out another; while the table
// settles, also spares whose round-trip time is not known yet.
func (t *Table) improve(now time.Time, filling bool) Action {
	var fresh *entry
	for i := range t.deepest + 1 {
		for _, e := range t.buckets[i].spare {
			if now.Sub(e.asked) < reaskSpare && !(e.proven() && e.asked.Before(e.first.Add(t.cfg.Quarantine))) {
				continue
			}
			if e.proven() {
				if now.Sub(e.first) >= t.cfg.Quarantine && t.victim(e) != nil {
					return t.probe(e, now)
				}
				continue
			}
			if fresh == nil || e.added.After(fresh.added) {
				fresh = e
			}
		}
	}
	if fresh != nil {
		return t.probe(fresh, now)
	}
	_ = filling
	return Action{}
}
