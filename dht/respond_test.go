package dht

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/store"
)

// asked is a node that is asked by hand.
type asked struct {
	*Node
	t    testing.TB
	now  time.Time
	from netip.AddrPort
	sent [][]byte
}

func newAsked(t testing.TB, cfg Config) *asked {
	a := &asked{t: t, now: start, from: addrOf(1)}
	if cfg.IPv6 {
		a.from = addr6Of(1)
	}
	cfg.Rand = chacha(77)
	cfg.Send = func(b []byte, to netip.AddrPort) error {
		a.sent = append(a.sent, bytes.Clone(b))
		return nil
	}
	a.Node = New(cfg, start)
	a.greeted = start.Add(24 * time.Hour) // it does not ask back
	return a
}

// fill puts nodes into the table.
func (a *asked) fill(count int) {
	at := addrOf
	if a.cfg.IPv6 {
		at = addr6Of
	}
	for i := range count {
		a.table.Answered(contact.Node{Addr: at(i + 1000)}, hashOf(uint64(i)+9000), 50*time.Millisecond, a.now)
	}
}

// ask sends a query and returns the reply.
func (a *asked) ask(m krpc.Message) (r krpc.Message) {
	a.t.Helper()
	return a.raw(m.Append(nil))
}

func (a *asked) raw(b []byte) (r krpc.Message) {
	a.t.Helper()
	a.sent = a.sent[:0]
	a.HandlePacket(b, a.from, a.now)
	if len(a.sent) != 1 {
		a.t.Fatalf("%q: %d packets came back", b, len(a.sent))
	}
	if f := r.Decode(a.sent[0]); f != krpc.None {
		a.t.Fatalf("%q: the answer %q cannot be read: %v", b, a.sent[0], f)
	}
	if r.IP != a.from {
		a.t.Errorf("the answer says that we are at %v", r.IP)
	}
	return r
}

// query begins a query from the asking side.
func query(method krpc.Method) (m krpc.Message) {
	m.SetQuery([]byte("tr"), method, hashOf(1))
	return m
}

func nodesOf(m *krpc.Message) (n4, n6 int) {
	for range krpc.Nodes4(m.Nodes) {
		n4++
	}
	for range krpc.Nodes6(m.Nodes6) {
		n6++
	}
	return n4, n6
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	a := newAsked(t, Config{Version: "BD01"})
	a.fill(30)
	r := a.ask(query(krpc.Ping))
	if r.Kind != krpc.Reply || r.ID != a.ID() || string(r.T) != "tr" || string(r.Version) != "BD01" || r.Has != krpc.HasID {
		t.Errorf("ping: %+v", r)
	}
	target := hashOf(9003)
	m := query(krpc.FindNode)
	m.SetTarget(target)
	r = a.ask(m)
	var got []krpc.ID
	for id := range krpc.Nodes4(r.Nodes) {
		got = append(got, id)
	}
	var want []krpc.ID
	for _, c := range a.table.Closest(target, 8, nil) {
		want = append(want, c.ID)
	}
	if len(got) != 8 || got[0] != target || !slices.Equal(got, want) {
		t.Errorf("find_node: %v, want %v", got, want)
	}
	m = query(krpc.GetPeers)
	m.SetInfoHash(target)
	r = a.ask(m)
	if n4, n6 := nodesOf(&r); n4 != 8 || n6 != 0 || len(r.Token) != store.TokenSize || r.Has&krpc.HasValues != 0 {
		t.Errorf("get_peers: %+v", r)
	}
	token := bytes.Clone(r.Token)

	announce := func(port uint16, implied bool, token []byte) krpc.Message {
		m := query(krpc.AnnouncePeer)
		m.SetInfoHash(target)
		m.SetPort(port, implied)
		m.SetToken(token)
		return a.ask(m)
	}
	if r = announce(5000, false, []byte("wrong")); r.Kind != krpc.Error || r.Code != krpc.CodeProtocol || string(r.Text) != "bad token" {
		t.Errorf("announce with a wrong token: %+v", r)
	}
	if r = announce(5000, false, token); r.Kind != krpc.Reply {
		t.Errorf("announce: %+v", r)
	}
	if r = announce(5000, true, token); r.Kind != krpc.Reply {
		t.Errorf("announce with implied port: %+v", r)
	}
	m = query(krpc.GetPeers)
	m.SetInfoHash(target)
	r = a.ask(m)
	peers := slices.SortedFunc(r.Peers(), netip.AddrPort.Compare)
	if want := []netip.AddrPort{netip.AddrPortFrom(a.from.Addr(), 5000), a.from}; !slices.Equal(peers, want) {
		t.Errorf("peers %v, want %v", peers, want)
	}
	if n4, _ := nodesOf(&r); n4 != 8 {
		t.Errorf("with peers there are %d nodes, want 8 as well", n4)
	}
	a.from = addrOf(2)
	if r = announce(5000, false, token); r.Code != krpc.CodeProtocol {
		t.Errorf("announce with the token of another: %+v", r)
	}
	m = query(krpc.SampleInfohashes)
	m.SetTarget(hashOf(5))
	r = a.ask(m)
	raw := target.AsByteArray()
	if n4, _ := nodesOf(&r); n4 != 8 || r.Num != 1 || r.Interval != 21600 || !bytes.Equal(r.Samples, raw[:]) {
		t.Errorf("sample_infohashes: %+v", r)
	}
	m = query(krpc.Other)
	m.Asked = []byte("vote")
	if r = a.ask(m); r.Code != krpc.CodeMethod {
		t.Errorf("unknown method: %+v", r)
	}
	m.SetTarget(hashOf(5))
	r = a.ask(m)
	if n4, _ := nodesOf(&r); n4 != 8 {
		t.Errorf("unknown method with a target: %+v", r)
	}
	if r = a.raw([]byte("d1:ad2:id20:abcdefghij0123456789e1:q9:get_peers1:t2:aa1:y1:qe")); r.Code != krpc.CodeProtocol {
		t.Errorf("get_peers without info_hash: %+v", r)
	}
}

func TestWantsBothFamilies(t *testing.T) {
	t.Parallel()
	other := krpc.AppendNode(nil, hashOf(3), addr6Of(3))
	a := newAsked(t, Config{ForeignNear: func(_ krpc.ID, b []byte) []byte { return append(b, other...) }})
	a.fill(30)
	for _, c := range []struct {
		want   krpc.Want
		n4, n6 int
	}{{0, 8, 0}, {krpc.WantNodes, 8, 0}, {krpc.WantNodes6, 0, 1}, {krpc.WantNodes | krpc.WantNodes6, 8, 1}} {
		m := query(krpc.FindNode)
		m.SetTarget(hashOf(4))
		m.SetWant(c.want)
		r := a.ask(m)
		if n4, n6 := nodesOf(&r); n4 != c.n4 || n6 != c.n6 {
			t.Errorf("want %d: %d and %d nodes, want %d and %d", c.want, n4, n6, c.n4, c.n6)
		}
	}
}

// TestStrangersAreNotToldOfLocalNetworks has nodes and peers in a LAN beside
// others, whom somebody in the internet, and somebody in the LAN, asks for.
func TestStrangersAreNotToldOfLocalNetworks(t *testing.T) {
	t.Parallel()
	lan := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 6881)
	}
	a := newAsked(t, Config{ForeignNear: func(_ krpc.ID, b []byte) []byte {
		b = krpc.AppendNode(b, hashOf(3), netip.MustParseAddrPort("[fd00::7]:6881"))
		return krpc.AppendNode(b, hashOf(4), addr6Of(4))
	}})
	a.fill(12)
	hash := hashOf(6)
	for n := range 40 {
		// Nearer than all others.
		id := hash.AsByteArray()
		id[19] ^= byte(n + 1)
		var near krpc.ID
		near.SetBytes(id[:])
		a.table.Answered(contact.Node{Addr: lan(n + 10)}, near, time.Millisecond, a.now)
		a.peers.Announce(hash, lan(n+10), n%2 == 0, a.now)
	}
	a.peers.Announce(hash, addrOf(77), true, a.now)
	a.peers.Announce(hash, addrOf(78), false, a.now)
	for _, asker := range []struct {
		from          string
		nodes, nodes6 int
		peers, locals int
		seeds         float64
	}{
		{"8.8.8.8:6881", 8, 1, 2, 0, 1},
		{"10.0.0.2:6881", 8, 2, 42, 40 + 8 + 1, 21},
	} {
		a.from = netip.MustParseAddrPort(asker.from)
		for _, method := range []krpc.Method{krpc.FindNode, krpc.Get, krpc.SampleInfohashes, krpc.Other} {
			m := query(method)
			m.Asked = []byte("vote")
			m.SetTarget(hash)
			r := a.ask(m)
			if n4, _ := nodesOf(&r); n4 != 8 || (locals(&r) > 0) != (asker.locals > 0) {
				t.Errorf("%s asks by method %v: %d nodes, of local networks %d", asker.from, method, n4, locals(&r))
			}
		}
		m := query(krpc.GetPeers)
		m.SetInfoHash(hash)
		m.SetWant(krpc.WantNodes | krpc.WantNodes6)
		r := a.ask(m)
		n4, n6 := nodesOf(&r)
		if peers := len(slices.Collect(r.Peers())); n4 != asker.nodes || n6 != asker.nodes6 || peers != asker.peers || locals(&r) != asker.locals {
			t.Errorf("%s is told of %d and %d nodes and %d peers, %d of them in local networks; want %+v", asker.from, n4, n6, peers, locals(&r), asker)
		}
		m.SetNoSeed()
		m.SetScrape()
		r = a.ask(m)
		var seeds store.Filter
		seeds.Add(r.BFsd)
		if got := seeds.Estimate(); got < asker.seeds*0.9 || got > asker.seeds*1.1 || len(slices.Collect(r.Peers())) != asker.peers/2 {
			t.Errorf("%s counts %.1f seeds, want %.0f", asker.from, got, asker.seeds)
		}
	}
}

// locals is how many addresses of local networks a reply has.
func locals(m *krpc.Message) (n int) {
	count := func(addr netip.AddrPort) {
		if contact.ScopeOf(addr) == contact.Local {
			n++
		}
	}
	for _, addr := range krpc.Nodes4(m.Nodes) {
		count(addr)
	}
	for _, addr := range krpc.Nodes6(m.Nodes6) {
		count(addr)
	}
	for addr := range m.Peers() {
		count(addr)
	}
	return n
}

func TestRepliesStaySmall(t *testing.T) {
	t.Parallel()
	var eight, eight6 []byte
	for i := range 8 {
		eight = krpc.AppendNode(eight, hashOf(uint64(i)), addrOf(i))
		eight6 = krpc.AppendNode(eight6, hashOf(uint64(i)), addr6Of(i))
	}
	for _, v6 := range []bool{false, true} {
		foreign, at, limit := eight6, addrOf, maxReply4
		if v6 {
			foreign, at, limit = eight, addr6Of, maxReply6
		}
		a := newAsked(t, Config{
			IPv6: v6, Version: "BD01", Limits: store.LimitsConfig{Queries: 1e6, Bytes: 1e9},
			ForeignNear: func(_ krpc.ID, b []byte) []byte { return append(b, foreign...) },
		})
		a.fill(100)
		hash := hashOf(6)
		for i := range 500 {
			a.peers.Announce(hash, netip.AddrPortFrom(at(i).Addr(), 7), i%2 == 0, a.now)
			a.peers.Announce(hashOf(uint64(i)), at(i), false, a.now)
		}
		largest := 0
		for _, scrape := range []bool{false, true} {
			for _, want := range []krpc.Want{0, 1, 2, 3} {
				m := query(krpc.GetPeers)
				m.T = []byte(strings.Repeat("t", 64))
				m.SetInfoHash(hash)
				m.SetWant(want)
				if scrape {
					m.SetScrape()
				}
				r := a.ask(m)
				peers := 0
				for range r.Peers() {
					peers++
				}
				largest = max(largest, len(a.sent[0]))
				if len(a.sent[0]) > limit {
					t.Errorf("v6 %v, want %d, scrape %v: %d bytes", v6, want, scrape, len(a.sent[0]))
				}
				if peers == 0 {
					t.Errorf("v6 %v, want %d, scrape %v: no peers", v6, want, scrape)
				}
				if scrape && (len(r.BFsd) != 256 || len(r.BFpe) != 256) {
					t.Errorf("v6 %v, want %d: no filters", v6, want)
				}
			}
		}
		for _, size := range []int{1, 300, 700, 996} {
			key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(size)}, 32))
			item, err := SignItem(key, nil, 1<<62, fmt.Appendf(nil, "%d:%0*d", size, size, 5))
			if err != nil {
				t.Fatal(err)
			}
			var b krpc.Body
			b.SetV(item.V)
			b.SetKey(item.K, item.Sig)
			b.SetSeq(item.Seq)
			if code := a.items.Put(&b, addrOf(1).Addr(), a.now); code != 0 {
				t.Fatal(code)
			}
			for _, want := range []krpc.Want{0, 3} {
				m := query(krpc.Get)
				m.T = []byte(strings.Repeat("t", 64))
				m.SetTarget(item.Target())
				m.SetWant(want)
				r := a.ask(m)
				n4, n6 := nodesOf(&r)
				t.Logf("v6 %v, value of %d, want %d: %d bytes, %d and %d nodes", v6, size, want, len(a.sent[0]), n4, n6)
				if len(a.sent[0]) > maxGet || !bytes.Equal(r.V, item.V) || (size < 900 && n4+n6 < 8) {
					t.Errorf("v6 %v, value of %d: %d bytes, %d and %d nodes", v6, size, len(a.sent[0]), n4, n6)
				}
				m.SetSeq(item.Seq)
				if r = a.ask(m); r.Has&(krpc.HasV|krpc.HasSig|krpc.HasSeq) != krpc.HasSeq {
					t.Errorf("a value that is not newer than asked for: %+v", r)
				}
			}
		}
		m := query(krpc.SampleInfohashes)
		m.SetTarget(hash)
		m.SetWant(3)
		if a.ask(m); len(a.sent[0]) > limit {
			t.Errorf("samples take %d bytes", len(a.sent[0]))
		}
		t.Logf("v6 %v: the largest reply to get_peers has %d bytes", v6, largest)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	a := newAsked(t, Config{ReadOnly: true})
	b := query(krpc.Ping)
	if a.HandlePacket(b.Append(nil), a.from, a.now); len(a.sent) != 0 {
		t.Error("a read-only node answers")
	}
	a.SetBootstrap([]netip.AddrPort{addrOf(5)}, a.now)
	a.Tick(a.now)
	var m krpc.Message
	if len(a.sent) != 1 || m.Decode(a.sent[0]) != krpc.None || !m.ReadOnly {
		t.Errorf("it asks %q", a.sent)
	}
	// Who says that it is read-only is answered, but not taken into the table.
	for _, ro := range []bool{true, false} {
		a = newAsked(t, Config{})
		q := query(krpc.Ping)
		q.ReadOnly = ro
		a.ask(q)
		a.sent = nil
		asksBack := false
		for i := range 20 {
			a.Tick(a.now.Add(time.Duration(i) * time.Second))
		}
		for _, b := range a.sent {
			asksBack = asksBack || (m.Decode(b) == krpc.None && m.Kind == krpc.Query)
		}
		if asksBack == ro {
			t.Errorf("read-only %v: asked back is %v", ro, asksBack)
		}
	}
}

func TestWhoAsksIsAskedBack(t *testing.T) {
	t.Parallel()
	a := newAsked(t, Config{})
	a.greeted = time.Time{}
	for range 30 { // one after another at the same moment
		q := query(krpc.Ping)
		a.HandlePacket(q.Append(nil), a.from, a.now)
	}
	queries := 0
	var m krpc.Message
	for _, b := range a.sent {
		if m.Decode(b) == krpc.None && m.Kind == krpc.Query {
			queries++
		}
	}
	if queries != 1 || len(a.sent) != 31 {
		t.Errorf("asked back %d times within a moment, %d packets", queries, len(a.sent))
	}
	a.fill(40)
	if a.sent = nil; a.table.Len() < fewNodes {
		t.Fatal("the table is not full")
	}
	q := query(krpc.Ping)
	a.HandlePacket(q.Append(nil), a.from, a.now.Add(time.Minute))
	if len(a.sent) != 1 {
		t.Errorf("with many nodes known %d packets are sent", len(a.sent))
	}
}

// TestANewIDIsLearnt: a node that is known asks with another id.
func TestANewIDIsLearnt(t *testing.T) {
	t.Parallel()
	secure, other := contact.MakeSecure(hashOf(5), addrOf(1).Addr()), contact.MakeSecure(hashOf(6), addrOf(1).Addr())
	for _, x := range []struct {
		name        string
		known, says krpc.ID
		answers     krpc.ID // zero: it is not asked
	}{
		{"one that fits its address", hashOf(5), secure, secure},
		{"one that fits its address, but that was forged", hashOf(5), secure, hashOf(5)},
		{"one that does not fit either", hashOf(5), hashOf(6), krpc.ID{}},
		{"another that fits", secure, other, krpc.ID{}},
	} {
		a := newAsked(t, Config{})
		a.greeted = time.Time{}
		a.fill(2 * fewNodes)
		a.table.Answered(contact.Node{Addr: a.from}, x.known, time.Millisecond, a.now)
		if !a.table.Has(a.from) {
			t.Fatal("the node is not in the table")
		}
		var q, ping krpc.Message
		q.SetQuery([]byte("tr"), krpc.Ping, x.says)
		a.HandlePacket(q.Append(nil), a.from, a.now)
		asked := len(a.sent) == 2 && ping.Decode(a.sent[1]) == krpc.None && ping.Kind == krpc.Query
		if asked == x.answers.IsZero() {
			t.Errorf("%s: it is asked: %t", x.name, asked)
		}
		want := x.known
		if asked {
			want = x.answers
			var r krpc.Message
			r.SetReply(ping.T, x.answers)
			a.HandlePacket(r.Append(nil), a.from, a.now)
		}
		if a.table.Refuses(contact.Node{ID: want, Addr: a.from}, a.now) || !a.table.Refuses(contact.Node{ID: hashOf(7), Addr: a.from}, a.now) {
			t.Errorf("%s: the node is not known by %v", x.name, want)
		}
	}
}

func TestTooManyQueriesAreNotAnswered(t *testing.T) {
	t.Parallel()
	a := newAsked(t, Config{})
	for range 100 {
		q := query(krpc.Ping)
		a.HandlePacket(q.Append(nil), a.from, a.now)
	}
	if len(a.sent) != 50 || a.stats.TooFast != 50 {
		t.Errorf("of 100 at once %d are answered, %d counted", len(a.sent), a.stats.TooFast)
	}
}

func TestAddressIsFoundByVote(t *testing.T) {
	t.Parallel()
	a := newAsked(t, Config{})
	old, ours, lie := a.ID(), netip.MustParseAddr("85.1.2.3"), netip.MustParseAddr("85.9.9.9")
	say := func(from netip.AddrPort, ip netip.Addr, now time.Time) {
		a.sent = nil
		if !a.ping(from, now) {
			t.Fatal("not asked")
		}
		var q, r krpc.Message
		q.Decode(a.sent[0])
		r.SetReply(q.T, hashOf(uint64(from.Addr().As4()[2])))
		r.IP = netip.AddrPortFrom(ip, 1)
		a.HandlePacket(r.Append(nil), from, now)
	}
	for i := range 20 { // one network has one vote
		say(netip.AddrPortFrom(netip.AddrFrom4([4]byte{81, 1, 1, byte(i)}), 5), lie, a.now)
	}
	say(addrOf(2), ours, a.now)
	say(addrOf(3), netip.MustParseAddr("192.168.1.1"), a.now)
	say(netip.MustParseAddrPort("10.0.0.7:5"), lie, a.now)
	say(netip.MustParseAddrPort("10.0.0.8:5"), lie, a.now)
	if a.External().IsValid() || a.ID() != old {
		t.Fatalf("address %v is believed", a.External())
	}
	say(addrOf(4), ours, a.now)
	say(addrOf(5), ours, a.now)
	if a.External() != ours || !contact.Secure(a.ID(), ours) || a.table.Self() != a.ID() {
		t.Fatalf("address %v, id %v", a.External(), a.ID())
	}
	first := a.ID()
	// It changes, but not at once.
	for i := range 40 {
		say(addrOf(100+i), lie, a.now.Add(time.Minute))
	}
	if a.External() != ours || a.ID() != first {
		t.Error("the address changed after a minute")
	}
	say(addrOf(200), lie, a.now.Add(11*time.Minute))
	if a.External() != lie || a.ID() == first || !contact.Secure(a.ID(), lie) || a.stats.AddressChanges != 2 {
		t.Errorf("address %v, id %v", a.External(), a.ID())
	}
}

// BenchmarkGetPeers is decoding, answering and encoding, without the system
// calls.
func BenchmarkGetPeers(b *testing.B) {
	for _, peers := range []int{0, 20, 500} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			a := newAsked(b, Config{Version: "BD01", Limits: store.LimitsConfig{Queries: 1e9, Bytes: 1e12}})
			a.cfg.Send = func([]byte, netip.AddrPort) error { return nil }
			a.fill(400)
			hash := hashOf(9003)
			for i := range peers {
				a.peers.Announce(hash, addrOf(i), false, a.now)
			}
			m := query(krpc.GetPeers)
			m.SetInfoHash(hash)
			packet := m.Append(nil)
			a.HandlePacket(packet, a.from, a.now)
			b.ReportAllocs()
			for b.Loop() {
				a.HandlePacket(packet, a.from, a.now)
			}
			if a.stats.Answers < int64(b.N) {
				b.Fatal("not answered")
			}
		})
	}
}

func TestServingAllocatesLittle(t *testing.T) {
	a := newAsked(t, Config{Version: "BD01", Limits: store.LimitsConfig{Queries: 1e9, Bytes: 1e12}})
	a.cfg.Send = func([]byte, netip.AddrPort) error { return nil }
	a.fill(400)
	for i := range 500 {
		a.peers.Announce(hashOf(9003), addrOf(i), false, a.now)
	}
	m := query(krpc.GetPeers)
	m.SetInfoHash(hashOf(9003))
	packet := m.Append(nil)
	if n := testing.AllocsPerRun(1000, func() { a.HandlePacket(packet, a.from, a.now) }); n > 2 {
		t.Errorf("%v allocations for one get_peers, at most 2", n)
	}
}

// heap is what is allocated and reachable.
func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
