package server

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// crowd is a tracker with so many peers, ten for each torrent, and a packet of
// each.
func crowd(tb testing.TB, peers int) (s *Server, from func(n int) source, packet func(b []byte, n int) []byte) {
	tb.Helper()
	s = New(Config{Rate: 1 << 30, Burst: 1 << 30, PerSource: 1 << 30})
	now := time.Now()
	from = func(n int) source {
		return source{addr: netip.AddrFrom4([4]byte{10, byte(n >> 4), byte(n >> 12), byte(n)})}
	}
	packet = func(b []byte, n int) []byte {
		b = binary.BigEndian.AppendUint64(b[:0], s.connectionID(from(n), 5, uint64(now.Unix()/60)))
		b = binary.BigEndian.AppendUint32(b, actionAnnounce)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, make([]byte, announceLen-16)...)
		binary.BigEndian.PutUint32(b[16:], uint32(n%(peers/10))*2654435761)
		binary.BigEndian.PutUint32(b[20:], uint32(n%(peers/10)))
		b[71] = byte(n % 3) // left
		binary.BigEndian.PutUint32(b[92:], 50)
		binary.BigEndian.PutUint16(b[96:], uint16(1+n%60_000))
		return b
	}
	out, reply, b := newAnswer(), make([]byte, 0, maxPacket), make([]byte, 0, 128)
	for n := range peers {
		b = packet(b, n)
		if reply = s.packet(reply[:0], b, from(n), 5, out, now); len(reply) < 20 {
			tb.Fatalf("peer %d: answer %q", n, reply)
		}
	}
	return s, from, packet
}

// An announce of a peer that is known allocates nothing.
func TestAnnounceAllocatesNothing(t *testing.T) {
	s, from, packet := crowd(t, 1000)
	out, reply, b := newAnswer(), make([]byte, 0, maxPacket), make([]byte, 0, 128)
	now, n := time.Now(), 0
	b = packet(b, 7)
	allocs := testing.AllocsPerRun(200, func() {
		reply = s.packet(reply[:0], b, from(7), 5, out, now)
		n = len(reply)
	})
	if allocs > 0 || n < 20+6 {
		t.Errorf("%.1f allocations, an answer of %d bytes", allocs, n)
	}
}

// BenchmarkAnnounceUDP is one announce over UDP without the socket, among a
// million peers of 100,000 torrents.
func BenchmarkAnnounceUDP(b *testing.B) {
	s, from, packet := crowd(b, 1_000_000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		out, reply, p := newAnswer(), make([]byte, 0, maxPacket), make([]byte, 0, 128)
		now := time.Now()
		for n := 0; pb.Next(); n = (n + 7919) % 1_000_000 {
			p = packet(p, n)
			reply = s.packet(reply[:0], p, from(n), 5, out, now)
		}
	})
}

// BenchmarkAnnounceHTTP is the same over HTTP, without the connection.
func BenchmarkAnnounceHTTP(b *testing.B) {
	s, from, _ := crowd(b, 1_000_000)
	h := newHandler().(*handler)
	query := "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-XX0000-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=7&compact=1&numwant=50"
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		h.answer(s, "/announce", query, from(7), now)
	}
}

// BenchmarkMillionPeers reports what a million peers of 100,000 torrents take
// up of the heap.
func BenchmarkMillionPeers(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		s, _, _ := crowd(b, 1_000_000)
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		b.ReportMetric(float64(s.Stats().Memory)/(1<<20), "MiB-told")
	}
}
