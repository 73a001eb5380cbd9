package server

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// entered is what the model knows of a peer.
type entered struct {
	id    [20]byte
	seed  bool
	heard uint32
}

// TestPeersAgainstModel does the same to a tracker and to a map, and compares
// all that is kept, and what is answered.
func TestPeersAgainstModel(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := New(Config{Interval: 50 * time.Second, MaxPeers: 500, Rate: 1 << 20, Burst: 1 << 20})
		out := newAnswer()
		model := map[netip.AddrPort]entered{}
		now := s.began
		population := []int{5, 30, 600}[seed%3]
		for step := range 1500 {
			now = now.Add(time.Duration(rng.IntN(600)) * time.Millisecond)
			sec, _ := s.clock(now)
			addr := netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(40))})
			if rng.IntN(3) == 0 {
				addr = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(rng.IntN(50))})
			}
			a := announce{
				source: source{addr: addr}, hash: [20]byte{1}, peerID: [20]byte{byte(rng.IntN(2))}, port: uint16(1 + rng.IntN(1+population/50)),
				seed: rng.IntN(3) == 0, want: rng.IntN(60), via: overHTTP,
			}
			if rng.IntN(4) == 0 {
				a.event = event(rng.IntN(4))
			}
			key := netip.AddrPortFrom(addr, a.port)
			for k, e := range model {
				if sec-e.heard >= s.expire {
					delete(model, k)
				}
			}
			err := s.announce(&a, out, now)
			old, known := model[key]
			switch {
			case a.event == eventStopped && known && old.id == a.peerID:
				delete(model, key)
			case a.event == eventStopped:
			case !known && len(model) >= 500:
				if err != errFull {
					t.Fatalf("step %d: %v in a full tracker", step, err)
				}
				continue
			default:
				model[key] = entered{a.peerID, a.seed, sec}
			}
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			compareWithModel(t, fmt.Sprintf("seed %d, step %d", seed, step), &a, out, model)
			if step%50 == 0 {
				s.verify(t)
			}
		}
	}
}

func compareWithModel(t *testing.T, where string, a *announce, out *answer, model map[netip.AddrPort]entered) {
	t.Helper()
	seeds, useful := 0, 0
	self := netip.AddrPortFrom(a.addr, a.port)
	for k, e := range model {
		if e.seed {
			seeds++
		}
		if k != self && !(e.seed && a.seed) {
			useful++
		}
	}
	if out.seeds != seeds || out.leechers != len(model)-seeds {
		t.Fatalf("%s: %d seeds and %d leechers, want %d and %d", where, out.seeds, out.leechers, seeds, len(model)-seeds)
	}
	want := min(a.want, useful)
	if a.event == eventStopped {
		want = 0
	}
	got := map[netip.AddrPort]bool{}
	for _, r := range out.four {
		got[netip.AddrPortFrom(netip.AddrFrom4(r.addr), r.port)] = true
	}
	for _, r := range out.six {
		got[netip.AddrPortFrom(netip.AddrFrom16(r.addr), r.port)] = true
	}
	if n := len(out.four) + len(out.six); n != want || len(got) != n {
		t.Fatalf("%s: %d peers, %d different ones, want %d", where, n, len(got), want)
	}
	for k := range got {
		if e, ok := model[k]; !ok || k == self || e.seed && a.seed {
			t.Fatalf("%s: %v is handed out", where, k)
		}
	}
}

// Every peer is as likely to be handed out as any other.
func TestDrawIsFair(t *testing.T) {
	for _, tt := range []struct{ peers, want, but int }{{20, 5, -1}, {100, 50, 7}, {1000, 50, 999}} {
		var p peers[[4]byte]
		for i := range tt.peers {
			p.list = append(p.list, record[[4]byte]{port: uint16(i)})
		}
		d := newDrawer()
		d.rng = rand.New(rand.NewPCG(3, 4))
		drawn := make([]int, tt.peers)
		const rounds = 20_000
		for range rounds {
			before := 0
			p.draw(d, 0, tt.peers, tt.but, tt.want, func(r *record[[4]byte]) {
				drawn[r.port]++
				before++
			})
			if before != tt.want {
				t.Fatalf("%d drawn, want %d", before, tt.want)
			}
		}
		others := tt.peers
		if tt.but >= 0 {
			others--
		}
		expect := float64(rounds*tt.want) / float64(others)
		chi := 0.0
		for i, n := range drawn {
			if i == tt.but {
				if n != 0 {
					t.Errorf("the one that asks was drawn %d times", n)
				}
				continue
			}
			chi += (float64(n) - expect) * (float64(n) - expect) / expect
		}
		// The mean is others-1, less for draws without repetition; the deviation sqrt(2*others).
		if limit := float64(others) * 1.6; chi > limit+30 {
			t.Errorf("%d of %d: chi square %.0f, at most %.0f is chance", tt.want, tt.peers, chi, limit+30)
		}
	}
}

// Memory is given back without a timer: swarms that nobody asks for go while
// others of their shard are used, however old those are.
func TestSilentSwarmsAreForgotten(t *testing.T) {
	s := New(Config{Expire: time.Hour, MaxPeers: 100_000, Burst: 100_000})
	out := newAnswer()
	now := s.began
	enter := func(n, port int) {
		a := announce{source: source{addr: netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), byte(port)})}, hash: [20]byte{byte(n), byte(n >> 8)}, port: uint16(port), want: 5}
		if err := s.announce(&a, out, now); err != nil {
			t.Fatal(err)
		}
	}
	used := map[*shard]int{} // one torrent of each shard
	for n := range 3000 {
		enter(n, 1)
		enter(n, 2)
		used[s.shard([20]byte{byte(n), byte(n >> 8)})] = n
	}
	s.verify(t)
	for range 5 {
		now = now.Add(25 * time.Minute)
		for _, n := range used {
			enter(n, 1)
		}
	}
	s.verify(t)
	if int(s.torrents.Load()) != len(used) || int(s.peers.Load()) != len(used) {
		t.Errorf("%d swarms and %d peers left, want %d of each", s.torrents.Load(), s.peers.Load(), len(used))
	}
	for i := range s.census.cells {
		sum := 0
		for j := range s.census.cells[i] {
			sum += int(s.census.cells[i][j].Load())
		}
		if sum != len(used) {
			t.Errorf("row %d of the census counts %d peers, want %d", i, sum, len(used))
		}
	}
}

func TestMeterForgetsTheOldest(t *testing.T) {
	m := newMeter(1, 2)
	for i := range 200_000 {
		if !m.allow(sourceKey{host: uint64(i) << 20}, uint32(i)) {
			t.Fatalf("source %d may not ask once", i)
		}
	}
	// Whoever asks again and again is not forgotten.
	refused := 0
	for i := range 100 {
		if !m.allow(sourceKey{host: 5}, 300_000) {
			refused++
		}
		m.allow(sourceKey{host: uint64(i) << 30}, 300_000)
	}
	if refused != 98 {
		t.Errorf("%d of 100 were refused, want 98", refused)
	}
}

// TestMeterAfterALongAbsence has sources that come back after so long that the
// clock has gone half way round, and nearly all the way.
func TestMeterAfterALongAbsence(t *testing.T) {
	for _, away := range []uint32{1<<31 + 5, 3 << 30, 1<<32 - 100_000} {
		m, key := newMeter(1, 2), sourceKey{host: 7}
		for i := range 3 {
			if got := m.allow(key, 0); got != (i < 2) {
				t.Fatalf("request %d at once is allowed: %t", i, got)
			}
		}
		for i := range uint32(4) {
			if !m.allow(key, away+i*1000) {
				t.Errorf("%d ms after it was away for %d ms it may not ask", i*1000, away)
			}
		}
	}
	// What another goroutine read a moment later is no such time.
	m, key := newMeter(1, 2), sourceKey{host: 7}
	m.allow(key, 20_000)
	m.allow(key, 20_000)
	for _, now := range []uint32{19_999, 0, 20_000} {
		if m.allow(key, now) {
			t.Errorf("at %d ms the bucket has filled since 20,000 ms", now)
		}
	}
}
