package session

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"btd/metainfo"
	"btd/piece"
)

func TestSlots(t *testing.T) {
	s := slots{max: 5}
	a := s.resize(0, 3)
	b := s.resize(0, 4)
	c := s.resize(0, 2)
	d := s.resize(0, 0)
	if a != 3 || b != 2 || c != 1 || d != 0 {
		t.Errorf("held %d, %d, %d, %d; want 3, 2, one above the cap, and none", a, b, c, d)
	}
	if a = s.resize(a, 0); a != 0 {
		t.Errorf("held %d after giving up all", a)
	}
	if b = s.resize(b, 4); b != 4 {
		t.Errorf("held %d of the slots that became free, want 4", b)
	}
	if s.used != b+c+d {
		t.Errorf("%d used, %d held", s.used, b+c+d)
	}
	if s.resize(b, 0)+s.resize(c, 0) != 0 || s.used != 0 {
		t.Errorf("%d used after all was given back", s.used)
	}
}

func TestGate(t *testing.T) {
	g := gate{max: 4}
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 500 {
				release, ok := g.admit()
				if !ok {
					continue
				}
				for n := inside.Add(1); ; {
					if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
						break
					}
				}
				inside.Add(-1)
				release()
				release() // counts once
			}
		})
	}
	wg.Wait()
	if most.Load() > 4 || g.held.Load() != 0 {
		t.Errorf("%d inside at a time, %d held at the end", most.Load(), g.held.Load())
	}
	for i := range 6 {
		if g.take() != (i < 4) {
			t.Errorf("place %d of 4", i+1)
		}
	}
	g.put()
	if !g.take() {
		t.Error("a place that was given back is gone")
	}
}

func TestTurns(t *testing.T) {
	w := make(turns, 1)
	began, end := make(chan bool), make(chan bool)
	first := make(chan error, 1)
	why := errors.New("as it was")
	go func() {
		first <- w.do(t.Context(), func() error { close(began); <-end; return why })
	}()
	<-began
	ctx, cancel := context.WithCancelCause(t.Context())
	second := make(chan error, 1)
	go func() {
		second <- w.do(ctx, func() error { t.Error("two ran at a time"); return nil })
	}()
	gone := errors.New("gone")
	cancel(gone)
	if err := <-second; !errors.Is(err, gone) {
		t.Errorf("the one that waited: %v, want the cause", err)
	}
	close(end)
	if err := <-first; err != why {
		t.Errorf("the one that ran: %v", err)
	}
	if err := w.do(t.Context(), func() error { return nil }); err != nil {
		t.Errorf("the turn was not given back: %v", err)
	}
}

func TestMeter(t *testing.T) {
	now := time.Unix(1e9, 0)
	var m meter
	m.tick(now)
	second := func(bytes int) {
		now = now.Add(time.Second)
		m.add(bytes)
		m.tick(now)
	}
	for range 20 {
		second(1 << 20)
	}
	if got := float64(m.perSecond()); math.Abs(got/(1<<20)-1) > 0.01 {
		t.Errorf("1 MiB/s is measured as %.0f", got)
	}
	// Ticks that come too close do not count.
	now = now.Add(time.Millisecond)
	m.tick(now)
	if m.last != 1<<20 {
		t.Errorf("last second at %.0f after a tick of 1 ms", m.last)
	}
	// About half is forgotten within two seconds, all of it after a minute.
	second(0)
	second(0)
	if got := float64(m.perSecond()) / (1 << 20); got < 0.4 || got > 0.6 {
		t.Errorf("%.2f MiB/s two seconds after the end", got)
	}
	for range 60 {
		second(0)
	}
	if m.perSecond() != 0 || m.total != 20<<20 {
		t.Errorf("%d bytes/s, %d bytes at the end", m.perSecond(), m.total)
	}
	// A long gap is no burst.
	now = now.Add(time.Minute - time.Second)
	second(60 << 10)
	if m.perSecond() > 1100 {
		t.Errorf("60 KiB in a minute are measured as %d bytes/s", m.perSecond())
	}
}

func TestBlameLiars(t *testing.T) {
	at := func(n byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 1) }
	good := [][20]byte{{1}, {2}, {3}, {4}}
	spoilt := func(wrong ...int) [][20]byte {
		s := slices.Clone(good)
		for _, i := range wrong {
			s[i][19] = 0xff
		}
		return s
	}
	b := newBlame()
	b.failed[7] = []*evidence{
		{attempt{by: []netip.AddrPort{at(1), at(2), at(1), at(2)}}, spoilt(1, 3)},            // 2 lied twice
		{attempt{by: []netip.AddrPort{at(3), {}, at(3), at(4)}}, spoilt(1)},                  // our own block: nobody
		{attempt{by: []netip.AddrPort{at(5), at(6)}}, spoilt(1, 2)},                          // block 2 has no sender
		{attempt{by: []netip.AddrPort{at(7), at(7), at(7), at(7)}}, append(good, good[0])},   // honest; one block too many
		{attempt{by: []netip.AddrPort{at(2), at(8), at(9), at(10)}}, spoilt(0, 2)},           // 2 again, and 9
		{attempt{by: []netip.AddrPort{at(11), at(12), at(13), at(14)}}, [][20]byte{good[0]}}, // no more sums
	}
	if got, want := b.liars(7, good), []netip.AddrPort{at(2), at(6), at(9)}; !slices.Equal(got, want) {
		t.Errorf("liars %v, want %v", got, want)
	}
	if got := b.liars(8, good); got != nil {
		t.Errorf("liars %v of a piece that did not fail", got)
	}
	b.forget(7)
	if b.suspects(7) {
		t.Error("the evidence is still there")
	}
}

func TestBlameSoleSender(t *testing.T) {
	a := &peer{addr: netip.MustParseAddrPort("10.0.0.1:1")}
	c := &peer{addr: netip.MustParseAddrPort("10.0.0.2:1")}
	b := newBlame()
	b.received(a, piece.Block{Piece: 1, Begin: 2 * piece.BlockSize})
	b.received(a, piece.Block{Piece: 1})
	if x := b.senders[1]; x.shared || x.sole != a.addr || !slices.Equal(x.by, []netip.AddrPort{a.addr, {}, a.addr}) {
		t.Errorf("one sender: %+v", x)
	}
	b.received(c, piece.Block{Piece: 1, Begin: piece.BlockSize})
	b.received(c, piece.Block{Piece: 2})
	if x := b.senders[1]; !x.shared || x.by[1] != c.addr {
		t.Errorf("two senders: %+v", x)
	}
	if b.senders[2].shared {
		t.Error("the sender of one piece counts for another")
	}
}

// TestLayout compares with a table that says of every byte whose it is.
func TestLayout(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var owner []int
		info := &metainfo.Info{}
		for f := range 1 + rng.IntN(8) {
			n := rng.IntN(4) * rng.IntN(20)
			info.Files = append(info.Files, metainfo.File{Offset: int64(len(owner)), Length: int64(n)})
			for range n {
				owner = append(owner, f)
			}
		}
		if len(owner) == 0 {
			continue
		}
		geo, err := piece.NewGeometry(int64(len(owner)), 16)
		if err != nil {
			t.Fatal(err)
		}
		l := layout{info, geo}
		for range 30 {
			off, n := rng.IntN(len(owner)), rng.IntN(40)
			want := make([]int64, len(info.Files))
			for _, f := range owner[off:min(off+n, len(owner))] {
				want[f]++
			}
			got := make([]int64, len(info.Files))
			l.overlap(int64(off), int64(n), func(f int, bytes int64) { got[f] += bytes })
			if !slices.Equal(got, want) {
				t.Fatalf("%d bytes from %d of %v: %v, want %v", n, off, info.Files, got, want)
			}
		}
		for i := range piece.Index(geo.Pieces()) {
			share := owner[geo.Offset(i) : geo.Offset(i)+geo.Length(i)]
			var even int64
			for _, f := range share {
				if f%2 == 0 {
					even++
				}
			}
			if got := l.bytesOf(i, func(f int) bool { return f%2 == 0 }); got != even {
				t.Fatalf("piece %d: %d bytes in files with even numbers, want %d", i, got, even)
			}
		}
		for f := range info.Files {
			from, to := slices.Index(owner, f), len(owner)
			first, last, ok := l.span(f)
			if ok != (from >= 0) {
				t.Fatalf("file %d: ok is %t", f, ok)
			}
			for to > 0 && owner[to-1] != f {
				to--
			}
			if ok && (int(first) != from/16 || int(last) != (to-1)/16) {
				t.Fatalf("file %d spans pieces %d to %d, want %d to %d", f, first, last, from/16, (to-1)/16)
			}
		}
	}
}
