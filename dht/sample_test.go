package dht

import (
	"net/netip"
	"testing"
	"time"

	libkrpc "github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// TestSamplesAreCollected has a network in which forty torrents are announced.
func TestSamplesAreCollected(t *testing.T) {
	t.Parallel()
	w := grow(t, 60, addrOf)
	want := map[[20]byte]bool{}
	for i := range 40 {
		hash := hashOf(uint64(i))
		want[hash.AsByteArray()] = true
		w.search(addrOf(i), Search{Kind: GetPeers, Target: hash, Announce: true, Port: 7})
	}
	asked := map[netip.AddrPort]int{}
	var query, reply []byte
	w.tap = func(b []byte, from, to netip.AddrPort) {
		var m krpc.Message
		if m.Decode(b) == krpc.None && m.Kind == krpc.Query && m.Method == krpc.SampleInfohashes && from == addrOf(50) {
			asked[to]++
			query = append([]byte(nil), b...)
		}
		if m.Kind == krpc.Reply && to == addrOf(50) && len(m.Samples) > 0 {
			reply = append([]byte(nil), b...)
		}
	}
	sample := func(target krpc.ID) (hashes map[[20]byte]bool, nodes int) {
		hashes = map[[20]byte]bool{}
		r := w.search(addrOf(50), Search{Kind: Sample, Target: target, Samples: func(s Samples) {
			nodes++
			if s.Interval < 0 || s.Interval > longestSample || s.Num < int64(len(s.Hashes)/20) || !s.From.Addr.IsValid() {
				t.Errorf("%+v", s)
			}
			for b := s.Hashes; len(b) >= 20; b = b[20:] {
				hashes[[20]byte(b)] = true
			}
		}})
		if r.Err != nil || len(r.Closest) != 8 || r.Cached {
			t.Errorf("%+v", r)
		}
		return hashes, nodes
	}
	got := map[[20]byte]bool{}
	for i := range 8 {
		more, _ := sample(contact.Key{Hi: uint64(i) << 61}.ID())
		for h := range more {
			got[h] = true
		}
	}
	if len(got) < 36 {
		t.Errorf("%d of 40 torrents were told of", len(got))
	}
	for h := range got {
		if !want[h] {
			t.Errorf("%x was never announced", h)
		}
	}
	if len(asked) < 40 {
		t.Errorf("%d nodes were asked", len(asked))
	}
	for addr, n := range asked {
		if n > 1 {
			t.Errorf("%s was asked %d times within its interval", addr, n)
		}
	}
	var lib libkrpc.Msg
	if err := bencode.Unmarshal(query, &lib); err != nil || lib.Q != "sample_infohashes" || lib.A == nil || lib.A.Target == [20]byte{} && lib.A.ID == [20]byte{} {
		t.Errorf("the library reads our query as %+v, %v", lib, err)
	}
	lib = libkrpc.Msg{}
	if err := bencode.Unmarshal(reply, &lib); err != nil || lib.R == nil || lib.R.Samples == nil || len(*lib.R.Samples) == 0 || lib.R.Num == nil || lib.R.Interval == nil {
		t.Errorf("the library reads our reply as %+v, %v", lib.R, err)
	}
	// As if the intervals were over.
	clear(w.nodes[addrOf(50)].sampled.until)
	clear(asked)
	if again, nodes := sample(hashOf(1)); nodes == 0 || len(again) == 0 || len(asked) == 0 {
		t.Errorf("later %d nodes tell of %d torrents", nodes, len(again))
	}
}

// TestSamplesOfNodesThatKnowNone has a network in which half of the nodes do
// not know the method: they still help to find others.
func TestSamplesOfNodesThatKnowNone(t *testing.T) {
	t.Parallel()
	w := grow(t, 60, addrOf)
	plain := func(a netip.AddrPort) bool { return a.Addr().As4()[2]%2 == 1 }
	refused := 0
	w.lose = func(b []byte, from, to netip.AddrPort) bool {
		var m krpc.Message
		if m.Decode(b) != krpc.None || m.Kind != krpc.Query || m.Method != krpc.SampleInfohashes || !plain(to) {
			return false
		}
		var e krpc.Message
		e.SetError(m.T, krpc.CodeMethod, []byte("Method Unknown"))
		refused++
		if err := w.send(e.Append(nil), to, from); err != nil {
			t.Error(err)
		}
		return true
	}
	told := map[netip.AddrPort]bool{}
	r := w.search(addrOf(10), Search{Kind: Sample, Target: hashOf(3), Samples: func(s Samples) { told[s.From.Addr] = true }})
	if r.Err != nil || len(r.Closest) != 8 || refused == 0 || len(told) == 0 {
		t.Fatalf("%d refused, %d told: %+v", refused, len(told), r)
	}
	helped := false
	for _, f := range r.Closest {
		helped = helped || plain(f.Addr)
	}
	for a := range told {
		if plain(a) {
			t.Errorf("%s told something", a)
		}
	}
	if !helped {
		t.Error("none of those that know no samples is among the closest")
	}
}

// TestSamplesAreBounded has one node tell more than fits any packet, and want
// to be left alone for ever.
func TestSamplesAreBounded(t *testing.T) {
	t.Parallel()
	var s sampled
	for i := range 2 * maxSampled {
		s.add(addrOf(i), start.Add(time.Hour))
	}
	if len(s.until) != maxSampled || len(s.order) != maxSampled || s.has(addrOf(0), start) || !s.has(addrOf(2*maxSampled-1), start) {
		t.Errorf("%d nodes are remembered", len(s.until))
	}
	n := New(Config{Rand: chacha(1), Send: func([]byte, netip.AddrPort) error { return nil }}, start)
	var got Samples
	size := 0
	run := &search{Search: Search{Kind: Sample, Samples: func(x Samples) { got, size = x, len(x.Hashes) }}}
	var m krpc.Message
	m.SetReply([]byte("aaaa"), hashOf(1))
	m.SetSamples(make([]byte, 20*380), -5, 1<<60)
	n.readSamples(run, &transaction{to: contact.Node{Addr: addrOf(1)}}, &m, start)
	if size != 20*maxSampleReply || got.Num != 0 || got.Interval != longestSample {
		t.Errorf("%d bytes, %+v", size, got)
	}
	if !n.sampled.has(addrOf(1), start.Add(longestSample-1)) || n.sampled.has(addrOf(1), start.Add(longestSample)) {
		t.Error("its interval is not kept to")
	}
}
