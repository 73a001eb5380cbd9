package piece

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSeedsAreCountedOnce(t *testing.T) {
	d := swarm(t, "12", "", "")
	if d.p.Seeds() != 1 || d.peers[0].Count() != 2 || d.peers[1].IsSeed() {
		t.Fatalf("%d seeds, the first has %d pieces", d.p.Seeds(), d.peers[0].Count())
	}
	b := d.peers[1]
	if !d.p.PeerHas(b, 0) || d.p.PeerHas(b, 0) || d.p.PeerHas(b, 1) {
		t.Error("PeerHas does not tell what is news")
	}
	if !b.IsSeed() || d.p.Seeds() != 2 || d.p.Availability(0) != 2 || d.p.Availability(1) != 2 {
		t.Errorf("after its last HAVE: seed %v, %d seeds, availability %d %d", b.IsSeed(), d.p.Seeds(), d.p.Availability(0), d.p.Availability(1))
	}
	d.p.PeerBitfield(b, NewBitfield(2))
	if d.p.Seeds() != 1 || b.Count() != 0 || d.p.Availability(0) != 1 {
		t.Errorf("after a new bitfield: %d seeds, %d pieces, availability %d", d.p.Seeds(), b.Count(), d.p.Availability(0))
	}
	d.p.Leave(d.peers[0])
	d.p.Leave(d.peers[0])
	if d.p.Seeds() != 0 || d.p.Availability(1) != 0 {
		t.Errorf("after the seed left: %d seeds, availability %d", d.p.Seeds(), d.p.Availability(1))
	}
	late := NewBitfield(2)
	late.Fill()
	d.p.PeerHas(d.peers[0], 1)
	d.p.PeerBitfield(d.peers[0], late)
	if d.p.Seeds() != 0 || d.p.Availability(1) != 0 {
		t.Error("a peer that left is counted")
	}
	if got := d.p.Pick(d.peers[0], 1, nil); len(got) != 0 {
		t.Errorf("%v picked for a peer that left", got)
	}
}

// Losing a piece, a seed is counted piece by piece again.
func TestSeedLosesAPiece(t *testing.T) {
	d := swarm(t, "111", "", "")
	pr := d.peers[0]
	d.p.Passed(0)
	d.p.Passed(1)
	if !d.p.PeerLacks(pr, 2) || d.p.PeerLacks(pr, 2) {
		t.Error("PeerLacks does not tell what is news")
	}
	if pr.IsSeed() || pr.Count() != 2 || d.p.Interesting(pr) || d.p.Availability(2) != 0 || d.p.Availability(1) != 1 {
		t.Errorf("seed %v, %d pieces, interesting %v, availability %d", pr.IsSeed(), pr.Count(), d.p.Interesting(pr), d.p.Availability(2))
	}
	d.p.Lost(1)
	other := d.peer("***")
	d.p.PeerLacks(other, 0)
	if !d.p.Interesting(other) {
		t.Error("without a piece that we have it is not interesting")
	}
	d.p.Leave(other)
	d.p.Passed(1)
	d.p.PeerHas(pr, 2)
	if !pr.IsSeed() || !d.p.Interesting(pr) {
		t.Errorf("seed %v, interesting %v with the piece back", pr.IsSeed(), d.p.Interesting(pr))
	}
}

// Availability that wanders off, by peers that come and go, does not break
// the order.
func TestAvailabilityWanders(t *testing.T) {
	d := swarm(t, "1111111111", "*", "")
	for k := range 200 {
		// Joins as nothing, leaves as a seed, and the other way round.
		pr := d.p.Join()
		if k < 100 {
			for i := range Index(10) {
				d.p.PeerHas(pr, i)
			}
		} else {
			f := NewBitfield(10)
			f.Fill()
			d.p.PeerBitfield(pr, f)
			for i := range Index(9) {
				d.p.PeerLacks(pr, i)
			}
		}
		d.p.Pick(d.peers[0], 1, nil)
		d.p.DroppedAll(d.peers[0])
		d.p.Leave(pr)
		d.check()
		for i := range Index(10) {
			if d.p.Availability(i) != 1 {
				t.Fatalf("availability of piece %d is %d, want 1", i, d.p.Availability(i))
			}
		}
	}
	if n := len(d.p.rare.segs); n > 8*200 {
		t.Errorf("%d segments for 2 peers", n)
	}
}

// TestHasAll compares with a look at every piece, for peers that have nothing,
// some pieces and all.
func TestHasAll(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	asked := map[bool]int{}
	for _, n := range []int{1, 2, 7, 63, 64, 65, 128, 130, 500} {
		d := swarm(t, strings.Repeat("0", n), "", "")
		pr := d.p.Join()
		for round := range 200 {
			has, f := NewBitfield(n), NewBitfield(n)
			for i := range Index(n) {
				if r.IntN(4) < round%5 {
					has.Set(i)
					if r.IntN(4) > 0 {
						f.Set(i)
					}
				}
			}
			if r.IntN(2) == 0 {
				f.Set(Index(r.IntN(n)))
			}
			want := true
			for i := range f.Indexes() {
				want = want && has.Has(i)
			}
			d.p.PeerBitfield(pr, has)
			if got := pr.HasAll(f); got != want {
				t.Fatalf("a peer with %d of %d pieces, asked for %d: %v, want %v", pr.Count(), n, f.Count(), got, want)
			}
			asked[want]++
		}
	}
	if asked[true] < 100 || asked[false] < 100 {
		t.Errorf("the answers: %v", asked)
	}
}

func TestDistributedCopies(t *testing.T) {
	for _, tt := range []struct {
		availability, have string
		want               float64
	}{
		{"0000", "", 0},
		{"0000", "**", 0.5},
		{"1111", "", 1},
		{"1211", "*  *", 1.75},
		{"3433", "****", 4.25},
	} {
		d := swarm(t, tt.availability, tt.have, "")
		if got := d.p.Distributed(); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%q with ours %q: %v copies, want %v", tt.availability, tt.have, got, tt.want)
		}
	}
}

func TestInterestFollowsPriorities(t *testing.T) {
	d := swarm(t, "21", "", "")
	b := d.peers[1] // has piece 0
	steps := []struct {
		do   func()
		want bool
	}{
		{func() {}, true},
		{func() { d.p.SetPriority(0, 0) }, false},
		{func() { d.p.PeerHas(b, 1) }, true},
		{func() { d.p.Passed(1) }, false},
		{func() { d.p.SetPriority(0, 1) }, true},
		{func() { d.p.Passed(0) }, false},
		{func() { d.p.Lost(1) }, true},
		{func() { d.p.PeerLacks(b, 1) }, false},
		{func() { d.p.Failed(0) }, true},
		{func() { d.p.PeerBitfield(b, NewBitfield(2)) }, false},
	}
	for k, s := range steps {
		s.do()
		if got := d.p.Interesting(b); got != s.want {
			t.Errorf("step %d: interesting %v, want %v", k, got, s.want)
		}
		d.check()
	}
}

func TestBitfieldOfAnotherTorrentPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	d := swarm(t, "1", "", "")
	d.p.PeerBitfield(d.peers[0], NewBitfield(2))
}
