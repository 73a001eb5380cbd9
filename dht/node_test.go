package dht

import (
	"crypto/ed25519"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/lookup"
)

func TestTwoNodesFindEachOthersPeers(t *testing.T) {
	t.Parallel()
	for _, at := range []func(int) netip.AddrPort{addrOf, addr6Of} {
		w := grow(t, 2, at)
		hash := hashOf(1)
		r := w.search(at(1), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 5000})
		if r.Err != nil || r.Stored != 1 || r.Peers != 0 {
			t.Fatalf("announce: %+v", r)
		}
		want := netip.AddrPortFrom(at(1).Addr(), 5000)
		for _, asks := range []int{0, 1} { // the one that keeps it, and whose it is
			var got []netip.AddrPort
			r = w.search(at(asks), Search{Kind: GetPeers, Target: hash, Scrape: true, Peers: func(p []netip.AddrPort) { got = append(got, p...) }})
			if r.Err != nil || !slices.Equal(got, []netip.AddrPort{want}) || r.Peers != 1 {
				t.Errorf("node %d found %v, want %v: %+v", asks, got, want, r)
			}
			if r.Filters != 1 || r.Leechers < 0.9 || r.Leechers > 1.1 || r.Seeds != 0 {
				t.Errorf("node %d counts %.2f seeds and %.2f others by %d filters", asks, r.Seeds, r.Leechers, r.Filters)
			}
		}
	}
}

func TestTwentyNodes(t *testing.T) {
	t.Parallel()
	w := grow(t, 20, addrOf)
	for i := range 20 {
		if got := w.nodes[addrOf(i)].table.Len(); got < 15 {
			t.Errorf("node %d knows %d of 19 others: %s", i, got, w.nodes[addrOf(i)].Status(w.now))
		}
	}
	hash := hashOf(2)
	r := w.search(addrOf(3), Search{Kind: GetPeers, Target: hash, Announce: true, ImpliedPort: true, Seed: true})
	if r.Err != nil || r.Stored != 8 {
		t.Fatalf("announce: %+v", r)
	}
	if !slices.Equal(nearest(w, hash, 8, addrOf(3)), addresses(r.Closest)) {
		t.Errorf("announced to %v, want %v", addresses(r.Closest), nearest(w, hash, 8, addrOf(3)))
	}
	for i := range 20 {
		var peers []netip.AddrPort
		r := w.search(addrOf(i), Search{Kind: GetPeers, Target: hash, Scrape: true, Peers: func(p []netip.AddrPort) { peers = append(peers, p...) }})
		if r.Err != nil || !slices.Equal(peers, []netip.AddrPort{addrOf(3)}) {
			t.Errorf("node %d found %v: %+v", i, peers, r)
		}
		if r.Seeds < 0.9 || r.Seeds > 1.1 || r.Leechers != 0 || r.Filters == 0 {
			t.Errorf("node %d counts %.2f seeds and %.2f others by %d filters", i, r.Seeds, r.Leechers, r.Filters)
		}
		r = w.search(addrOf(i), Search{Kind: GetPeers, Target: hash, NoSeed: true})
		if r.Peers != 0 {
			t.Errorf("node %d wanted no seeds and found %d", i, r.Peers)
		}
	}
}

// nearest are the nodes nearest to a target, without one.
func nearest(w *network, target krpc.ID, count int, without netip.AddrPort) []netip.AddrPort {
	var all []contact.Node
	for addr, n := range w.nodes {
		if addr != without {
			all = append(all, contact.Node{ID: n.ID(), Addr: addr})
		}
	}
	key := contact.KeyOf(target)
	slices.SortFunc(all, func(a, b contact.Node) int {
		if contact.KeyOf(a.ID).Xor(key).Less(contact.KeyOf(b.ID).Xor(key)) {
			return -1
		}
		return 1
	})
	var addrs []netip.AddrPort
	for _, c := range all[:min(count, len(all))] {
		addrs = append(addrs, c.Addr)
	}
	return addrs
}

func addresses(found []lookup.Found) (addrs []netip.AddrPort) {
	for _, f := range found {
		addrs = append(addrs, f.Addr)
	}
	return addrs
}

// TestIDsThatChange has nodes that all find out, just after the start, that
// their ids do not fit their addresses.
func TestIDsThatChange(t *testing.T) {
	t.Parallel()
	w := newNetwork(t)
	for i := range 30 {
		w.add(addrOf(i), Config{}).SetBootstrap([]netip.AddrPort{addrOf(0)}, w.now)
	}
	w.run(3*time.Minute, nil)
	for i := range 30 {
		n := w.nodes[addrOf(i)]
		if n.stats.AddressChanges != 1 || !contact.Secure(n.ID(), addrOf(i).Addr()) || n.table.Len() < 20 {
			t.Errorf("node %d has id %v, and knows %d others", i, n.ID(), n.table.Len())
		}
	}
	hash := hashOf(2)
	if r := w.search(addrOf(3), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 5}); r.Stored < 6 {
		t.Errorf("%+v", r)
	}
	for i := range 30 {
		if r := w.search(addrOf(i), Search{Kind: GetPeers, Target: hash}); r.Peers != 1 {
			t.Errorf("node %d finds %d peers", i, r.Peers)
		}
	}
}

func TestReannounceIsShort(t *testing.T) {
	t.Parallel()
	w := grow(t, 60, addrOf)
	hash := hashOf(3)
	first := w.search(addrOf(5), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 99})
	w.run(15*time.Minute, nil)
	again := w.search(addrOf(5), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 99})
	if again.Err != nil || !again.Cached || again.Stored != 8 || again.Stats.Queries > 12 {
		t.Errorf("first %d queries, again %d: %+v", first.Stats.Queries, again.Stats.Queries, again)
	}
}

// TestNobodyTakesTheAnnounce has nodes that answer searches, but no announce.
func TestNobodyTakesTheAnnounce(t *testing.T) {
	t.Parallel()
	w := grow(t, 20, addrOf)
	w.lose = func(b []byte, _, _ netip.AddrPort) bool {
		var m krpc.Message
		return m.Decode(b) == krpc.None && m.Kind == krpc.Query && m.Method == krpc.AnnouncePeer
	}
	r := w.search(addrOf(5), Search{Kind: GetPeers, Target: hashOf(3), Announce: true, Port: 99})
	if r.Err != ErrRefused || r.Stored != 0 || len(r.Codes) != 0 || len(r.Closest) != 8 {
		t.Errorf("%+v", r)
	}
	w = newNetwork(t)
	w.add(addrOf(1), Config{}).SetBootstrap([]netip.AddrPort{addrOf(2)}, w.now)
	if r = w.search(addrOf(1), Search{Kind: GetPeers, Target: hashOf(3), Announce: true, Port: 99}); r.Err != ErrNoNodes {
		t.Errorf("alone: %+v", r)
	}
}

func TestItemsGoRound(t *testing.T) {
	t.Parallel()
	w := grow(t, 20, addrOf)
	fixed, err := NewItem([]byte("d3:keyi5ee"))
	if err != nil {
		t.Fatal(err)
	}
	r := w.search(addrOf(1), Search{Kind: Get, Target: fixed.Target(), Put: func(*Item) *Item { return fixed }})
	if r.Err != nil || r.Stored != 8 {
		t.Fatalf("put: %+v", r)
	}
	r = w.search(addrOf(2), Search{Kind: Get, Target: fixed.Target()})
	if r.Err != nil || r.Item == nil || string(r.Item.V) != string(fixed.V) || r.Item.Mutable() {
		t.Fatalf("get: %+v", r)
	}
	if r = w.search(addrOf(2), Search{Kind: Get, Target: hashOf(9)}); r.Err != ErrNotFound {
		t.Errorf("get of nothing: %v", r.Err)
	}

	key, salt := ed25519.NewKeyFromSeed(make([]byte, 32)), []byte("salt")
	sign := func(seq int64, v string) *Item {
		i, err := SignItem(key, salt, seq, []byte(v))
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	target := sign(1, "1:a").Target()
	put := func(at int, i *Item) Result {
		return w.search(addrOf(at), Search{Kind: Get, Target: target, Salt: salt, Put: func(*Item) *Item { return i }})
	}
	if r = put(3, sign(1, "1:a")); r.Stored != 8 {
		t.Fatalf("first version: %+v", r)
	}
	var newest *Item
	r = w.search(addrOf(4), Search{Kind: Get, Target: target, Salt: salt, Put: func(i *Item) *Item {
		newest = i
		next := sign(i.Seq+1, "1:b")
		next.CAS = true
		return next
	}})
	if r.Stored != 8 || newest == nil || newest.Seq != 1 || string(newest.V) != "1:a" {
		t.Fatalf("second version: %+v after %+v", r, newest)
	}
	if r = put(4, sign(1, "1:a")); r.Err != ErrRefused || r.Stored != 0 || len(r.Codes) != 8 || r.Codes[0] != krpc.CodeSequence {
		t.Errorf("back to the first version: %+v", r)
	}
	var seen []int64
	r = w.search(addrOf(6), Search{Kind: Get, Target: target, Salt: salt, Item: func(i Item) { seen = append(seen, i.Seq) }})
	if r.Item == nil || r.Item.Seq != 2 || string(r.Item.V) != "1:b" || !slices.Equal(seen, []int64{2}) {
		t.Errorf("at the end: %+v, told of %v", r, seen)
	}
	if r = w.search(addrOf(6), Search{Kind: Get, Target: target, Salt: []byte("other")}); r.Err != ErrNotFound || r.Bad == 0 {
		t.Errorf("with another salt: %+v", r)
	}
	if w.nodes[addrOf(6)].stats.BadItems == 0 {
		t.Error("items that do not fit their target are not counted")
	}
}

func TestItemsThatNobodyWouldStore(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	if _, err := NewItem([]byte("x")); err == nil {
		t.Error("a value that is not bencode")
	}
	if _, err := NewItem([]byte("1000:" + string(make([]byte, 1000)))); err == nil {
		t.Error("a value of 1,005 bytes")
	}
	if _, err := SignItem(key, make([]byte, 65), 1, []byte("1:a")); err == nil {
		t.Error("a salt of 65 bytes")
	}
	if _, err := SignItem(key, nil, -1, []byte("1:a")); err == nil {
		t.Error("a negative number")
	}
	i, _ := SignItem(key, nil, 1, []byte("1:a"))
	i.Seq = 2
	if i.Check() == nil {
		t.Error("a wrong signature")
	}
}

func TestSearchesWaitForAFirstNode(t *testing.T) {
	t.Parallel()
	w := newNetwork(t)
	n := w.add(addrOf(1), Config{})
	w.add(addrOf(0), Config{})
	var r *Result
	w.start(addrOf(1), Search{Kind: GetPeers, Target: hashOf(1), Done: func(got Result) { r = &got }})
	w.run(10*time.Second, nil)
	if r != nil {
		t.Fatalf("it ended before anybody was known: %+v", r)
	}
	n.SetBootstrap([]netip.AddrPort{addrOf(0)}, w.now)
	w.poke(addrOf(1))
	if !w.run(time.Second, func() bool { return r != nil }) || r.Err != nil || len(r.Closest) != 1 {
		t.Errorf("with a bootstrap host: %+v", r)
	}
	// Alone for ever: it says so.
	w = newNetwork(t)
	w.add(addrOf(1), Config{})
	if r := w.search(addrOf(1), Search{Kind: GetPeers, Target: hashOf(1)}); r.Err != ErrNoNodes || r.Elapsed > time.Minute {
		t.Errorf("alone: %+v", r)
	}
}

// TestSearchMissesTheFirstNode has a search that asks a dead bootstrap host
// while the first node becomes known by another way.
func TestSearchMissesTheFirstNode(t *testing.T) {
	t.Parallel()
	w := newNetwork(t)
	w.add(addrOf(0), Config{})
	n := w.add(addrOf(1), Config{})
	n.SetBootstrap([]netip.AddrPort{addrOf(2)}, w.now)
	var r *Result
	w.start(addrOf(1), Search{Kind: GetPeers, Target: hashOf(1), Done: func(got Result) { r = &got }})
	w.run(10*time.Millisecond, nil)
	n.AddNode(addrOf(0), w.now)
	w.poke(addrOf(1))
	if !w.run(time.Minute, func() bool { return r != nil }) || r.Err != nil || len(r.Closest) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestCancelledSearchesAreNotHeardOf(t *testing.T) {
	t.Parallel()
	w := grow(t, 10, addrOf)
	cancel, err := w.nodes[addrOf(1)].Start(Search{Kind: GetPeers, Target: hashOf(1), Done: func(Result) { t.Error("it was told of") }}, w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.poke(addrOf(1))
	w.run(25*time.Millisecond, nil)
	if running, _ := w.nodes[addrOf(1)].Searches(); running != 1 {
		t.Fatalf("%d searches run", running)
	}
	cancel()
	w.run(time.Minute, nil)
	if running, waiting := w.nodes[addrOf(1)].Searches(); running != 0 || waiting != 0 {
		t.Errorf("%d searches run, %d wait", running, waiting)
	}
}

func TestSearchesAreBounded(t *testing.T) {
	t.Parallel()
	w := grow(t, 10, addrOf)
	n := w.nodes[addrOf(1)]
	done, refused := 0, 0
	for i := range 2000 {
		_, err := n.Start(Search{Kind: GetPeers, Target: hashOf(uint64(i)), Done: func(Result) { done++ }}, w.now)
		if err != nil {
			refused++
		}
	}
	if refused != 2000-maxWaiting {
		t.Errorf("%d of 2000 were refused", refused)
	}
	w.poke(addrOf(1))
	w.run(time.Second, nil)
	if running, _ := n.Searches(); running > maxRunning {
		t.Errorf("%d run at once", running)
	}
	w.run(20*time.Minute, func() bool { return done == maxWaiting })
	if done != maxWaiting {
		t.Errorf("%d of %d came to an end", done, maxWaiting)
	}
}

func TestCallbacksMayStartSearches(t *testing.T) {
	t.Parallel()
	w := grow(t, 10, addrOf)
	n, count := w.nodes[addrOf(1)], 0
	var again func(Result)
	again = func(Result) {
		if count++; count < 5 {
			if _, err := n.Start(Search{Kind: FindNode, Target: hashOf(uint64(count)), Done: again}, w.now); err != nil {
				t.Error(err)
			}
			n.AddNode(addrOf(500), w.now)
		}
	}
	w.start(addrOf(1), Search{Kind: FindNode, Target: hashOf(0), Done: again, Trace: func(lookup.Event) { n.AddNode(addrOf(501), w.now) }})
	if !w.run(time.Minute, func() bool { return count == 5 }) {
		t.Errorf("%d searches came to an end, want 5", count)
	}
}

func TestTraceTellsEachHop(t *testing.T) {
	t.Parallel()
	w := grow(t, 30, addrOf)
	hash := hashOf(4)
	dead := nearest(w, hash, 2, addrOf(7))
	w.silent[dead[0]] = true
	kinds := map[lookup.EventKind]int{}
	w.search(addrOf(7), Search{Kind: GetPeers, Target: hash, Trace: func(e lookup.Event) {
		kinds[e.Kind]++
		if e.Kind == lookup.Answered && (e.RTT != 40*time.Millisecond || e.Node.Addr == dead[0]) {
			t.Errorf("%+v", e)
		}
	}})
	if kinds[lookup.Sent] < 9 || kinds[lookup.Answered] < 8 || kinds[lookup.Stalled] != 1 || kinds[lookup.Finished] != 1 {
		t.Errorf("events %v", kinds)
	}
}

// TestAnnouncesReachTheClosest has round trips of many lengths and some loss:
// slow nodes that are close must be announced to as well.
func TestAnnouncesReachTheClosest(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	w := newNetwork(t)
	far := map[netip.AddrPort]time.Duration{}
	for i := range 120 {
		far[addrOf(i)] = time.Duration(float64(45*time.Millisecond) * math.Exp(0.7*rng.NormFloat64()))
	}
	w.delay = func(a, b netip.AddrPort) time.Duration { return 5*time.Millisecond + (far[a]+far[b])/2 }
	w.lose = func([]byte, netip.AddrPort, netip.AddrPort) bool { return rng.IntN(100) == 0 }
	for i := range 120 {
		id := contact.MakeSecure(hashOf(uint64(i)+5000), addrOf(i).Addr())
		w.add(addrOf(i), Config{ID: id}).SetBootstrap([]netip.AddrPort{addrOf(0)}, w.now)
		w.run(100*time.Millisecond, nil)
	}
	w.run(3*time.Minute, nil)
	found, stored := 0, 0
	for i := range 30 {
		from := addrOf(rng.IntN(120))
		r := w.search(from, Search{Kind: GetPeers, Target: hashOf(uint64(i)), Announce: true, Port: 5})
		want := nearest(w, hashOf(uint64(i)), 8, from)
		for _, a := range addresses(r.Closest) {
			if slices.Contains(want, a) {
				found++
			}
		}
		stored += r.Stored
	}
	if found < 30*8*97/100 || stored < 30*8*97/100 {
		t.Errorf("of %d closest nodes %d are found, and %d take the announce", 30*8, found, stored)
	}
}
