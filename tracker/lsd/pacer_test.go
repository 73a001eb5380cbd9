package lsd

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newPacer(seed uint64) *Pacer { return NewPacer(rand.New(rand.NewPCG(seed, 1))) }

// run asks p until end, moving the clock as it says, and hands over what is
// sent.
func run(t *testing.T, p *Pacer, from, end time.Time, sent func(now time.Time, packet []Hash)) {
	t.Helper()
	now := from
	for steps := 0; now.Before(end); steps++ {
		if steps > 1e6 {
			t.Fatal("it never waits")
		}
		packets, next := p.Next(now)
		for _, packet := range packets {
			sent(now, packet)
		}
		if next.IsZero() {
			return
		}
		if !next.After(now) {
			t.Fatalf("at %v it wants to be asked at %v", now, next)
		}
		now = next
	}
}

func TestATorrentIsAnnouncedPromptlyThenEveryFiveMinutes(t *testing.T) {
	p := newPacer(1)
	p.Set(hashOf(1), Regular, start)
	var at []time.Time
	run(t, p, start, start.Add(time.Hour), func(now time.Time, packet []Hash) {
		if len(packet) != 1 || packet[0] != hashOf(1) {
			t.Errorf("packet %x", packet)
		}
		at = append(at, now)
	})
	if len(at) < 11 || len(at) > 12 || at[0].Sub(start) > prompt {
		t.Fatalf("%d announces in an hour, the first after %v", len(at), at[0].Sub(start))
	}
	for i := 1; i < len(at); i++ {
		if d := at[i].Sub(at[i-1]); d < Every || d > Every+spread {
			t.Errorf("announce %d comes %v after the one before", i, d)
		}
	}
}

func TestFewTorrentsHavePacketsOfTheirOwn(t *testing.T) {
	for n, want := range map[int]int{1: 1, apart: apart, apart + 1: 1, MaxHashes: 1, MaxHashes + 6: 2} {
		p := newPacer(2)
		for i := range n {
			p.Set(hashOf(i), Regular, start)
		}
		if packets, _ := p.Next(start.Add(time.Second)); len(packets) != want {
			t.Errorf("%d torrents make %d packets, want %d", n, len(packets), want)
		}
	}
}

// TestThousandsOfTorrents looks at the budget, and that the torrents of the
// local network do not wait behind the others.
func TestThousandsOfTorrents(t *testing.T) {
	const many, locals = 10_000, 100
	p := newPacer(3)
	for i := range many {
		class := Regular
		if i >= many-locals {
			class = Local
		}
		p.Set(hashOf(i), class, start)
	}
	last := map[Hash]time.Time{}
	var packets []time.Time
	end := start.Add(40 * time.Minute)
	run(t, p, start, end, func(now time.Time, packet []Hash) {
		packets = append(packets, now)
		if len(packet) > MaxHashes {
			t.Fatalf("%d hashes in a packet", len(packet))
		}
		for _, h := range packet {
			if before, ok := last[h]; ok && now.Sub(before) < Every {
				t.Fatalf("two announces of a torrent within %v", now.Sub(before))
			}
			last[h] = now
		}
	})
	for i := range packets {
		if j := i + perMinute + burst; j < len(packets) && packets[j].Sub(packets[i]) < time.Minute {
			t.Fatalf("more than %d packets in a minute", perMinute+burst)
		}
	}
	if len(last) != many {
		t.Errorf("%d of %d torrents were announced", len(last), many)
	}
	for i := many - locals; i < many; i++ {
		if d := end.Sub(last[hashOf(i)]); d > Every+spread+time.Minute {
			t.Errorf("a torrent of the local network was last announced %v ago", d)
		}
	}
}

var (
	peerA = netip.MustParseAddrPort("192.168.1.2:1")
	peerB = netip.MustParseAddrPort("192.168.1.3:1")
)

func announceOf(h Hash, cookie string) *Announce {
	return &Announce{Port: 1, Hashes: []Hash{hashOf(777), h}, Cookie: cookie}
}

func TestWhoBeginsGetsAnAnswer(t *testing.T) {
	for _, class := range []Class{Listening, Regular, Local} {
		p := newPacer(4)
		h := hashOf(1)
		p.Set(h, class, start)
		p.Next(start.Add(time.Second))
		now := start.Add(2 * time.Minute)
		hits := p.Heard(announceOf(h, "a"), peerA, now)
		if len(hits) != 1 || hits[0] != (Hit{h, true}) {
			t.Fatalf("heard %+v", hits)
		}
		answered := time.Duration(0)
		run(t, p, now, now.Add(time.Minute), func(at time.Time, _ []Hash) {
			if answered != 0 {
				t.Error("two answers")
			}
			answered = at.Sub(now)
		})
		if class == Local && (answered == 0 || answered > answers) || class != Local && answered != 0 {
			t.Errorf("class %d: answered after %v", class, answered)
		}
		// He goes on: that is no news.
		now = now.Add(Every)
		if hits = p.Heard(announceOf(h, "a"), peerA, now); len(hits) != 1 || hits[0].Fresh {
			t.Errorf("heard again %+v", hits)
		}
		if hits = p.Heard(announceOf(h, "b"), peerA, now); !hits[0].Fresh {
			t.Error("who was started anew is no news")
		}
		if hits = p.Heard(announceOf(h, "a"), peerA, now.Add(seenFor)); !hits[0].Fresh {
			t.Error("who was away for long is no news")
		}
	}
}

// TestAnswersAreNoStorm has one host begin among many.
func TestAnswersAreNoStorm(t *testing.T) {
	const hosts = 60
	h := hashOf(1)
	all := make([]*Pacer, hosts)
	for i := range all {
		all[i] = newPacer(uint64(i + 10))
		all[i].Set(h, Local, start)
	}
	sent, newcomer := map[int]int{}, 0
	now := start
	first := time.Time{}
	for step := 0; now.Before(start.Add(15 * time.Minute)); step++ {
		for i, p := range all {
			packets, _ := p.Next(now)
			for range packets {
				sent[int(now.Sub(start)/time.Minute)]++
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
				for j, q := range all {
					if j != i {
						q.Heard(announceOf(h, "x"), from, now)
					}
				}
				if !first.IsZero() && now.Sub(first) <= answers+time.Second {
					newcomer++
				}
			}
		}
		if now.Sub(start) >= 12*time.Minute && first.IsZero() {
			first = now
			for _, q := range all {
				q.Heard(announceOf(h, "new"), peerA, now)
			}
		}
		now = now.Add(200 * time.Millisecond)
	}
	for minute, n := range sent {
		if n > hosts {
			t.Errorf("minute %d: %d packets of %d hosts", minute, n, hosts)
		}
	}
	if newcomer == 0 || newcomer > 30 {
		t.Errorf("who began when all ran heard %d packets at once", newcomer)
	}
}

func TestANewNetworkIsToldSoon(t *testing.T) {
	again := func(all bool, now time.Time) (n int) {
		p := newPacer(5)
		p.Set(hashOf(1), Local, start)
		p.Set(hashOf(2), Regular, start)
		p.Next(start.Add(time.Second))
		p.Again(all, now)
		run(t, p, now, now.Add(30*time.Second), func(at time.Time, packet []Hash) { n += len(packet) })
		return n
	}
	for i, tt := range []struct {
		all  bool
		at   time.Duration
		want int
	}{{true, 10 * time.Second, 0}, {false, 70 * time.Second, 1}, {true, 3 * time.Minute, 2}} {
		if got := again(tt.all, start.Add(tt.at)); got != tt.want {
			t.Errorf("case %d: %d announces, want %d", i, got, tt.want)
		}
	}
}

func TestStoppingAndStartingIsNoWayAroundTheGap(t *testing.T) {
	p := newPacer(6)
	h := hashOf(1)
	var last time.Time
	now := start
	for i := range 600 {
		if i%2 == 0 {
			p.Set(h, Local, now)
		} else {
			p.Remove(h, now)
		}
		if packets, _ := p.Next(now.Add(900 * time.Millisecond)); len(packets) > 0 {
			if i%2 != 0 {
				t.Fatal("a torrent that was removed is announced")
			}
			if !last.IsZero() && now.Sub(last) < Gap {
				t.Fatalf("two announces within %v", now.Sub(last))
			}
			last = now
		}
		now = now.Add(time.Second)
	}
	if last.IsZero() {
		t.Error("no announce at all")
	}
	if p.Remove(h, now); p.Len() != 0 || len(p.ended) > 1 {
		t.Errorf("%d torrents and %d that ended are left", p.Len(), len(p.ended))
	}
}

// TestPacerAgainstAModel does random things and looks at the gaps.
func TestPacerAgainstAModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		p := newPacer(seed)
		classes, last, added := map[Hash]Class{}, map[Hash]time.Time{}, map[Hash]time.Time{}
		now := start
		for range 3000 {
			h := hashOf(rng.IntN(40))
			switch rng.IntN(8) {
			case 0:
				c := Class(rng.IntN(3))
				if old, ok := classes[h]; !ok || old != c {
					added[h] = now
				}
				classes[h] = c
				p.Set(h, c, now)
			case 1:
				delete(classes, h)
				p.Remove(h, now)
			case 2, 3:
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(50))}), 1)
				for _, hit := range p.Heard(announceOf(h, ""), from, now) {
					if _, ok := classes[hit.Hash]; !ok {
						t.Fatal("a hit for a torrent that is not there")
					}
				}
			case 4:
				p.Again(rng.IntN(2) == 0, now)
			}
			packets, next := p.Next(now)
			for _, packet := range packets {
				for _, h := range packet {
					if c, ok := classes[h]; !ok || c == Listening {
						t.Fatalf("a torrent of class %d, %v, is announced", c, ok)
					}
					if at, ok := last[h]; ok && now.Sub(at) < Gap {
						t.Fatalf("two announces within %v", now.Sub(at))
					}
					last[h] = now
				}
			}
			for h, c := range classes {
				silent := now.Sub(later(added[h], last[h]))
				if c != Listening && silent > Every+spread+2*time.Minute {
					t.Fatalf("no announce of a torrent of class %d for %v (next is %v)", c, silent, next.Sub(now))
				}
			}
			now = now.Add(time.Duration(rng.IntN(8000)) * time.Millisecond)
		}
		if p.Len() != len(classes) {
			t.Errorf("%d torrents, want %d", p.Len(), len(classes))
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestWhoWasHeardIsBounded(t *testing.T) {
	p := newPacer(7)
	p.Set(hashOf(1), Local, start)
	for i := range 3 * maxSeen {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
		p.Heard(announceOf(hashOf(1), ""), from, start)
	}
	if len(p.seen) != maxSeen || len(p.order) != maxSeen {
		t.Errorf("%d and %d are remembered", len(p.seen), len(p.order))
	}
	for i := range 3 * maxEnded {
		p.Set(hashOf(i), Regular, start)
	}
	now := start
	for range 500 {
		now = now.Add(3 * time.Second)
		p.Next(now)
	}
	for i := range 3 * maxEnded {
		p.Remove(hashOf(i), now)
	}
	if len(p.ended) > maxEnded || p.Len() != 0 {
		t.Errorf("%d that ended are remembered, %d are there", len(p.ended), p.Len())
	}
	if p.Heard(announceOf(hashOf(1), ""), peerB, now) != nil {
		t.Error("a hit without torrents")
	}
}

func TestGuard(t *testing.T) {
	var g guard
	count := func(from netip.Addr, n int, now time.Time) (ok int) {
		for range n {
			if g.allow(from, now) {
				ok++
			}
		}
		return ok
	}
	a, b := peerA.Addr(), peerB.Addr()
	if n := count(a, 100, start); n != sourceBurst {
		t.Errorf("%d of 100 packets are looked at", n)
	}
	if n := count(b, 1, start); n != 1 {
		t.Error("another source pays for it")
	}
	if n := count(a, 100, start.Add(10*time.Second)); n != 10*sourceRate {
		t.Errorf("%d of 100 packets ten seconds later", n)
	}
	total := 0
	for i := range 5000 {
		total += count(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1, start.Add(time.Minute))
	}
	if total != totalBurst {
		t.Errorf("%d packets of 5,000 sources are looked at, want %d", total, totalBurst)
	}
	for i := range 5000 {
		count(netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}), 1, start.Add(time.Minute+time.Duration(i)*time.Second))
	}
	if len(g.sources) != maxSources {
		t.Errorf("%d sources are remembered", len(g.sources))
	}
}
