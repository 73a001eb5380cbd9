package dht

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"btd/dht/krpc"
)

// TestFewNodesManyTorrents has five nodes with global addresses, of which one
// announces 200 torrents, 32 at a time, and once more what was not stored.
func TestFewNodesManyTorrents(t *testing.T) {
	t.Parallel()
	for _, at := range []func(int) netip.AddrPort{addrOf, addr6Of} {
		w := grow(t, 5, at)
		us := w.nodes[at(1)]
		if us.table.Len() != 4 {
			t.Fatalf("%d others are known", us.table.Len())
		}
		began := w.now
		const torrents = 200
		stored, failed := 0, 0
		var waiting []uint64
		for i := range torrents {
			waiting = append(waiting, uint64(i)+100)
		}
		var begin func()
		begin = func() {
			i := waiting[0]
			waiting = waiting[1:]
			if _, err := us.Start(Search{Kind: GetPeers, Target: hashOf(i), Announce: true, Port: 5000, Done: func(r Result) {
				if r.Stored > 0 {
					stored++
				} else {
					failed++
					waiting = append(waiting, i)
				}
				if len(waiting) > 0 {
					begin()
				}
			}}, w.now); err != nil {
				t.Error(err)
			}
		}
		for range 32 {
			begin()
		}
		w.poke(at(1))
		least := us.table.Len()
		w.run(5*time.Minute, func() bool {
			least = min(least, us.table.Len())
			return stored == torrents
		})
		t.Logf("%d stored after %v, %d tried again", stored, w.now.Sub(began), failed)
		if stored != torrents || failed > torrents/10 {
			t.Errorf("of %d torrents %d are stored after %v, %d had to be tried again", torrents, stored, w.now.Sub(began), failed)
		}
		for i := range 5 {
			n := w.nodes[at(i)]
			if n.stats.TooFast > 0 || n.table.Len() != 4 || least != 4 {
				t.Errorf("node %d was asked too fast %d times and knows %d others; the one that asks knew %d", i, n.stats.TooFast, n.table.Len(), least)
			}
		}
	}
}

// TestPaceOfOneAddress counts what one address is asked, whatever there is to
// ask.
func TestPaceOfOneAddress(t *testing.T) {
	t.Parallel()
	var p pace
	ask := func(addr netip.AddrPort, from time.Time, d time.Duration) (n int) {
		for at := from; at.Before(from.Add(d)); at = at.Add(10 * time.Millisecond) {
			for !p.due(addr).After(at) && n < 10_000 {
				p.asked(addr, at)
				n++
			}
		}
		return n
	}
	if n := ask(addrOf(1), start, 10*time.Second); n < 43 || n > 45 {
		t.Errorf("in 10 s one address is asked %d times, want 20 and 2.5 a second", n)
	}
	if n := ask(addrOf(1), start.Add(10*time.Second), 10*time.Second); n < 24 || n > 26 {
		t.Errorf("in the next 10 s it is asked %d times", n)
	}
	for range 1000 { // by upkeep
		p.asked(addrOf(1), start.Add(20*time.Second))
	}
	if due := p.due(addrOf(1)); due.After(start.Add(20*time.Second + paceGap)) {
		t.Errorf("it may be asked after %v", due.Sub(start))
	}
	local := netip.MustParseAddrPort("10.0.0.7:6881")
	if p.asked(local, start); len(p.full) != 1 {
		t.Error("an address of a local network is held back")
	}
	for i := range 60_000 { // more addresses than there is memory for
		p.asked(addrOf(i), start.Add(time.Hour+time.Duration(i)*10*time.Microsecond))
		if len(p.full) > maxPaced {
			t.Fatalf("%d addresses are remembered", len(p.full))
		}
	}
	if !p.sweep(start.Add(2*time.Hour)) || len(p.full) != 0 {
		t.Errorf("after an hour %d addresses are remembered", len(p.full))
	}
}

// TestBusyNodesAreNotWaitedFor has so many other nodes that a search can do
// without the one that may not be asked for a while.
func TestBusyNodesAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := grow(t, 60, addrOf)
	us := w.nodes[addrOf(7)]
	hash := hashOf(31)
	busy := nearest(w, hash, 1, addrOf(7))[0]
	for range 1000 {
		us.pace.asked(busy, w.now)
	}
	asked := 0
	w.tap = func(b []byte, from, to netip.AddrPort) {
		var m krpc.Message
		if from == addrOf(7) && to == busy && m.Decode(b) == krpc.None && m.Kind == krpc.Query &&
			(m.Method == krpc.GetPeers || m.Method == krpc.AnnouncePeer) {
			asked++
		}
	}
	r := w.search(addrOf(7), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 5})
	if r.Err != nil || r.Stored != 8 || asked > 0 || slices.Contains(addresses(r.Closest), busy) {
		t.Errorf("the busy one is asked %d times: %+v", asked, r)
	}
}

func TestMachinesBesideUs(t *testing.T) {
	t.Parallel()
	calls := 0
	b := beside{list: func() ([]net.Addr, error) {
		calls++
		var all []net.Addr
		for _, s := range []string{"2a01:1:2:3:4:5:6:7/64", "fe80::1/64", "192.168.1.7/24", "127.0.0.1/8"} {
			ip, network, err := net.ParseCIDR(s)
			if err != nil {
				t.Error(err)
				continue
			}
			network.IP = ip
			all = append(all, network)
		}
		return all, nil
	}}
	for s, want := range map[string]bool{
		"2a01:1:2:3::9": true, "2a01:1:2:4::9": false, "fe80::2": false, "192.168.1.9": false, "8.8.8.8": false, "::1": false,
	} {
		if got := b.has(netip.MustParseAddr(s), start); got != want {
			t.Errorf("%s is beside us: %t", s, got)
		}
	}
	if b.has(netip.MustParseAddr("2a01::1"), start.Add(besideFor-1)); calls != 1 {
		t.Errorf("the system was asked %d times, want once", calls)
	}
	if b.has(netip.MustParseAddr("2a01::1"), start.Add(besideFor)); calls != 2 {
		t.Errorf("after a while the system was asked %d times, want twice", calls)
	}
}
