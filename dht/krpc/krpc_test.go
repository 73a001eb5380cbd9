package krpc

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func id(s string) ID {
	var id ID
	id.SetBytes([]byte(s))
	return id
}

var (
	alpha = id("abcdefghij0123456789")
	mnop  = id("mnopqrstuvwxyz123456")
	digit = id("0123456789abcdefghij")
	v4    = netip.MustParseAddrPort("192.0.2.7:6881")
	v6    = netip.MustParseAddrPort("[2001:db8::7]:6882")
)

// examples are the packets of BEP 5 (with eight or so nodes in full where it
// abbreviates them) and one of each kind of the other BEPs.
func examples() map[string]*Message {
	all := map[string]*Message{}
	add := func(packet string, m Message) { all[packet] = &m }
	var m Message
	tr := []byte("aa")

	m.SetError(tr, 201, []byte("A Generic Error Ocurred"))
	add("d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", m)
	m.SetQuery(tr, Ping, alpha)
	add("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", m)
	m.SetReply(tr, mnop)
	add("d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", m)
	m.SetQuery(tr, FindNode, alpha)
	m.SetTarget(mnop)
	add("d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe", m)
	m.SetReply(tr, digit)
	nodes := AppendNode(nil, alpha, v4)
	m.SetNodes(nodes)
	add("d1:rd2:id20:0123456789abcdefghij5:nodes26:"+string(nodes)+"e1:t2:aa1:y1:re", m)
	m.SetQuery(tr, GetPeers, alpha)
	m.SetInfoHash(mnop)
	add("d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe", m)
	m.SetReply(tr, alpha)
	m.SetToken([]byte("aoeusnth"))
	m.SetValues(AppendValue(AppendValue(nil, []byte("axje.u")), []byte("idhtnm")))
	add("d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re", m)
	m.SetQuery(tr, AnnouncePeer, alpha)
	m.SetInfoHash(mnop)
	m.SetPort(6881, true)
	m.SetToken([]byte("aoeusnth"))
	add("d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe", m)

	m.SetQuery(tr, GetPeers, alpha) // BEP 32, 33, 43
	m.SetInfoHash(mnop)
	m.SetWant(WantNodes | WantNodes6)
	m.SetNoSeed()
	m.SetScrape()
	m.ReadOnly = true
	m.Version = []byte("BD01")
	add("d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234566:noseedi1e6:scrapei1e4:wantl2:n42:n6ee1:q9:get_peers2:roi1e1:t2:aa1:v4:BD011:y1:qe", m)
	m.SetReply(tr, alpha) // BEP 32, 33, 42
	m.IP = v6
	m.SetNodes6(AppendNode(nil, mnop, v6))
	m.SetFilters(bytes.Repeat([]byte("s"), 256), bytes.Repeat([]byte("p"), 256))
	add("d2:ip18:"+string(AppendPeer(nil, v6))+"1:rd4:BFpe256:"+strings.Repeat("p", 256)+"4:BFsd256:"+strings.Repeat("s", 256)+
		"2:id20:abcdefghij01234567896:nodes638:"+string(AppendNode(nil, mnop, v6))+"e1:t2:aa1:y1:re", m)
	m.SetQuery(tr, Put, alpha) // BEP 44
	m.SetToken([]byte("tk"))
	m.SetV([]byte("12:Hello World!"))
	m.SetKey(bytes.Repeat([]byte("k"), 32), bytes.Repeat([]byte("g"), 64))
	m.SetSeq(4)
	m.SetCas(3)
	m.SetSalt([]byte("foobar"))
	add("d1:ad3:casi3e2:id20:abcdefghij01234567891:k32:"+strings.Repeat("k", 32)+"4:salt6:foobar3:seqi4e3:sig64:"+strings.Repeat("g", 64)+
		"5:token2:tk1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe", m)
	m.SetQuery(tr, Get, alpha)
	m.SetTarget(mnop)
	m.SetSeq(-1)
	add("d1:ad2:id20:abcdefghij01234567893:seqi-1e6:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe", m)
	m.SetReply(tr, alpha) // BEP 51
	m.SetSamples([]byte("mnopqrstuvwxyz123456"), 7, 21600)
	add("d1:rd2:id20:abcdefghij01234567898:intervali21600e3:numi7e7:samples20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", m)
	m.SetQuery(tr, SampleInfohashes, alpha)
	m.SetTarget(mnop)
	add("d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q17:sample_infohashes1:t2:aa1:y1:qe", m)
	return all
}

// equal compares what two messages say.
func equal(t *testing.T, got, want *Message) {
	t.Helper()
	a, b := got.Append(nil), want.Append(nil)
	if !bytes.Equal(a, b) {
		t.Errorf("got  %q\nwant %q", a, b)
	}
	if got.Has != want.Has || got.Kind != want.Kind || got.Method != want.Method || got.IP != want.IP ||
		got.ID != want.ID || got.Target != want.Target || got.InfoHash != want.InfoHash || got.Seq != want.Seq ||
		got.Cas != want.Cas || got.Port != want.Port || got.ImpliedPort != want.ImpliedPort || got.Want != want.Want ||
		got.ReadOnly != want.ReadOnly || got.Code != want.Code || got.NoSeed != want.NoSeed || got.Scrape != want.Scrape {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestExamplesBothWays(t *testing.T) {
	t.Parallel()
	for packet, want := range examples() {
		if got := want.Append(nil); string(got) != packet {
			t.Errorf("append:\ngot  %q\nwant %q", got, packet)
		}
		var m Message
		if f := m.Decode([]byte(packet)); f != None {
			t.Errorf("%q: %v", packet, f)
			continue
		}
		equal(t, &m, want)
		for n := range len(packet) {
			if f := m.Decode([]byte(packet[:n])); f == None {
				t.Errorf("%q: the first %d bytes are accepted", packet, n)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const who = "2:id20:abcdefghij0123456789"
	query := func(name, args string) string {
		return "d1:ad" + who + args + "e1:q" + name + "1:t2:aa1:y1:qe"
	}
	reply := func(args string) string { return "d1:rd" + who + args + "e1:t2:aa1:y1:re" }
	for _, c := range []struct {
		name, packet string
		want         Fault
		kind         Kind // known in spite of the fault
	}{
		{"empty", "", FaultSize, 0},
		{"beyond UDP", "d1:t65500:" + strings.Repeat("x", 65500) + "e", FaultSize, 0},
		{"not a dictionary", "li1ee", FaultBencode, 0},
		{"HTTP", "GET / HTTP/1.1", FaultBencode, 0},
		{"string longer than the packet", "d1:t9999999999999999999999:ae", FaultBencode, 0},
		{"zero before a length", "d1:t02:aa1:y1:qe", FaultBencode, 0},
		{"number as a key", "di1e2:aae", FaultBencode, 0},
		{"a key without a value", "d1:t2:aa1:ye", FaultBencode, 0},
		{"a key without a value, inside", "d1:xd1:ae1:t2:aa1:y1:qe", FaultBencode, 0},
		{"nested too deep", "d1:x" + strings.Repeat("l", 33) + strings.Repeat("e", 33) + "1:t2:aa1:y1:qe", FaultDepth, 0},
		{"nested 32,000 deep", "d1:x" + strings.Repeat("l", 32000), FaultDepth, 0},
		{"more after it", query("4:ping", "") + "e", FaultTrailing, Query},
		{"no t", "d1:ad" + who + "e1:q4:ping1:y1:qe", FaultTransaction, Query},
		{"t too long", "d1:ad" + who + "e1:q4:ping1:t65:" + strings.Repeat("t", 65) + "1:y1:qe", FaultTransaction, Query},
		{"t a number", "d1:ti5e1:y1:qe", FaultType, Query},
		{"no y", "d1:t2:aae", FaultKind, 0},
		{"y unknown", "d1:t2:aa1:y1:ze", FaultKind, 0},
		{"y empty", "d1:t2:aa1:y0:e", FaultKind, 0},
		{"announce_peer without a", "d1:q13:announce_peer1:t2:aa1:y1:qe", FaultBody, Query},
		{"put without a", "d1:q3:put1:t1:a1:y1:qe", FaultBody, Query},
		{"query without q", "d1:ad" + who + "e1:t2:aa1:y1:qe", FaultBody, Query},
		{"reply without r", "d1:t2:aa1:y1:re", FaultBody, Reply},
		{"error without e", "d1:t2:aa1:y1:ee", FaultBody, Error},
		{"a is a list", "d1:ale1:q4:ping1:t2:aa1:y1:qe", FaultType, Query},
		{"r is a string", "d1:r2:id1:t2:aa1:y1:re", FaultType, Reply},
		{"e is a number", "d1:ei1e1:t2:aa1:y1:ee", FaultType, Error},
		{"q is a number", "d1:ad" + who + "e1:qi1e1:t2:aa1:y1:qe", FaultType, Query},
		{"no id", "d1:ade1:q4:ping1:t2:aa1:y1:qe", FaultID, Query},
		{"id of 19 bytes", "d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe", FaultID, Query},
		{"id a number", "d1:ad2:idi5ee1:q4:ping1:t2:aa1:y1:qe", FaultType, Query},
		{"find_node without target", query("9:find_node", ""), FaultID, Query},
		{"get_peers without info_hash", query("9:get_peers", ""), FaultID, Query},
		{"announce without token", query("13:announce_peer", "9:info_hash20:mnopqrstuvwxyz1234564:porti6881e"), FaultArgument, Query},
		{"announce of port 0", query("13:announce_peer", "9:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token1:x"), FaultPort, Query},
		{"announce of port 65536", query("13:announce_peer", "9:info_hash20:mnopqrstuvwxyz1234564:porti65536e5:token1:x"), FaultPort, Query},
		{"announce of port -1", query("13:announce_peer", "9:info_hash20:mnopqrstuvwxyz1234564:porti-1e5:token1:x"), FaultPort, Query},
		{"announce without port", query("13:announce_peer", "9:info_hash20:mnopqrstuvwxyz1234565:token1:x"), FaultPort, Query},
		{"announce of port 0, implied", query("13:announce_peer", "12:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token1:x"), None, Query},
		{"put without v", query("3:put", "5:token1:x"), FaultArgument, Query},
		{"put with a key but no signature", query("3:put", "1:k32:"+strings.Repeat("k", 32)+"3:seqi1e5:token1:x1:v1:x"), FaultArgument, Query},
		{"k of 31 bytes", query("3:put", "1:k31:"+strings.Repeat("k", 31)), FaultLength, Query},
		{"seq too large", query("3:get", "3:seqi9223372036854775808e6:target20:mnopqrstuvwxyz123456"), FaultType, Query},
		{"seq largest", query("3:get", "3:seqi9223372036854775807e6:target20:mnopqrstuvwxyz123456"), None, Query},
		{"seq with a zero before it", query("3:get", "3:seqi01e6:target20:mnopqrstuvwxyz123456"), FaultType, Query},
		{"want a string", query("9:find_node", "6:target20:mnopqrstuvwxyz1234564:want2:n4"), FaultType, Query},
		{"want with more", query("9:find_node", "6:target20:mnopqrstuvwxyz1234564:wantl2:n42:n8i1eee"[:len("6:target20:mnopqrstuvwxyz1234564:wantl2:n42:n8i1ee")]), None, Query},
		{"ip of one byte", "d2:ip1:x1:rd" + who + "e1:t2:aa1:y1:re", FaultAddress, Reply},
		{"ip of four bytes", "d2:ip4:xxxx1:rd" + who + "e1:t2:aa1:y1:re", None, Reply},
		{"a value of one byte", reply("6:valuesl1:xe"), FaultAddress, Reply},
		{"a value that is a number", reply("6:valuesli1ee"), FaultType, Reply},
		{"values a string", reply("6:values6:aaaaaa"), FaultType, Reply},
		{"nodes cut short, as BEP 5 prints them", reply("5:nodes9:def456..."), FaultNodes, Reply},
		{"nodes6 of 26 bytes", reply("6:nodes626:" + strings.Repeat("n", 26)), FaultNodes, Reply},
		{"filter of 255 bytes", reply("4:BFsd255:" + strings.Repeat("n", 255)), FaultLength, Reply},
		{"samples of 21 bytes", reply("7:samples21:" + strings.Repeat("n", 21)), FaultLength, Reply},
		{"unsorted", "d1:y1:q1:t2:aa1:q4:ping1:ad" + who + "ee", None, Query},
		{"unknown keys", "d1:ad" + who + "1:zli1ed1:ai-0eeee1:q4:ping1:t2:aa1:y1:q1:zdee", None, Query},
		{"the same twice", "d1:ad" + who + who + "e1:q4:ping1:t2:aa1:t2:aa1:y1:qe", None, Query},
		{"two ids", "d1:ad" + who + "2:id20:mnopqrstuvwxyz123456e1:q4:ping1:t2:aa1:y1:qe", FaultDuplicate, Query},
		{"two transactions", "d1:ad" + who + "e1:q4:ping1:t2:aa1:t2:ab1:y1:qe", FaultDuplicate, 0},
		{"the same too often", "d" + strings.Repeat("1:t2:aa", 20) + "1:y1:qe", FaultDuplicate, 0},
		{"unknown method", query("4:vote", "6:target20:mnopqrstuvwxyz123456"), None, Query},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var m Message
			if got := m.Decode([]byte(c.packet)); got != c.want {
				t.Errorf("%.120q: got %v, want %v", c.packet, got, c.want)
			}
			if c.kind != 0 && m.Kind != c.kind {
				t.Errorf("kind is %q, want %q", m.Kind, c.kind)
			}
		})
	}
}

func TestErrorsOfManyShapes(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]struct {
		code int
		text string
	}{
		"d1:eli203e3:bade1:t1:a1:y1:ee":         {203, "bad"},
		"d1:e3:bad1:t1:a1:y1:ee":                {0, "bad"},
		"d1:eli203ee1:t1:a1:y1:ee":              {203, ""},
		"d1:ele1:t1:a1:y1:ee":                   {0, ""},
		"d1:eli-5e3:badli1eee1:t1:a1:y1:ee":     {0, "bad"},
		"d1:eli99999999999e1:xe1:t1:a1:y1:ee":   {0, "x"},
		"d1:eli203e3:bad4:moree1:t1:a1:y1:ee":   {203, "bad"},
		"d1:e0:2:ip6:abcdef1:t1:a1:v0:1:y1:ee":  {0, ""},
		"d1:eli203e0:e2:ip6:abcdef1:t0:1:y1:ee": {203, ""},
	} {
		var m Message
		if f := m.Decode([]byte(packet)); f != None || m.Code != want.code || string(m.Text) != want.text {
			t.Errorf("%q: %v, %d %q, want %+v", packet, f, m.Code, m.Text, want)
		}
	}
}

func TestNodesAndPeers(t *testing.T) {
	t.Parallel()
	zero := netip.AddrPortFrom(v4.Addr(), 0)
	b := AppendNode(AppendNode(AppendNode(nil, alpha, v4), digit, zero), mnop, v4)
	var ids []ID
	for id, addr := range Nodes4(append(b, "rest"...)) {
		if addr != v4 {
			t.Errorf("address %v", addr)
		}
		ids = append(ids, id)
	}
	if !slices.Equal(ids, []ID{alpha, mnop}) {
		t.Errorf("nodes %v: the one with port 0 must be left out", ids)
	}
	mapped := AppendNode(nil, alpha, v4)[:20]
	mapped = append(mapped, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4, 5, 6)
	for id, addr := range Nodes6(mapped) {
		t.Errorf("IPv4 in an IPv6 coat is given as %v %v", id, addr)
	}
	for _, addr := range Nodes6(AppendNode(nil, alpha, v6)) {
		if addr != v6 {
			t.Errorf("address %v", addr)
		}
	}
	var body Body
	for _, p := range []netip.AddrPort{v4, zero, v6} {
		body.SetValues(AppendValue(body.Values, AppendPeer(nil, p)))
	}
	if got := slices.Collect(body.Peers()); !slices.Equal(got, []netip.AddrPort{v4, v6}) {
		t.Errorf("peers %v", got)
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"i0e": true, "i-1e": true, "0:": true, "le": true, "de": true, "d1:ai1e1:bl1:xee": true, "i99999999999999999999999e": true,
		"": false, "i-0e": false, "i00e": false, "i01e": false, "i-01e": false, "01:x": false, "i1e1:x": false, "d1:bi1e1:ai1ee": false,
		"d1:ai1e1:ai1ee": false, "d1:ae": false, "l": false, "d": false, "2:x": false, "ie": false, "i-e": false, "x": false,
		"d0:i1e0:i2ee": false, "d0:i1e1:ai2ee": true,
		strings.Repeat("l", 32) + strings.Repeat("e", 32):     true,
		strings.Repeat("l", 40) + strings.Repeat("e", 40):     false,
		strings.Repeat("l", 60000) + strings.Repeat("e", 100): false,
	} {
		if got := Canonical([]byte(s)); got != want {
			t.Errorf("Canonical(%.40q) = %v", s, got)
		}
	}
}

// mutate changes a packet in place or in length.
func mutate(rng *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + rng.IntN(4) {
		if len(b) == 0 {
			return b
		}
		at := rng.IntN(len(b))
		switch rng.IntN(5) {
		case 0:
			b[at] = byte(rng.Uint32())
		case 1:
			b = slices.Delete(b, at, min(len(b), at+1+rng.IntN(8)))
		case 2:
			b = slices.Insert(b, at, []byte("0123456789deil:-")[rng.IntN(16)])
		case 3:
			end := min(len(b), at+rng.IntN(40))
			b = slices.Insert(b, rng.IntN(len(b)), b[at:end:end]...)
		case 4:
			b = b[:at]
		}
	}
	return b
}

// check is what must hold for any packet.
func check(t *testing.T, packet []byte) {
	t.Helper()
	var m, again Message
	before := slices.Clone(packet)
	fault := m.Decode(packet)
	if fault >= NumFaults || fault.String() == "unknown" {
		t.Fatalf("%q: fault %d", packet, fault)
	}
	if !bytes.Equal(before, packet) {
		t.Fatalf("%q was changed", before)
	}
	if fault != None {
		return
	}
	for range m.Peers() {
	}
	for range Nodes4(m.Nodes) {
	}
	for range Nodes6(m.Nodes6) {
	}
	out := m.Append(nil)
	if f := again.Decode(out); f != None {
		t.Fatalf("%q\nis encoded as %q\nwhich is refused: %v", packet, out, f)
	}
	equal(t, &again, &m)
	if !bytes.Equal(again.Append(nil), out) {
		t.Fatalf("%q is encoded in two ways", packet)
	}
}

func TestRandomAndMutatedPackets(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var seeds [][]byte
	for packet := range examples() {
		seeds = append(seeds, []byte(packet))
	}
	slices.SortFunc(seeds, bytes.Compare)
	good := 0
	for i := range 100_000 {
		var packet []byte
		if i%4 == 0 {
			packet = make([]byte, rng.IntN(200))
			for j := range packet {
				packet[j] = []byte("0123456789deil:-arqty")[rng.IntN(21)]
			}
			if len(packet) > 0 {
				packet[0] = 'd'
			}
		} else {
			packet = mutate(rng, seeds[rng.IntN(len(seeds))])
		}
		check(t, packet)
		var m Message
		if m.Decode(packet) == None {
			good++
		}
	}
	if good < 1000 {
		t.Errorf("only %d of the packets are good ones: the test does not reach the inside", good)
	}
}

func TestDecodeAndAppendAllocateNothing(t *testing.T) {
	b := make([]byte, 0, 2048)
	var m Message
	for packet := range examples() {
		p := []byte(packet)
		if n := testing.AllocsPerRun(100, func() {
			m.Decode(p)
			for range m.Peers() {
			}
			for range Nodes4(m.Nodes) {
			}
			b = m.Append(b[:0])
		}); n != 0 {
			t.Errorf("%q: %v allocations", packet, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for packet := range examples() {
		f.Add([]byte(packet))
	}
	f.Add([]byte("d1:q13:announce_peer1:t2:aa1:y1:qe"))
	f.Add([]byte("d2:ip1:x1:t2:aa1:y1:re"))
	f.Fuzz(check)
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte("d1:ai1e1:bl1:xee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scanner{b: b}
		v := s.value()
		if Canonical(b) && (s.fault != None || len(v) != len(b)) {
			t.Fatalf("%q is canonical, but not a value", b)
		}
	})
}

func BenchmarkDecodeGetPeers(b *testing.B) {
	var m Message
	m.SetQuery([]byte("abcd"), GetPeers, alpha)
	m.SetInfoHash(mnop)
	packet := m.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if m.Decode(packet) != None {
			b.Fatal("refused")
		}
	}
}

func BenchmarkAppendReply(b *testing.B) {
	var m Message
	var nodes, values, out []byte
	tr, token := []byte("abcd"), []byte("12345678")
	for range 8 {
		nodes = AppendNode(nodes, alpha, v4)
	}
	for range 50 {
		values = AppendValue(values, AppendPeer(nil, v4))
	}
	b.ReportAllocs()
	for b.Loop() {
		m.SetReply(tr, alpha)
		m.SetNodes(nodes)
		m.SetValues(values)
		m.SetToken(token)
		m.IP = v4
		out = m.Append(out[:0])
	}
}
