package tracker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// udpTracker answers packets with what script returns.
type udpTracker struct {
	conn     net.PacketConn
	connects atomic.Int32
	seen     chan []byte // requests other than connect
}

// newUDPTracker answers connects by itself, unless script does. Each packet
// that script returns is sent.
func newUDPTracker(t *testing.T, network, addr string, script func(n int, p []byte) [][]byte) *udpTracker {
	t.Helper()
	conn, err := net.ListenPacket(network, addr)
	if err != nil {
		if network == "udp6" {
			t.Skipf("no IPv6 on this machine: %v", err)
		}
		t.Fatal(err)
	}
	tr := &udpTracker{conn: conn, seen: make(chan []byte, 1000)}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for n := 0; ; n++ {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			p := append([]byte(nil), buf[:size]...)
			if binary.BigEndian.Uint32(p[8:]) == actionConnect {
				tr.connects.Add(1)
			} else {
				tr.seen <- p
			}
			for _, out := range script(n, p) {
				conn.WriteTo(out, from)
			}
		}
	}()
	return tr
}

func (tr *udpTracker) url() string { return "udp://" + tr.conn.LocalAddr().String() }

func reply[B string | []byte](p []byte, action uint32, rest B) []byte {
	b := binary.BigEndian.AppendUint32(nil, action)
	return append(append(b, p[12:16]...), rest...)
}

var testConnection = []byte{9, 8, 7, 6, 5, 4, 3, 2}

// wellBehaved answers with the given addresses.
func wellBehaved(peers ...byte) func(int, []byte) [][]byte {
	return func(_ int, p []byte) [][]byte {
		switch binary.BigEndian.Uint32(p[8:]) {
		case actionConnect:
			if binary.BigEndian.Uint64(p) == udpMagic {
				return [][]byte{reply(p, actionConnect, testConnection)}
			}
		case actionAnnounce:
			if bytes.Equal(p[:8], testConnection) {
				return [][]byte{reply(p, actionAnnounce, append([]byte{0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3}, peers...))}
			}
		case actionScrape:
			var b []byte
			for i := 16; i+20 <= len(p); i += 20 {
				b = append(b, 0, 0, 0, p[i], 0, 0, 0, 2, 0, 0, 0, 3)
			}
			return [][]byte{reply(p, actionScrape, b)}
		}
		return nil
	}
}

func TestUDPAnnounce(t *testing.T) {
	tr := newUDPTracker(t, "udp4", "127.0.0.1:0", wellBehaved(1, 2, 3, 4, 0x1a, 0xe1, 5, 6, 7, 8, 0, 0))
	c := testClient(t, Config{})
	long := strings.Repeat("y", 300)
	r := Request{
		URL: tr.url() + "/a%20b?x=" + long + "#f", InfoHash: testHash, PeerID: [20]byte([]byte("-BD0100-abcdefghijkl")), Port: 6881,
		Uploaded: 1, Downloaded: 2, Left: 3, Event: Completed, NumWant: 80, Key: 0xBEEF, Family: IPv4,
	}
	got, err := c.Announce(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got.Interval != 30*time.Minute || got.Leechers != 2 || got.Seeds != 3 || got.Downloads != -1 || fmt.Sprint(got.Peers) != "[1.2.3.4:6881]" {
		t.Errorf("response = %+v", got)
	}
	p := <-tr.seen
	want := append([]byte(nil), testConnection...)
	want = append(want, 0, 0, 0, 1)
	want = append(want, p[12:16]...)
	want = append(want, testHash[:]...)
	want = append(want, "-BD0100-abcdefghijkl"...)
	want = append(want, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1)
	want = append(want, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xBE, 0xEF, 0, 0, 0, 80, 0x1a, 0xe1)
	want = append(want, 2, 255)
	want = append(want, ("/a%20b?x=" + long)[:255]...)
	want = append(want, 2, byte(9+300-255))
	want = append(want, ("/a%20b?x=" + long)[255:]...)
	if !bytes.Equal(p, want) {
		t.Errorf("request:\n%x\nwant:\n%x", p, want)
	}
	r.URL, r.Event, r.NumWant = tr.url(), Stopped, 0
	if _, err := c.Announce(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if p := <-tr.seen; len(p) != 98 || p[83] != 3 || !bytes.Equal(p[92:96], []byte{0, 0, 0, 0}) {
		t.Errorf("stopped request = %x", p)
	}
	r.Event = None
	if _, err := c.Announce(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if p := <-tr.seen; !bytes.Equal(p[92:96], []byte{255, 255, 255, 255}) {
		t.Errorf("numwant = %x, want -1", p[92:96])
	}
	if n := tr.connects.Load(); n != 1 {
		t.Errorf("%d connects for three announces", n)
	}
}

func TestUDPOverIPv6(t *testing.T) {
	tr := newUDPTracker(t, "udp6", "[::1]:0", wellBehaved(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 7))
	c := testClient(t, Config{})
	got, err := c.Announce(t.Context(), Request{URL: tr.url(), Family: IPv6})
	if err != nil || fmt.Sprint(got.Peers) != "[[2001:db8::5]:7]" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.Announce(t.Context(), Request{URL: tr.url(), Family: IPv4}); !errors.Is(err, ErrNoFamily) {
		t.Errorf("over IPv4: %v, want ErrNoFamily", err)
	}
}

func TestUDPGarbageIsDropped(t *testing.T) {
	good := wellBehaved(1, 2, 3, 4, 0, 80)
	tr := newUDPTracker(t, "udp4", "127.0.0.1:0", func(n int, p []byte) [][]byte {
		out := [][]byte{
			nil,
			{1},
			bytes.Repeat([]byte{0xff}, 2000), reply(p, 7, "abc"), reply(p, actionScrape, ""),
			append(binary.BigEndian.AppendUint32(nil, actionAnnounce), make([]byte, 40)...),
			reply(p, binary.BigEndian.Uint32(p[8:]), "abc"), // cut short
		}
		return append(out, good(n, p)...)
	})
	got, err := testClient(t, Config{}).Announce(t.Context(), Request{URL: tr.url(), Family: IPv4})
	if err != nil || len(got.Peers) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUDPAnswerFromElsewhereIsDropped(t *testing.T) {
	other, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var clientPort atomic.Int32
	good := wellBehaved(1, 2, 3, 4, 0, 80)
	var tr *udpTracker
	ready := make(chan struct{})
	tr = newUDPTracker(t, "udp4", "127.0.0.1:0", func(n int, p []byte) [][]byte {
		<-ready
		if to := clientPort.Load(); to != 0 {
			addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(to)))
			for _, forged := range wellBehaved(6, 6, 6, 6, 0, 66)(n, p) {
				other.WriteTo(forged, addr)
			}
		}
		return good(n, p)
	})
	c := testClient(t, Config{})
	s, err := c.udp.socket(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	clientPort.Store(int32(s.conn.LocalAddr().(*net.UDPAddr).Port))
	close(ready)
	got, err := c.Announce(t.Context(), Request{URL: tr.url(), Family: IPv4})
	if err != nil || fmt.Sprint(got.Peers) != "[1.2.3.4:80]" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUDPRetransmits(t *testing.T) {
	good := wellBehaved()
	tr := newUDPTracker(t, "udp4", "127.0.0.1:0", func(n int, p []byte) [][]byte {
		if n%2 == 0 { // every other packet is lost
			return nil
		}
		return good(n, p)
	})
	c := testClient(t, Config{UDPRetry: 20 * time.Millisecond})
	if _, err := c.Announce(t.Context(), Request{URL: tr.url(), Family: IPv4}); err != nil {
		t.Error(err)
	}
}

func TestUDPTrackerIsRestarted(t *testing.T) {
	var generation atomic.Uint32
	silent := func(_ int, p []byte) [][]byte {
		id := binary.BigEndian.AppendUint64(nil, uint64(generation.Load())+77)
		switch binary.BigEndian.Uint32(p[8:]) {
		case actionConnect:
			return [][]byte{reply(p, actionConnect, id)}
		case actionAnnounce:
			if bytes.Equal(p[:8], id) {
				return [][]byte{reply(p, actionAnnounce, make([]byte, 12))}
			}
		}
		return nil
	}
	complains := func(n int, p []byte) [][]byte {
		if out := silent(n, p); out != nil {
			return out
		}
		return [][]byte{reply(p, actionError, "Connection ID missmatch")}
	}
	for name, script := range map[string]func(int, []byte) [][]byte{"silent": silent, "complains": complains} {
		tr := newUDPTracker(t, "udp4", "127.0.0.1:0", script)
		c := testClient(t, Config{UDPRetry: 30 * time.Millisecond})
		for range 3 {
			if _, err := c.Announce(t.Context(), Request{URL: tr.url(), Family: IPv4}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			generation.Add(1)
		}
	}
}

func TestUDPErrors(t *testing.T) {
	refuse := func(n int, p []byte) [][]byte {
		if binary.BigEndian.Uint32(p[8:]) == actionConnect {
			return wellBehaved()(n, p)
		}
		return [][]byte{reply(p, actionError, "not\x00welcome")}
	}
	tr := newUDPTracker(t, "udp4", "127.0.0.1:0", refuse)
	c := testClient(t, Config{})
	_, err := c.Announce(t.Context(), Request{URL: tr.url(), Family: IPv4})
	var refused *FailureError
	if !errors.As(err, &refused) || refused.Reason != "not welcome" {
		t.Errorf("error = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	mute := newUDPTracker(t, "udp4", "127.0.0.1:0", func(int, []byte) [][]byte { return nil })
	if _, err := c.Announce(ctx, Request{URL: mute.url(), Family: IPv4}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("mute tracker: %v", err)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancelShort()
	if wait := c.udp.firstWait(short); wait > 3*time.Second {
		t.Errorf("%s until the second try within a deadline of 9 s", wait)
	}
	s, _ := c.udp.socket(netip.MustParseAddr("127.0.0.1"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) != 0 || len(s.connecting) != 0 {
		t.Errorf("left behind: %d transactions, %d connects", len(s.pending), len(s.connecting))
	}
}

func TestUDPManyAtOnceShareOneConnect(t *testing.T) {
	tr := newUDPTracker(t, "udp4", "127.0.0.1:0", wellBehaved(1, 2, 3, 4, 0, 80))
	c := testClient(t, Config{})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := c.Announce(t.Context(), Request{URL: tr.url(), Family: IPv4}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := tr.connects.Load(); n != 1 {
		t.Errorf("%d connects", n)
	}
}

func TestUDPScrape(t *testing.T) {
	tr := newUDPTracker(t, "udp4", "127.0.0.1:0", wellBehaved())
	hashes := make([][20]byte, 100)
	for i := range hashes {
		hashes[i][0] = byte(i)
	}
	got, err := testClient(t, Config{}).Scrape(t.Context(), tr.url()+"/whatever", hashes)
	if err != nil || len(got) != len(hashes) {
		t.Fatalf("%d results, %v", len(got), err)
	}
	for i, r := range got {
		if want := (ScrapeResult{Seeds: i, Downloads: 2, Leechers: 3}); r != want {
			t.Errorf("result %d = %v, want %v", i, r, want)
		}
	}
	if n := len(tr.seen); n != 2 {
		t.Errorf("%d scrapes for 100 torrents", n)
	}
}

func TestUDPNextAddressIsTried(t *testing.T) {
	tr := newUDPTracker(t, "udp4", "127.0.0.1:0", wellBehaved())
	_, port, _ := net.SplitHostPort(tr.conn.LocalAddr().String())
	lookups := 0
	c := testClient(t, Config{UDPRetry: 50 * time.Millisecond, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		lookups++
		return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, nil
	}})
	for range 3 {
		if _, err := c.Announce(t.Context(), Request{URL: "udp://two.example:" + port, Family: IPv4}); err != nil {
			t.Error(err)
		}
	}
	if lookups != 1 {
		t.Errorf("%d lookups", lookups)
	}
}
