package table

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newTable(seed uint64) (*Table, *rand.Rand) {
	rng := rand.New(rand.NewPCG(seed, 1))
	return New(Config{}, randomID(rng), rng, start), rng
}

func randomID(rng *rand.Rand) krpc.ID {
	return contact.Key{Hi: rng.Uint64(), Mid: rng.Uint64(), Lo: rng.Uint32()}.ID()
}

// global is a random address of the internet.
func global(rng *rand.Rand) netip.AddrPort {
	for {
		n := rng.Uint32()
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), 6881)
		if contact.ScopeOf(a) == contact.Global {
			return a
		}
	}
}

func stranger(rng *rand.Rand) contact.Node { return contact.Node{ID: randomID(rng), Addr: global(rng)} }

// check holds the table against its own rules.
func check(t *testing.T, tab *Table) {
	t.Helper()
	live, good, all := 0, 0, 0
	networks := map[contact.Network]int{}
	for i := range tab.buckets {
		b := &tab.buckets[i]
		if len(b.live) > capacity(i) || len(b.spare) > capacity(i)+1 || len(b.keys) != len(b.live) {
			t.Fatalf("bucket %d: %d live, %d keys, %d spare", i, len(b.live), len(b.keys), len(b.spare))
		}
		here := map[contact.Network]int{}
		for j, e := range slices.Concat(b.live, b.spare) {
			all++
			if n, ok := tab.bucketOf(e.key); !ok || n != i || int(e.bucket) != i {
				t.Fatalf("bucket %d has a node of bucket %d", i, n)
			}
			if e.live != (j < len(b.live)) || e.live && (!e.proven() || b.keys[j] != e.key.Hi || e.fails > 1) {
				t.Fatalf("bucket %d: node %d: %+v", i, j, e)
			}
			if tab.byAddr[e.node.Addr] != e {
				t.Fatalf("%s is not in the index", e.node.Addr)
			}
			if e.network != 0 {
				networks[e.network]++
				if e.live {
					here[e.network]++
				}
			}
			if e.live {
				live++
				if e.fails == 0 {
					good++
				}
			}
		}
		for n, count := range here {
			if count > perNetworkBucket {
				t.Fatalf("bucket %d has %d nodes of network %x", i, count, n)
			}
		}
	}
	if live != tab.live || good != tab.good || all != len(tab.byAddr) {
		t.Fatalf("counted %d live, %d good, %d in all; the table says %d, %d, %d", live, good, all, tab.live, tab.good, len(tab.byAddr))
	}
	for n, count := range networks {
		if count != tab.networks[n] || count > perNetworkTable {
			t.Fatalf("network %x: %d nodes, counted %d", n, tab.networks[n], count)
		}
	}
}

// TestRandomCalls makes every call in random order and holds Closest against a
// sort of all nodes.
func TestRandomCalls(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		tab, rng := newTable(seed)
		now := start
		var nodes []contact.Node
		for range 300 {
			n := stranger(rng)
			if rng.IntN(3) == 0 { // near us
				n.ID = contact.KeyOf(n.ID).Mix(tab.self, rng.IntN(30)).ID()
			}
			if rng.IntN(4) == 0 && len(nodes) > 0 { // the same network, host or id
				o := nodes[rng.IntN(len(nodes))]
				b := o.Addr.Addr().As4()
				b[3] = byte(rng.IntN(4))
				n.Addr = netip.AddrPortFrom(netip.AddrFrom4(b), uint16(1+rng.IntN(3)))
				if rng.IntN(3) == 0 {
					n.ID = o.ID
				}
			}
			nodes = append(nodes, n)
		}
		for step := range 6000 {
			n := nodes[rng.IntN(len(nodes))]
			now = now.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
			switch rng.IntN(12) {
			case 0, 1, 2, 3:
				asked := n
				if rng.IntN(20) == 0 {
					asked.ID = randomID(rng)
				}
				tab.Answered(asked, n.ID, time.Duration(rng.IntN(300))*time.Millisecond, now)
			case 4, 5:
				tab.TimedOut(n.Addr, now)
			case 6:
				tab.Seen(n.ID, n.Addr, now)
			case 7:
				tab.Named(nodes[0].Addr, []contact.Node{n, nodes[rng.IntN(len(nodes))]}, now)
			case 8, 9, 10:
				if a, next := tab.Upkeep(now); a.Kind == None && next.Before(now) {
					t.Fatalf("seed %d, step %d: nothing to do, call again before now", seed, step)
				}
			case 11:
				if rng.IntN(100) == 0 {
					tab.Rehome(randomID(rng), now)
				}
				compareClosest(t, tab, randomID(rng), rng.IntN(20))
			}
			if step%50 == 0 {
				check(t, tab)
			}
		}
		saved := tab.Save()
		again := New(Config{}, tab.Self(), rng, now)
		again.Restore(saved, now)
		check(t, again)
		if again.Len() != 0 || len(saved) == 0 {
			t.Fatalf("seed %d: %d nodes saved; %d can be handed out before they answered", seed, len(saved), again.Len())
		}
	}
}

func compareClosest(t *testing.T, tab *Table, target krpc.ID, n int) {
	t.Helper()
	got := tab.Closest(target, n, nil)
	var want []contact.Node
	for i := range tab.buckets {
		for _, e := range tab.buckets[i].live {
			if e.fails == 0 {
				want = append(want, e.node)
			}
		}
	}
	slices.SortFunc(want, func(a, b contact.Node) int {
		return a.ID.Distance(target).Cmp(b.ID.Distance(target))
	})
	if want = want[:min(n, len(want))]; !slices.Equal(got, want) {
		t.Fatalf("closest %d: got %v, want %v", n, got, want)
	}
}
