package server

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// ask sends one packet and returns what is answered.
func ask(s *Server, p []byte, from string, now time.Time) []byte {
	at := netip.MustParseAddrPort(from)
	return s.packet(nil, p, sourceOf(at.Addr(), 0, netip.Addr{}), at.Port(), newAnswer(), now)
}

func connectPacket() []byte {
	return append(binary.BigEndian.AppendUint64(nil, udpMagic), 0, 0, 0, 0, 1, 2, 3, 4)
}

func TestConnectionIDs(t *testing.T) {
	s := New(Config{})
	now := time.Now()
	got := ask(s, connectPacket(), "1.2.3.4:5", now)
	if len(got) != 16 || !bytes.Equal(got[:8], []byte{0, 0, 0, 0, 1, 2, 3, 4}) {
		t.Fatalf("connect answer %x", got)
	}
	if ask(s, append(binary.BigEndian.AppendUint64(nil, 1), 0, 0, 0, 0, 1, 2, 3, 4), "1.2.3.4:5", now) != nil {
		t.Error("a connect without the magic number is answered")
	}
	scrape := append(append([]byte(nil), got[8:]...), 0, 0, 0, 2, 5, 6, 7, 8)
	scrape = append(scrape, make([]byte, 20)...)
	for _, tt := range []struct {
		from  string
		after time.Duration
		want  bool
	}{
		{"1.2.3.4:5", 0, true},
		{"1.2.3.4:5", 2 * time.Minute, true},
		{"1.2.3.4:5", 4 * time.Minute, false},
		{"1.2.3.4:5", 256 * time.Minute, false},
		{"1.2.3.4:5", -time.Minute, false},
		{"1.2.3.4:6", 0, false},
		{"1.2.3.5:5", 0, false},
	} {
		if got := ask(s, scrape, tt.from, now.Add(tt.after)); (got != nil) != tt.want {
			t.Errorf("from %s after %v: %x", tt.from, tt.after, got)
		}
	}
	if bytes.Equal(got[8:], ask(New(Config{}), connectPacket(), "1.2.3.4:5", now)[8:]) {
		t.Error("two trackers give out the same connection id")
	}
}

// announcePacket is an announce for the torrent of zeros, with a port.
func announcePacket(id []byte, peer byte, left uint64, e uint32, port uint16) []byte {
	p := append(append([]byte(nil), id...), 0, 0, 0, actionAnnounce, 5, 6, 7, 8)
	p = append(p, make([]byte, announceLen-len(p))...)
	p[36] = peer
	binary.BigEndian.PutUint64(p[64:], left)
	binary.BigEndian.PutUint32(p[80:], e)
	binary.BigEndian.PutUint32(p[92:], 50)
	binary.BigEndian.PutUint16(p[96:], port)
	return p
}

// TestEventsWithoutANumber has a partial seed (BEP 21) that sends an event that
// BEP 15 does not have.
func TestEventsWithoutANumber(t *testing.T) {
	s := New(Config{})
	now := time.Now()
	id := ask(s, connectPacket(), "1.2.3.4:5", now)[8:]
	for n, e := range []uint32{4, 5, 1 << 31} {
		port := uint16(1000 + n)
		if got := ask(s, announcePacket(id, byte(n), 9, e, port), "1.2.3.4:5", now); len(got) < 20 || got[3] != actionAnnounce {
			t.Fatalf("event %d is answered with %q", e, got)
		}
		if _, leechers, _ := s.Counts([20]byte{}); leechers != n+1 {
			t.Errorf("after event %d there are %d leechers, want %d", e, leechers, n+1)
		}
	}
	got := ask(s, announcePacket(id, 7, 0, 0, 2000), "1.2.3.4:5", now)
	if !bytes.Contains(got, []byte{1, 2, 3, 4, 1000 >> 8, 1000 & 255}) {
		t.Errorf("others are told of %x", got)
	}
	s.verify(t)
}

// Who has not shown where it is gets no more than it sent.
func TestNoAmplification(t *testing.T) {
	s := New(Config{})
	now := time.Now()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		p := make([]byte, rng.IntN(200))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		if len(p) >= 16 && rng.IntN(2) == 0 {
			copy(p, connectPacket()[:8])
			copy(p[8:], []byte{0, 0, 0, byte(rng.IntN(4))})
		}
		if got := ask(s, p, "1.2.3.4:5", now); len(got) > len(p) || len(got) > 16 {
			t.Fatalf("%d bytes are answered by %d", len(p), len(got))
		}
	}
	if st := s.Stats(); st.Refused["connection id"] == 0 || st.Refused["malformed"] == 0 || st.Torrents != 0 {
		t.Errorf("%+v", st)
	}
}

// The reference vectors of SipHash-2-4: key 00 01 02 ..., message 00 01 02 ...
func TestSipHash(t *testing.T) {
	key := sipKey{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	msg := make([]byte, 24)
	for i := range msg {
		msg[i] = byte(i)
	}
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 8: 0x93f5f5799a932462, 16: 0x3f2acc7f57c29bdb} {
		if got := key.sum(msg[:n]); got != want {
			t.Errorf("of %d bytes: %016x, want %016x", n, got, want)
		}
	}
}

func TestURLData(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "\x00": "", "\x02\x03abc": "abc", "\x01\x01\x02\x02/x\x01\x02\x03/yz\x00\x02\x01q": "/x/yz",
		"\x02\x04abc": "", "\x02": "", "\x07\x02ab\x02\x01z": "z", "\x02\x00": "",
	} {
		if got := urlData([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(uint8(0), make([]byte, 0))
	f.Add(uint8(1), make([]byte, 82))
	f.Add(uint8(2), make([]byte, 60))
	f.Add(uint8(9), make([]byte, 3))
	f.Add(uint8(1), append(make([]byte, 82), 2, 6, '/', 't', 'o', 'k', '/', 'a'))
	s := New(Config{MaxPeers: 100, MaxTorrents: 10, PerSource: 50, Listed: true, Token: "tok", Rate: 1 << 20, Burst: 1 << 20})
	s.Register([20]byte{})
	from := netip.MustParseAddrPort("[2001:db8::1]:5")
	now := time.Now()
	f.Fuzz(func(t *testing.T, action uint8, rest []byte) {
		src := sourceOf(from.Addr(), 0, netip.Addr{})
		p := binary.BigEndian.AppendUint64(nil, s.connectionID(src, from.Port(), uint64(now.Unix()/60)))
		p = append(p, 0, 0, 0, action, 1, 2, 3, 4)
		p = append(p, rest...)
		if got := ask(s, rest, from.String(), now); len(got) > 16 {
			t.Fatalf("answer to what is not verified: %x", got)
		}
		out := ask(s, p, from.String(), now)
		if action != actionConnect && (len(out) < 8 || len(out) > maxPacket || !bytes.Equal(out[4:8], []byte{1, 2, 3, 4})) {
			t.Fatalf("answer %x", out)
		}
		s.verify(t)
	})
}

// verify compares all that the tracker counts.
func (s *Server) verify(t *testing.T) {
	t.Helper()
	torrents, total := 0, 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, sw := range sh.swarms {
			torrents++
			if sw.empty() {
				t.Fatal("an empty swarm is kept")
			}
			total += verifyPeers(t, s, &sw.four, class4)
			if sw.six != nil {
				total += verifyPeers(t, s, sw.six, class6)
			}
			if sw.self != nil {
				total++
			}
		}
		sh.mu.Unlock()
	}
	if torrents != int(s.torrents.Load()) || total != int(s.peers.Load()) || torrents > s.cfg.MaxTorrents || total > s.cfg.MaxPeers {
		t.Fatalf("%d peers of %d torrents, counted %d of %d", total, torrents, s.peers.Load(), s.torrents.Load())
	}
}

func verifyPeers[A ip](t *testing.T, s *Server, p *peers[A], of func(*A) class) int {
	t.Helper()
	if int(p.seeds) > len(p.list) {
		t.Fatalf("%d seeds of %d", p.seeds, len(p.list))
	}
	used := 0
	for _, at := range p.index {
		if at != 0 {
			used++
		}
	}
	if p.index != nil && used != len(p.list) {
		t.Fatalf("%d in the index of %d", used, len(p.list))
	}
	loop, link := 0, 0
	for i := range p.list {
		r := &p.list[i]
		if at := p.find(s.seed, &r.addr, r.port); at != i {
			t.Fatalf("the peer at place %d is found at %d", i, at)
		}
		switch of(&r.addr) {
		case loopback:
			loop++
		case linkLocal:
			link++
		}
		if r.at() < p.oldest {
			t.Fatalf("a peer of %d, the oldest is of %d", r.at(), p.oldest)
		}
	}
	if loop != int(p.loop) || link != int(p.link) {
		t.Fatalf("%d loopback, %d link-local addresses; counted %d and %d", loop, link, p.loop, p.link)
	}
	return len(p.list)
}
