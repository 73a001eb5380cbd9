package superseed

import (
	"math/rand/v2"
	"slices"
	"time"

	"btd/piece"
)

const (
	aheadBytes  = 2 << 20                // shown to a peer beyond what it was sent, at least
	spreadBytes = 4 << 20                // sent to a peer and seen at nobody else, at least
	aheadTime   = 250 * time.Millisecond // the same windows by the peer's rate
	fewPieces   = 2                      // and in pieces, at least

	dryAfter   = 500 * time.Millisecond // without anything to fetch, before the window grows
	tradeTime  = 2 * time.Second        // for others to take a piece, before it counts as not unspread
	giveBack   = 10 * time.Second       // without a byte taken of a piece, before another gets it
	secondLook = time.Second            // before a piece nobody has is shown to a second peer
	baitAfter  = 5 * time.Second        // before a peer that wants nothing is shown more
	linger     = 2 * time.Second        // after the swarm has one copy: peers still trade it
	look       = 250 * time.Millisecond // between looks while somebody waits for one of these
	mostSlack  = 1 << 20
)

// Swarm is what all peers together have; a piece.Picker is one.
type Swarm interface {
	// Availability is how many connected peers have piece i.
	Availability(i piece.Index) int
}

// Seed is the state of one torrent's super-seeding. It is for one goroutine at
// a time.
type Seed struct {
	geo   piece.Geometry
	swarm Swarm
	rng   *rand.Rand

	owner   []uint32        // by piece: the peer that is to spread it; 0 is nobody
	pool    []piece.Index   // pieces to give away, in random order; some may have been given
	pooled  *piece.Bitfield // those in pool
	members map[uint32]*member
	order   []*member // in order of arrival
	absent  int       // pieces that no peer has
	whole   time.Time // since when none was absent; zero while some are
	changed bool      // somebody may be shown more
	waiting bool      // somebody's wait has an end
}

// member is what is known of one peer.
type member struct {
	id      uint32
	has     *piece.Peer
	told    *piece.Bitfield // what it was shown; nil if it was told of everything
	gifts   []gift          // pieces it is to spread, until somebody else has them
	ahead   int64           // bytes of gifts not sent yet
	kept    int64           // bytes of gifts sent lately
	lenient bool            // it was told of everything once, and may not know better yet
	slack   int64           // factor of the unspread window
	dry     time.Time       // since when it has nothing to fetch here; zero if it has
	baits   int             // pieces shown to make it interested
	since   time.Time       // the last bait
}

// gift is a piece on its way through a peer.
type gift struct {
	piece piece.Index
	left  int64     // bytes to send; 0 once the peer has the piece
	at    time.Time // given, or the last bytes taken
	more  int       // others it was shown to
	old   bool      // sent long ago: not counted any more
}

// New starts super-seeding for a torrent of which we have everything.
func New(geo piece.Geometry, swarm Swarm, rng *rand.Rand) *Seed {
	s := &Seed{
		geo: geo, swarm: swarm, rng: rng,
		owner: make([]uint32, geo.Pieces()), pooled: piece.NewBitfield(geo.Pieces()), members: map[uint32]*member{},
	}
	s.Resync()
	return s
}

// Join adds a peer. One that is not covered was told of everything we have;
// what it asks for counts as given to it.
func (s *Seed) Join(id uint32, has *piece.Peer, covered bool) {
	m := &member{id: id, has: has, slack: 1}
	if covered {
		m.told = piece.NewBitfield(s.geo.Pieces())
	}
	s.members[id] = m
	s.order = append(s.order, m)
	s.changed = true
}

// Sated tells whether the peer has everything that it was told of.
func (s *Seed) Sated(id uint32) bool {
	m := s.members[id]
	return m != nil && m.told != nil && m.has.HasAll(m.told)
}

// Cover makes a peer that was told of everything one that is shown pieces bit by
// bit, and returns those that it may go on with: what it asked for, and a few
// more. It is to be told that we lack all others (BEP 54).
func (s *Seed) Cover(now time.Time, id uint32) (keeps *piece.Bitfield) {
	m := s.members[id]
	m.told, m.lenient = piece.NewBitfield(s.geo.Pieces()), true
	for _, g := range m.gifts {
		m.told.Set(g.piece)
	}
	s.Show(now, View{ID: id, Interested: true, Served: true}, nil)
	return m.told
}

// Leave removes a peer, after the swarm forgot it. What it was to spread, and
// what only it had, is given to others.
func (s *Seed) Leave(id uint32) {
	m := s.members[id]
	if m == nil {
		return
	}
	for _, g := range m.gifts {
		s.owner[g.piece] = 0
	}
	delete(s.members, id)
	s.order = slices.DeleteFunc(s.order, func(o *member) bool { return o == m })
	s.Resync()
}

// Resync looks at all pieces again: the set of a peer changed as a whole.
func (s *Seed) Resync() {
	for _, i := range s.pool {
		s.pooled.Clear(i)
	}
	s.absent, s.pool = 0, s.pool[:0]
	for i := range piece.Index(s.geo.Pieces()) {
		if s.swarm.Availability(i) > 0 {
			continue
		}
		s.absent++
		if s.owner[i] == 0 {
			s.put(i)
		}
	}
	s.rng.Shuffle(len(s.pool), func(a, b int) { s.pool[a], s.pool[b] = s.pool[b], s.pool[a] })
	for _, m := range s.order {
		for k := len(m.gifts) - 1; k >= 0; k-- {
			s.review(m, k)
		}
	}
	s.whole = time.Time{}
	s.changed = true
}

// put adds a piece to those that are to be given away.
func (s *Seed) put(i piece.Index) {
	if !s.pooled.Has(i) {
		s.pooled.Set(i)
		s.pool = append(s.pool, i)
	}
}

// Lacks notes that a peer has piece i no longer (BEP 54), after the swarm did.
// Peers may say so as often as they like.
func (s *Seed) Lacks(i piece.Index) {
	if s.swarm.Availability(i) > 0 {
		return
	}
	s.absent++
	if s.owner[i] == 0 {
		s.put(i)
	}
	s.changed = true
}

// Has notes that a peer now has piece i (BEP 3, "have"), after the swarm did.
func (s *Seed) Has(id uint32, i piece.Index) {
	if s.swarm.Availability(i) == 1 {
		s.absent--
	}
	s.changed = true
	owner := s.members[s.owner[i]]
	if owner == nil {
		return
	}
	if k := owner.find(i); k >= 0 {
		s.review(owner, k)
	}
}

// review moves gift k on to where it belongs: sent, or spread.
func (s *Seed) review(m *member, k int) {
	g := &m.gifts[k]
	others := s.swarm.Availability(g.piece)
	if m.has.Has(g.piece) {
		others--
		m.ahead -= g.left
		if g.left > 0 {
			m.kept += s.geo.Length(g.piece)
		}
		g.left = 0
	}
	if others <= 0 {
		return
	}
	s.drop(m, k)
	if m.kept < s.spread(m, 0)/2 {
		m.slack = max(1, m.slack/2)
	}
}

// drop takes gift k off the peer's account.
func (s *Seed) drop(m *member, k int) {
	switch g := m.gifts[k]; {
	case g.left > 0:
		m.ahead -= g.left
	case !g.old:
		m.kept -= s.geo.Length(g.piece)
	}
	s.owner[m.gifts[k].piece] = 0
	m.gifts = slices.Delete(m.gifts, k, k+1)
}

// Asked notes that a peer requested something of piece i. Who asks for what
// nobody has and nobody was given is to spread it.
func (s *Seed) Asked(now time.Time, id uint32, i piece.Index) {
	m := s.members[id]
	if m == nil || s.owner[i] != 0 || s.swarm.Availability(i) > 0 {
		return
	}
	s.give(now, m, i)
}

// Sent notes that bytes of piece i are on their way to a peer.
func (s *Seed) Sent(now time.Time, id uint32, i piece.Index, n int64) {
	m := s.members[id]
	if m == nil || s.owner[i] != id {
		return
	}
	k := m.find(i)
	if k < 0 || m.gifts[k].left == 0 {
		return
	}
	g := &m.gifts[k]
	n = min(n, g.left)
	g.left -= n
	g.at = now
	m.ahead -= n
	if g.left == 0 {
		m.kept += s.geo.Length(i)
	}
	s.changed = true
}

// Hidden tells whether the peer was not told that we have piece i.
func (s *Seed) Hidden(id uint32, i piece.Index) bool {
	m := s.members[id]
	return m != nil && m.told != nil && !m.told.Has(i)
}

// Refused tells whether the peer asks for what it was not told of.
func (s *Seed) Refused(id uint32, i piece.Index) bool {
	return s.Hidden(id, i) && !s.members[id].lenient
}

// Covered tells whether some of what we have is hidden from the peer.
func (s *Seed) Covered(id uint32) bool {
	m := s.members[id]
	return m != nil && m.told != nil
}

// Done tells whether the swarm goes on without us: the peers together have had
// every piece for a while.
func (s *Seed) Done(now time.Time) bool {
	switch {
	case s.absent > 0:
		s.whole = time.Time{}
	case s.whole.IsZero():
		s.whole = now
	}
	return s.absent <= 0 && now.Sub(s.whole) >= linger
}

// Next is when to look again if nothing happens.
func (s *Seed) Next(now time.Time) time.Time {
	if s.waiting || s.absent <= 0 {
		return now.Add(look)
	}
	return now.Add(time.Second)
}

// find is the position of the gift of piece i, or -1.
func (m *member) find(i piece.Index) int {
	return slices.IndexFunc(m.gifts, func(g gift) bool { return g.piece == i })
}
