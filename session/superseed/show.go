package superseed

import (
	"slices"
	"time"

	"btd/piece"
)

// View is what the caller knows of a peer at the moment.
type View struct {
	ID         uint32
	Rate       int64 // bytes per second to it
	Interested bool  // in us
	Served     bool  // unchoked
	UploadOnly bool  // it wants nothing (BEP 21)
}

// Due tells whether Show may have something to say, for any peer.
func (s *Seed) Due(now time.Time, tick bool) bool {
	if !s.changed && !tick {
		return false
	}
	s.changed, s.waiting = false, false
	if tick {
		for _, m := range s.order {
			s.takeBack(now, m)
		}
	}
	return true
}

// takeBack frees the pieces that a peer does not fetch, or does not come to
// have although we sent it all. It stops counting those that nobody took from
// the peer for a while: a swarm of slow links is held up by nothing.
func (s *Seed) takeBack(now time.Time, m *member) {
	idle := false
	for k := len(m.gifts) - 1; k >= 0; k-- {
		g := &m.gifts[k]
		age := now.Sub(g.at)
		switch {
		case age >= giveBack && s.swarm.Availability(g.piece) == 0:
			s.put(g.piece)
			s.drop(m, k)
		case age >= tradeTime && g.left == 0 && !g.old:
			g.old, idle = true, true
			m.kept -= s.geo.Length(g.piece)
		}
	}
	if idle {
		m.slack = min(2*m.slack, mostSlack)
	}
}

// Show appends the pieces that the peer is to be told of now.
func (s *Seed) Show(now time.Time, v View, dst []piece.Index) []piece.Index {
	m := s.members[v.ID]
	if m == nil || m.told == nil || m.has.IsSeed() {
		return dst
	}
	switch {
	case v.UploadOnly && !v.Interested:
		return dst
	case v.Interested && v.Served || m.told.Count() > 0 && m.has.HasAll(m.told): // it took all of it
	default:
		m.dry = time.Time{}
		return s.bait(now, m, v, dst)
	}
	for m.ahead < s.window(aheadBytes, v.Rate) && (m.kept < s.spread(m, v.Rate) || s.alone(m)) {
		i, ok := s.next(m)
		if !ok {
			i, ok = s.second(now, m)
			if ok {
				m.told.Set(i)
				dst = append(dst, i)
			}
			break
		}
		s.give(now, m, i)
		m.told.Set(i)
		dst = append(dst, i)
	}
	s.dryness(now, m)
	return dst
}

// dryness widens the window of a peer that waited long enough for others to
// take what it has.
func (s *Seed) dryness(now time.Time, m *member) {
	switch {
	case m.ahead > 0:
		m.dry = time.Time{}
		s.waiting = true // for what it may not fetch
		return
	case m.dry.IsZero():
		m.dry = now
	case now.Sub(m.dry) >= dryAfter && len(s.pool) > 0:
		m.slack = min(2*m.slack, mostSlack)
		m.dry = now
		s.changed = true
	}
	s.waiting = true
}

// window is a number of bytes: at least least, and what the rate moves in the
// time it takes to hear of it, and a few pieces.
func (s *Seed) window(least, rate int64) int64 {
	byRate := int64(float64(rate) * aheadTime.Seconds())
	return max(least, byRate, fewPieces*s.geo.PieceLength())
}

func (s *Seed) spread(m *member, rate int64) int64 {
	return m.slack * s.window(spreadBytes, rate)
}

// alone tells whether there is nobody whom m could pass a piece to.
func (s *Seed) alone(m *member) bool {
	for _, o := range s.order {
		if o != m && !o.has.IsSeed() {
			return false
		}
	}
	return true
}

// give makes the peer the owner of piece i.
func (s *Seed) give(now time.Time, m *member, i piece.Index) {
	s.owner[i] = m.id
	n := s.geo.Length(i)
	m.ahead += n
	m.gifts = append(m.gifts, gift{piece: i, left: n, at: now})
}

// next takes a piece out of the pool that nobody has and nobody was given.
func (s *Seed) next(m *member) (piece.Index, bool) {
	for k := len(s.pool) - 1; k >= 0; k-- {
		i := s.pool[k]
		if s.owner[i] == 0 && s.swarm.Availability(i) == 0 {
			if m.told.Has(i) {
				continue // it had its chance
			}
			s.unpool(k)
			return i, true
		}
		s.unpool(k)
	}
	return 0, false
}

func (s *Seed) unpool(k int) {
	s.pooled.Clear(s.pool[k])
	s.pool = slices.Delete(s.pool, k, k+1)
}

// second is a piece that its owner takes long to fetch, for a peer that has
// nothing else to do here: the one that the fewest were shown.
func (s *Seed) second(now time.Time, m *member) (piece.Index, bool) {
	if m.ahead > 0 || now.Sub(m.dry) < secondLook/2 && !m.dry.IsZero() {
		return 0, false
	}
	var best *gift
	for _, o := range s.order {
		for k := range o.gifts {
			g := &o.gifts[k]
			if o != m && g.left > 0 && now.Sub(g.at) >= secondLook && !m.told.Has(g.piece) && (best == nil || g.more < best.more) {
				best = g
			}
		}
	}
	if best == nil {
		return 0, false
	}
	best.more++
	return best.piece, true
}

// bait shows a piece to a peer that is not served yet, or wants nothing of what
// it was shown: more of them each time. Nothing is given away by that.
func (s *Seed) bait(now time.Time, m *member, v View, dst []piece.Index) []piece.Index {
	s.waiting = true
	if m.baits > 0 && (v.Interested || now.Sub(m.since) < baitAfter) {
		return dst
	}
	m.baits, m.since = max(1, 2*m.baits), now
	shown := 0
	show := func(i piece.Index) {
		if shown < m.baits && !m.told.Has(i) && !m.has.Has(i) {
			m.told.Set(i)
			dst = append(dst, i)
			shown++
		}
	}
	if n := len(s.pool); n > 0 { // what nobody else fetches
		show(s.pool[s.rng.IntN(n)])
	}
	n := piece.Index(s.geo.Pieces())
	at := piece.Index(s.rng.Uint32N(uint32(n)))
	for k := piece.Index(0); k < n && shown < m.baits; k++ {
		show((at + k) % n)
	}
	return dst
}
