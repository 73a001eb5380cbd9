package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/tracker/server"
)

// raw sends bytes over a connection of its own and returns all that comes
// back before the other side closes.
func raw(t *testing.T, at string, send []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		conn.Write(send) // the other side may close before the end
	}()
	got, _ := io.ReadAll(conn) // a reset is an end too
	conn.Close()
	<-sent
	return string(got)
}

// What nobody sane sends is refused, and leaves nothing behind.
func TestHostileHTTP(t *testing.T) {
	s, httpURL, _ := serve(t, server.Config{Burst: 1 << 20}, "127.0.0.1")
	at := strings.TrimSuffix(strings.TrimPrefix(httpURL, "http://"), "/announce")
	good := query(hash, 1, "&left=1")
	line := func(target string) []byte {
		return []byte("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}
	for name, tt := range map[string]struct {
		send []byte
		want string // part of what comes back; "" is nothing
	}{
		"a request line of 1 MB":  {line("/announce?" + strings.Repeat("a", 1<<20)), "431"},
		"a header of 1 MB":        {[]byte("GET " + good + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"), "431"},
		"a line without an end":   {bytes.Repeat([]byte("G"), 1<<20), "431"},
		"100,000 parameters":      {line("/announce?" + strings.Repeat("a&", 5000)), "failure reason"},
		"no HTTP":                 {[]byte("\x13BitTorrent protocol\r\n\r\n"), "400"},
		"zeros":                   {append(make([]byte, 4096), "\r\n\r\n"...), "400"},
		"a body":                  {[]byte("POST /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"), "405"},
		"another method":          {[]byte("DELETE " + good + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "405"},
		"port 0":                  {line(strings.Replace(good, "port=1001", "port=0", 1)), "failure reason23:port must be 1 to 65535"},
		"port 70000":              {line(strings.Replace(good, "port=1001", "port=70000", 1)), "failure reason"},
		"left below 0":            {line(strings.Replace(good, "left=1", "left=-1", 1)), "failure reason"},
		"left beyond all numbers": {line(strings.Replace(good, "left=1", "left=18446744073709551616", 1)), "failure reason"},
		"an unfinished escape":    {line(good + "&x=%4"), "failure reason"},
		"a path upwards":          {line("/t/../../etc/passwd"), "404"},
		"a file of nobody":        {line("/t/" + strings.Repeat("0a", 20) + ".torrent"), "404"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(t, at, tt.send); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%.300q, want %q", got, tt.want)
			}
		})
	}
	if st := s.Stats(); st.Torrents != 0 || st.Peers != 0 {
		t.Errorf("something was entered: %+v", st)
	}
	// A lie about what is left is believed, and harms nobody.
	get(t, s, "1.2.3.4:5", query(hash, 1, "&left=0&event=completed"))
	get(t, s, "1.2.3.4:5", query(hash, 1, "&left=18446744073709551615&event=completed"))
	if seeds, leechers, downloads := s.Counts(hash); seeds != 0 || leechers != 1 || downloads != 1 {
		t.Errorf("%d seeds, %d leechers, %d downloads", seeds, leechers, downloads)
	}
}

// Memory does not grow with what is sent, however long that goes on.
func TestNoGrowth(t *testing.T) {
	s, _, udpURL := serve(t, server.Config{MaxPeers: 2000, MaxTorrents: 100, Rate: 1 << 20, Burst: 1 << 20}, "127.0.0.1")
	conn, err := net.Dial("udp", strings.TrimSuffix(strings.TrimPrefix(udpURL, "udp://"), "/announce"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rng := rand.New(rand.NewPCG(5, 6))
	flood := func(n int) {
		for i := range n {
			h := hash
			binary.BigEndian.PutUint32(h[:], rng.Uint32N(1000))
			get(t, s, fmt.Sprintf("10.%d.%d.%d:5", rng.Uint32N(256), rng.Uint32N(256), rng.Uint32N(256)), query(h, rng.IntN(60_000), "&left=1&numwant=-1"))
			if i%10 == 0 {
				junk := make([]byte, rng.IntN(3000))
				for i := range junk {
					junk[i] = byte(rng.Uint32())
				}
				conn.Write(junk)
			}
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flood(4000)
	before := heap()
	flood(8000)
	if after := heap(); after > before+4<<20 {
		t.Errorf("%d bytes in use, %d before", after, before)
	}
	if st := s.Stats(); st.Peers > 2000 || st.Torrents > 100 || st.Refused["tracker is full"] == 0 {
		t.Errorf("%+v", st)
	}
}

// One address cannot hold all connections.
func TestConnectionsOfOneAddress(t *testing.T) {
	s, httpURL, _ := serve(t, server.Config{}, "127.0.0.1")
	at := strings.TrimSuffix(strings.TrimPrefix(httpURL, "http://"), "/announce")
	open := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", at)
		if err != nil {
			t.Skipf("no second address of loopback on this machine: %v", err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	open("127.0.0.2") // there is place for more than one address
	for range 300 {
		open("127.0.0.1")
	}
	wait(t, "the surplus is closed", func() bool { return s.Stats().Refused["too many connections"] >= 300-256 })
	if n := s.Stats().Connections; n > 257 {
		t.Errorf("%d connections", n)
	}
	other := open("127.0.0.2")
	if _, err := fmt.Fprintf(other, "GET /scrape?info_hash=%s HTTP/1.1\r\nHost: x\r\n\r\n", hash); err != nil {
		t.Fatal(err)
	}
	if err := other.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(other), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("another address: %v, %v", resp, err)
	}
}

// One address that takes torrent files slowly does not keep others from them.
func TestFilesToOneAddress(t *testing.T) {
	file := make([]byte, 16<<20) // more than sockets hold
	s, httpURL, _ := serve(t, server.Config{TorrentFile: func([20]byte) ([]byte, error) { return file, nil }}, "127.0.0.1")
	at := strings.TrimSuffix(strings.TrimPrefix(httpURL, "http://"), "/announce")
	ask := func(from string, n byte) *http.Response {
		h := [20]byte{n}
		s.Register(h)
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", at)
		if err != nil {
			t.Skipf("no second address of loopback on this machine: %v", err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /t/%x.torrent HTTP/1.1\r\nHost: x\r\n\r\n", h); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("asking from %s: %v", from, err)
		}
		return resp
	}
	for i := range 32 {
		if code := ask("127.0.0.1", byte(i)).StatusCode; code != 200 && i < 8 {
			t.Fatalf("file %d is refused", i)
		}
	}
	resp := ask("127.0.0.2", 99)
	if n, err := io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 || n != int64(len(file)) || err != nil {
		t.Errorf("another address: %s, %d bytes, %v", resp.Status, n, err)
	}
}

// wait polls until something is so.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still waiting until %s", what)
		}
	}
}

// Many announce, scrape, register and look at the figures at once.
func TestAllAtOnce(t *testing.T) {
	s := server.New(server.Config{Listed: true, Interval: time.Second, Burst: 1 << 20, PerSource: 50})
	var busy sync.WaitGroup
	for g := range 8 {
		busy.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 600 {
				h := [20]byte{byte(rng.IntN(30))}
				switch rng.IntN(12) {
				case 0:
					s.Register(h)
				case 1:
					s.Unregister(h)
				case 2:
					s.Counts(h)
				case 3:
					s.Stats()
				case 4:
					get(t, s, "1.2.3.4:5", "/scrape?info_hash="+strings.Repeat("a", 20))
				case 5:
					get(t, s, fmt.Sprintf("10.0.0.%d:5", rng.IntN(9)), query(h, i, "&event=stopped"))
				default:
					get(t, s, fmt.Sprintf("10.0.0.%d:5", rng.IntN(9)), query(h, i, fmt.Sprintf("&left=%d", rng.IntN(2))))
				}
			}
		})
	}
	busy.Wait()
	if st := s.Stats(); st.Peers > 9*50+8 || st.Announces["http"] == 0 {
		t.Errorf("%+v", st)
	}
}
