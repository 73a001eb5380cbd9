package lookup

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 5)) }

func randomKey(rng *rand.Rand) contact.Key {
	return contact.Key{Hi: rng.Uint64(), Mid: rng.Uint64(), Lo: rng.Uint32()}
}

// nodeAt is a node with so many bits in common with target, the i-th address.
func nodeAt(rng *rand.Rand, target krpc.ID, bits, i int) contact.Node {
	k := contact.KeyOf(target)
	return contact.Node{
		ID:   randomKey(rng).Mix(k.Flip(bits), bits+1).ID(),
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{81, byte(i >> 8), byte(i), 1}), 6881),
	}
}

// drive runs a search in which reply says what a node answers and after how
// long; false is never. It returns when the search was done.
func drive(t *testing.T, l *Lookup, reply func(Query) (Reply, time.Duration, bool)) time.Duration {
	t.Helper()
	type pending struct {
		at time.Time
		r  Reply
	}
	var under []pending
	now, queries := start, []Query(nil)
	for range 10_000 {
		var wake time.Time
		queries, wake = l.Next(now, queries[:0])
		for _, q := range queries {
			if r, after, ok := reply(q); ok {
				r.From, r.RTT = q.Addr, after
				under = append(under, pending{now.Add(after), r})
			}
		}
		if len(l.list) > maxCandidates || l.stats.Queries > l.cfg.MaxQueries {
			t.Fatalf("%d candidates, %d queries", len(l.list), l.stats.Queries)
		}
		if l.Done(now) {
			return now.Sub(start)
		}
		if !wake.After(now) {
			t.Fatalf("at %v: wake at %v", now.Sub(start), wake.Sub(start))
		}
		slices.SortStableFunc(under, func(a, b pending) int { return a.at.Compare(b.at) })
		if len(under) > 0 && !under[0].at.After(wake) {
			now = under[0].at
			l.OnReply(under[0].r, now)
			under = under[1:]
		} else {
			now = wake
		}
	}
	t.Fatal("the search never ends")
	return 0
}

// candidates makes those to begin with.
func candidates(nodes ...contact.Node) (all []Candidate) {
	for _, n := range nodes {
		all = append(all, Candidate{Node: n, RTT: 50 * time.Millisecond, Live: true})
	}
	return all
}

// net is a small network in which all know all.
type net struct {
	nodes  []contact.Node
	target krpc.ID
}

func newNet(rng *rand.Rand, count int) *net {
	n := &net{target: randomKey(rng).ID()}
	for i := range count {
		n.nodes = append(n.nodes, contact.Node{ID: randomKey(rng).ID(), Addr: nodeAt(rng, n.target, 0, i).Addr})
	}
	slices.SortFunc(n.nodes, func(a, b contact.Node) int {
		return a.ID.Distance(n.target).Cmp(b.ID.Distance(n.target))
	})
	return n
}

func (n *net) answer(q Query) (Reply, time.Duration, bool) {
	return Reply{ID: q.ID, Nodes: n.nodes[:8], Token: []byte("token")}, 50 * time.Millisecond, true
}

func closestAre(t *testing.T, l *Lookup, want []contact.Node) {
	t.Helper()
	var got []contact.Node
	for _, f := range l.Closest(nil) {
		got = append(got, f.Node)
	}
	if !slices.Equal(got, want) {
		t.Errorf("closest: got %d nodes %v\nwant %d %v", len(got), got, len(want), want)
	}
}

func TestFindsTheClosest(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(1), 100)
	l := New(Config{}, n.target, candidates(n.nodes[60:80]...), start)
	took := drive(t, l, n.answer)
	closestAre(t, l, n.nodes[:8])
	if s := l.Stats(); took > 150*time.Millisecond || s.Queries > 20 || s.Failed != 0 {
		t.Errorf("took %v; %+v", took, s)
	}
}

func TestDeadNodesCostAStallNotATimeout(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(2), 100)
	dead := map[netip.AddrPort]bool{}
	for _, i := range []int{0, 3, 60, 61, 62, 63, 64, 65} {
		dead[n.nodes[i].Addr] = true
	}
	rtt := new(RTT)
	for range 100 {
		rtt.Add(60 * time.Millisecond)
	}
	l := New(Config{RTT: rtt}, n.target, candidates(n.nodes[60:80]...), start)
	took := drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Nodes = n.nodes[:10]
		return r, after, !dead[q.Addr]
	})
	want := slices.Concat(n.nodes[1:3], n.nodes[4:10])
	closestAre(t, l, want)
	// A stall for the first six, a hop, and no more than the time in which a
	// reply of the two dead ones in front could still come.
	if most := minStall + 50*time.Millisecond + rtt.Lost() + 100*time.Millisecond; took > most {
		t.Errorf("took %v, at most %v is right", took, most)
	}
}

func TestLateRepliesCount(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(3), 20)
	slow := n.nodes[10]
	l := New(Config{}, n.target, candidates(slow), start)
	took := drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		if q.Addr == slow.Addr {
			after = 3 * time.Second
		}
		return r, after, true
	})
	closestAre(t, l, n.nodes[:8])
	if took < 3*time.Second {
		t.Errorf("took %v: the only way in answers after 3 s", took)
	}
}

func TestLostQueriesAreRepeatedForAnAnnounce(t *testing.T) {
	t.Parallel()
	for _, announce := range []bool{false, true} {
		n := newNet(newRand(4), 20)
		asked := map[netip.AddrPort]int{}
		l := New(Config{Announce: announce}, n.target, candidates(n.nodes[10:]...), start)
		drive(t, l, func(q Query) (Reply, time.Duration, bool) {
			asked[q.Addr]++
			r, after, _ := n.answer(q)
			return r, after, asked[q.Addr] > 1 || q.Addr != n.nodes[2].Addr // the first to it is lost
		})
		found := slices.ContainsFunc(l.Closest(nil), func(f Found) bool { return f.Node == n.nodes[2] })
		if found != announce || l.Stats().Repeated > 0 != announce {
			t.Errorf("announce %t: found %t, %d repeated", announce, found, l.Stats().Repeated)
		}
		for a, count := range asked {
			if count > 2 {
				t.Errorf("%s was asked %d times", a, count)
			}
		}
	}
}

func TestAnnounceNeedsTokens(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(5), 30)
	l := New(Config{Announce: true}, n.target, candidates(n.nodes[20:]...), start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Nodes = n.nodes[:12]
		switch q.Addr {
		case n.nodes[1].Addr:
			r.Token = nil
		case n.nodes[2].Addr:
			r.Token = make([]byte, maxToken+1)
		}
		return r, after, true
	})
	closestAre(t, l, slices.Concat(n.nodes[:1], n.nodes[3:10]))
	for _, f := range l.Closest(nil) {
		if f.Token != "token" {
			t.Errorf("%v: token %q", f.Node, f.Token)
		}
	}
}

func TestBootstrapFromUnknownIDs(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(6), 30)
	host := contact.Node{Addr: n.nodes[20].Addr}
	l := New(Config{}, n.target, candidates(host), start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		if q.Addr == host.Addr {
			r.ID = n.nodes[20].ID
		}
		return r, after, true
	})
	closestAre(t, l, n.nodes[:8])
}

func TestShortSearchWithCachedNodes(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(7), 100)
	first := candidates(n.nodes[:8]...)
	for i := range first {
		first[i].Cached = true
	}
	l := New(Config{Announce: true}, n.target, slices.Concat(first, candidates(n.nodes[40:60]...)), start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Nodes = n.nodes[:10]
		return r, after, true
	})
	closestAre(t, l, n.nodes[:8])
	if q := l.Stats().Queries; q > 12 {
		t.Errorf("%d queries", q)
	}
	if took := l.Stats(); took.Queries > 10 || took.Repeated > 0 {
		t.Errorf("%+v, although nobody is gone", took)
	}
	// Two are gone: the next two take their places, and they are asked twice.
	l = New(Config{Announce: true}, n.target, slices.Concat(first, candidates(n.nodes[40:60]...)), start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Nodes = n.nodes[:10]
		return r, after, !slices.Contains(n.nodes[3:5], q.Node)
	})
	closestAre(t, l, slices.Concat(n.nodes[:3], n.nodes[5:10]))
	if s := l.Stats(); s.Queries != 12 || s.Repeated != 2 {
		t.Errorf("two gone: %+v", s)
	}
	// The first packet to one of them is lost.
	lost := false
	l = New(Config{Announce: true}, n.target, first, start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Nodes = n.nodes[:10]
		ok := q.Addr != n.nodes[0].Addr || lost
		lost = lost || !ok
		return r, after, ok
	})
	closestAre(t, l, n.nodes[:8])
	if s := l.Stats(); s.Queries > 12 || s.Repeated != 1 {
		t.Errorf("one packet lost: %+v", s)
	}
	// All of them are gone: it becomes a search like any other.
	l = New(Config{Announce: true}, n.target, slices.Concat(first, candidates(n.nodes[40:60]...)), start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Nodes = n.nodes[8:20]
		return r, after, !slices.Contains(n.nodes[:8], q.Node)
	})
	closestAre(t, l, n.nodes[8:16])
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(8), 20)
	l := New(Config{}, n.target, candidates(n.nodes...), start)
	took := drive(t, l, func(Query) (Reply, time.Duration, bool) { return Reply{}, 0, false })
	if len(l.Closest(nil)) != 0 || l.Stats().Queries != 20 || took < defaultTimeout {
		t.Errorf("%d found, %d queries, %v", len(l.Closest(nil)), l.Stats().Queries, took)
	}
	l = New(Config{}, n.target, nil, start)
	if _, wake := l.Next(start, nil); !l.Done(start) || !wake.After(start) {
		t.Error("a search with nobody to ask is not done")
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var r RTT
	if r.Usual() != firstUsual || r.Quantile(0.5) != 0 {
		t.Errorf("at the start: %v, %v", r.Usual(), r.Quantile(0.5))
	}
	for i := range 1024 {
		r.Add(time.Duration(i%128) * time.Millisecond * 100 / 128)
	}
	for q, want := range map[float64]time.Duration{0.1: 10 * time.Millisecond, 0.5: 50 * time.Millisecond, 0.9: 90 * time.Millisecond} {
		if got := r.Quantile(q); got < want*9/10 || got > want*12/10 {
			t.Errorf("quantile %v is %v, about %v is right", q, got, want)
		}
	}
	for range 200 { // the link became slow
		r.Add(400 * time.Millisecond)
	}
	if got := r.Quantile(0.5); got < 360*time.Millisecond {
		t.Errorf("after 200 slow replies the median is %v", got)
	}
	r.Add(time.Hour)
	if r.Stall() > maxStall || r.Lost() > maxLost {
		t.Errorf("stall %v, lost %v", r.Stall(), r.Lost())
	}
}

func TestTraceTellsTheStory(t *testing.T) {
	t.Parallel()
	n := newNet(newRand(9), 40)
	kinds := map[EventKind]int{}
	l := New(Config{Trace: func(e Event) {
		kinds[e.Kind]++
		if e.Kind == Answered && (e.Hop < 1 || e.Bits != contact.Common(e.Node.ID, n.target) || e.RTT == 0) {
			t.Errorf("%+v", e)
		}
	}}, n.target, candidates(n.nodes[20:]...), start)
	drive(t, l, func(q Query) (Reply, time.Duration, bool) {
		r, after, _ := n.answer(q)
		r.Values = q.Addr == n.nodes[0].Addr
		return r, after, q.Addr != n.nodes[1].Addr
	})
	if s := l.Stats(); kinds[Sent] != s.Queries || kinds[Answered] != s.Replies || kinds[Stalled] == 0 || kinds[Finished] != 1 || s.Hops != 2 {
		t.Errorf("%v; %+v", kinds, s)
	}
	for k := Sent; k <= Finished; k++ {
		if fmt.Sprint(k) == "" {
			t.Errorf("kind %d has no name", k)
		}
	}
}
