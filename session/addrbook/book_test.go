package addrbook

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newBook(cfg Config) *Book { return New(cfg, rand.New(rand.NewPCG(1, 2))) }

func addr4(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, byte(n >> 16), byte(n >> 8), byte(n)}), 6881)
}

var none netip.AddrPort

// next expects an address.
func next(t *testing.T, b *Book, now time.Time) netip.AddrPort {
	t.Helper()
	a, ok, wait := b.Next(now, none)
	if !ok || wait != 0 {
		t.Fatalf("no address to dial, wait %v", wait)
	}
	b.invariants(t, now)
	return a
}

// wait expects none, and says for how long.
func wait(t *testing.T, b *Book, now time.Time) time.Duration {
	t.Helper()
	a, ok, wait := b.Next(now, none)
	if ok || wait <= 0 {
		t.Fatalf("got %v to dial and a wait of %v, want none", a, wait)
	}
	b.invariants(t, now)
	return wait
}

// invariants checks that every entry is where its state says, and that the
// heaps are heaps.
func (b *Book) invariants(t *testing.T, now time.Time) {
	t.Helper()
	hosts, trying := 0, 0
	var kept [keeps]int
	for a, e := range b.entries {
		if e.local && e.state == dialing {
			trying++
		}
		free := e.state == idle || e.state == dead
		queued := e.state == idle && !(e.seed && b.seeding)
		if a != e.addr || b.evict.has(e) != free || (b.ready.has(e) || b.near.has(e) || b.waiting.has(e)) != queued || e.local && b.ready.has(e) || !e.local && b.near.has(e) {
			t.Fatalf("%v: state %d, seed %v: in ready %v, waiting %v, evict %v",
				a, e.state, e.seed, b.ready.has(e), b.waiting.has(e), b.evict.has(e))
		}
		if kept[e.keep]++; e.keep != keepNot && e.state == dead {
			t.Fatalf("%v is to be kept, and was given up", a)
		}
		if b.Banned(a.Addr()) || e.state != connected && b.isSelf(a) {
			t.Fatalf("%v must not be in the book", a)
		}
	}
	kept[keepNot] = 0
	if kept != b.kept || kept[keepLocal] > b.cfg.Max/8 || kept[keepGiven] > b.cfg.Max/8 {
		t.Fatalf("%v are kept, %v are counted, of at most %d", kept, b.kept, b.cfg.Max)
	}
	for _, n := range b.hosts {
		hosts += n
	}
	if trying != b.trying {
		t.Fatalf("%d local addresses are being dialled, %d are counted", trying, b.trying)
	}
	if len(b.entries) > b.cfg.Max || hosts != len(b.entries) {
		t.Fatalf("%d entries, %d counted by host, at most %d", len(b.entries), hosts, b.cfg.Max)
	}
	for name, h := range map[string]*heap{"ready": &b.ready, "near": &b.near, "waiting": &b.waiting, "evict": &b.evict} {
		for i, e := range h.items {
			if e.at[h.slot] != i || i > 0 && h.less(e, h.items[(i-1)/2]) || b.entries[e.addr] != e {
				t.Fatalf("%s: entry %d is wrong", name, i)
			}
		}
	}
}

func TestAddressesNobodyIsAtAreRefused(t *testing.T) {
	b := newBook(Config{})
	for _, a := range []string{
		"[fe80::1]:1", "1.2.3.4:0", "0.0.0.0:1", "0.1.2.3:1", "224.0.0.1:1", "239.1.1.1:1", "255.255.255.255:1", "250.0.0.1:1",
		"[::]:1", "[ff02::1]:1", "[2001:db8::1]:0", "[::ffff:0.0.0.0]:1", "[::ffff:224.0.0.1]:1",
	} {
		if b.Add(ap(a), "tracker", start) {
			t.Errorf("%s was accepted", a)
		}
		b.Connected(ap(a), start)
	}
	if b.Add(netip.AddrPort{}, "tracker", start) || b.Len() != 0 {
		t.Errorf("%d addresses, want none", b.Len())
	}
	for _, a := range []string{"127.0.0.1:1", "10.0.0.1:65535", "[::1]:1", "[fe80::1%eth0]:1", "[2001:db8::1]:1"} {
		if !b.Add(ap(a), "tracker", start) {
			t.Errorf("%s was refused", a)
		}
	}
	if b.Add(ap("[::ffff:127.0.0.1]:1"), "tracker", start) {
		t.Error("a mapped address counts as another")
	}
}

// sortByPriority puts the best first; of equals the one that came first.
func sortByPriority(list []netip.AddrPort, ours netip.AddrPort) {
	slices.SortStableFunc(list, func(x, y netip.AddrPort) int {
		return cmp.Compare(Priority(ours, y), Priority(ours, x))
	})
}

func TestOrderIsByPriority(t *testing.T) {
	ours := ap("123.213.32.10:6881")
	b := newBook(Config{})
	var want []netip.AddrPort
	for n := range 500 {
		a := addr4(n * 7919)
		b.Add(a, "tracker", start)
		want = append(want, a)
	}
	sortByPriority(want, ours)
	for i, w := range want {
		got, ok, _ := b.Next(start, ours)
		if !ok || got != w {
			t.Fatalf("address %d is %v, want %v", i, got, w)
		}
	}
	if got := wait(t, b, start); got != Never {
		t.Errorf("wait %v, want Never", got)
	}
}

func TestOrderWithoutKnowingOurselvesIsNotTheirs(t *testing.T) {
	b := newBook(Config{})
	var order []netip.AddrPort
	for n := range 50 {
		b.Add(addr4(n), "tracker", start)
	}
	for range 50 {
		order = append(order, next(t, b, start))
	}
	if slices.IsSortedFunc(order, func(x, y netip.AddrPort) int { return x.Addr().Compare(y.Addr()) }) {
		t.Error("addresses come in the order in which the tracker gave them")
	}
}

func TestSameSeedSameOrder(t *testing.T) {
	run := func() (order []netip.AddrPort) {
		b := newBook(Config{Max: 100})
		now := start
		for n := range 300 {
			b.Add(addr4(n), "tracker", now)
			if a, ok, _ := b.Next(now, none); ok {
				order = append(order, a)
				b.Failed(a, Lost, now)
			}
			b.SetSeeding(n%50 > 40, now)
			now = now.Add(time.Second)
		}
		return order
	}
	if a, b := run(), run(); !slices.Equal(a, b) {
		t.Error("two runs differ")
	}
}

func TestBackoff(t *testing.T) {
	b := newBook(Config{})
	b.Add(addr4(1), "tracker", start)
	now := start
	want := 15 * time.Second
	for try := range 6 {
		if got := next(t, b, now); got != addr4(1) {
			t.Fatal(got)
		}
		if got := wait(t, b, now); got != Never {
			t.Fatalf("wait %v while it is being dialled", got)
		}
		now = now.Add(time.Second)
		b.Failed(addr4(1), Lost, now)
		got := wait(t, b, now)
		if try == 5 {
			if got != Never {
				t.Errorf("after the last try: wait %v", got)
			}
			break
		}
		if got < want*3/4 || got > want*5/4 {
			t.Errorf("after try %d: wait %v, want %v or so", try, got, want)
		}
		if early := wait(t, b, now.Add(got-1)); early != 1 {
			t.Errorf("a nanosecond early: wait %v", early)
		}
		now = now.Add(got)
		want *= 2
	}
	// Named again it has one more try, as late as if it had not been given up: an
	// outage that is over must not cost an hour more.
	b.Add(addr4(1), "tracker", now.Add(time.Second))
	b.Add(addr4(1), "pex", now.Add(2*time.Second))
	got := wait(t, b, now)
	if got < 6*time.Minute || got > 10*time.Minute {
		t.Errorf("named again right after it was given up: wait %v", got)
	}
	wait(t, b, now.Add(got-1))
	now = now.Add(got)
	next(t, b, now)
	b.Failed(addr4(1), Lost, now)
	if wait(t, b, now) != Never {
		t.Error("an address that was given up has more than one try")
	}
	b.Add(addr4(1), SourceUser, now)
	next(t, b, now)
	b.Failed(addr4(1), Lost, now)
	if got := wait(t, b, now); got > 20*time.Second {
		t.Errorf("named by the user: wait %v", got)
	}
}

func TestBackoffIsBounded(t *testing.T) {
	b := newBook(Config{MaxFailures: 1000, Backoff: 40 * time.Minute})
	b.Add(addr4(1), "tracker", start)
	now, tries := start, 0
	for range 200 {
		next(t, b, now)
		tries++
		b.Failed(addr4(1), Lost, now)
		d := wait(t, b, now)
		if d == Never {
			break
		}
		if d > 75*time.Minute {
			t.Fatalf("try %d: wait %v", tries, d)
		}
		now = now.Add(d)
	}
	if tries != 100 {
		t.Errorf("%d tries, want 100", tries)
	}
}

func TestConnections(t *testing.T) {
	b := newBook(Config{})
	b.Add(addr4(1), "tracker", start)
	a := next(t, b, start)
	b.Connected(a, start)
	if got := wait(t, b, start.Add(time.Hour)); got != Never {
		t.Errorf("wait %v while connected", got)
	}
	b.Add(a, "tracker", start)
	b.Add(a, SourceUser, start)
	b.Dialling(a)
	wait(t, b, start.Add(time.Hour))

	now := start.Add(time.Minute)
	b.Disconnected(a, Lost, now)
	if got := wait(t, b, now); got > 7*time.Second {
		t.Errorf("wait %v after a connection that had lasted", got)
	}
	for range 2 {
		now = now.Add(time.Minute)
		b.Connected(next(t, b, now), now)
		now = now.Add(time.Second)
		b.Disconnected(a, Lost, now)
	}
	if got := wait(t, b, now); got < 22*time.Second {
		t.Errorf("wait %v after two connections that did not last", got)
	}
}

func TestIncomingConnectionIsNotDialled(t *testing.T) {
	b := newBook(Config{})
	b.Connected(addr4(1), start)
	if b.Add(addr4(1), "tracker", start) {
		t.Error("the address of a connected peer counts as new")
	}
	wait(t, b, start)
	b.Disconnected(addr4(1), Lost, start.Add(time.Hour))
	next(t, b, start.Add(2*time.Hour))
	b.Dialling(addr4(2))
	b.Add(addr4(2), "tracker", start)
	wait(t, b, start)
}

func TestReasons(t *testing.T) {
	for why, want := range map[Reason]struct {
		min, max time.Duration
		len      int
	}{
		Lost:      {11 * time.Second, 19 * time.Second, 1},
		Misbehave: {45 * time.Minute, 75 * time.Minute, 1},
		Useless:   {11 * time.Minute, 19 * time.Minute, 1},
		Self:      {Never, Never, 0},
		Duplicate: {Never, Never, 0},
		Ours:      {11 * time.Second, 19 * time.Second, 1},
	} {
		b := newBook(Config{})
		b.Add(addr4(1), "tracker", start)
		b.Failed(next(t, b, start), why, start)
		if got := wait(t, b, start); got < want.min || got > want.max || b.Len() != want.len {
			t.Errorf("reason %d: wait %v, %d addresses", why, got, b.Len())
		}
		if got := b.Add(addr4(1), SourceUser, start); got != (why == Duplicate) {
			t.Errorf("reason %d: added again: %v", why, got)
		}
	}
}

func TestOurOwnAddress(t *testing.T) {
	b := newBook(Config{})
	six := ap("[2001:db8::1]:6881")
	b.Add(addr4(1), "tracker", start)
	b.Add(six, "tracker", start)
	b.Next(start, addr4(1))
	b.SetExternal(six)
	b.SetExternal(ap("[2001:db8::2]:6881")) // and back, as trackers tell us
	b.SetExternal(six)
	b.SetExternal(netip.AddrPort{})
	b.invariants(t, start)
	for _, a := range []netip.AddrPort{addr4(1), six, ap("[::ffff:20.0.0.1]:6881")} {
		if b.Add(a, "tracker", start) {
			t.Errorf("%v was accepted", a)
		}
	}
	if !b.Add(netip.AddrPortFrom(addr4(1).Addr(), 1234), "tracker", start) {
		t.Error("another client at our address was refused")
	}
}

func TestSeedsAreNotDialledWhileSeeding(t *testing.T) {
	b := newBook(Config{})
	for n := range 10 {
		b.Add(addr4(n), "tracker", start)
		b.SetSeed(addr4(n), n < 7, start)
	}
	b.SetSeeding(true, start)
	b.SetSeed(addr4(0), false, start)
	b.SetSeed(addr4(9), true, start)
	for range 3 {
		a := next(t, b, start)
		if !slices.Contains([]netip.AddrPort{addr4(0), addr4(7), addr4(8)}, a) {
			t.Errorf("seed %v is dialled", a)
		}
		b.Failed(a, Useless, start)
	}
	if got := wait(t, b, start); got != Never {
		t.Errorf("wait %v with nothing but seeds", got)
	}
	b.SetSeeding(false, start)
	for range 7 {
		next(t, b, start)
	}
	if got := wait(t, b, start); got > 20*time.Minute {
		t.Errorf("wait %v for those found useless", got)
	}
}

func TestBans(t *testing.T) {
	b := newBook(Config{MaxBans: 3})
	ip := netip.MustParseAddr("20.0.0.1")
	for port := range 5 {
		b.Add(netip.AddrPortFrom(ip, uint16(port+1)), "tracker", start)
	}
	b.Connected(netip.AddrPortFrom(ip, 1), start)
	dialled := next(t, b, start)
	b.Ban(netip.MustParseAddr("::ffff:20.0.0.1"))
	b.Ban(ip)
	if b.Len() != 0 || !b.Banned(ip) || b.Add(addr4(1), SourceUser, start) {
		t.Errorf("%d addresses of a banned host", b.Len())
	}
	b.Connected(dialled, start)
	b.Disconnected(dialled, Lost, start)
	b.invariants(t, start)
	for n := range 3 {
		b.Ban(netip.AddrFrom4([4]byte{30, 0, 0, byte(n)}))
	}
	if b.Banned(ip) || len(b.bans) != 3 || !b.Banned(netip.AddrFrom4([4]byte{30, 0, 0, 0})) {
		t.Errorf("%d bans, want the latest 3", len(b.bans))
	}
	zoned := netip.MustParseAddr("fe80::1%eth0")
	b.Ban(zoned)
	if !b.Banned(zoned.WithZone("eth1")) {
		t.Error("a ban holds in one zone only")
	}
	b.Ban(netip.Addr{})
}

func TestFullBook(t *testing.T) {
	b := newBook(Config{Max: 100})
	ours := ap("123.213.32.10:6881")
	b.SetExternal(ours)
	var list []netip.AddrPort
	for n := range 1000 {
		a := addr4(n * 31)
		list = append(list, a)
		b.Add(a, "tracker", start)
		b.invariants(t, start)
	}
	sortByPriority(list, ours)
	for i, a := range list[:100] {
		if got := next(t, b, start); got != a {
			t.Fatalf("address %d is %v, want %v: the best were not kept", i, got, a)
		}
		switch {
		case i < 50:
			b.Connected(a, start)
		case i < 80:
			b.Failed(a, Lost, start)
		}
	}
	// 50 are connected, 30 have failed, 20 are being dialled: only those that
	// failed can make room.
	for n := range 100 {
		if got, want := b.Add(addr4(1<<16+n), "tracker", start), n < 30; n < 30 && got != want {
			t.Fatalf("address %d: added %v, want %v", n, got, want)
		}
	}
	b.invariants(t, start)
	for _, a := range list[:50] {
		if b.entries[a] == nil {
			t.Errorf("connected %v was forgotten", a)
		}
	}
	if !b.Add(ap("9.9.9.9:9"), SourceUser, start) {
		t.Error("no room for an address of the user's")
	}
	if got := next(t, b, start); got != ap("9.9.9.9:9") {
		t.Errorf("the user's address is not the first: %v", got)
	}
}

func TestOneHostCannotFillTheBook(t *testing.T) {
	b := newBook(Config{})
	for port := range 100 {
		b.Add(netip.AddrPortFrom(addr4(1).Addr(), uint16(port+1)), "pex", start)
		ip := netip.MustParseAddr("2001:db8::").As16()
		binary.BigEndian.PutUint64(ip[8:], uint64(port))
		b.Add(netip.AddrPortFrom(netip.AddrFrom16(ip), 1), "pex", start)
	}
	if b.Len() != 64 {
		t.Errorf("%d addresses of two hosts, want 64", b.Len())
	}
	for port := range 100 {
		b.Add(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port+1)), "tracker", start)
	}
	if b.Len() != 164 {
		t.Errorf("%d addresses, want all of loopback", b.Len())
	}
}

// TestRandomUse does random things and checks that no address is handed out
// twice at a time, too early, or when it must not.
func TestRandomUse(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	b := newBook(Config{Max: 60, MaxBans: 4, MaxFailures: 4})
	now := start
	busy := make(map[netip.AddrPort]bool) // dialled or connected
	notBefore := make(map[netip.AddrPort]time.Time)
	for range 20_000 {
		a := addr4(rng.IntN(100))
		if rng.IntN(2) == 0 {
			a = lan4(rng.IntN(50))
		}
		switch rng.IntN(12) {
		case 0, 1, 2:
			src := "tracker"
			switch rng.IntN(20) {
			case 0:
				src = SourceUser
				delete(notBefore, a)
			case 1:
				src = SourceMagnet
			}
			b.Add(a, src, now)
		case 3, 4, 5:
			got, ok, wait := b.Next(now, none)
			if !ok {
				now = now.Add(min(wait, 10*time.Minute))
				break
			}
			if busy[got] || notBefore[got].After(now) {
				t.Fatalf("%v handed out: busy %v, not before %v", got, busy[got], notBefore[got].Sub(now))
			}
			busy[got] = true
		case 6:
			if busy[a] {
				b.Connected(a, now)
			}
		case 7, 8:
			if busy[a] {
				b.Failed(a, Reason(rng.IntN(int(Ours)+1)), now)
				delete(busy, a)
				notBefore[a] = now.Add(3 * time.Second)
				if b.entries[a] == nil {
					delete(notBefore, a)
				}
			}
		case 9:
			b.SetSeeding(rng.IntN(2) == 0, now)
			b.SetSeed(a, rng.IntN(2) == 0, now)
		case 10:
			if rng.IntN(50) == 0 {
				b.Ban(a.Addr())
				delete(busy, a)
			}
			if rng.IntN(50) == 0 {
				b.SetExternal(addr4(200 + rng.IntN(5)))
			}
		default:
			now = now.Add(time.Duration(rng.IntN(20)) * time.Second)
		}
		for a := range notBefore {
			if b.entries[a] == nil {
				delete(notBefore, a) // evicted: may come again at once
			}
		}
		b.invariants(t, now)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{100, 2000} {
		b.Run(fmt.Sprintf("known=%d", n), func(b *testing.B) {
			book := newBook(Config{Max: n})
			now := start
			for i := range n {
				book.Add(addr4(i*997), "tracker", now)
			}
			b.ReportAllocs()
			for b.Loop() {
				a, ok, wait := book.Next(now, none)
				if !ok {
					now = now.Add(wait)
					continue
				}
				book.Connected(a, now)
				now = now.Add(time.Minute)
				book.Disconnected(a, Lost, now)
			}
		})
	}
}

func TestBestAddresses(t *testing.T) {
	b := New(Config{}, rand.New(rand.NewPCG(1, 2)))
	now := time.Unix(1000, 0)
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), 1000)
	}
	for i := range 10 {
		b.Add(at(i), "tracker", now)
	}
	b.Connected(at(7), now)
	b.Dialling(at(3))
	b.Failed(at(3), Lost, now)
	got := b.Best(5)
	if len(got) != 5 || got[0] != at(7) || slices.Contains(got, at(3)) {
		t.Errorf("best 5: %v, want the connected one first and the failed one not", got)
	}
	if all := b.Best(50); len(all) != 9 {
		t.Errorf("%d addresses are worth another try, want 9", len(all))
	}
}
