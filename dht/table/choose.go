package table

import (
	"time"

	"btd/dht/contact"
)

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
	if t.keeper.hurry > 0 { // one was lost: are others?
		if e := t.stalest(now, early); e != nil {
			return t.probe(e, now)
		}
	}
	if t.keeper.turn%improveEach == 0 {
		if a := t.improve(now); a.Kind != None {
			return a
		}
	}
	if e := t.suspect(now); e != nil {
		return t.probe(e, now)
	}
	if e := t.stalest(now, 1); e != nil {
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

// improve looks for better nodes: a spare that would push out another, and
// else one whose round-trip time is not known yet.
func (t *Table) improve(now time.Time) Action {
	for i := range t.deepest + 1 {
		if e := t.promising(i, now); e != nil {
			return t.probe(e, now)
		}
	}
	var fresh *entry
	for i := range t.deepest + 1 {
		for _, e := range t.buckets[i].spare {
			if !e.proven() && now.Sub(e.asked) >= reaskSpare && (fresh == nil || e.added.After(fresh.added)) {
				fresh = e
			}
		}
	}
	if fresh == nil {
		return Action{}
	}
	return t.probe(fresh, now)
}

// promising is a spare of a bucket that answered, has been known for long
// enough and would push out another. If there is none, the bucket is left
// alone for a minute.
func (t *Table) promising(i int, now time.Time) *entry {
	b := &t.buckets[i]
	if now.Sub(b.looked) < time.Minute {
		return nil
	}
	for _, e := range b.spare {
		if !e.proven() || now.Sub(e.first) < t.cfg.Quarantine {
			continue
		}
		if now.Sub(e.asked) < reaskSpare && !e.asked.Before(e.first.Add(t.cfg.Quarantine)) {
			continue
		}
		if t.victim(e) != nil {
			return e
		}
	}
	b.looked = now
	return nil
}
