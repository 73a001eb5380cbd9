package store

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"btd/dht/krpc"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newRand() *rand.Rand { return rand.New(rand.NewChaCha8([32]byte{7})) }

func randomID(rng *rand.Rand) (id krpc.ID) {
	var b [20]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	id.SetBytes(b[:])
	return id
}

// far is an id whose distance from zero has about n bits.
func far(n int, low byte) (id krpc.ID) {
	id.SetBit(160-n, true)
	for i := range 8 {
		if low>>i&1 == 1 {
			id.SetBit(159-i, true)
		}
	}
	return id
}

// global is the n-th address of a public network, all in different /16.
func global(n int) netip.Addr { return netip.AddrFrom4([4]byte{81, byte(n >> 8), byte(n), 9}) }

func valuesOf(p *Peers, hash krpc.ID, n int, noSeed bool, now time.Time, rng *rand.Rand) []netip.AddrPort {
	w := Without(0)
	if noSeed {
		w = Seeds
	}
	b, given := p.AppendValues(nil, hash, n, w, now, rng)
	body := krpc.Body{Values: b}
	all := slices.Collect(body.Peers())
	if len(all) != given {
		return nil
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return all
}

func TestPeersComeBack(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		rng := newRand()
		hash, p := randomID(rng), NewPeers(PeersConfig{}, v6, krpc.ID{}, start)
		addr := func(n int) netip.AddrPort {
			ip := global(n)
			if v6 {
				ip = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n >> 8), byte(n), 15: 1})
			}
			return netip.AddrPortFrom(ip, uint16(1000+n))
		}
		var want, leechers []netip.AddrPort
		for n := range 100 {
			if !p.Announce(hash, addr(n), n%3 == 0, start) || !p.Announce(hash, addr(n), n%3 == 0, start.Add(time.Minute)) {
				t.Fatalf("announce %d was refused", n)
			}
			want = append(want, addr(n))
			if n%3 != 0 {
				leechers = append(leechers, addr(n))
			}
		}
		slices.SortFunc(want, netip.AddrPort.Compare)
		slices.SortFunc(leechers, netip.AddrPort.Compare)
		if got := valuesOf(p, hash, 500, false, start, rng); !slices.Equal(got, want) {
			t.Errorf("v6 %v: %d peers came back, want %d", v6, len(got), len(want))
		}
		if got := valuesOf(p, hash, 500, true, start, rng); !slices.Equal(got, leechers) {
			t.Errorf("v6 %v: %d peers without seeds, want %d", v6, len(got), len(leechers))
		}
		if got := valuesOf(p, randomID(rng), 500, false, start, rng); len(got) != 0 {
			t.Errorf("peers %v of a torrent that nobody announced", got)
		}
		if torrents, peers := p.Len(); torrents != 1 || peers != 100 {
			t.Errorf("%d torrents with %d peers", torrents, peers)
		}
	}
}

func TestSamplesOfPeersAreFair(t *testing.T) {
	t.Parallel()
	rng := newRand()
	hash, p := randomID(rng), NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	for n := range 100 {
		p.Announce(hash, netip.AddrPortFrom(global(n), 1), false, start)
	}
	times := map[netip.AddrPort]int{}
	for range 1000 {
		got := valuesOf(p, hash, 10, false, start, rng)
		if len(got) != 10 || len(slices.Compact(got)) != 10 {
			t.Fatalf("sample %v", got)
		}
		for _, a := range got {
			times[a]++
		}
	}
	for a, n := range times { // 100 expected, deviation 9.5
		if n < 50 || n > 150 {
			t.Errorf("%v was in %d of 1000 samples of a tenth", a, n)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	p4, p6 := NewPeers(PeersConfig{}, false, krpc.ID{}, start), NewPeers(PeersConfig{}, true, krpc.ID{}, start)
	for _, c := range []struct {
		p    *Peers
		addr string
		want bool
	}{
		{p4, "1.2.3.4:0", false},
		{p4, "[2001:db8::1]:5", false},
		{p4, "[::ffff:1.2.3.4]:5", true},
		{p6, "1.2.3.4:5", false},
		{p6, "[::ffff:1.2.3.4]:5", false},
		{p6, "[2001:db8::1]:5", true},
	} {
		if got := c.p.Announce(krpc.ID{}, netip.MustParseAddrPort(c.addr), false, start); got != c.want {
			t.Errorf("%s: stored is %v", c.addr, got)
		}
	}
	if p4.Announce(krpc.ID{}, netip.AddrPort{}, false, start) {
		t.Error("an invalid address is stored")
	}
}

func TestPeersExpire(t *testing.T) {
	t.Parallel()
	rng := newRand()
	old, fresh, p := randomID(rng), randomID(rng), NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	a, b := netip.AddrPortFrom(global(1), 1), netip.AddrPortFrom(global(2), 1)
	p.Announce(old, a, false, start)
	p.Announce(fresh, a, false, start)
	p.Announce(fresh, b, false, start.Add(30*time.Minute))
	at := start.Add(47 * time.Minute)
	if got := valuesOf(p, fresh, 9, false, at, rng); !slices.Equal(got, []netip.AddrPort{b}) {
		t.Errorf("after 47 minutes %v are given", got)
	}
	if seeds, peers, _ := p.Filters(old, 0, at); seeds.Estimate() != 0 || peers.Estimate() != 0 {
		t.Error("a filter counts expired peers")
	}
	p.Expire(at)
	if torrents, peers := p.Len(); torrents != 1 || peers != 1 {
		t.Errorf("after 47 minutes there are %d torrents with %d peers", torrents, peers)
	}
	if got := valuesOf(p, fresh, 9, false, start.Add(80*time.Minute), rng); len(got) != 0 {
		t.Errorf("after 80 minutes %v are given", got)
	}
	p.Expire(start.Add(80 * time.Minute))
	if torrents, peers := p.Len(); torrents != 0 || peers != 0 {
		t.Errorf("at the end there are %d torrents with %d peers", torrents, peers)
	}
	// The minute wraps around after 22 days.
	long := start.Add(60 * 24 * time.Hour)
	p.Announce(old, a, false, long)
	if got := valuesOf(p, old, 9, false, long.Add(44*time.Minute), rng); len(got) != 1 {
		t.Errorf("after 60 days %v are given", got)
	}
}

func TestOneAddressHoldsFewPorts(t *testing.T) {
	t.Parallel()
	rng := newRand()
	for _, c := range []struct {
		ip   string
		want int
	}{{"81.1.2.3", portsGlobal}, {"127.0.0.1", portsLocal}, {"192.168.1.1", portsLocal}} {
		hash, p := randomID(rng), NewPeers(PeersConfig{}, false, krpc.ID{}, start)
		for port := range 1000 {
			p.Announce(hash, netip.AddrPortFrom(netip.MustParseAddr(c.ip), uint16(port+1)), false, start.Add(time.Duration(port)*time.Minute/100))
		}
		if got := valuesOf(p, hash, 999, false, start, rng); len(got) != c.want {
			t.Errorf("%s holds %d ports, want %d", c.ip, len(got), c.want)
		}
	}
}

func TestPeersAreCapped(t *testing.T) {
	t.Parallel()
	rng := newRand()
	hash, p := randomID(rng), NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	for n := range 600 {
		p.Announce(hash, netip.AddrPortFrom(global(n), 1), false, start.Add(time.Duration(n)*time.Second))
	}
	got := valuesOf(p, hash, 999, false, start, rng)
	if len(got) != 500 {
		t.Fatalf("%d peers are held, want 500", len(got))
	}
	for _, a := range got {
		if n := int(a.Addr().As4()[1])<<8 | int(a.Addr().As4()[2]); n < 40 { // ages are kept by the minute
			t.Errorf("peer %d is still there, though it is older than others that went", n)
		}
	}
}

func TestTorrentsAreCapped(t *testing.T) {
	t.Parallel()
	rng := newRand()
	p := NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	popular := far(160, 1) // as far as can be, but with three peers
	for n := range 3 {
		p.Announce(popular, netip.AddrPortFrom(global(n), 1), false, start)
	}
	near := far(30, 1)
	p.Announce(near, netip.AddrPortFrom(global(7), 1), false, start)
	for n := range 5000 {
		p.Announce(randomID(rng), netip.AddrPortFrom(global(n), 1), false, start)
		if torrents, _ := p.Len(); torrents > 2000 {
			t.Fatalf("%d torrents", torrents)
		}
	}
	if torrents, peers := p.Len(); torrents != 2000 || peers != 2002 {
		t.Errorf("%d torrents, %d peers", torrents, peers)
	}
	if len(valuesOf(p, popular, 9, false, start, rng)) != 3 || len(valuesOf(p, near, 9, false, start, rng)) != 1 {
		t.Error("a popular torrent or a near one went before far ones with one peer")
	}
	if p.Announce(far(160, 2), netip.AddrPortFrom(global(9999), 1), false, start) {
		t.Error("the farthest of all was stored when there was no room")
	}
	if !p.Announce(far(29, 1), netip.AddrPortFrom(global(9999), 1), false, start) {
		t.Error("the nearest of all was not stored")
	}
	// One address that makes up near torrents pays with its own.
	for n := range 3000 {
		id := far(40, byte(n))
		id.SetBit(140+n%8, n>>8&1 == 1)
		p.Announce(id, netip.AddrPortFrom(global(12345), uint16(n+1)), false, start)
	}
	held := 0
	for _, tt := range p.torrents {
		if a := krpc.AddrOf(tt.records[:6]); a.Addr() == global(12345) {
			held++
		}
	}
	if held == 0 || held > onlyPeer+1 {
		t.Errorf("one address holds %d torrents alone", held)
	}
}

// TestModel compares the store with a map under random announces.
func TestModel(t *testing.T) {
	t.Parallel()
	rng := newRand()
	p := NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	type peer struct {
		hash krpc.ID
		addr netip.AddrPort
	}
	var hashes []krpc.ID
	for range 10 {
		hashes = append(hashes, randomID(rng))
	}
	model, now := map[peer]time.Time{}, start
	for range 20000 {
		now = now.Add(time.Duration(rng.IntN(10)) * time.Second)
		who := peer{hashes[rng.IntN(10)], netip.AddrPortFrom(global(rng.IntN(60)), 1)}
		switch rng.IntN(10) {
		case 0:
			p.Expire(now)
		case 1:
			var want []netip.AddrPort
			for m, at := range model {
				// Stamps are whole minutes since the start.
				if m.hash == who.hash && now.Sub(start)/time.Minute-at.Sub(start)/time.Minute <= 45 {
					want = append(want, m.addr)
				}
			}
			slices.SortFunc(want, netip.AddrPort.Compare)
			if got := valuesOf(p, who.hash, 99, false, now, rng); !slices.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
		default:
			p.Announce(who.hash, who.addr, false, now)
			model[who] = now
		}
		total := 0
		for _, tt := range p.torrents {
			total += len(tt.records) / p.size()
		}
		if total != p.count {
			t.Fatalf("%d records are counted as %d", total, p.count)
		}
	}
}

func TestSamplesOfInfoHashes(t *testing.T) {
	t.Parallel()
	rng := newRand()
	p := NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	if s, num, _ := p.Samples(start, rng); len(s) != 0 || num != 0 {
		t.Errorf("an empty store gives %d bytes of %d", len(s), num)
	}
	add := func(n int) {
		for range n {
			p.Announce(randomID(rng), netip.AddrPortFrom(global(1), 1), false, start)
		}
	}
	add(5)
	if s, num, interval := p.Samples(start, rng); len(s) != 100 || num != 5 || interval != 21600 {
		t.Errorf("five torrents give %d bytes of %d, interval %d", len(s), num, interval)
	}
	add(995)
	s, num, _ := p.Samples(start, rng)
	first := string(s)
	if len(s) != 400 || num != 1000 {
		t.Errorf("1000 torrents give %d bytes of %d", len(s), num)
	}
	s, _, interval := p.Samples(start.Add(time.Hour), rng)
	if string(s) != first || interval != 18000 {
		t.Errorf("within the interval the samples change, or it is %d after an hour", interval)
	}
	if s, _, interval = p.Samples(start.Add(6*time.Hour), rng); string(s) == first || interval != 21600 {
		t.Errorf("after the interval the samples stay, or it is %d", interval)
	}
}

func TestTenThousandPeersTakeLittle(t *testing.T) {
	rng := newRand()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	hashes := make([]krpc.ID, 500)
	for i := range hashes {
		hashes[i] = randomID(rng)
	}
	before := heap()
	p := NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	for n := range 10000 {
		p.Announce(hashes[n%500], netip.AddrPortFrom(global(n), 1), false, start)
	}
	used := int64(heap()) - int64(before)
	if _, peers := p.Len(); peers != 10000 {
		t.Fatalf("%d peers are held", peers)
	}
	t.Logf("10,000 peers of 500 torrents: %d KiB", used>>10)
	if used > 256<<10 {
		t.Errorf("they take %d KiB, at most 256", used>>10)
	}
}

func BenchmarkAnnounce(b *testing.B) {
	rng := newRand()
	p := NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	var hashes []krpc.ID
	for range 500 {
		hashes = append(hashes, randomID(rng))
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		p.Announce(hashes[n%500], netip.AddrPortFrom(global(n%50000), 1), false, start)
	}
}

func BenchmarkAppendValues(b *testing.B) {
	rng := newRand()
	hash, p := randomID(rng), NewPeers(PeersConfig{}, false, krpc.ID{}, start)
	for n := range 500 {
		p.Announce(hash, netip.AddrPortFrom(global(n), 1), false, start)
	}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out, _ = p.AppendValues(out[:0], hash, 50, 0, start, rng)
	}
}
