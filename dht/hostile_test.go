package dht

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"btd/dht/krpc"
	"btd/dht/store"
)

// TestPacketsThatKilledOthers are packets that made other nodes crash, answer
// wrongly or answer far too much.
func TestPacketsThatKilledOthers(t *testing.T) {
	t.Parallel()
	const who = "2:id20:abcdefghij0123456789"
	for _, c := range []struct {
		name, packet string
		fault        krpc.Fault
		answer       bool // an error 203
	}{
		{"announce_peer without a", "d1:q13:announce_peer1:t2:aa1:y1:qe", krpc.FaultBody, true},
		{"put without a", "d1:q3:put1:t1:a1:y1:qe", krpc.FaultBody, true},
		{"ip of one byte, query", "d1:ad" + who + "e2:ip1:x1:q4:ping1:t2:aa1:y1:qe", krpc.FaultAddress, true},
		{"ip of one byte, reply", "d2:ip1:x1:rd" + who + "e1:t2:aa1:y1:re", krpc.FaultAddress, false},
		{"values of one byte, unsolicited", "d1:rd" + who + "6:valuesl1:xee1:t4:aaaa1:y1:re", krpc.FaultAddress, false},
		{"announce without port", "d1:ad" + who + "9:info_hash20:mnopqrstuvwxyz1234565:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe", krpc.FaultPort, true},
		{"announce of port 0", "d1:ad" + who + "9:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe", krpc.FaultPort, true},
		{"65,507 bytes", "d1:ad" + who + "1:x65000:" + strings.Repeat("x", 65000) + "e1:q4:ping1:t2:aa1:y1:qe", krpc.FaultSize, false},
		{"nothing", "", krpc.FaultSize, false},
		{"a query without t", "d1:ad" + who + "e1:q4:ping1:y1:qe", krpc.FaultTransaction, false},
	} {
		a := newAsked(t, Config{})
		a.HandlePacket([]byte(c.packet), a.from, a.now)
		if a.stats.Faults[c.fault] != 1 {
			t.Errorf("%s: counted as %v", c.name, a.stats.Faults)
		}
		if !c.answer {
			if len(a.sent) != 0 {
				t.Errorf("%s: answered with %q", c.name, a.sent)
			}
			continue
		}
		var m krpc.Message
		if len(a.sent) != 1 || m.Decode(a.sent[0]) != krpc.None || m.Code != krpc.CodeProtocol {
			t.Errorf("%s: answered with %q", c.name, a.sent)
		}
	}
}

func TestPacketsFromNowhere(t *testing.T) {
	t.Parallel()
	blocked := netip.MustParseAddrPort("85.1.1.1:5")
	a := newAsked(t, Config{Refuse: func(p netip.AddrPort) bool { return p == blocked }})
	q := query(krpc.Ping)
	from := []netip.AddrPort{
		netip.MustParseAddrPort("8.8.8.8:0"), netip.MustParseAddrPort("0.0.0.0:5"), netip.MustParseAddrPort("224.0.0.1:5"),
		netip.MustParseAddrPort("[2a01::1]:5"), blocked,
		{},
	}
	for _, f := range from {
		a.HandlePacket(q.Append(nil), f, a.now)
	}
	if len(a.sent) != 0 || a.stats.Unreachable != int64(len(from)) {
		t.Errorf("%d answered, %d counted", len(a.sent), a.stats.Unreachable)
	}
	a.HandlePacket(q.Append(nil), netip.MustParseAddrPort("[::ffff:8.8.8.8]:5"), a.now)
	if len(a.sent) != 1 {
		t.Error("IPv4 in an IPv6 coat is not answered")
	}
	q.ID = a.ID()
	a.HandlePacket(q.Append(nil), a.from, a.now)
	if len(a.sent) != 1 {
		t.Error("somebody with our id is answered")
	}
}

// TestRepliesThatNobodyAskedFor are from the wrong address, with the wrong
// transaction id, or come twice.
func TestRepliesThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	a := newAsked(t, Config{})
	if !a.AddNode(addrOf(5), a.now) {
		t.Fatal("not asked")
	}
	var q, r krpc.Message
	q.Decode(a.sent[0])
	id := bytes.Clone(q.T)
	if len(id) != 4 {
		t.Fatalf("transaction id %q", id)
	}
	r.SetReply(id, hashOf(5))
	a.HandlePacket(r.Append(nil), addrOf(6), a.now) // another address
	a.HandlePacket(r.Append(nil), netip.AddrPortFrom(addrOf(5).Addr(), 7), a.now)
	for n := range 4 {
		r.T = id[:n]
		a.HandlePacket(r.Append(nil), addrOf(5), a.now)
	}
	if a.stats.Unmatched != 6 || a.table.Len() != 0 {
		t.Fatalf("%d unmatched, %d in the table", a.stats.Unmatched, a.table.Len())
	}
	r.T = id
	a.HandlePacket(r.Append(nil), addrOf(5), a.now)
	a.HandlePacket(r.Append(nil), addrOf(5), a.now)
	if a.stats.Unmatched != 7 || a.stats.Replies != 1 || a.table.Len() != 1 {
		t.Errorf("%d unmatched, %d replies, %d in the table", a.stats.Unmatched, a.stats.Replies, a.table.Len())
	}
	// A late one.
	a.AddNode(addrOf(8), a.now)
	q.Decode(a.sent[1])
	a.Tick(a.now.Add(5 * time.Second))
	r.SetReply(q.T, hashOf(8))
	a.HandlePacket(r.Append(nil), addrOf(8), a.now.Add(5*time.Second))
	if a.stats.Unmatched != 8 || a.stats.TimedOut < 1 || a.table.Len() != 1 {
		t.Errorf("late: %d unmatched, %d timed out, %d in the table", a.stats.Unmatched, a.stats.TimedOut, a.table.Len())
	}
}

// TestHostileResponders has nodes that answer searches with what hurts most.
func TestHostileResponders(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(q *krpc.Message, r *krpc.Message, self, me int){
		"names itself for ever": func(q, r *krpc.Message, self, me int) {
			r.SetNodes(krpc.AppendNode(nil, hashOf(uint64(self)), addrOf(self)))
		},
		"names ever nearer nodes that do not exist": func(q, r *krpc.Message, self, me int) {
			var b []byte
			for i := range 8 {
				id := q.InfoHash.AsByteArray()
				id[19] ^= byte(self*8 + i + 1)
				var near krpc.ID
				near.SetBytes(id[:])
				b = krpc.AppendNode(b, near, addrOf(30000+self*8+i))
			}
			r.SetNodes(b)
		},
		"names us": func(q, r *krpc.Message, self, me int) {
			r.SetNodes(krpc.AppendNode(nil, q.ID, addrOf(me)))
		},
		"names the LAN": func(q, r *krpc.Message, self, me int) {
			r.SetNodes(krpc.AppendNode(nil, hashOf(55), netip.MustParseAddrPort("192.168.1.1:80")))
			r.SetValues(krpc.AppendValue(nil, krpc.AppendPeer(nil, netip.MustParseAddrPort("192.168.1.1:80"))))
		},
		"has another id each time": func(q, r *krpc.Message, self, me int) { r.ID = hashOf(uint64(self) + 777777) },
		"has our id":               func(q, r *krpc.Message, self, me int) { r.ID = q.ID },
		"gives 900 peers": func(q, r *krpc.Message, self, me int) {
			var b []byte
			for i := range 900 {
				b = krpc.AppendValue(b, krpc.AppendPeer(nil, addrOf(self*900+i)))
			}
			r.SetValues(b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := grow(t, 40, addrOf)
			hash := hashOf(123)
			w.search(addrOf(39), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 1234})
			bad := nearest(w, hash, 12, addrOf(38))
			for i, addr := range bad {
				if i%3 == 1 { // every third of the nearest is hostile
					self := slices.IndexFunc(make([]struct{}, 40), func(struct{}) bool { return false })
					for n := range 40 {
						if addrOf(n) == addr {
							self = n
						}
					}
					inner := w.nodes[addr].cfg.Send
					w.nodes[addr].cfg.Send = func(b []byte, to netip.AddrPort) error {
						var r krpc.Message
						if r.Decode(b) != krpc.None || r.Kind != krpc.Reply || to != addrOf(38) {
							return inner(b, to)
						}
						var q krpc.Message
						q.SetQuery(nil, krpc.GetPeers, w.nodes[addrOf(38)].ID())
						q.SetInfoHash(hash)
						answer(&q, &r, self, 38)
						return inner(r.Append(nil), to)
					}
				}
			}
			found, lan := false, false
			r := w.search(addrOf(38), Search{Kind: GetPeers, Target: hash, Peers: func(p []netip.AddrPort) {
				found = found || slices.Contains(p, netip.AddrPortFrom(addrOf(39).Addr(), 1234))
				for _, a := range p {
					lan = lan || a.Addr().IsPrivate()
				}
			}})
			if !found || lan || r.Stats.Queries > 80 || r.Elapsed > 10*time.Second || r.Peers > maxPeers {
				t.Errorf("found %v, of the LAN %v: %+v", found, lan, r)
			}
		})
	}
}

// TestOurIDIsNoAnswer has a good node that says our own id from some time on.
func TestOurIDIsNoAnswer(t *testing.T) {
	t.Parallel()
	w := grow(t, 4, addrOf)
	us, bad := w.nodes[addrOf(0)], w.nodes[addrOf(1)]
	if !us.table.Has(addrOf(1)) {
		t.Fatal("it is not known")
	}
	inner := bad.cfg.Send
	bad.cfg.Send = func(b []byte, to netip.AddrPort) error {
		var r krpc.Message
		if r.Decode(b) == krpc.None && r.Kind == krpc.Reply && to == addrOf(0) {
			r.ID = us.ID()
			return inner(r.Append(nil), to)
		}
		return nil
	}
	w.run(time.Hour, nil)
	if us.table.Has(addrOf(1)) {
		t.Error("who answers with our own id is handed out to others after an hour")
	}
}

// mutate changes a packet.
func mutate(rng *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + rng.IntN(4) {
		if len(b) == 0 {
			break
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

// packets is for long runs: go test ./dht -run TestRandomPackets -packets 10000000
var packets = flag.Int("packets", 100_000, "how many packets TestRandomPackets sends")

// TestRandomPackets sends a node 100,000 packets: random ones, changed ones,
// valid ones from everywhere with announces, puts and replies. Nothing may
// panic, and nothing may grow beyond its cap.
func TestRandomPackets(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	a := newAsked(t, Config{Limits: store.LimitsConfig{Queries: 1e6, Bytes: 1e9}})
	a.fill(200)
	a.cfg.Send = func(b []byte, _ netip.AddrPort) error {
		if len(a.sent) < 1000 {
			a.sent = append(a.sent, bytes.Clone(b))
		} else {
			a.sent[rng.IntN(1000)] = bytes.Clone(b)
		}
		if len(b) > maxGet {
			t.Fatalf("a packet of %d bytes is sent", len(b))
		}
		return nil
	}
	began := heapNow()
	now := a.now
	var grown int64
	for i := range *packets {
		now = now.Add(time.Duration(rng.IntN(20)) * time.Millisecond)
		from := addrOf(rng.IntN(50000))
		if i%5000 == 0 {
			for j := range 20 {
				a.Start(Search{Kind: Kind(j % 3), Target: hashOf(uint64(j)), Announce: j%3 == 1, Port: 5}, now)
			}
			a.AddNode(from, now)
		}
		var m krpc.Message
		switch rng.IntN(8) {
		case 0:
			m = query(krpc.AnnouncePeer)
			m.SetInfoHash(hashOf(uint64(rng.IntN(3000))))
			m.SetPort(uint16(rng.Uint32()), rng.IntN(2) == 0)
			m.SetToken(a.tokens.Append(nil, from.Addr()))
		case 1:
			m = query(krpc.Put)
			m.SetV(fmt.Appendf(nil, "400:%0400d", rng.IntN(100000)))
			m.SetToken(a.tokens.Append(nil, from.Addr()))
		case 2, 3: // a reply to one of its queries, from where it was sent to or not
			for id, tr := range a.pending.byID {
				m.SetReply([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, hashOf(uint64(rng.IntN(9999))))
				from = tr.to.Addr
				var b []byte
				for range 8 {
					b = krpc.AppendNode(b, hashOf(uint64(rng.IntN(9999))), addrOf(rng.IntN(60000)))
				}
				m.SetNodes(b)
				m.SetToken([]byte("token"))
				m.SetValues(krpc.AppendValue(nil, krpc.AppendPeer(nil, addrOf(rng.IntN(60000)))))
				m.IP = addrOf(rng.IntN(3))
				break
			}
		default:
			m = query(krpc.Method(rng.IntN(int(krpc.NumMethods))))
			m.Asked = []byte("x")
			m.ID = hashOf(uint64(rng.IntN(60000)))
			m.SetTarget(hashOf(uint64(rng.IntN(3000))))
			m.SetInfoHash(hashOf(uint64(rng.IntN(3000))))
			m.SetScrape()
			m.SetWant(krpc.Want(rng.IntN(4)))
		}
		packet := m.Append(nil)
		switch rng.IntN(4) {
		case 0:
			packet = mutate(rng, packet)
		case 1:
			if len(a.sent) > 0 {
				packet = mutate(rng, a.sent[rng.IntN(len(a.sent))])
			}
		}
		a.HandlePacket(packet, from, now)
		if next := a.Tick(now); !next.After(now) {
			t.Fatalf("at %v Tick wants to be called at %v", now, next)
		}
		if i%20000 == 19999 {
			grown = max(grown, heapNow()-began)
		}
	}
	s := a.Stats(now)
	t.Logf("%+v; the heap grew by at most %d KiB", s, grown>>10)
	if s.Torrents > 2000 || s.Items > 700 || s.Pending > maxPending || s.Running > maxRunning || s.Nodes > 400 ||
		a.searches.memory.Len() > maxCached || len(a.boot.addrs) > maxNodes || len(a.pending.fifo) > 4*maxPending {
		t.Errorf("a cap does not hold: %+v", s)
	}
	if s.Items == 0 || s.Peers == 0 || s.Replies == 0 || s.Faults[krpc.FaultBencode] == 0 || s.Unmatched == 0 {
		t.Errorf("the packets do not reach everything: %+v", s)
	}
	if grown > 16<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
}

func FuzzHandlePacket(f *testing.F) {
	for _, s := range []string{
		"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
		"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
		"d1:q13:announce_peer1:t2:aa1:y1:qe",
		"d2:ip1:x1:t2:aa1:y1:re",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := newAsked(t, Config{})
		a.fill(8)
		a.HandlePacket(b, a.from, a.now)
		a.Tick(a.now)
		for _, s := range a.sent {
			var m krpc.Message
			if fault := m.Decode(s); fault != krpc.None || len(s) > maxGet {
				t.Fatalf("%q is answered with %q: %v", b, s, fault)
			}
		}
	})
}

func FuzzState(f *testing.F) {
	a := newAsked(f, Config{})
	a.fill(20)
	f.Add(a.State(), false)
	f.Add([]byte{1, 6}, true)
	f.Fuzz(func(t *testing.T, b []byte, ipv6 bool) {
		if s, ok := decodeState(b, ipv6); ok && len(s.nodes) > 300 {
			t.Fatalf("%d nodes", len(s.nodes))
		}
	})
}
