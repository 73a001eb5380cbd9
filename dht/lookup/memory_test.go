package lookup

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// ended is a search that is over: its candidates are in these states, the
// nearest first.
func ended(rng *rand.Rand, target krpc.ID, ipv6 bool, states ...state) *Lookup {
	l := New(Config{IPv6: ipv6, Announce: true}, target, nil, start)
	for i, s := range states {
		n := nodeAt(rng, target, 100-i, i)
		if ipv6 {
			n.Addr = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 4, 5: byte(i), 15: byte(i)}), uint16(i+1))
		}
		c := l.add(n, nil, false)
		c.state, c.rtt = s, time.Duration(i+1)*40*time.Millisecond
	}
	return l
}

func many(s state, n int) (all []state) {
	for range n {
		all = append(all, s)
	}
	return all
}

func TestMemoryGivesBackTheClosest(t *testing.T) {
	t.Parallel()
	rng := newRand(20)
	for _, ipv6 := range []bool{false, true} {
		m := NewMemory(100, ipv6, rng)
		target := randomKey(rng).ID()
		l := ended(rng, target, ipv6, append([]state{failed, stalled, useless}, many(answered, 10)...)...)
		m.Keep(l, start)
		got, silence, ok := m.Recall(target, start.Add(keepFor-time.Second), nil)
		if !ok || len(got) != 8 {
			t.Fatalf("IPv6 %t: %d nodes", ipv6, len(got))
		}
		for i, c := range got {
			want := l.list[3+i]
			if c.Node != want.node || !c.Cached || !c.Live || (c.RTT-want.rtt).Abs() > rttUnit {
				t.Errorf("IPv6 %t: node %d is %+v, want %+v after %v", ipv6, i, c, want.node, want.rtt)
			}
		}
		for i, c := range l.list {
			if silence.Has(c.node.Addr) != (i < 3) {
				t.Errorf("IPv6 %t: node %d is silent: %t", ipv6, i, i >= 3)
			}
		}
		if _, _, ok := m.Recall(target, start.Add(keepFor), nil); ok {
			t.Error("remembered for too long")
		}
		if _, _, ok := m.Recall(randomKey(rng).ID(), start, nil); ok {
			t.Error("something is remembered of a target that was never searched for")
		}
		m.Keep(ended(rng, target, ipv6, many(answered, 6)...), start)
		if _, _, ok := m.Recall(target, start, nil); ok || m.Len() != 0 {
			t.Error("six nodes are remembered")
		}
	}
}

// TestSilentNodesHaveTheirTurn has five nodes silent at first. In each search
// after that, which does not ask them, one comes out.
func TestSilentNodesHaveTheirTurn(t *testing.T) {
	t.Parallel()
	rng := newRand(21)
	m := NewMemory(10, false, rng)
	target := randomKey(rng).ID()
	dead := ended(rng, target, false, append(many(failed, 5), many(answered, 8)...)...)
	m.Keep(dead, start)
	for want := 5; want >= 0; want-- {
		_, silence, ok := m.Recall(target, start, nil)
		count := 0
		for _, c := range dead.list[:5] {
			if silence.Has(c.node.Addr) {
				count++
			}
		}
		if !ok || count != want {
			t.Fatalf("%d are silent, want %d", count, want)
		}
		again := ended(rng, target, false, append(many(failed, 1), many(answered, 8)...)...)
		again.list[0].cached = true // it may only have been a lost packet
		m.Keep(again, start)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	rng := newRand(22)
	const most = 500
	m := NewMemory(most, false, rng)
	var all []krpc.ID
	for i := range 3 * most {
		target := randomKey(rng).ID()
		all = append(all, target)
		m.Keep(ended(rng, target, false, many(answered, 8)...), start.Add(time.Duration(i)*time.Second))
		if m.Len() > most || len(m.index) != m.Len() || len(m.slots) > most/chunkSlots+1 {
			t.Fatalf("%d targets, %d indexed, %d chunks", m.Len(), len(m.index), len(m.slots))
		}
	}
	now := start.Add(3 * most * time.Second)
	known := 0
	for _, target := range all[:2*most] {
		if _, _, ok := m.Recall(target, now, nil); ok {
			known++
		}
	}
	// The latest 500 took places at random: (1 - 1/500)^500 of the others are left.
	if known < most/4 || known > most/2 {
		t.Errorf("%d of those before are known", known)
	}
	m.Expire(start.Add(keepFor + 2*most*time.Second))
	left := 0
	for _, target := range all {
		if _, _, ok := m.Recall(target, now, nil); ok {
			left++
		}
	}
	if left != m.Len() || left > most || left < most/2 || len(m.index) != left || len(m.slots) > left/chunkSlots+2 {
		t.Errorf("after some are too old %d are known of %d, %d indexed, %d chunks", left, m.Len(), len(m.index), len(m.slots))
	}
	if m.Expire(now.Add(keepFor)); m.Len() != 0 || m.slots != nil || len(m.index) != 0 {
		t.Errorf("%d targets are left of none", m.Len())
	}
}

// BenchmarkMemory holds 100,000 targets, and then adds more of them.
func BenchmarkMemory(b *testing.B) {
	rng := newRand(23)
	l := ended(rng, randomKey(rng).ID(), false, many(answered, 8)...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const most = 100_000
	m := NewMemory(most, false, rng)
	for range most {
		l.target = randomKey(rng)
		m.Keep(l, start)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ResetTimer()
	for b.Loop() {
		l.target = contact.Key{Hi: rng.Uint64(), Mid: rng.Uint64()}
		m.Keep(l, start)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/most, "B/target")
}
