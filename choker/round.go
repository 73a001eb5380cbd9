package choker

import (
	"cmp"
	"slices"
	"time"
)

// seedShare says how many of a seed's slots go round: one in this many,
// rounded up.
const seedShare = 3

// admit makes the rotation hold exactly the peers there are, and takes the
// slots of peers that are gone or not interested.
func (c *Choker) admit(now time.Time, peers []Peer) {
	clear(c.index)
	for k := range peers {
		c.index[peers[k].ID] = k
	}
	c.slots = slices.DeleteFunc(c.slots, func(s slot) bool {
		k, ok := c.index[s.id]
		return !ok || !peers[k].Interested
	})
	c.known = zeroed(c.known, len(peers))
	c.rotation = slices.DeleteFunc(c.rotation, func(id uint32) bool {
		k, ok := c.index[id]
		if ok {
			c.known[k] = true
		}
		return !ok
	})
	for k, pr := range peers {
		if c.known[k] {
			continue
		}
		chances := 1 // of the first place; every other one has one
		if now.Sub(pr.Joined) <= c.cfg.Rotate {
			chances = newcomerChance
		}
		at := c.rng.IntN(len(c.rotation)+chances) - (chances - 1)
		if holds(c.slots, pr.ID) >= 0 { // a free slot was given at once
			at = len(c.rotation)
		}
		c.rotation = slices.Insert(c.rotation, max(0, at), pr.ID)
	}
}

// rerank decides anew who earned a slot and who keeps an optimistic one.
func (c *Choker) rerank(now time.Time, peers []Peer) {
	c.rank(peers)
	c.before = append(c.before[:0], c.slots...)
	c.slots, c.snubbing = c.slots[:0], 0
	for _, k := range c.ranked[:min(len(c.ranked), c.places-c.shared())] {
		s := slot{id: peers[k].ID, since: now}
		if at := holds(c.before, s.id); at >= 0 {
			s.since = c.before[at].since
		}
		c.slots = append(c.slots, s)
	}
	// Who got an optimistic slot last loses it last.
	slices.SortStableFunc(c.before, func(a, b slot) int { return b.since.Compare(a.since) })
	for _, s := range c.before {
		if s.optimistic && now.Sub(s.since) < c.cfg.Rotate {
			c.give(s, peers[c.index[s.id]])
		}
	}
}

// rank puts the peers that may earn a slot into ranked, the best first. Those
// who have one are only displaced by a rate that is an eighth better, so that
// equal peers do not take turns.
func (c *Choker) rank(peers []Peer) {
	c.ranked = c.ranked[:0]
	for k, pr := range peers {
		if pr.Interested && pr.Rate > 0 && (c.seeding || !pr.Snubbed) {
			c.ranked = append(c.ranked, k)
		}
	}
	c.earned = zeroed(c.earned, len(peers))
	for _, s := range c.slots {
		c.earned[c.index[s.id]] = !s.optimistic
	}
	slices.SortFunc(c.ranked, func(a, b int) int {
		x, y := peers[a], peers[b]
		if c.earned[a] {
			x.Rate += x.Rate / 8
		}
		if c.earned[b] {
			y.Rate += y.Rate / 8
		}
		switch {
		case x.Rate != y.Rate:
			return cmp.Compare(y.Rate, x.Rate)
		case c.earned[a] != c.earned[b]:
			if c.earned[a] {
				return -1
			}
			return 1
		}
		return cmp.Or(x.Joined.Compare(y.Joined), cmp.Compare(x.ID, y.ID))
	})
}

// shared is the number of slots that nobody can earn. The only slot there is
// can be earned.
func (c *Choker) shared() int {
	n := c.cfg.Optimistic
	if c.seeding {
		n = max(n, (c.places+seedShare-1)/seedShare)
	}
	return max(0, min(n, c.places-1))
}

// keep leaves who is unchoked unchoked, as far as there are slots.
func (c *Choker) keep(peers []Peer) {
	c.slots = c.slots[:min(len(c.slots), c.places)]
	c.snubbing = 0
	for _, s := range c.slots {
		if peers[c.index[s.id]].Snubbed {
			c.snubbing++
		}
	}
}

// fill gives free slots away in the order of the rotation. Who got a slot now
// had his turn: he goes to its end.
func (c *Choker) fill(now time.Time, peers []Peer) {
	for _, id := range c.rotation {
		c.give(slot{id: id, optimistic: true, since: now}, peers[c.index[id]])
	}
	for _, s := range c.slots {
		if s.since.Equal(now) {
			c.toEnd(s.id)
		}
	}
}

// toEnd puts a peer that is in the rotation at its end.
func (c *Choker) toEnd(id uint32) {
	if at := slices.Index(c.rotation, id); at >= 0 {
		c.rotation = append(slices.Delete(c.rotation, at, at+1), id)
	}
}

// give lets a peer have a slot that it did not earn if one is free. While we
// download, peers that snub us get no more of them than the Config calls
// optimistic.
func (c *Choker) give(s slot, pr Peer) {
	if len(c.slots) >= c.places || !pr.Interested || holds(c.slots, s.id) >= 0 {
		return
	}
	if pr.Snubbed {
		if !c.seeding && c.snubbing >= c.cfg.Optimistic {
			return
		}
		c.snubbing++
	}
	c.slots = append(c.slots, s)
}

// zeroed is n times false, in the memory of l if that is enough.
func zeroed(l []bool, n int) []bool {
	l = slices.Grow(l[:0], n)[:n]
	clear(l)
	return l
}
