package dht

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

func TestBootstrapBacksOffAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newNetwork(t)
	n := w.add(addrOf(1), Config{})
	if s := n.Status(w.now); !strings.Contains(s, "no bootstrap host could be resolved") {
		t.Errorf("without a list: %q", s)
	}
	var at []time.Duration
	w.tap = func(_ []byte, from, _ netip.AddrPort) {
		if from == addrOf(1) {
			at = append(at, w.now.Sub(start))
		}
	}
	var list []netip.AddrPort
	for i := range 10 {
		list = append(list, addrOf(100+i))
	}
	n.SetBootstrap(list, w.now)
	if s := n.Status(w.now); s != "asking bootstrap hosts" {
		t.Errorf("at the start: %q", s)
	}
	w.poke(addrOf(1))
	w.run(time.Hour, nil)
	// 0, 2, 6, 14, 30, 62, 126, 254 s, then every 5 minutes, two each time.
	if len(at) < 30 || len(at) > 45 || at[0] != 0 || at[1] != 0 || at[2] != 2*time.Second || at[4] != 6*time.Second {
		t.Errorf("%d queries in an hour: %v", len(at), at)
	}
	if s := n.Status(w.now); !strings.Contains(s, "no bootstrap host answers: tried") {
		t.Errorf("after an hour: %q", s)
	}
	w.add(addrOf(103), Config{}) // one of them comes back
	if !w.run(30*time.Minute, func() bool { return n.table.Len() > 0 }) {
		t.Error("it is not found")
	}
	if s := n.Status(w.now); s != "1 nodes known" {
		t.Errorf("at the end: %q", s)
	}
}

// TestSavedNodesComeFirst has a state whose nodes are half dead, and no
// bootstrap host that answers.
func TestSavedNodesComeFirst(t *testing.T) {
	t.Parallel()
	for _, at := range []func(int) netip.AddrPort{addrOf, addr6Of} {
		w := grow(t, 40, at)
		old := w.nodes[at(7)]
		state, id := old.State(), old.ID()
		for i := 10; i < 30; i++ {
			w.silent[at(i)] = true
		}
		n := w.add(at(7), Config{State: state})
		if n.ID() != id {
			t.Errorf("the id changed from %v to %v", id, n.ID())
		}
		n.SetBootstrap([]netip.AddrPort{at(999)}, w.now)
		began := w.now
		if !w.run(5*time.Second, func() bool { return n.table.Len() >= 8 }) {
			t.Fatalf("after 5 s only %d nodes are known", n.table.Len())
		}
		t.Logf("8 nodes after %v", w.now.Sub(began))
		hash := hashOf(1)
		if r := w.search(at(7), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 5}); r.Stored < 6 {
			t.Errorf("%+v", r)
		}
	}
}

// TestSavedNodesAreAskedBesideBootstrapHosts looks at what a node sends first
// after a restart.
func TestSavedNodesAreAskedBesideBootstrapHosts(t *testing.T) {
	t.Parallel()
	w := grow(t, 60, addrOf)
	saved, ok := decodeState(w.nodes[addrOf(7)].State(), false)
	if !ok || len(saved.nodes) < 30 {
		t.Fatalf("%d nodes are saved", len(saved.nodes))
	}
	state := w.nodes[addrOf(7)].State()
	var hosts, asked []netip.AddrPort
	began := w.now
	n := w.add(addrOf(7), Config{State: state})
	list := []netip.AddrPort{addrOf(900), addrOf(901), addrOf(902)}
	w.tap = func(b []byte, from, to netip.AddrPort) {
		var m krpc.Message
		if from != addrOf(7) || m.Decode(b) != krpc.None || m.Kind != krpc.Query || w.now.Sub(began) > time.Second {
			return
		}
		if slices.Contains(list, to) {
			hosts = append(hosts, to)
		} else if !slices.Contains(asked, to) {
			asked = append(asked, to)
		}
	}
	n.SetBootstrap(list, w.now)
	w.poke(addrOf(7))
	w.run(time.Second, nil)
	if len(hosts) != bootAtOnce {
		t.Errorf("in the first second %d bootstrap hosts are asked, want %d", len(hosts), bootAtOnce)
	}
	best := 0
	for _, s := range saved.nodes[:8] {
		if at := slices.Index(asked, s.Addr); at >= 0 && at < 16 {
			best++
		}
	}
	if len(asked) < 8 || best < 7 {
		t.Errorf("of the 8 best saved nodes %d are among the first 16 of %d that are asked", best, len(asked))
	}
}

func TestStateThatCannotBeRead(t *testing.T) {
	t.Parallel()
	good := newAsked(t, Config{ID: hashOf(1)})
	good.fill(30)
	state := good.State()
	for _, c := range []struct {
		name  string
		state []byte
		ipv6  bool
		same  bool // the id is taken
	}{
		{"good", state, false, true},
		{"other family", state, true, false},
		{"cut off", state[:len(state)-3], false, true},
		{"only an id", state[:22], false, true},
		{"too short", state[:21], false, false},
		{"another version", append([]byte{2}, state[1:]...), false, false},
		{"nothing", nil, false, false},
	} {
		a := newAsked(t, Config{State: c.state, IPv6: c.ipv6})
		if (a.ID() == good.ID()) != c.same || a.ID() == (krpc.ID{}) {
			t.Errorf("%s: id %v", c.name, a.ID())
		}
	}
}

func TestSmallNetworksGrowTogether(t *testing.T) {
	t.Parallel()
	w := newNetwork(t)
	// 1 and 2 know each other; then the bootstrap host of 1 appears.
	w.add(addrOf(1), Config{}).SetBootstrap([]netip.AddrPort{addrOf(2), addrOf(0)}, w.now)
	w.add(addrOf(2), Config{})
	w.run(time.Minute, nil)
	w.add(addrOf(0), Config{})
	if !w.run(6*time.Minute, func() bool { return w.nodes[addrOf(2)].table.Len() == 2 }) {
		t.Errorf("the third node is not known to all: %d", w.nodes[addrOf(2)].table.Len())
	}
}

func TestForeignNodesAreHandedOn(t *testing.T) {
	t.Parallel()
	var heard []netip.AddrPort
	w := newNetwork(t)
	other := krpc.AppendNode(nil, hashOf(3), addr6Of(3))
	other = krpc.AppendNode(other, hashOf(4), netip.MustParseAddrPort("[fd00::1]:80")) // not from a stranger
	w.add(addrOf(0), Config{ForeignNear: func(_ krpc.ID, b []byte) []byte { return append(b, other...) }})
	w.add(addrOf(1), Config{Foreign: func(a netip.AddrPort) { heard = append(heard, a) }}).
		SetBootstrap([]netip.AddrPort{addrOf(0)}, w.now)
	w.run(time.Minute, nil)
	for _, a := range heard {
		if a != addr6Of(3) {
			t.Errorf("heard of %v", a)
		}
	}
	if len(heard) == 0 {
		t.Error("heard of nobody")
	}
}

func TestNodesThatWeAreToldOf(t *testing.T) {
	t.Parallel()
	w := newNetwork(t)
	n := w.add(addrOf(1), Config{})
	w.add(addrOf(2), Config{})
	for _, bad := range []string{"8.8.8.8:0", "0.0.0.0:5", "[2a01::1]:5"} {
		if n.AddNode(netip.MustParseAddrPort(bad), w.now) {
			t.Errorf("%s is asked", bad)
		}
	}
	if !n.AddNode(addrOf(2), w.now) || !w.run(time.Second, func() bool { return n.table.Has(addrOf(2)) }) {
		t.Error("a node that answers is not taken")
	}
	if n.AddNode(addrOf(2), w.now) {
		t.Error("a known node is asked again")
	}
	if contact.ScopeOf(addrOf(2)) != contact.Global {
		t.Error("the test is of global addresses")
	}
}

// TestIdleTraffic is the price of being there, as BEP 5 asks.
func TestIdleTraffic(t *testing.T) {
	t.Parallel()
	w := grow(t, 60, addrOf)
	w.run(20*time.Minute, nil)
	n := w.nodes[addrOf(30)]
	before := n.stats
	w.run(30*time.Minute, nil)
	sent := float64(n.stats.BytesOut-before.BytesOut) / 1800
	got := float64(n.stats.BytesIn-before.BytesIn) / 1800
	t.Logf("idle: %.0f B/s out, %.0f B/s in", sent, got)
	if sent > 150 {
		t.Errorf("idle, %.0f B/s are sent, at most 150", sent)
	}
}
