package choker

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// swarm drives a choker in virtual time.
type swarm struct {
	t       *testing.T
	c       *Choker
	now     time.Time
	seeding bool
	slots   int
	peers   []Peer
}

func newSwarm(t *testing.T, cfg Config, seed uint64) *swarm {
	t.Helper()
	return &swarm{t: t, c: New(cfg, rand.New(rand.NewPCG(seed, 1))), now: start, slots: Default}
}

// join adds n interested peers that joined long ago.
func (s *swarm) join(n int) {
	for range n {
		s.peers = append(s.peers, Peer{ID: uint32(len(s.peers) + 1), Interested: true, Joined: start.Add(-time.Hour)})
	}
}

// round calls Round and checks what must hold of every answer; the time is
// that of the next round afterwards.
func (s *swarm) round() []uint32 {
	s.t.Helper()
	ids, next := s.c.Round(s.now, s.seeding, s.slots, s.peers)
	ids = slices.Sorted(slices.Values(ids))
	if len(slices.Compact(slices.Clone(ids))) != len(ids) {
		s.t.Fatalf("a peer is twice in %v", ids)
	}
	limit := s.slots
	if limit < 0 {
		limit = 5
	}
	if len(ids) > limit {
		s.t.Fatalf("%d unchoked, %d slots", len(ids), limit)
	}
	for _, id := range ids {
		if !s.peers[id-1].Interested {
			s.t.Fatalf("%d is unchoked without being interested", id)
		}
	}
	if !next.After(s.now) || next.Sub(s.now) > 10*time.Second {
		s.t.Fatalf("next round in %v", next.Sub(s.now))
	}
	s.now = next
	return ids
}

func wantIDs(t *testing.T, what string, got []uint32, want ...uint32) {
	t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestBestRatesGetTheSlots(t *testing.T) {
	s := newSwarm(t, Config{}, 1)
	s.join(12)
	for k := range s.peers {
		s.peers[k].Rate = int64(1000 * (k + 1))
	}
	s.peers[11].Interested = false // the fastest does not want anything
	for range 20 {
		ids := s.round()
		if len(ids) != 5 {
			t.Fatalf("%v are unchoked, want 5", ids)
		}
		for id := uint32(8); id <= 11; id++ {
			if !slices.Contains(ids, id) {
				t.Errorf("%v are unchoked, want 8 to 11 among them", ids)
			}
		}
		if o := s.c.Optimistic(); len(o) != 1 || o[0] >= 8 {
			t.Errorf("optimistic: %v", o)
		}
	}
}

func TestOptimisticSlotGoesRoundEvery30Seconds(t *testing.T) {
	s := newSwarm(t, Config{}, 2)
	s.join(10)
	for k := range 4 {
		s.peers[k].Rate = 5000
	}
	var turns []uint32
	for k := range 36 {
		s.round()
		o := s.c.Optimistic()
		if len(o) != 1 {
			t.Fatalf("optimistic: %v", o)
		}
		if k%3 == 0 {
			turns = append(turns, o[0])
		} else if o[0] != turns[len(turns)-1] {
			t.Errorf("optimistic slot changed after %d rounds", k%3)
		}
	}
	wantIDs(t, "first time round", slices.Clone(turns[:6]), 5, 6, 7, 8, 9, 10)
	if !slices.Equal(turns[:6], turns[6:]) {
		t.Errorf("turns %v are not the same the second time round", turns)
	}
}

func TestGoodOptimisticPeerEarnsASlot(t *testing.T) {
	s := newSwarm(t, Config{}, 3)
	s.join(8)
	for k := range 4 {
		s.peers[k].Rate = 5000
	}
	s.round()
	o := s.c.Optimistic()[0]
	s.peers[o-1].Rate = 9000
	ids := s.round()
	if !slices.Contains(ids, o) || slices.Contains(s.c.Optimistic(), o) {
		t.Errorf("%d did not earn its slot: %v, optimistic %v", o, ids, s.c.Optimistic())
	}
	if len(s.c.Optimistic()) != 1 {
		t.Errorf("the optimistic slot was not given on: %v", s.c.Optimistic())
	}
}

func TestSnubbedPeersOnlyGetTheOptimisticSlot(t *testing.T) {
	s := newSwarm(t, Config{}, 4)
	s.join(6)
	for k := range s.peers {
		s.peers[k].Rate = 1000
		s.peers[k].Snubbed = k < 4
	}
	seen := map[uint32]bool{}
	for range 40 {
		ids := s.round()
		snubbed := 0
		for _, id := range ids {
			if id <= 4 {
				snubbed++
				seen[id] = true
				if !slices.Contains(s.c.Optimistic(), id) {
					t.Errorf("snubbed peer %d has a regular slot", id)
				}
			}
		}
		if snubbed > 1 {
			t.Errorf("%d snubbed peers are unchoked: %v", snubbed, ids)
		}
		if !slices.Contains(ids, 5) || !slices.Contains(ids, 6) {
			t.Errorf("%v: 5 and 6 did not get slots", ids)
		}
	}
	if len(seen) != 4 {
		t.Errorf("only %v of the snubbed peers got a second chance", seen)
	}
	s.seeding = true
	if ids := s.round(); len(ids) != 5 {
		t.Errorf("seeding, snubbed peers do not count as such: %v", ids)
	}
}

func TestFreeSlotsAreGivenAtOnce(t *testing.T) {
	s := newSwarm(t, Config{}, 5)
	for id := range uint32(7) {
		if got, want := s.c.Interested(start, Peer{ID: id + 1, Interested: true}), id < 5; got != want {
			t.Errorf("peer %d before the first round: %v, want %v", id+1, got, want)
		}
	}
	if !s.c.Interested(start, Peer{ID: 3, Interested: true}) {
		t.Error("who has a slot keeps it")
	}
	s.c.Left(3)
	if s.c.Free() != 1 {
		t.Errorf("%d slots are free, want 1", s.c.Free())
	}
	if s.c.Interested(start, Peer{ID: 8, Interested: true, Snubbed: true}) {
		t.Error("a snubbed peer got a slot at once")
	}
	if !s.c.Interested(start, Peer{ID: 7, Interested: true}) || s.c.Free() != 0 {
		t.Error("the slot that was left was not given on")
	}
	s.join(7)
	wantIDs(t, "first round", s.round(), 1, 2, 4, 5, 7)
}

func TestSlotsForEverybody(t *testing.T) {
	for _, seeding := range []bool{false, true} {
		s := newSwarm(t, Config{}, 6)
		s.join(9)
		s.seeding, s.slots = seeding, 9
		for k := range s.peers {
			s.peers[k].Rate = int64(k%3) * 1000
		}
		for range 10 {
			if ids := s.round(); len(ids) != 9 {
				t.Fatalf("seeding %v: %v unchoked of 9 with 9 slots", seeding, ids)
			}
		}
	}
}

func TestNobodyIsChokedBetweenRounds(t *testing.T) {
	s := newSwarm(t, Config{}, 7)
	s.join(8)
	for k := range s.peers {
		s.peers[k].Rate = 1000
	}
	first := s.round()
	due := s.now
	for k := range s.peers {
		s.peers[k].Rate = int64(100000 - 1000*k)
		if !slices.Contains(first, uint32(k+1)) {
			s.peers[k].Rate = 1e6
		}
	}
	s.now = due.Add(-5 * time.Second)
	wantIDs(t, "early call", s.round(), first...)
	if !s.now.Equal(due) {
		t.Errorf("an early call moved the next round to %v, want %v", s.now, due)
	}
	s.now = due.Add(-4 * time.Second)
	s.peers[first[2]-1].Interested = false
	ids := s.round()
	if len(ids) != 5 || slices.Contains(ids, first[2]) {
		t.Errorf("the free slot was not given on: %v, before %v", ids, first)
	}
	s.slots = 2
	s.now = due.Add(-3 * time.Second)
	if ids := s.round(); len(ids) != 2 {
		t.Errorf("%v are unchoked with 2 slots", ids)
	}
	s.slots = 0
	if ids := s.round(); len(ids) != 0 {
		t.Errorf("%v are unchoked without slots", ids)
	}
	s.slots = Default
	if ids := s.round(); len(ids) != 5 {
		t.Errorf("%v are unchoked with the slots back", ids)
	}
}

func TestTheOnlySlotIsEarned(t *testing.T) {
	s := newSwarm(t, Config{}, 8)
	s.join(3)
	s.slots = 1
	s.peers[1].Rate = 10
	for range 8 {
		wantIDs(t, "one slot", s.round(), 2)
	}
}

func TestEqualRatesDoNotFlap(t *testing.T) {
	for _, seeding := range []bool{false, true} {
		s := newSwarm(t, Config{}, 9)
		s.join(10)
		s.seeding = seeding
		for k := range s.peers {
			s.peers[k].Rate = 100000
		}
		r := rand.New(rand.NewPCG(9, 9))
		s.round()
		regular := s.regular()
		for range 60 {
			for k := range s.peers {
				s.peers[k].Rate = 100000 + r.Int64N(10000)
			}
			s.round()
			if got := s.regular(); !slices.Equal(got, regular) {
				t.Fatalf("seeding %v: regular slots went from %v to %v", seeding, regular, got)
			}
		}
	}
}

// regular are the peers that earned their slots.
func (s *swarm) regular() []uint32 {
	var ids []uint32
	for _, l := range s.c.slots {
		if !l.optimistic {
			ids = append(ids, l.id)
		}
	}
	return slices.Sorted(slices.Values(ids))
}

func TestSeedServesTheFastAndEverybodyInTurn(t *testing.T) {
	s := newSwarm(t, Config{}, 10)
	s.join(20)
	s.seeding = true
	served := map[uint32]int{}
	const rounds = 3 * 40 // twice round: 17 others, two at a time, 30 s each
	for range rounds {
		ids := s.round()
		if len(ids) != 5 {
			t.Fatalf("%v are unchoked, want 5", ids)
		}
		for k := range s.peers {
			s.peers[k].Rate = 0
		}
		for _, id := range ids {
			served[id]++
			s.peers[id-1].Rate = 50000
			if id%7 == 0 { // 7 and 14 have fat pipes
				s.peers[id-1].Rate = 900000
			}
		}
	}
	for _, pr := range s.peers {
		if n := served[pr.ID]; n < 6 {
			t.Errorf("peer %d was served in %d rounds of %d", pr.ID, n, rounds)
		}
	}
	if served[7] < rounds/2 || served[14] < rounds/2 {
		t.Errorf("the fast peers were served in %d and %d rounds of %d", served[7], served[14], rounds)
	}
}

// A newcomer is three times as likely to be next as to be at any other place
// of the rotation.
func TestNewcomersAreThreeTimesAsLikelyToBeNext(t *testing.T) {
	const trials, others = 6000, 10
	next := func(joined time.Time) (n int) {
		for seed := range uint64(trials) {
			s := newSwarm(t, Config{}, seed)
			s.slots = 2
			s.join(others)
			s.peers[0].Rate = 1000
			s.round()
			s.join(1)
			s.peers[others].Joined = joined
			s.round()
			for range 2 { // the optimistic slot is given on after 30 s
				s.round()
			}
			if slices.Contains(s.c.Optimistic(), others+1) {
				n++
			}
		}
		return n
	}
	// Among 10 others there are 11 places; a newcomer has 3 chances of 13 to be
	// at the first of them, an old acquaintance 1 of 11. Four standard
	// deviations are 2.2 and 1.5 percent.
	for _, tt := range []struct {
		name         string
		joined       time.Time
		chance, slop float64
	}{
		{"newcomer", start.Add(9 * time.Second), 3. / 13, 0.022},
		{"old acquaintance", start.Add(-time.Hour), 1. / 11, 0.015},
	} {
		got := float64(next(tt.joined)) / trials
		if got < tt.chance-tt.slop || got > tt.chance+tt.slop {
			t.Errorf("%s is next with a chance of %.3f, want %.3f", tt.name, got, tt.chance)
		}
	}
}

func TestSameSourceSameDecisions(t *testing.T) {
	run := func() (log []uint32) {
		s := newSwarm(t, Config{}, 11)
		r := rand.New(rand.NewPCG(3, 3))
		s.join(30)
		for k := range 100 {
			for k := range s.peers {
				s.peers[k].Rate = r.Int64N(1000)
				s.peers[k].Interested = r.IntN(4) > 0
				s.peers[k].Snubbed = r.IntN(4) == 0
			}
			s.seeding = k > 50
			log = append(log, s.round()...)
		}
		return log
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs differ")
	}
}

func TestRoundsDoNotAllocate(t *testing.T) {
	s := newSwarm(t, Config{}, 12)
	s.join(200)
	for k := range s.peers {
		s.peers[k].Rate = int64(k)
	}
	s.c.Round(s.now, false, 20, s.peers)
	if n := testing.AllocsPerRun(50, func() {
		s.now = s.now.Add(10 * time.Second)
		s.c.Round(s.now, false, 20, s.peers)
	}); n > 0 {
		t.Errorf("%v allocations a round", n)
	}
}

// No slot stays empty while somebody may have it, whatever happens between
// the rounds.
func TestNoSlotIsWasted(t *testing.T) {
	for seed := range uint64(40) {
		s := newSwarm(t, Config{}, seed)
		r := rand.New(rand.NewPCG(seed, 5))
		s.join(1 + r.IntN(15))
		for range 200 {
			pr := &s.peers[r.IntN(len(s.peers))]
			if pr.Interested = !pr.Interested; !pr.Interested {
				s.c.Left(pr.ID)
			} else if free := s.c.Free(); s.c.Interested(s.now, *pr) != (free > 0 && !pr.Snubbed) && !s.seeding {
				t.Fatalf("interest with %d free slots, snubbed %v", free, pr.Snubbed)
			}
			pr = &s.peers[r.IntN(len(s.peers))]
			pr.Rate, pr.Snubbed = r.Int64N(3)*1000, r.IntN(3) == 0
			s.seeding = r.IntN(30) == 0
			s.slots = []int{Default, 0, 1, 2, 7, 20}[r.IntN(6)]
			willing, snubbed := 0, 0
			for _, pr := range s.peers {
				switch {
				case !pr.Interested:
				case pr.Snubbed && !s.seeding:
					snubbed++
				default:
					willing++
				}
			}
			places := s.slots
			if places < 0 {
				places = 5
			}
			if r.IntN(2) == 0 {
				s.now = s.now.Add(-time.Second) // early
			}
			if got, want := len(s.round()), min(places, willing+min(snubbed, 1)); got < want {
				t.Fatalf("seed %d: %d unchoked, want %d: %d places, %d willing, %d snubbed", seed, got, want, places, willing, snubbed)
			}
		}
	}
}
