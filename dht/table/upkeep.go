package table

import (
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// What upkeep keeps to.
const (
	startRate   = 10 // queries per second to nodes of an earlier run, and just after the first answer
	starting    = 30 * time.Second
	settling    = 10 * time.Minute // how long after the start the table may fill at Config.Busy
	selfSearch  = 30 * time.Minute // between searches for ourselves
	retryAfter  = 5 * time.Second  // from the first miss to the second query
	freshSmall  = 13 * time.Minute // a node of a small bucket is asked again: BEP 5 calls it good for 15 min
	freshLarge  = 26 * time.Minute // the same for large buckets, of which there is always another to hand out
	reaskSpare  = 10 * time.Minute
	hurryAfter  = 3   // queries sent sooner after one was lost
	doubtAfter  = 4   // queries without an answer before the link is tried
	early       = 0.1 // of the time after which a node is asked again: before it is due
	longStreak  = 15  // answers in a row: then all is well
	window      = 10  // queries that say whether many nodes are dead
	dryAfter    = 5   // replies in a row that name nobody new: there are no more nodes
	improveEach = 3   // of this many queries, one looks for something better
)

// Kind is what Upkeep asks for.
type Kind uint8

// The kinds of actions.
const (
	None     Kind = iota // nothing now
	Ping                 // send a ping to Node
	FindNode             // send find_node for Target to Node, and call Named with the nodes in the reply
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
	began    time.Time // when the first node answered; zero before
	searched time.Time // for ourselves, last
	next     time.Time // query, not before
	turn     int
	results  [window]bool // of queries to nodes that were good: whether they failed
	counted  int
	streak   int              // answers in a row
	turned   time.Time        // when a long streak ended
	hurry    int              // queries to be sent sooner, to see whether more are dead
	sweep    time.Time        // when all live nodes began to be asked, since many are dead; zero if not
	before   int              // good nodes when the sweep began
	restored []netip.AddrPort // to be asked, the best first
}

// Failing reports whether more than a fifth of the last ten nodes that Upkeep
// asked, and that were good before, did not answer while our link works. It
// stays so until all nodes that were good then have been asked.
func (t *Table) Failing() bool { return !t.keeper.sweep.IsZero() }

// report notes how a query of upkeep ended. Only nodes that answered not long
// before say something about the table.
func (t *Table) report(e *entry, ok bool) {
	k := &t.keeper
	if e.probing && e.fails == 0 && e.live && e.asked.Sub(e.answered) < freshLarge*2 {
		k.results[k.counted%window] = !ok
		k.counted++
		if ok {
			k.streak++
		} else {
			if k.streak >= longStreak {
				k.turned = e.asked
			}
			k.hurry, k.streak = hurryAfter, 0
		}
	}
	e.probing = false
}

// alarm begins a sweep if too many queries failed.
func (t *Table) alarm(now time.Time) {
	k := &t.keeper
	if k.counted < window || t.LinkDown() {
		return
	}
	failed := 0
	for _, f := range k.results {
		if f {
			failed++
		}
	}
	switch {
	case failed*5 <= window:
	case !t.Failing():
		k.sweep, k.before = now, t.good
	case k.turned.After(k.sweep):
		k.sweep = k.turned // those who answered before may be dead as well
	}
}

// calm ends a sweep: everybody was asked. If many are missing, others may be
// looked for faster than otherwise for a while.
func (t *Table) calm(now time.Time) {
	k := &t.keeper
	k.sweep, k.counted = time.Time{}, 0
	if t.good*10 < k.before*9 {
		k.began = now.Add(-starting)
	}
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
	t.alarm(now)
	age := now.Sub(k.began)
	filling := !k.began.IsZero() && age < settling && !t.LinkDown()
	rate := t.cfg.Idle
	switch {
	case filling && age < starting:
		rate = startRate
	case t.LinkDown():
	case filling || t.Failing() || k.hurry > 0:
		rate = t.cfg.Busy
	}
	pause := time.Duration(float64(time.Second) / rate)
	a := t.choose(now, filling)
	if a.Kind == None {
		k.next = now.Add(min(pause, time.Second*5))
		return a, k.next
	}
	k.turn++
	k.hurry = max(0, k.hurry-1)
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
// makes the table better, however much else there is to do. In a sweep, all are
// asked once, and then the suspects again.
func (t *Table) choose(now time.Time, filling bool) Action {
	if t.misses >= doubtAfter {
		if e := t.likeliest(now); e != nil {
			return t.probe(e, now)
		}
	}
	if t.Failing() {
		if e := t.unswept(); e != nil {
			return t.probe(e, now)
		}
		if e := t.suspect(now); e != nil {
			return t.probe(e, now)
		}
		t.calm(now)
	}
	if t.keeper.turn%improveEach == 0 && t.keeper.hurry == 0 {
		if a := t.improve(now); a.Kind != None {
			return a
		}
	}
	if e := t.suspect(now); e != nil {
		return t.probe(e, now)
	}
	overdue := 1.0
	if t.keeper.hurry > 0 {
		overdue = early
	}
	if e := t.stalest(now, overdue); e != nil {
		return t.probe(e, now)
	}
	if a := t.widen(now); a.Kind != None {
		return a
	}
	if a := t.improve(now); a.Kind != None {
		return a
	}
	if filling {
		return Action{}
	}
	if e := t.stalest(now, early); e != nil { // so that we hear of it when many die
		return t.probe(e, now)
	}
	return Action{}
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
	target := t.random().Mix(t.self, i).Mix(t.self.Flip(i), i+1)
	e.target = target
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

// likeliest is the good node that answered last and was not asked since: if it
// does not answer, our link may be down.
func (t *Table) likeliest(now time.Time) (best *entry) {
	for i := range t.deepest + 1 {
		for _, e := range t.buckets[i].live {
			if e.fails > 0 || e.probing && now.Sub(e.asked) < time.Minute {
				continue
			}
			if best == nil || e.answered.After(best.answered) {
				best = e
			}
		}
	}
	return best
}

// unswept is the live node that was not heard of for longest, of those that
// were not asked since the sweep began.
func (t *Table) unswept() (oldest *entry) {
	sweep := t.keeper.sweep
	for i := range t.deepest + 1 {
		for _, e := range t.buckets[i].live {
			if e.fails > 0 || e.answered.After(sweep) || e.asked.After(sweep) {
				continue
			}
			if oldest == nil || e.answered.Before(oldest.answered) {
				oldest = e
			}
		}
	}
	return oldest
}

// stalest is the good node that is most overdue to be asked, by as much at
// least; 1 is when its time has come.
func (t *Table) stalest(now time.Time, overdue float64) (worst *entry) {
	for i := range t.deepest + 1 {
		period := freshLarge
		if capacity(i) == K {
			period = freshSmall
		}
		for _, e := range t.buckets[i].live {
			if e.fails > 0 || e.probing && now.Sub(e.asked) < time.Minute {
				continue
			}
			last := e.answered
			if e.queried.After(last) {
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
// nobody told us of yet. A bucket's turn comes the more often the more places
// are free, 32 counting as many.
func (t *Table) widen(now time.Time) Action {
	total := 0
	for i := range t.deepest + 1 {
		total += t.thirst(i, now)
	}
	if total == 0 {
		return Action{}
	}
	draw := t.rng.IntN(total)
	i := 0
	for ; draw >= t.thirst(i, now); i++ {
		draw -= t.thirst(i, now)
	}
	if e := t.untried(i, now); e != nil {
		return t.probe(e, now)
	}
	t.buckets[i].changed = now // of the search, at least
	e := t.guide(i)
	if e == nil {
		return Action{}
	}
	e.probing, e.asked = true, now
	return t.find(e, i)
}

// thirst is the weight of a bucket that has room, and a way to get more nodes.
func (t *Table) thirst(i int, now time.Time) int {
	b := &t.buckets[i]
	free := min(capacity(i)-len(b.live), 32)
	if free == 0 || b.dry >= dryAfter && now.Sub(b.changed) <= 15*time.Minute && t.untried(i, now) == nil {
		return 0
	}
	return free
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

// guide is a good node to ask for others of bucket i: any of that bucket or of
// a deeper one, since all have i bits in common with what is searched for; if
// there is none, one of the closest.
func (t *Table) guide(i int) (pick *entry) {
	seen := 0
	for j := i; j <= t.deepest; j++ {
		for _, e := range t.buckets[j].live {
			if e.fails > 0 {
				continue
			}
			if seen++; t.rng.IntN(seen) == 0 {
				pick = e
			}
		}
	}
	if pick != nil {
		return pick
	}
	var found [maxClosest]*entry
	if n := t.closest(t.self, K, &found); n > 0 {
		return found[t.rng.IntN(n)]
	}
	return nil
}

// improve looks for better nodes in full buckets: a spare that answered, has
// been known for long enough and would push out another; while the table
// settles, also spares whose round-trip time is not known yet.
func (t *Table) improve(now time.Time) Action {
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
	return Action{}
}
