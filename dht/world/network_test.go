package world

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"btd/dht/contact"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for number := range uint32(20_000) {
		for _, n := range []uint32{number, number * 2003} {
			a := addr(n)
			if back, ok := numberOf(a); !ok || back != n {
				t.Fatalf("number %d is at %s, where number %d is (%t)", n, a, back, ok)
			}
			if contact.ScopeOf(a) != contact.Global {
				// The holes of special blocks inside other first octets.
				t.Logf("number %d is at %s, which is not global", n, a)
			}
		}
		if s := addr(number).String(); seen[s] {
			t.Fatalf("%s twice", s)
		} else {
			seen[s] = true
		}
	}
}

func TestNodesAreWhatConfigSays(t *testing.T) {
	t.Parallel()
	n := NewNetwork(Config{Seed: 1, Dead: 0.3, Hostile: 0.05})
	var dead, hostile, secure int
	var rtts []time.Duration
	for r := range n.ids {
		node := n.Node(r)
		if back, ok := n.At(node.Addr); !ok || back != r {
			t.Fatalf("rank %d is at %s, where rank %d is", r, node.Addr, back)
		}
		if contact.KeyOf(node.ID).Hi != n.ids[r] || r > 0 && n.ids[r-1] >= n.ids[r] {
			t.Fatalf("rank %d is out of order", r)
		}
		if n.Dead(r) {
			dead++
		}
		if n.Hostile(r) {
			hostile++
		}
		if contact.Secure(node.ID, node.Addr.Addr()) {
			secure++
		}
		rtts = append(rtts, n.RTT(r))
	}
	for _, row := range []struct {
		name           string
		got, low, high int
	}{{"dead", dead, 2850, 3150}, {"hostile", hostile, 430, 570}, {"secure", secure, 5850, 6150}} {
		if row.got < row.low || row.got > row.high {
			t.Errorf("%d nodes of 10,000 are %s", row.got, row.name)
		}
	}
	if m, p := Quantile(rtts, 0.5), Quantile(rtts, 0.9); m < 105*time.Millisecond || m > 115*time.Millisecond || p < 225*time.Millisecond || p > 255*time.Millisecond {
		t.Errorf("round trips: median %v, p90 %v", m, p)
	}
}

// TestTablesAreCorrect holds what a node answers against what a correct table
// must hold.
func TestTablesAreCorrect(t *testing.T) {
	t.Parallel()
	n := NewNetwork(Config{Nodes: 3000, Seed: 2})
	rng := rand.New(rand.NewPCG(3, 3))
	all := make([]int, len(n.ids))
	for r := range all {
		all[r] = r
	}
	for range 200 {
		target := rng.Uint64()
		want := n.sorted(target, slices.Clone(all), 0)[:k]
		if got := n.Closest(target, k, false, nil); !slices.Equal(got, want) {
			t.Fatalf("closest of all: %v, want %v", got, want)
		}
		id := n.ids[rng.IntN(len(n.ids))]
		var own []int
		for c := range 64 {
			from := len(own)
			own = n.bucket(id, c, own)
			population := 0
			for _, other := range n.ids {
				if bits.LeadingZeros64(other^id) == c {
					population++
				}
			}
			if got := len(own) - from; got != min(k, population) {
				t.Fatalf("bucket %d has %d nodes of %d", c, got, population)
			}
			for _, r := range own[from:] {
				if bits.LeadingZeros64(n.ids[r]^id) != c {
					t.Fatalf("bucket %d has a node of bucket %d", c, bits.LeadingZeros64(n.ids[r]^id))
				}
			}
		}
		want = n.sorted(target, own, 0)[:k]
		if got := n.closestOf(id, target, k, nil); !slices.Equal(got, want) {
			t.Fatalf("closest of a table: %v, want %v", got, want)
		}
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	n := NewNetwork(Config{Seed: 4, Dead: 0.3})
	n.Kill(0.4)
	dead := 0
	for r := range n.ids {
		if n.Dead(r) {
			dead++
		}
	}
	if dead < 5600 || dead > 6000 { // 0.3 + 0.7 * 0.4
		t.Errorf("%d of 10,000 are dead", dead)
	}
}
