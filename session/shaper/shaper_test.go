package shaper

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// sim is a shaper in virtual time with peers that always want `want` bytes.
type sim struct {
	t     testing.TB
	s     *Shaper
	now   time.Time
	rng   *rand.Rand
	want  map[*Leaf]int64
	got   map[*Leaf]int64
	order []*Leaf
	ticks int
}

func newSim(t testing.TB, limit int64) *sim {
	return &sim{
		t: t, s: New(Config{Limit: limit}), now: start, rng: rand.New(rand.NewPCG(1, 2)),
		want: make(map[*Leaf]int64), got: make(map[*Leaf]int64),
	}
}

// peers adds n peers to a flow.
func (m *sim) peers(f *Flow, n int, want int64) (leaves []*Leaf) {
	for range n {
		l := f.Peer()
		l.Want(want)
		m.want[l] = want
		m.order = append(m.order, l)
		leaves = append(leaves, l)
	}
	return leaves
}

// run ticks for d, a little late every time as real timers are.
func (m *sim) run(d time.Duration) {
	m.t.Helper()
	clear(m.got)
	end := m.now.Add(d)
	for !m.now.After(end) {
		m.ticks++
		grants, next := m.s.Tick(m.now)
		seen := make(map[*Leaf]bool)
		for _, g := range grants {
			if seen[g.Leaf] || g.Bytes <= 0 || g.Bytes > m.want[g.Leaf] {
				m.t.Fatalf("grant of %d bytes, wanted %d, twice: %v", g.Bytes, m.want[g.Leaf], seen[g.Leaf])
			}
			seen[g.Leaf] = true
			m.got[g.Leaf] += g.Bytes
		}
		for _, l := range m.order {
			if l.Wanted() < m.want[l] {
				l.Want(m.want[l])
			}
		}
		if next.IsZero() || next.Before(m.now.Add(20*time.Millisecond)) {
			next = m.now.Add(20 * time.Millisecond)
		}
		m.now = next.Add(time.Duration(m.rng.IntN(3_000_000)))
	}
	m.now = end
}

func (m *sim) sum(leaves []*Leaf) (n int64) {
	for _, l := range leaves {
		n += m.got[l]
	}
	return n
}

// within expects got to be want, give or take a share.
func within(t testing.TB, what string, got, want int64, share float64) {
	t.Helper()
	if math.Abs(float64(got-want)) > float64(want)*share {
		t.Errorf("%s: %d bytes, want %d ± %.1f %%", what, got, want, share*100)
	}
}

// jain is the fairness index of Jain, Chiu and Hawe: 1 if all got the same,
// 1/n if one got everything.
func (m *sim) jain(leaves []*Leaf) float64 {
	var sum, squares float64
	for _, l := range leaves {
		x := float64(m.got[l])
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(leaves)) * squares)
}

func TestLimitIsHeldAndSharedByEightPeers(t *testing.T) {
	m := newSim(t, 5*mib)
	peers := m.peers(m.s.Torrent(0), 8, mib)
	m.run(10 * time.Second)
	within(t, "5 MiB/s for 10 s", m.sum(peers), 50*mib, 0.01)
	for i, l := range peers {
		within(t, fmt.Sprintf("peer %d", i), m.got[l], 50*mib/8, 0.01)
	}
	if m.ticks > 510 {
		t.Errorf("%d ticks in 10 s", m.ticks)
	}
}

func TestEveryLimitWorks(t *testing.T) {
	for _, limit := range []int64{1, 100, kib, 10 * kib, 100 * kib, mib, 20 * mib, 300 * mib, gib, 10 * gib, 100 * gib} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("limit=%d,own=%v", limit, own), func(t *testing.T) {
				m := newSim(t, limit)
				f := m.s.Torrent(0)
				if own {
					m = newSim(t, 0)
					f = m.s.Torrent(limit)
				}
				peers := m.peers(f, 3, 1<<40)
				d := max(3*time.Second, time.Duration(60*float64(16397)/float64(limit)*float64(time.Second)))
				m.run(d)
				want := int64(float64(limit) * d.Seconds())
				if limit > 10*gib {
					want = int64(10 * gib * d.Seconds()) // the burst is capped: as much as that at least
					if m.sum(peers) > want {
						want = m.sum(peers)
					}
				}
				within(t, d.String(), m.sum(peers), want, 0.02)
				if j := m.jain(peers); j < 0.999 {
					t.Errorf("fairness %.4f", j)
				}
			})
		}
	}
}

func TestSlowLimitWakesRarely(t *testing.T) {
	m := newSim(t, kib)
	m.peers(m.s.Torrent(0), 2, mib)
	m.run(time.Hour)
	if m.ticks > 300 { // a block takes 16 s
		t.Errorf("%d ticks in an hour at 1 KiB/s", m.ticks)
	}
	m = newSim(t, 0)
	m.peers(m.s.Torrent(kib), 2, mib)
	m.run(time.Hour)
	if m.ticks > 300 {
		t.Errorf("%d ticks in an hour at 1 KiB/s for a torrent", m.ticks)
	}
}

func TestTorrentsShareEvenlyWhateverTheirPeers(t *testing.T) {
	m := newSim(t, 6*mib)
	a := m.peers(m.s.Torrent(0), 1, mib)
	b := m.peers(m.s.Torrent(0), 50, mib)
	c := m.peers(m.s.Torrent(0), 7, mib)
	m.run(10 * time.Second)
	for name, peers := range map[string][]*Leaf{"one peer": a, "fifty": b, "seven": c} {
		within(t, name, m.sum(peers), 20*mib, 0.01)
		if j := m.jain(peers); j < 0.998 {
			t.Errorf("%s: fairness %.4f", name, j)
		}
	}
}

func TestSmallAsksGetAsMuchAsLargeOnes(t *testing.T) {
	m := newSim(t, 100*kib)
	f := m.s.Torrent(0)
	large := m.peers(f, 1, 128*kib)
	small := m.peers(f, 9, kib)
	m.run(100 * time.Second)
	if j := m.jain(append(large, small...)); j < 0.99 {
		t.Errorf("fairness %.4f: the one with large asks got %d of %d", j, m.got[large[0]], m.sum(small)+m.got[large[0]])
	}
	for _, l := range small {
		if m.got[l] == 0 {
			t.Error("a peer with small asks starves")
		}
	}
}

func TestUnusedShareGoesToTheOthers(t *testing.T) {
	t.Run("torrent with a limit", func(t *testing.T) {
		m := newSim(t, 5*mib)
		slow := m.peers(m.s.Torrent(mib), 3, mib)
		fast := m.peers(m.s.Torrent(0), 3, mib)
		loose := m.peers(m.s.Torrent(100*mib), 3, mib)
		m.run(10 * time.Second)
		within(t, "slow", m.sum(slow), 10*mib, 0.01)
		within(t, "fast", m.sum(fast), 20*mib, 0.01)
		within(t, "loose", m.sum(loose), 20*mib, 0.01)
	})
	t.Run("torrents with limits below the whole", func(t *testing.T) {
		m := newSim(t, 50*mib)
		a := m.peers(m.s.Torrent(mib), 3, mib)
		b := m.peers(m.s.Torrent(2*mib), 3, mib)
		m.run(10 * time.Second)
		within(t, "a", m.sum(a), 10*mib, 0.01)
		within(t, "b", m.sum(b), 20*mib, 0.01)
	})
	t.Run("peer with small demand", func(t *testing.T) {
		m := newSim(t, 5*mib)
		f := m.s.Torrent(0)
		little := m.peers(f, 1, 2*kib) // 100 KiB/s at 50 ticks
		rest := m.peers(f, 4, mib)
		m.run(10 * time.Second)
		within(t, "all", m.sum(little)+m.sum(rest), 50*mib, 0.01)
		if j := m.jain(rest); j < 0.999 {
			t.Errorf("fairness %.4f", j)
		}
	})
	t.Run("peer that goes", func(t *testing.T) {
		m := newSim(t, 5*mib)
		f := m.s.Torrent(0)
		peers := m.peers(f, 4, mib)
		m.run(time.Second)
		peers[0].Close()
		peers[0].Close()
		peers[1].Want(0)
		delete(m.want, peers[0])
		m.order = peers[2:]
		m.run(10 * time.Second)
		within(t, "those left", m.sum(peers[2:]), 50*mib, 0.01)
		if m.got[peers[0]]+m.got[peers[1]] != 0 {
			t.Error("grants to those that want nothing")
		}
	})
}

func TestLimitsChangeLive(t *testing.T) {
	m := newSim(t, 0)
	f := m.s.Torrent(0)
	if !f.Unlimited() {
		t.Error("limited without a limit")
	}
	peers := m.peers(f, 5, 4*mib)
	for _, c := range []struct{ all, own, want int64 }{
		{mib, 0, mib},
		{20 * mib, 0, 20 * mib},
		{2 * kib, 0, 2 * kib},
		{10 * mib, 0, 10 * mib},
		{10 * mib, 3 * mib, 3 * mib},
		{mib, 3 * mib, mib},
		{0, 3 * mib, 3 * mib},
		{0, kib, kib},
		{0, 5 * mib, 5 * mib},
		{7 * mib, 0, 7 * mib},
		{4 * mib, 4 * mib, 4 * mib},
	} {
		m.s.SetLimit(c.all, m.now)
		f.SetLimit(c.own, m.now)
		if m.s.Limit() != c.all || f.Limit() != c.own || f.Unlimited() || peers[0].Unlimited() {
			t.Errorf("limits %d and %d, unlimited %v", m.s.Limit(), f.Limit(), f.Unlimited())
		}
		d := 10 * time.Second
		if c.want < 10*kib {
			d = 1000 * time.Second
		}
		m.run(d)
		want := int64(d.Seconds()) * c.want
		within(t, fmt.Sprintf("limits %d and %d", c.all, c.own), m.sum(peers), want, 0.03)
	}
	m.s.SetLimit(0, m.now)
	f.SetLimit(-5, m.now)
	grants, next := m.s.Tick(m.now)
	if len(grants) != 5 || !next.IsZero() || !f.Unlimited() {
		t.Errorf("without limits: %d grants of 5, next %v", len(grants), next)
	}
}

func TestRaisedLimitIsFeltAtOnce(t *testing.T) {
	m := newSim(t, kib)
	f := m.s.Torrent(kib)
	l := m.peers(f, 1, 10*mib)[0]
	m.run(100 * time.Millisecond)
	m.s.SetLimit(100*mib, m.now)
	f.SetLimit(100*mib, m.now)
	m.run(50 * time.Millisecond)
	if m.got[l] < 2*mib {
		t.Errorf("%d bytes in 50 ms at 100 MiB/s", m.got[l])
	}
}

func TestIdleLimitSavesLittle(t *testing.T) {
	for _, limit := range []int64{kib, 5 * mib} {
		s := New(Config{Limit: limit})
		if _, next := s.Tick(start); !next.IsZero() {
			t.Error("a tick is wanted with nobody there")
		}
		l := s.Torrent(0).Peer()
		l.Want(gib)
		s.Tick(start)
		l.Want(0)
		if _, next := s.Tick(start.Add(time.Hour)); !next.IsZero() {
			t.Error("a tick is wanted with nobody waiting")
		}
		l.Want(gib)
		grants, _ := s.Tick(start.Add(2 * time.Hour))
		if most := max(4*16397, limit/10); len(grants) != 1 || grants[0].Bytes > most || grants[0].Bytes < most-16397 {
			t.Errorf("limit %d: %+v after an hour's rest, want about %d", limit, grants, most)
		}
	}
}

func TestNobodyStarvesUnderATinyLimit(t *testing.T) {
	m := newSim(t, kib)
	var all []*Leaf
	for n := range 10 {
		all = append(all, m.peers(m.s.Torrent(0), n+1, int64(16397+1000*n))...)
	}
	m.run(16 * 12 * 10 * time.Second) // a dozen blocks for each torrent
	for i, l := range all {
		if m.got[l] == 0 {
			t.Errorf("peer %d of %d got nothing", i, len(all))
		}
	}
}

func TestRefund(t *testing.T) {
	m := newSim(t, mib)
	f := m.s.Torrent(mib)
	l := m.peers(f, 2, mib)[0]
	m.run(time.Second)
	grants, _ := m.s.Tick(m.now.Add(20 * time.Millisecond))
	_ = grants
	for range 2 {
		m.now = m.now.Add(40 * time.Millisecond)
		m.s.Tick(m.now) // whatever is there
	}
	m.s.Refund(l, 32*kib+26)
	m.s.Refund(l, -5)
	grants, _ = m.s.Tick(m.now)
	var sum int64
	for _, g := range grants {
		sum += g.Bytes
	}
	if sum != 2*16397 {
		t.Errorf("%d bytes came back at once, want %d", sum, 2*16397)
	}
	// Bytes that come back when enough was saved up are lost.
	l.Close()
	m.s.Refund(l, gib)
	f.Close()
	f.Close()
	other := m.s.Torrent(0).Peer()
	other.Want(gib)
	grants, _ = m.s.Tick(m.now.Add(time.Minute))
	if len(grants) != 1 || grants[0].Bytes > mib/10 {
		t.Errorf("after a large refund: %+v", grants)
	}
	l.Want(5)
	if l.Wanted() != 0 {
		t.Error("a closed leaf wants something")
	}
}

// ledger checks grants against the definition of a token bucket.
type ledger struct {
	tokens, limit, burst float64
	at                   time.Time
}

func (g *ledger) set(limit int64, now time.Time) {
	g.move(now)
	if g.limit == 0 {
		g.tokens = 0
	}
	g.limit = float64(limit)
	g.burst = max(4*16397, g.limit/10)
	g.tokens = min(g.tokens, g.burst)
}

func (g *ledger) move(now time.Time) {
	g.tokens = min(g.burst, g.tokens+g.limit*now.Sub(g.at).Seconds())
	g.at = now
}

func (g *ledger) refund(n int64) { g.tokens = min(g.burst, g.tokens+float64(n)) }

// TestLimitsAreNeverExceeded uses a shaper at random and keeps books.
func TestLimitsAreNeverExceeded(t *testing.T) {
	limits := []int64{0, 1, kib, 50 * kib, mib, 30 * mib, gib, 10 * gib}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		limit := func() int64 { return limits[rng.IntN(len(limits))] }
		s := New(Config{})
		now := start
		all := &ledger{at: now, burst: 4 * 16397}
		var flows []*Flow
		books := make(map[*Flow]*ledger)
		var leaves []*Leaf
		for range 6 {
			f := s.Torrent(0)
			flows, books[f] = append(flows, f), &ledger{at: now, burst: 4 * 16397}
			for range 1 + rng.IntN(6) {
				leaves = append(leaves, f.Peer())
			}
		}
		for step := range 2000 {
			switch rng.IntN(12) {
			case 0:
				n := limit()
				s.SetLimit(n, now)
				all.set(n, now)
			case 1:
				f, n := flows[rng.IntN(len(flows))], limit()
				f.SetLimit(n, now)
				books[f].set(n, now)
			case 2, 3, 4, 5:
				leaves[rng.IntN(len(leaves))].Want(rng.Int64N(1 << (1 + rng.IntN(30))))
			case 6:
				leaves[rng.IntN(len(leaves))].Want(0)
			case 7:
				i := rng.IntN(len(leaves))
				f := leaves[i].flow
				leaves[i].Close()
				leaves[i] = f.Peer()
			default:
				now = now.Add(time.Duration(rng.ExpFloat64() * float64(30*time.Millisecond)))
				wants := make(map[*Leaf]int64)
				for _, l := range leaves {
					wants[l] = l.Wanted()
				}
				grants, next := s.Tick(now)
				all.move(now)
				for _, b := range books {
					b.move(now)
				}
				for _, g := range grants {
					if g.Bytes <= 0 || g.Bytes+g.Leaf.Wanted() != wants[g.Leaf] {
						t.Fatalf("granted %d, wanted %d, still wants %d", g.Bytes, wants[g.Leaf], g.Leaf.Wanted())
					}
					all.tokens -= float64(g.Bytes)
					books[g.Leaf.flow].tokens -= float64(g.Bytes)
				}
				checkBooks(t, seed, step, all, books)
				checkNothingIsHeldBack(t, s, now)
				for _, g := range grants {
					if rng.IntN(8) == 0 {
						back := rng.Int64N(g.Bytes + 1)
						s.Refund(g.Leaf, back)
						all.refund(back)
						books[g.Leaf.flow].refund(back)
					}
				}
				if waiting(s) == next.IsZero() {
					t.Fatalf("seed %d, step %d: next %v", seed, step, next)
				}
				if !next.IsZero() && next.Before(now.Add(20*time.Millisecond)) {
					t.Fatalf("next tick in %v", next.Sub(now))
				}
			}
			checkLists(t, s, leaves)
		}
	}
}

func checkBooks(t *testing.T, seed uint64, step int, all *ledger, books map[*Flow]*ledger) {
	t.Helper()
	if all.limit > 0 && all.tokens < -1 {
		t.Fatalf("seed %d, step %d: %.0f bytes too many at %.0f/s", seed, step, -all.tokens, all.limit)
	}
	for _, b := range books {
		if b.limit > 0 && b.tokens < -1 {
			t.Fatalf("seed %d, step %d: a torrent got %.0f bytes too many at %.0f/s", seed, step, -b.tokens, b.limit)
		}
	}
}

// checkNothingIsHeldBack expects whoever still wants something after a tick to
// be stopped by a limit.
func checkNothingIsHeldBack(t *testing.T, s *Shaper, now time.Time) {
	t.Helper()
	if f := s.active.front(); f != nil && s.bucket.available(now) >= f.leaves.front().packet(s.step) {
		t.Fatalf("%d bytes are left, and somebody waits for %d", s.bucket.available(now), f.leaves.front().want)
	}
	e := s.parked.root.next
	for range s.parked.n {
		f := e.val
		if p := f.leaves.front().packet(s.step); f.bucket.limit == 0 || f.bucket.available(now) >= p && !f.notBefore.IsZero() && !f.notBefore.After(now) {
			t.Fatalf("a torrent with %d bytes left waits for %d", f.bucket.available(now), p)
		}
		e = e.next
	}
}

func waiting(s *Shaper) bool { return s.active.n+s.parked.n > 0 }

// checkLists expects every leaf that wants something to be where it is found.
func checkLists(t *testing.T, s *Shaper, leaves []*Leaf) {
	t.Helper()
	found := make(map[*Leaf]bool)
	for _, l := range []*list[Flow]{&s.active, &s.parked} {
		e := l.root.next
		for range l.n {
			f := e.val
			if f.list != l || f.leaves.n == 0 {
				t.Fatal("a flow is in a list where it does not belong")
			}
			p := f.leaves.root.next
			for range f.leaves.n {
				found[p.val] = true
				p = p.next
			}
			e = e.next
		}
	}
	for _, l := range leaves {
		if found[l] != (l.want > 0) || l.listed != found[l] {
			t.Fatalf("a leaf wants %d, listed %v, found %v", l.want, l.listed, found[l])
		}
	}
}

func TestTickAllocatesNothing(t *testing.T) {
	s := New(Config{Limit: 50 * mib})
	var leaves []*Leaf
	for range 10 {
		f := s.Torrent(10 * mib)
		for range 10 {
			leaves = append(leaves, f.Peer())
		}
	}
	now := start
	tick := func() {
		for _, l := range leaves {
			l.Want(mib)
		}
		now = now.Add(20 * time.Millisecond)
		s.Tick(now)
	}
	for range 20 {
		tick()
	}
	if n := testing.AllocsPerRun(100, tick); n != 0 {
		t.Errorf("%v allocations per tick", n)
	}
}

func BenchmarkTick(b *testing.B) {
	for _, c := range []struct {
		name             string
		torrents, peers  int
		limit, ownLimits int64
	}{
		{"one torrent, 1,000 peers", 1, 1000, 100 * mib, 0},
		{"100 torrents, 1,000 peers", 100, 10, 100 * mib, 0},
		{"100 torrents with limits", 100, 10, 100 * mib, mib},
		{"1,000 peers at 10 GiB/s", 10, 100, 10 * gib, 0},
		{"1,000 peers at 10 KiB/s", 10, 100, 10 * kib, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := New(Config{Limit: c.limit})
			var leaves []*Leaf
			for range c.torrents {
				f := s.Torrent(c.ownLimits)
				for range c.peers {
					l := f.Peer()
					l.Want(1 << 50)
					leaves = append(leaves, l)
				}
			}
			now := start
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(20 * time.Millisecond)
				s.Tick(now)
			}
			if len(leaves) != c.torrents*c.peers {
				b.Fatal("leaves")
			}
		})
	}
}
