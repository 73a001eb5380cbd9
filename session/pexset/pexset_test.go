package pexset

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"btd/peerwire"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func contact(n int) peerwire.PEXPeer {
	return peerwire.PEXPeer{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, 1, byte(n >> 8), byte(n)}), 6881), Flags: peerwire.PEXReachable}
}

func contacts(from, to int) (list []peerwire.PEXPeer) {
	for n := from; n < to; n++ {
		list = append(list, contact(n))
	}
	return list
}

var there = ap("30.1.1.1:5000")

func TestWhatAPeerIsTold(t *testing.T) {
	teller := NewTeller(start)
	if _, ok := teller.Message(start.Add(time.Second), there, there, contacts(0, 3)); ok {
		t.Error("a message right after the handshake")
	}
	now := start.Add(soon)
	if _, ok := teller.Message(now, there, there, nil); ok {
		t.Error("a message about nothing")
	}
	m, ok := teller.Message(now, there, contact(1).Addr, contacts(0, 3))
	if !ok || !slices.Equal(m.Added, []peerwire.PEXPeer{contact(0), contact(2)}) || m.Dropped != nil {
		t.Fatalf("first message %+v, %v", m, ok)
	}
	if _, ok := teller.Message(now.Add(59*time.Second), there, there, nil); ok {
		t.Error("a second message within a minute")
	}
	// 0 came back at another port, 2 stays, 3 came and went in between.
	moved := peerwire.PEXPeer{Addr: netip.AddrPortFrom(contact(0).Addr.Addr(), 1), Flags: peerwire.PEXSeed}
	now = now.Add(time.Minute)
	m, ok = teller.Message(now, there, there, []peerwire.PEXPeer{moved, contact(2), contact(2)})
	if !ok || !slices.Equal(m.Added, []peerwire.PEXPeer{moved}) || !slices.Equal(m.Dropped, []netip.AddrPort{contact(0).Addr}) {
		t.Fatalf("second message %+v, %v", m, ok)
	}
	if m, ok := teller.Message(now.Add(time.Hour), there, there, []peerwire.PEXPeer{contact(2), moved}); ok {
		t.Errorf("no news, but %+v", m)
	}
}

func TestMessagesAreShort(t *testing.T) {
	teller, now := NewTeller(start), start.Add(soon)
	told := map[netip.AddrPort]bool{}
	for round, want := range []int{50, 50, 20} {
		m, ok := teller.Message(now, there, there, contacts(0, 120))
		if !ok || len(m.Added) != want || len(m.Dropped) != 0 {
			t.Fatalf("message %d: %d added, %d dropped", round, len(m.Added), len(m.Dropped))
		}
		for _, p := range m.Added {
			if told[p.Addr] {
				t.Errorf("%v was told twice", p.Addr)
			}
			told[p.Addr] = true
		}
		now = now.Add(Every)
	}
	for round, want := range []int{50, 50, 10} {
		m, ok := teller.Message(now, there, there, contacts(110, 120))
		if !ok || len(m.Dropped) != want || len(m.Added) != 0 {
			t.Fatalf("message %d: %d added, %d dropped", round, len(m.Added), len(m.Dropped))
		}
		now = now.Add(Every)
	}
}

// TestRandomChanges keeps the other side's picture equal to the truth.
func TestRandomChanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	teller, now := NewTeller(start), start
	theirs, ours := map[netip.AddrPort]bool{}, map[int]bool{}
	last := time.Time{}
	for range 5000 {
		now = now.Add(time.Duration(rng.IntN(20)) * time.Second)
		ours[rng.IntN(80)] = rng.IntN(2) == 0
		var list []peerwire.PEXPeer
		for n, on := range ours {
			if on {
				list = append(list, contact(n))
			}
		}
		m, ok := teller.Message(now, there, there, list)
		if !ok {
			continue
		}
		if !last.IsZero() && now.Sub(last) < Every {
			t.Fatal("two messages within a minute")
		}
		last = now
		for _, p := range m.Added {
			if theirs[p.Addr] || slices.Contains(m.Dropped, p.Addr) {
				t.Fatalf("%v is added twice, or dropped as well", p.Addr)
			}
			theirs[p.Addr] = true
		}
		for _, a := range m.Dropped {
			if !theirs[a] {
				t.Fatalf("%v is dropped, but was not added", a)
			}
			delete(theirs, a)
		}
		if len(list) <= Most && len(m.Added) < Most && len(m.Dropped) < Most && len(theirs) != len(list) {
			t.Fatalf("%d contacts, they know of %d", len(list), len(theirs))
		}
	}
	if last.IsZero() {
		t.Fatal("no message at all")
	}
}

func TestReach(t *testing.T) {
	for _, c := range []struct {
		addr, peer string
		want       bool
	}{
		{"8.8.8.8:1", "9.9.9.9", true},
		{"8.8.8.8:1", "10.0.0.1", true},
		{"8.8.8.8:1", "127.0.0.1", true},
		{"8.8.8.8:0", "9.9.9.9", false},
		{"10.0.0.1:1", "9.9.9.9", false},
		{"10.0.0.1:1", "192.168.0.1", true},
		{"10.0.0.1:1", "127.0.0.1", true},
		{"100.64.1.1:1", "9.9.9.9", false},
		{"169.254.1.1:1", "9.9.9.9", false},
		{"192.0.2.1:1", "9.9.9.9", false},
		{"192.0.2.1:1", "198.51.100.1", true},
		{"127.0.0.1:1", "9.9.9.9", false},
		{"127.0.0.1:1", "10.0.0.1", false},
		{"127.0.0.1:1", "127.0.0.2", true},
		{"0.0.0.0:1", "127.0.0.1", false},
		{"0.1.2.3:1", "127.0.0.1", false},
		{"224.0.0.1:1", "127.0.0.1", false},
		{"255.255.255.255:1", "127.0.0.1", false},
		{"[2606:4700::1]:1", "9.9.9.9", true},
		{"[2001:db8::1]:1", "127.0.0.1", false},
		{"[fe80::1]:1", "fe80::2", true},
		{"[fe80::1%eth0]:1", "fe80::2", false},
		{"[fd00::1]:1", "2606:4700::1", false},
		{"[fd00::1]:1", "fd00::2", true},
		{"[64:ff9b::1]:1", "127.0.0.1", false},
		{"[::1]:1", "::1", true},
		{"[::ffff:8.8.8.8]:1", "9.9.9.9", true},
	} {
		if got := sensible(ap(c.addr), netip.MustParseAddr(c.peer)); got != c.want {
			t.Errorf("%s from %s: %v, want %v", c.addr, c.peer, got, c.want)
		}
	}
	teller := NewTeller(start)
	m, _ := teller.Message(start.Add(soon), there, there, []peerwire.PEXPeer{{Addr: ap("10.0.0.1:1")}, {Addr: ap("127.0.0.1:1")}, contact(1)})
	if len(m.Added) != 1 || m.Added[0] != contact(1) {
		t.Errorf("a peer on the Internet is told of %v", m.Added)
	}
}

// TestLinkLocalPeers has neighbours on one network tell of others there.
func TestLinkLocalPeers(t *testing.T) {
	here := []peerwire.PEXPeer{{Addr: ap("[fe80::1%eth0]:1")}, {Addr: ap("[fe80::2%eth1]:2")}, {Addr: ap("[fe80::3%eth0]:3")}}
	for to, want := range map[string][]peerwire.PEXPeer{
		"[fe80::3%eth0]:3": {{Addr: ap("[fe80::1]:1")}},
		"[fe80::4%eth1]:4": {{Addr: ap("[fe80::2]:2")}},
		"[fd00::1]:1":      nil,
		"30.1.1.1:1":       nil,
	} {
		teller := NewTeller(start)
		m, _ := teller.Message(start.Add(soon), ap(to), there, here)
		if !slices.Equal(m.Added, want) {
			t.Errorf("%s is told of %v, want %v", to, m.Added, want)
		}
		if m, ok := teller.Message(start.Add(soon+Every), ap(to), there, here); ok {
			t.Errorf("%s is told again: %v", to, m)
		}
	}
	var l Listener
	m := peerwire.PEX{Added: []peerwire.PEXPeer{{Addr: ap("[fe80::1]:1")}, {Addr: ap("[fd00::1]:1")}}}
	got, _ := l.Take(start, netip.MustParseAddr("fe80::9%eth0"), &m)
	if len(got) != 2 || got[0].Addr != ap("[fe80::1%eth0]:1") || got[1].Addr != ap("[fd00::1]:1") {
		t.Errorf("taken are %v", got)
	}
}

func TestWhatIsTaken(t *testing.T) {
	var l Listener
	m := peerwire.PEX{Added: contacts(0, 80)}
	m.Added = slices.Insert(m.Added, 1, peerwire.PEXPeer{Addr: netip.AddrPortFrom(contact(0).Addr.Addr(), 80)}, peerwire.PEXPeer{Addr: ap("10.0.0.1:1")})
	got, v := l.Take(start, there.Addr(), &m)
	if v != Taken || len(got) != Most || got[0] != contact(0) || got[1] != contact(1) {
		t.Fatalf("%d taken, verdict %d: %v", len(got), v, got[:3])
	}
	lan := peerwire.PEX{Added: []peerwire.PEXPeer{{Addr: ap("127.0.0.1:1")}, {Addr: ap("127.0.0.1:2")}}}
	if got, _ := l.Take(start, netip.MustParseAddr("127.0.0.1"), &lan); len(got) != 2 {
		t.Errorf("of loopback %v is taken", got)
	}
}

func TestRateOfMessages(t *testing.T) {
	var l Listener
	m := peerwire.PEX{Added: contacts(0, 1)}
	count := map[Verdict]int{}
	now := start
	for range 100 { // one a minute, give or take
		_, v := l.Take(now, there.Addr(), &m)
		count[v]++
		now = now.Add(55 * time.Second)
	}
	if count[Taken] != 100 {
		t.Errorf("of 100 regular messages: %v", count)
	}
	l, count = Listener{}, map[Verdict]int{}
	for range 60 { // one a second
		_, v := l.Take(now, there.Addr(), &m)
		count[v]++
		now = now.Add(time.Second)
	}
	if count[Taken] != 3 || count[Early] != maxEarly || count[Hostile] == 0 {
		t.Errorf("of 60 messages in a minute: %v", count)
	}
	l = Listener{}
	taken := 0
	for n := range 100 {
		m := peerwire.PEX{Added: contacts(n*40, n*40+40)}
		got, _ := l.Take(now, there.Addr(), &m)
		taken += len(got)
		now = now.Add(time.Minute)
	}
	if taken != maxSingle {
		t.Errorf("one peer gave %d addresses, at most %d", taken, maxSingle)
	}
}

func BenchmarkMessage(b *testing.B) {
	for _, n := range []int{50, 500} {
		b.Run(fmt.Sprintf("contacts=%d", n), func(b *testing.B) {
			list := contacts(0, n)
			for b.Loop() {
				teller := NewTeller(start)
				teller.Message(start.Add(soon), there, there, list)
			}
		})
	}
}
