package server

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestConnectionIDs(t *testing.T) {
	s := New(Config{})
	now := time.Unix(1_800_000_000, 0)
	from := netip.MustParseAddrPort("1.2.3.4:5")
	connect := append(binary.BigEndian.AppendUint64(nil, udpMagic), 0, 0, 0, 0, 1, 2, 3, 4)
	got := s.packet(connect, from, now)
	if len(got) != 16 || !bytes.Equal(got[:8], []byte{0, 0, 0, 0, 1, 2, 3, 4}) {
		t.Fatalf("connect answer %x", got)
	}
	if s.packet(append(binary.BigEndian.AppendUint64(nil, 1), 0, 0, 0, 0, 1, 2, 3, 4), from, now) != nil {
		t.Error("a connect without the magic number is answered")
	}
	scrape := append(append([]byte(nil), got[8:]...), 0, 0, 0, 2, 5, 6, 7, 8)
	scrape = append(scrape, make([]byte, 20)...)
	for _, tt := range []struct {
		from  string
		after time.Duration
		want  bool
	}{{"1.2.3.4:5", 0, true}, {"1.2.3.4:5", 2 * time.Minute, true}, {"1.2.3.4:5", 4 * time.Minute, false}, {"1.2.3.4:6", 0, false}, {"1.2.3.5:5", 0, false}} {
		if got := s.packet(scrape, netip.MustParseAddrPort(tt.from), now.Add(tt.after)); (got != nil) != tt.want {
			t.Errorf("from %s after %v: %x", tt.from, tt.after, got)
		}
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(uint8(0), make([]byte, 0))
	f.Add(uint8(1), make([]byte, 82))
	f.Add(uint8(2), make([]byte, 60))
	f.Add(uint8(9), make([]byte, 3))
	s := New(Config{MaxPeers: 100, MaxTorrents: 10, SwarmPeers: 20})
	from := netip.MustParseAddrPort("[2001:db8::1]:5")
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, action uint8, rest []byte) {
		p := binary.BigEndian.AppendUint64(nil, s.connectionID(from, now, 0))
		p = append(p, 0, 0, 0, action, 1, 2, 3, 4)
		p = append(p, rest...)
		s.packet(rest, from, now)
		out := s.packet(p, from, now)
		if action != actionConnect && (len(out) < 8 || len(out) > 1472 || !bytes.Equal(out[4:8], []byte{1, 2, 3, 4})) {
			t.Fatalf("answer %x", out)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, sw := range s.store.swarms {
			seeds, leechers, _ := sw.counts()
			if len(sw.peers) == 0 || len(sw.peers) > 20 || sw.recent.Len() != len(sw.peers) || seeds+leechers != len(sw.peers) {
				t.Fatalf("a swarm of %d peers lists %d, counts %d and %d", len(sw.peers), sw.recent.Len(), seeds, leechers)
			}
			n += len(sw.peers)
		}
		if n != s.store.peers || n > 100 || len(s.store.swarms) > 10 || s.store.recent.Len() != len(s.store.swarms) {
			t.Fatalf("%d peers, %d counted, in %d swarms", n, s.store.peers, len(s.store.swarms))
		}
	})
}
