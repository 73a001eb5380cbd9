package table

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"btd/dht/contact"
)

// inBucket is a random node of a bucket, at a random global address.
func inBucket(tab *Table, rng *rand.Rand, i int) contact.Node {
	n := stranger(rng)
	n.ID = contact.KeyOf(n.ID).Mix(tab.self.Flip(i), i+1).ID()
	return n
}

// join makes a node one that answered.
func join(tab *Table, n contact.Node, rtt time.Duration, now time.Time) {
	tab.Answered(n, n.ID, rtt, now)
}

// fill fills a bucket with nodes of 100 ms, half of them with ids that fit
// their addresses.
func fill(tab *Table, rng *rand.Rand, i int, now time.Time) (nodes []contact.Node) {
	for len(tab.buckets[i].live) < capacity(i) {
		n := inBucket(tab, rng, i)
		join(tab, n, 100*time.Millisecond, now)
		if tab.Has(n.Addr) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

func TestFreshNetworkFormsAtOnce(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(1)
	n := stranger(rng)
	tab.Seen(n.ID, n.Addr, start)
	if tab.Len() != 0 {
		t.Fatal("a node that never answered can be handed out")
	}
	join(tab, n, time.Millisecond, start)
	if !tab.Has(n.Addr) {
		t.Error("a node that answered can't be handed out although there is room")
	}
}

func TestQuarantineInFullBuckets(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(2)
	fill(tab, rng, 5, start)
	fast := inBucket(tab, rng, 5)
	join(tab, fast, time.Millisecond, start)
	now := start.Add(2 * time.Minute)
	join(tab, fast, time.Millisecond, now)
	if tab.Has(fast.Addr) {
		t.Fatal("a newcomer pushed out another within two minutes")
	}
	now = start.Add(3*time.Minute + time.Second)
	join(tab, fast, time.Millisecond, now)
	secure := contact.Secure(fast.ID, fast.Addr.Addr())
	if !tab.Has(fast.Addr) {
		t.Errorf("a quick node (secure: %t) that was known for three minutes got no place", secure)
	}
	slow := inBucket(tab, rng, 5)
	join(tab, slow, 90*time.Millisecond, now)
	join(tab, slow, 90*time.Millisecond, now.Add(time.Hour))
	if tab.Has(slow.Addr) {
		t.Error("a node that is hardly quicker pushed out another")
	}
	check(t, tab)
}

func TestSecureIDsGoFirst(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(3)
	tab.self = contact.Key{} // so that secure ids of one bucket can be found
	fill(tab, rng, 0, start)
	now := start.Add(time.Hour)
	var secure contact.Node
	for {
		secure = stranger(rng)
		secure.ID = contact.MakeSecure(secure.ID, secure.Addr.Addr())
		if i, _ := tab.bucketOf(contact.KeyOf(secure.ID)); i == 0 {
			break
		}
	}
	join(tab, secure, 300*time.Millisecond, now)
	now = now.Add(4 * time.Minute)
	join(tab, secure, 300*time.Millisecond, now)
	if !tab.Has(secure.Addr) {
		t.Error("a slow node with an id that fits its address did not push out one whose id does not")
	}
}

func TestDiversityHoldsForGlobalAddressesOnly(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		format string
		most   int
	}{
		{"81.2.3.%d:6881", perNetworkTable},
		{"192.168.7.%d:6881", 200},
		{"127.0.0.1:%d", 200},
		{"[2a01:4f8:1:2::%x]:6881", perNetworkTable},
		{"[fe80::%x]:6881", 200},
	} {
		rng := rand.New(rand.NewPCG(4, 4))
		probe := netip.MustParseAddrPort(fmt.Sprintf(row.format, 1))
		tab := New(Config{IPv6: probe.Addr().Is6()}, randomID(rng), rng, start)
		for i := range 200 {
			join(tab, contact.Node{ID: randomID(rng), Addr: netip.MustParseAddrPort(fmt.Sprintf(row.format, i+1))}, time.Millisecond, start)
		}
		check(t, tab)
		if got := len(tab.byAddr); got > row.most || row.most == 200 && got < 150 {
			t.Errorf("%s: %d nodes of 200, at most %d may be", row.format, got, row.most)
		}
	}
}

func TestOneNodeForEachGlobalAddress(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(5)
	for port := range 10 {
		join(tab, contact.Node{ID: randomID(rng), Addr: netip.AddrPortFrom(netip.MustParseAddr("81.2.3.4"), uint16(1+port))}, time.Millisecond, start)
	}
	if tab.Len() != 1 {
		t.Errorf("%d nodes at one address", tab.Len())
	}
}

func TestWhatCannotBeANode(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(6)
	for _, a := range []string{"8.8.8.8:0", "224.1.1.1:5", "0.0.0.0:6881", "255.255.255.255:1", "[2a01::1]:6881", "[::ffff:8.8.8.8]:6881"} {
		join(tab, contact.Node{ID: randomID(rng), Addr: netip.MustParseAddrPort(a)}, time.Millisecond, start)
	}
	join(tab, contact.Node{ID: tab.Self(), Addr: global(rng)}, time.Millisecond, start)
	if len(tab.byAddr) != 0 {
		t.Errorf("%d nodes were taken", len(tab.byAddr))
	}
}

func TestOneMissIsSuspectAndTwoAreDead(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(7)
	a, b := stranger(rng), stranger(rng)
	join(tab, a, time.Millisecond, start)
	join(tab, b, time.Millisecond, start)
	now := start.Add(time.Minute)
	tab.TimedOut(a.Addr, now)
	if tab.Has(a.Addr) || tab.Len() != 1 {
		t.Fatal("a node that missed a query can be handed out")
	}
	tab.TimedOut(a.Addr, now)
	if tab.byAddr[a.Addr] == nil {
		t.Fatal("it was removed though nothing was heard since: that may be our link")
	}
	tab.Seen(b.ID, b.Addr, now.Add(time.Second))
	tab.TimedOut(a.Addr, now.Add(2*time.Second))
	if tab.byAddr[a.Addr] != nil {
		t.Error("a node that missed two queries is still there")
	}
	join(tab, a, time.Millisecond, now.Add(5*time.Second))
	if !tab.Has(a.Addr) {
		t.Error("it answered after all and got no place")
	}
}

func TestSpareTakesTheSuspectsPlace(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(8)
	live := fill(tab, rng, 6, start)
	spare := inBucket(tab, rng, 6)
	join(tab, spare, time.Second, start)
	if tab.Has(spare.Addr) {
		t.Fatal("nine nodes are live in a bucket of eight")
	}
	tab.TimedOut(live[0].Addr, start.Add(time.Second))
	if !tab.Has(spare.Addr) || tab.Has(live[0].Addr) {
		t.Error("the spare did not take the suspect's place")
	}
	check(t, tab)
}

func TestLinkDownIsNobodysFault(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(9)
	var nodes []contact.Node
	for range 40 {
		n := stranger(rng)
		join(tab, n, time.Millisecond, start)
		nodes = append(nodes, n)
	}
	before := tab.Len()
	now := start
	for round := range 3 {
		for _, n := range nodes {
			now = now.Add(time.Second)
			tab.TimedOut(n.Addr, now)
		}
		if !tab.LinkDown() || tab.Len() != before {
			t.Fatalf("round %d: down %t, %d of %d nodes left", round, tab.LinkDown(), tab.Len(), before)
		}
	}
	tab.Seen(nodes[0].ID, nodes[0].Addr, now)
	tab.TimedOut(nodes[1].Addr, now.Add(time.Second))
	if tab.LinkDown() || tab.Has(nodes[1].Addr) {
		t.Error("the link is up again, but a miss does not count")
	}
}

func TestIDsAreNotStolen(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(10)
	n := stranger(rng)
	join(tab, n, time.Millisecond, start)
	thief := contact.Node{ID: n.ID, Addr: global(rng)}
	join(tab, thief, time.Millisecond, start)
	if tab.Has(thief.Addr) || !tab.Has(n.Addr) {
		t.Error("a second address took the id of a good node")
	}
	tab.TimedOut(n.Addr, start.Add(time.Second))
	join(tab, thief, time.Millisecond, start.Add(2*time.Second))
	if !tab.Has(thief.Addr) {
		t.Error("a node that moved can't come back at its new address")
	}
}

func TestLiarsAndWhoNamesThem(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(11)
	friend := inBucket(tab, rng, 0)
	join(tab, friend, time.Millisecond, start)
	var named []contact.Node
	for range 4 {
		named = append(named, inBucket(tab, rng, 1))
	}
	tab.Named(friend.Addr, named, start)
	for i, n := range named[:3] {
		if i == 2 && !tab.Has(friend.Addr) {
			t.Fatal("two liars were enough to drop who named them")
		}
		tab.Answered(n, randomID(rng), time.Millisecond, start)
		if tab.byAddr[n.Addr] != nil || tab.Refuses(contact.Node{Addr: n.Addr}, start) {
			t.Fatal("who was named by another id is still known by it, or refused")
		}
		tab.Answered(n, randomID(rng), time.Millisecond, start)
		if tab.byAddr[n.Addr] != nil || !tab.Refuses(contact.Node{Addr: n.Addr}, start) {
			t.Fatal("a node that answered with two ids is not refused")
		}
	}
	if tab.Has(friend.Addr) {
		t.Error("who named three liars and nobody else can still be handed out")
	}
	later := start.Add(time.Hour + time.Second)
	join(tab, friend, time.Millisecond, later)
	if !tab.Has(friend.Addr) {
		t.Error("it is refused for more than an hour")
	}
}

// TestWrongNamesHurtNobody has a stranger that names good nodes by ids which are
// not theirs, so that they are asked for by these.
func TestWrongNamesHurtNobody(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(12)
	known, unknown := stranger(rng), stranger(rng)
	join(tab, known, time.Millisecond, start)
	for i := range 3 {
		now := start.Add(time.Duration(i) * time.Second)
		for _, n := range []contact.Node{known, unknown} {
			tab.Answered(contact.Node{ID: randomID(rng), Addr: n.Addr}, n.ID, time.Millisecond, now)
			if tab.Refuses(n, now) {
				t.Fatal("a node with one id only is refused")
			}
		}
		if !tab.Has(known.Addr) {
			t.Fatal("a good node is forgotten because somebody gave it a wrong name")
		}
	}
	if !tab.Has(unknown.Addr) {
		t.Error("a node that tells the same id each time never gets in")
	}
	tab.Answered(contact.Node{ID: known.ID, Addr: known.Addr}, randomID(rng), time.Millisecond, start)
	if tab.Has(known.Addr) || !tab.Refuses(known, start) {
		t.Error("a node that changed its id without need is believed")
	}
	for range 10_000 {
		n := stranger(rng)
		tab.Answered(contact.Node{ID: randomID(rng), Addr: n.Addr}, n.ID, time.Millisecond, start)
	}
	if len(tab.told.ids) > tab.told.size || len(tab.told.order) > tab.told.size {
		t.Errorf("%d ids are kept, %d in order", len(tab.told.ids), len(tab.told.order))
	}
}

func TestNobodyFillsTheTableWithFriends(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(12)
	for i := range 5 {
		fill(tab, rng, i, start)
	}
	source := tab.buckets[0].live[0]
	source.target = tab.random()
	before := len(tab.byAddr)
	var named []contact.Node
	for range 200 {
		named = append(named, contact.Node{ID: tab.random().Mix(source.target, 30).ID(), Addr: global(rng)})
	}
	tab.Named(source.node.Addr, named, start)
	if got := len(tab.byAddr) - before; got > namedEach {
		t.Errorf("one reply brought %d nodes", got)
	}
	before = len(tab.byAddr)
	for i := range named {
		named[i] = contact.Node{ID: tab.random().Mix(source.target.Flip(0), 1).ID(), Addr: global(rng)}
	}
	tab.Named(source.node.Addr, named, start)
	if got := len(tab.byAddr) - before; got != 0 && source.key.Xor(source.target).Zeros() > 0 {
		t.Errorf("%d nodes count that are farther from the target than who named them", got)
	}
}

func TestRestoredNodesAreAskedBestFirst(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(13)
	for i := range 20 {
		fill(tab, rng, i, start)
	}
	saved := tab.Save()
	if len(saved) != MaxSaved {
		t.Fatalf("%d nodes saved", len(saved))
	}
	for i, s := range saved {
		saved[i].Answered = start.Add(-time.Hour)
		if !tab.Has(s.Addr) {
			t.Fatal("a node was saved that can't be handed out")
		}
	}
	again := New(Config{}, tab.Self(), rng, start)
	again.Restore(saved, start)
	if got := again.Start(randomID(rng), 16, nil); len(got) != 16 || got[0].Live {
		t.Errorf("a search begins with %d nodes; the first is live: %t", len(got), len(got) > 0 && got[0].Live)
	}
	now := start
	for i := range 200 {
		a, next := again.Upkeep(now)
		if a.Kind != Ping && a.Kind != FindNode || a.Node != saved[i].Node {
			t.Fatalf("query %d is %+v, want %v", i, a, saved[i].Node)
		}
		if next.Sub(now) != time.Second/startRate {
			t.Fatalf("the next is to be sent after %v", next.Sub(now))
		}
		now = next
	}
}

func TestRehomeKeepsNodes(t *testing.T) {
	t.Parallel()
	tab, rng := newTable(14)
	for range 100 {
		join(tab, stranger(rng), time.Millisecond, start)
	}
	before := tab.Len()
	if a, _ := tab.Upkeep(start); a.Kind != Search || a.Target != tab.Self() {
		t.Fatalf("the first action is %+v", a)
	}
	id := randomID(rng)
	tab.Rehome(id, start)
	check(t, tab)
	if tab.Self() != id || tab.Len() < before*9/10 {
		t.Errorf("%d of %d nodes are left", tab.Len(), before)
	}
	if a, _ := tab.Upkeep(start); a.Kind != Search || a.Target != id {
		t.Errorf("the first action with the new id is %+v", a)
	}
}

// TestSameCallsSameTable runs the same history twice.
func TestSameCallsSameTable(t *testing.T) {
	t.Parallel()
	run := func() (all []contact.Node) {
		tab, rng := newTable(15)
		now := start
		for range 3000 {
			now = now.Add(100 * time.Millisecond)
			n := stranger(rng)
			if rng.IntN(2) == 0 {
				join(tab, n, time.Duration(rng.IntN(100))*time.Millisecond, now)
			}
			if a, _ := tab.Upkeep(now); a.Kind == Ping || a.Kind == FindNode {
				tab.TimedOut(a.Node.Addr, now)
			}
		}
		for n := range tab.All() {
			all = append(all, n)
		}
		return all
	}
	if a, b := run(), run(); !slices.Equal(a, b) || len(a) == 0 {
		t.Errorf("two runs end with %d and %d nodes, or with others", len(a), len(b))
	}
}

func fullTable() (*Table, *rand.Rand) {
	tab, rng := newTable(16)
	for i := range 20 {
		fill(tab, rng, i, start)
	}
	return tab, rng
}

func TestClosestAllocatesNothing(t *testing.T) {
	tab, rng := fullTable()
	dst := make([]contact.Node, 0, 8)
	target := randomID(rng)
	if n := testing.AllocsPerRun(100, func() { dst = tab.Closest(target, K, dst[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkClosest(b *testing.B) {
	tab, rng := fullTable()
	dst := make([]contact.Node, 0, 8)
	target := contact.KeyOf(randomID(rng))
	for b.Loop() {
		target.Hi += 0x9e3779b97f4a7c15
		dst = tab.Closest(target.ID(), K, dst[:0])
	}
}
