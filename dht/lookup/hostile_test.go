package lookup

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

func TestRepliesThatDoNotCount(t *testing.T) {
	t.Parallel()
	rng := newRand(20)
	target := randomKey(rng).ID()
	a, b := nodeAt(rng, target, 3, 1), nodeAt(rng, target, 4, 2)
	self := randomKey(rng).ID()
	for name, r := range map[string]Reply{
		"from nobody who was asked": {From: nodeAt(rng, target, 0, 9).Addr, ID: a.ID},
		"with another id":           {From: a.Addr, ID: b.ID},
		"with our own id":           {From: a.Addr, ID: self},
	} {
		l := New(Config{Self: self}, target, candidates(a, b), start)
		l.Next(start, nil)
		r.Nodes, r.Values = []contact.Node{nodeAt(rng, target, 9, 5)}, true
		if l.OnReply(r, start) || l.Stats().Believed != 0 || l.Stats().Hops != 0 {
			t.Errorf("a reply %s counts", name)
		}
	}
	l := New(Config{}, target, candidates(a, b), start)
	l.Next(start, nil)
	if !l.OnReply(Reply{From: a.Addr, ID: a.ID}, start) || l.OnReply(Reply{From: a.Addr, ID: a.ID}, start) {
		t.Error("a reply counts twice, or not at all")
	}
	twin := contact.Node{ID: a.ID, Addr: nodeAt(rng, target, 0, 7).Addr}
	l = New(Config{}, target, candidates(a, twin), start)
	l.Next(start, nil)
	if !l.OnReply(Reply{From: twin.Addr, ID: a.ID}, start) || l.OnReply(Reply{From: a.Addr, ID: a.ID}, start) {
		t.Error("one id counts at two addresses, or at none")
	}
}

func TestWhoIsNoCandidate(t *testing.T) {
	t.Parallel()
	rng := newRand(21)
	target, self := randomKey(rng).ID(), randomKey(rng).ID()
	from := nodeAt(rng, target, 1, 1)
	blocked := nodeAt(rng, target, 2, 2)
	at := func(s string) contact.Node {
		return contact.Node{ID: randomKey(rng).ID(), Addr: netip.MustParseAddrPort(s)}
	}
	for name, n := range map[string]contact.Node{
		"ourselves":    {ID: self, Addr: nodeAt(rng, target, 0, 3).Addr},
		"of a LAN":     at("192.168.1.1:6881"),
		"of this host": at("127.0.0.1:6881"),
		"IPv6":         at("[2a01::1]:6881"),
		"port 0":       at("8.8.8.8:0"),
		"multicast":    at("224.0.0.5:6881"),
		"blocked":      blocked,
		"known":        {ID: randomKey(rng).ID(), Addr: from.Addr},
	} {
		l := New(Config{Self: self, Refuse: func(c contact.Node) bool { return c.Addr == blocked.Addr }}, target, candidates(from), start)
		l.Next(start, nil)
		l.OnReply(Reply{From: from.Addr, ID: from.ID, Nodes: []contact.Node{n}}, start)
		if l.Stats().Believed != 0 {
			t.Errorf("%s became a candidate", name)
		}
	}
	lan := at("192.168.1.5:6881")
	l := New(Config{}, target, candidates(lan), start)
	l.Next(start, nil)
	l.OnReply(Reply{From: lan.Addr, ID: lan.ID, Nodes: []contact.Node{at("192.168.1.6:6881"), at("8.8.8.8:6881")}}, start)
	if l.Stats().Believed != 2 {
		t.Error("a node of a LAN can't name its neighbours")
	}
}

// TestForEverNearer has a node whose friends each name others that are nearer.
func TestForEverNearer(t *testing.T) {
	t.Parallel()
	rng := newRand(22)
	target := randomKey(rng).ID()
	count := 0
	l := New(Config{}, target, candidates(nodeAt(rng, target, 0, 0)), start)
	took := drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r := Reply{ID: q.ID}
		for range 8 {
			count++
			r.Nodes = append(r.Nodes, nodeAt(rng, target, min(155, count/8), count))
		}
		return r, 10 * time.Millisecond, true
	})
	if l.Stats().Queries > defaultMaxQueries || took > time.Minute {
		t.Errorf("%d queries, %v", l.Stats().Queries, took)
	}
}

func TestAnswersWithItself(t *testing.T) {
	t.Parallel()
	rng := newRand(23)
	target := randomKey(rng).ID()
	n := nodeAt(rng, target, 3, 0)
	l := New(Config{}, target, candidates(n), start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r := Reply{ID: q.ID, Nodes: []contact.Node{q.Node}}
		for i := range 20 {
			r.Nodes = append(r.Nodes, contact.Node{ID: nodeAt(rng, target, 10+i, 0).ID, Addr: q.Addr})
		}
		return r, time.Millisecond, true
	})
	if l.Stats().Queries != 1 {
		t.Errorf("it was asked %d times", l.Stats().Queries)
	}
}

func TestHugeRepliesAreCutShort(t *testing.T) {
	t.Parallel()
	rng := newRand(24)
	target := randomKey(rng).ID()
	n := nodeAt(rng, target, 3, 0)
	l := New(Config{}, target, candidates(n), start)
	l.Next(start, nil)
	r := Reply{From: n.Addr, ID: n.ID}
	for i := range 5000 {
		r.Nodes = append(r.Nodes, nodeAt(rng, target, 4+i%50, 1+i))
	}
	l.OnReply(r, start)
	if l.Stats().Believed != maxTaken {
		t.Errorf("%d nodes of one reply count", l.Stats().Believed)
	}
}

// TestNobodySteersAlone has one node that names many dead ones next to the
// target, and honest ones beside it.
func TestNobodySteersAlone(t *testing.T) {
	t.Parallel()
	rng := newRand(25)
	n := newNet(rng, 60)
	liar := n.nodes[50]
	asked := 0
	l := New(Config{}, n.target, candidates(n.nodes[50:]...), start)
	took := drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		if q.Addr == liar.Addr {
			r.Nodes = nil
			for i := range 8 {
				r.Nodes = append(r.Nodes, nodeAt(rng, n.target, 100+i, 1000+i))
			}
			after = 10 * time.Millisecond // the first to answer
		}
		if slices.Contains(n.nodes, q.Node) {
			return r, after, true
		}
		asked++
		return Reply{}, 0, false
	})
	closestAre(t, l, n.nodes[:8])
	if asked > credit || took > 2*time.Second {
		t.Errorf("%d dead nodes were asked on the word of one; %v", asked, took)
	}
}

// TestWrongNamesHideNobody has a node that names the closest by ids which are
// not theirs, before anybody else names them.
func TestWrongNamesHideNobody(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond} {
		rng := newRand(26)
		n := newNet(rng, 60)
		liar := n.nodes[50]
		l := New(Config{}, n.target, candidates(n.nodes[50:]...), start)
		drive(t, l, func(q Query) (Reply, time.Duration, bool) {
			r, after, _ := n.answer(q)
			if q.Addr == liar.Addr {
				r.Nodes = nil
				for i, near := range n.nodes[:5] {
					r.Nodes = append(r.Nodes, contact.Node{ID: nodeAt(rng, n.target, 12+i, 0).ID, Addr: near.Addr})
				}
				return r, time.Millisecond, true // the first to answer
			}
			if at := slices.IndexFunc(n.nodes, func(x contact.Node) bool { return x.Addr == q.Addr }); at < 5 {
				r.ID, after = n.nodes[at].ID, late
			}
			return r, after, true
		})
		closestAre(t, l, n.nodes[:8])
	}
}

func TestTooNearToBeTrue(t *testing.T) {
	t.Parallel()
	rng := newRand(26)
	n := newNet(rng, 60)
	l := New(Config{Bits: 6}, n.target, candidates(n.nodes[50:]...), start)
	asked := 0
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Nodes = slices.Clone(r.Nodes)
		r.Nodes[7] = nodeAt(rng, n.target, 60, 2000+asked)
		if !slices.Contains(n.nodes, q.Node) {
			asked++
		}
		return r, after, true
	})
	if asked > 0 {
		t.Errorf("%d nodes were asked that share 60 bits with the target in a network of 2^6", asked)
	}
}

func TestFewOfOneNetwork(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		net  [3]byte
		most int
	}{{[3]byte{81, 1, 1}, perNetwork}, {[3]byte{192, 168, 1}, 20}} {
		rng := newRand(27)
		target := randomKey(rng).ID()
		var nodes []contact.Node
		for i := range 20 {
			a := netip.AddrFrom4([4]byte{row.net[0], row.net[1], row.net[2], byte(i + 1)})
			nodes = append(nodes, contact.Node{ID: randomKey(rng).ID(), Addr: netip.AddrPortFrom(a, 1)})
		}
		l := New(Config{K: 20}, target, candidates(nodes...), start)
		drive(t, l, func(q Query) (Reply, time.Duration, bool) {
			return Reply{ID: q.ID}, time.Millisecond, true
		})
		if got := l.Stats().Queries; got != row.most {
			t.Errorf("%v: %d were asked, want %d", row.net, got, row.most)
		}
	}
}

// TestRandomReplies answers with anything: the search must end, within its
// bounds.
func TestRandomReplies(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rng := newRand(seed + 1000)
		target := randomKey(rng).ID()
		var known []contact.Node
		for i := range 40 {
			known = append(known, nodeAt(rng, target, rng.IntN(30), i))
		}
		anyNode := func() contact.Node {
			n := known[rng.IntN(len(known))]
			switch rng.IntN(6) {
			case 0:
				n.ID = randomKey(rng).ID()
			case 1:
				n = nodeAt(rng, target, rng.IntN(160), rng.IntN(3000))
			case 2:
				n.Addr = netip.AddrPortFrom(n.Addr.Addr(), uint16(rng.IntN(3)))
			case 3:
				n.ID = krpc.ID{}
			}
			return n
		}
		cfg := Config{Announce: rng.IntN(2) == 0, MaxQueries: rng.IntN(200), Bits: rng.IntN(30), Self: known[3].ID}
		var first []Candidate
		for range rng.IntN(40) {
			first = append(first, Candidate{Node: anyNode(), RTT: time.Duration(rng.IntN(1000)) * time.Millisecond, Cached: rng.IntN(4) == 0})
		}
		l := New(cfg, target, first, start)
		took := drive(t, l, func(q Query) (Reply, time.Duration, bool) {
			r := Reply{ID: q.ID, Values: rng.IntN(5) == 0}
			if rng.IntN(8) == 0 {
				r.ID = anyNode().ID
			}
			for range rng.IntN(100) {
				r.Nodes = append(r.Nodes, anyNode())
			}
			if rng.IntN(4) > 0 {
				r.Token = []byte("token")
			}
			if rng.IntN(20) == 0 {
				l.OnError(anyNode().Addr, start)
			}
			return r, time.Duration(rng.IntN(5000)) * time.Millisecond, rng.IntN(3) > 0
		})
		if took > 10*time.Minute {
			t.Fatalf("seed %d: %v", seed, took)
		}
		seen := map[krpc.ID]bool{}
		for _, f := range l.Closest(nil) {
			if seen[f.ID] || f.ID == cfg.Self {
				t.Fatalf("seed %d: %v twice, or ourselves", seed, f.ID)
			}
			seen[f.ID] = true
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	n := newNet(newRand(30), 200)
	first := candidates(n.nodes[100:132]...)
	for b.Loop() {
		l := New(Config{}, n.target, first, start)
		now := start
		var queries []Query
		for range 1000 {
			queries, _ = l.Next(now, queries[:0])
			now = now.Add(time.Millisecond)
			for _, q := range queries {
				l.OnReply(Reply{From: q.Addr, ID: q.ID, Nodes: n.nodes[:8], RTT: time.Millisecond}, now)
			}
			if l.Done(now) {
				break
			}
		}
	}
}
