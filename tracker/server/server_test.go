package server_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"btd/tracker"
	"btd/tracker/server"
)

var hash = [20]byte([]byte("hhhhhhhhhhhhhhhhhhhh"))

func peerID(n int) (id [20]byte) {
	copy(id[:], fmt.Sprintf("-XX0000-%012d", n))
	return id
}

// get sends one request from an address and returns the body.
func get(t *testing.T, s *server.Server, from, target string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d", target, w.Code)
	}
	return w.Body.String()
}

// query is an announce of peer n.
func query(h [20]byte, n int, more string) string {
	id := peerID(n)
	return fmt.Sprintf("/announce?info_hash=%s&peer_id=%s&port=%d%s", url.QueryEscape(string(h[:])), url.QueryEscape(string(id[:])), 1000+n%60000, more)
}

func TestAnswers(t *testing.T) {
	s := server.New(server.Config{Interval: time.Minute, MinInterval: 30 * time.Second, TrackerID: "tid"})
	if got, want := get(t, s, "1.2.3.4:5", query(hash, 1, "&left=0&event=started")),
		"d8:completei1e10:downloadedi0e11:external ip4:\x01\x02\x03\x0410:incompletei0e8:intervali60e12:min intervali30e5:peers0:10:tracker id3:tide"; got != want {
		t.Errorf("first answer %q, want %q", got, want)
	}
	got := get(t, s, "[2001:db8::9]:5", query(hash, 2, "&left=7&ip=8.8.8.8"))
	if !strings.Contains(got, "5:peers6:\x01\x02\x03\x04\x03\xe910:tracker") || !strings.Contains(got, "11:external ip16:\x20\x01\x0d\xb8") {
		t.Errorf("leecher over IPv6: %q", got)
	}
	got = get(t, s, "[::ffff:1.2.3.5]:5", query(hash, 3, "&left=7"))
	if !strings.Contains(got, "5:peers6:\x01\x02\x03\x04\x03\xe96:peers618:\x20\x01\x0d\xb8") {
		t.Errorf("leecher over IPv4: %q", got)
	}
	got = get(t, s, "1.2.3.6:5", query(hash, 4, "&left=7&compact=0&numwant=100"))
	for _, want := range []string{"d2:ip7:1.2.3.47:peer id20:-XX0000-0000000000014:porti1001ee", "2:ip11:2001:db8::97:peer id20:"} {
		if !strings.Contains(got, want) {
			t.Errorf("dictionaries %q lack %q", got, want)
		}
	}
	got = get(t, s, "1.2.3.6:5", query(hash, 4, "&left=7&compact=0&no_peer_id=1"))
	if !strings.Contains(got, "d2:ip7:1.2.3.44:porti1001ee") || strings.Contains(got, "peer id") {
		t.Errorf("dictionaries without ids: %q", got)
	}
	if got = get(t, s, "1.2.3.6:5", query(hash, 4, "&left=7&numwant=0")); !strings.Contains(got, "5:peers0:") {
		t.Errorf("numwant=0: %q", got)
	}
	scrape := "/x/scrape?info_hash=" + string(hash[:]) + "&info_hash=aaaaaaaaaaaaaaaaaaaa"
	if got, want := get(t, s, "1.1.1.1:1", scrape), "d5:filesd20:"+string(hash[:])+"d8:completei1e10:downloadedi0e10:incompletei3eeee"; got != want {
		t.Errorf("scrape %q, want %q", got, want)
	}
}

func TestEvents(t *testing.T) {
	s := server.New(server.Config{})
	counts := func(want string) {
		t.Helper()
		seeds, leechers, downloads := s.Counts(hash)
		if got := fmt.Sprint(seeds, leechers, downloads); got != want {
			t.Errorf("seeds, leechers, downloads = %s, want %s", got, want)
		}
	}
	get(t, s, "1.2.3.4:5", query(hash, 1, "&left=9&event=started"))
	get(t, s, "1.2.3.4:5", query(hash, 2, "&left=9&event=started"))
	counts("0 2 0")
	get(t, s, "1.2.3.4:5", query(hash, 1, "&left=0&event=completed"))
	get(t, s, "1.2.3.4:5", query(hash, 1, "&left=0&event=completed"))
	counts("1 1 1")
	if got := get(t, s, "1.2.3.4:5", query(hash, 3, "&left=0")); strings.Contains(got, "\x03\xe9") || !strings.Contains(got, "\x03\xea") {
		t.Errorf("a seed is sent %q, want the leecher alone", got)
	}
	// A partial seed (BEP 21) is a leecher, which others are told of.
	if got := get(t, s, "1.2.3.4:5", query(hash, 4, "&left=9&event=paused")); strings.Contains(got, "failure") || !strings.Contains(got, "\x03\xea") {
		t.Errorf("a partial seed is answered with %q", got)
	}
	counts("2 2 1")
	if got := get(t, s, "1.2.3.4:5", query(hash, 3, "&left=0")); !strings.Contains(got, "\x03\xec") {
		t.Errorf("a seed is not told of the partial one: %q", got)
	}
	get(t, s, "1.2.3.4:5", query(hash, 4, "&left=9&event=stopped"))
	get(t, s, "9.9.9.9:5", query(hash, 1, "&left=0&event=stopped"))
	get(t, s, "1.2.3.4:5", strings.Replace(query(hash, 1, "&left=0&event=stopped"), "-XX", "-YY", 1)) // not its own
	counts("2 1 1")
	get(t, s, "1.2.3.4:5", query(hash, 1, "&left=0&event=stopped"))
	get(t, s, "1.2.3.4:5", query(hash, 2, "&left=0&event=stopped"))
	get(t, s, "1.2.3.4:5", query(hash, 3, "&left=0&event=stopped"))
	counts("0 0 0")
}

func TestBadRequests(t *testing.T) {
	s := server.New(server.Config{})
	good := query(hash, 1, "")
	for name, target := range map[string]string{
		"no hash": "/announce", "short hash": "/announce?info_hash=abc", "no id": "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa",
		"port 0": strings.Replace(good, "port=1001", "port=0", 1), "big port": strings.Replace(good, "port=1001", "port=99999", 1),
		"left": good + "&left=-1", "event": good + "&event=dance", "query": good + "&a=%zz", "scrape of nothing": "/scrape",
		"scrape of too much": "/scrape?" + strings.Repeat("info_hash=aaaaaaaaaaaaaaaaaaaa&", 75), "scrape": "/scrape?info_hash=a",
	} {
		if got := get(t, s, "1.2.3.4:5", target); !strings.HasPrefix(got, "d14:failure reason") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for target, want := range map[string]int{"/": 404, "/announce/x": 404} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", target, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, good, nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server.New(server.Config{Interval: 10 * time.Minute})
		other := [20]byte([]byte("oooooooooooooooooooo"))
		get(t, s, "1.2.3.4:5", query(hash, 1, "&left=0"))
		get(t, s, "1.2.3.4:5", query(other, 1, "&left=0"))
		time.Sleep(15 * time.Minute)
		get(t, s, "1.2.3.4:5", query(hash, 2, "&left=1"))
		time.Sleep(6 * time.Minute)
		if seeds, leechers, _ := s.Counts(hash); seeds != 0 || leechers != 1 {
			t.Errorf("after 21 minutes: %d seeds, %d leechers", seeds, leechers)
		}
		if got := get(t, s, "1.1.1.1:1", "/scrape?info_hash="+string(other[:])); got != "d5:filesdee" {
			t.Errorf("silent torrent: %q", got)
		}
	})
}

func TestCaps(t *testing.T) {
	s := server.New(server.Config{MaxTorrents: 10, MaxPeers: 25, PerSource: 20, MaxNumWant: 7, Burst: 1000})
	for i := range 100 {
		got := get(t, s, "1.2.3.4:5", query(hash, i, "&left=1"))
		if full := strings.Contains(got, "too many peers have your address"); full != (i >= 20) {
			t.Fatalf("peer %d of one address: %q", i, got)
		}
	}
	if _, leechers, _ := s.Counts(hash); leechers != 20 {
		t.Errorf("%d peers of one address, want 20", leechers)
	}
	got := get(t, s, "1.2.3.4:5", query(hash, 19, "&left=1&numwant=9999"))
	if !strings.Contains(got, "5:peers42:") {
		t.Errorf("numwant is not bounded: %q", got)
	}
	if got := get(t, s, "1.2.3.4:5", query(hash, 19, "&left=1&numwant=-5")); !strings.Contains(got, "5:peers42:") {
		t.Errorf("a negative numwant: %q", got)
	}
	full := 0
	for i := range 100 {
		h := hash
		h[0] = byte(i)
		if strings.Contains(get(t, s, fmt.Sprintf("1.2.4.%d:5", i), query(h, i, "&left=1")), "this tracker is full") {
			full++
		}
	}
	if full != 95 {
		t.Errorf("%d of 100 announces of new peers were refused, want 95", full)
	}
	s = server.New(server.Config{MaxTorrents: 10})
	full = 0
	for i := range 100 {
		if strings.Contains(get(t, s, "1.2.3.4:5", query([20]byte{byte(i)}, i, "&left=1")), "this tracker is full") {
			full++
		}
	}
	if st := s.Stats(); full != 90 || st.Torrents != 10 || st.Peers != 10 {
		t.Errorf("%d of 100 new torrents were refused, want 90: %+v", full, st)
	}
	// Who leaves makes room.
	get(t, s, "1.2.3.4:5", query([20]byte{0}, 0, "&left=1&event=stopped"))
	if got := get(t, s, "1.2.3.4:5", query([20]byte{77}, 0, "&left=1")); strings.Contains(got, "full") {
		t.Errorf("after one left: %q", got)
	}
}

// One address asks at its own rate, whatever others do.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server.New(server.Config{Rate: 10, Burst: 50})
		refused := func(from string, n int) (count int) {
			for i := range n {
				if strings.Contains(get(t, s, from, query(hash, i, "&left=1")), "too many requests") {
					count++
				}
			}
			return count
		}
		if got := refused("1.2.3.4:5", 80); got != 30 {
			t.Errorf("%d of 80 at once were refused, want 30", got)
		}
		for i := range 200 { // all machines of a building at once
			if refused(fmt.Sprintf("10.0.0.%d:5", i), 3) != 0 {
				t.Fatalf("machine %d is refused", i)
			}
		}
		time.Sleep(2 * time.Second)
		if got := refused("1.2.3.4:5", 30); got != 10 {
			t.Errorf("%d of 30 two seconds later were refused, want 10", got)
		}
		if got := refused("[2001:db8:1:2::1]:5", 30) + refused("[2001:db8:1:2:3::1]:5", 30); got != 10 {
			t.Errorf("%d of 60 of one IPv6 network were refused, want 10", got)
		}
		if got := refused("[2001:db8:1:3::1]:5", 30); got != 0 {
			t.Errorf("%d of another IPv6 network were refused", got)
		}
		for i := range 100 { // a building's own network, where each machine has an address of it
			if got := refused(fmt.Sprintf("[fd00:1::%x]:5", i), 3); got != 0 {
				t.Fatalf("machine %d of a private IPv6 network is refused", i)
			}
		}
		// Who may choose an address uses up nothing of whom it resembles.
		like := func(other uint64) string {
			return fmt.Sprintf("[%s]:5", netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 0xfe80<<48), other))))
		}
		network := uint64(0xfe80 << 48)
		for _, other := range []uint64{1<<32 | 0x0a090909, 0x2001_0db8_0007_0007} {
			if got := refused(like(other), 80) + refused(like(other-network*0x9e3779b97f4a7c15), 80); got != 60 {
				t.Errorf("%d of 160 of two link-local addresses were refused, want 60", got)
			}
		}
		if got := refused("10.9.9.9:5", 30) + refused("[2001:db8:7:7::1]:5", 30); got != 0 {
			t.Errorf("%d were refused of who has not asked before", got)
		}
		if n := s.Stats().Refused["too many requests of one address"]; n != 170 {
			t.Errorf("%d refusals counted, want 170", n)
		}
	})
}

func TestSamplesAreRandomAndNeverRepeat(t *testing.T) {
	s := server.New(server.Config{})
	for i := range 300 {
		get(t, s, "1.2.3.4:5", query(hash, i, fmt.Sprintf("&left=%d", i%2)))
	}
	seen := make(map[string]bool)
	for range 60 {
		got := get(t, s, "1.2.3.4:5", query(hash, 1, "&left=1&numwant=50"))
		_, peers, ok := strings.Cut(got, "5:peers300:")
		if !ok {
			t.Fatalf("answer %q, want 50 peers", got)
		}
		this := make(map[string]bool)
		for i := range 50 {
			p := peers[i*6 : i*6+6]
			if this[p] || p == "\x01\x02\x03\x04\x03\xe9" {
				t.Fatalf("address %x twice, or of the asker", p)
			}
			this[p], seen[p] = true, true
		}
	}
	if len(seen) < 280 {
		t.Errorf("60 samples showed %d of 299 peers", len(seen))
	}
}

// serve starts a tracker on loopback and returns its announce URLs.
func serve(t *testing.T, cfg server.Config, host string) (s *server.Server, httpURL, udpURL string) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no address %s on this machine: %v", host, err)
	}
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s = server.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Serve(ctx, ln) }()
	go func() { done <- s.ServeUDP(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return s, "http://" + ln.Addr().String() + "/announce", "udp://" + conn.LocalAddr().String() + "/announce"
}

func TestClientAndServer(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			family := tracker.IPv4
			if host == "::1" {
				family = tracker.IPv6
			}
			s, httpURL, udpURL := serve(t, server.Config{}, host)
			c := tracker.NewClient(tracker.Config{Timeout: time.Minute})
			defer c.Close()
			ctx := t.Context()
			announce := func(u string, n int, e tracker.Event, left int64) tracker.Response {
				t.Helper()
				r, err := c.Announce(ctx, tracker.Request{URL: u, InfoHash: hash, PeerID: peerID(n), Port: uint16(n), Left: left, Event: e, Family: family})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			first := announce(httpURL, 1, tracker.Started, 0)
			if first.External != netip.MustParseAddr(host) || len(first.Peers) != 0 || first.Seeds != 1 {
				t.Errorf("first: %+v", first)
			}
			second := announce(udpURL, 2, tracker.Started, 10)
			if len(second.Peers) != 1 || second.Peers[0] != netip.AddrPortFrom(netip.MustParseAddr(host), 1) || second.Leechers != 1 {
				t.Errorf("second: %+v", second)
			}
			for _, u := range []string{httpURL, udpURL} {
				got, err := c.Scrape(ctx, u, [][20]byte{hash})
				if err != nil || got[0] != (tracker.ScrapeResult{Seeds: 1, Leechers: 1}) {
					t.Errorf("scrape of %s: %v, %v", u, got, err)
				}
			}
			announce(udpURL, 2, tracker.Completed, 0)
			if got := announce(httpURL, 3, tracker.None, 0); len(got.Peers) != 0 || got.Seeds != 3 || got.Downloads != 1 {
				t.Errorf("seed among seeds: %+v", got)
			}
			announce(httpURL, 2, tracker.Stopped, 0)
			announce(udpURL, 1, tracker.Stopped, 0)
			if seeds, leechers, _ := s.Counts(hash); seeds != 1 || leechers != 0 {
				t.Errorf("at the end %d seeds, %d leechers", seeds, leechers)
			}
			var refused *tracker.FailureError
			for _, u := range []string{httpURL, udpURL} {
				if _, err := c.Announce(ctx, tracker.Request{URL: u, Family: family}); !errors.As(err, &refused) {
					t.Errorf("announce to %s with port 0: %v", u, err)
				}
			}
		})
	}
}

func TestServeEndsWithOpenConnections(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.New(server.Config{}).Serve(ctx, ln) }()
	conn, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /ann") // a request that never ends
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := server.New(server.Config{}).Serve(t.Context(), ln); err == nil {
		t.Error("serving a closed listener is no error")
	}
}

// A schedule driven by the wall clock and a client fails over to a tracker
// that works, over real sockets, and tells it goodbye.
func TestFailoverOverSockets(t *testing.T) {
	s, httpURL, udpURL := serve(t, server.Config{TrackerID: "remember me"}, "127.0.0.1")
	var badQueries []string
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		badQueries = append(badQueries, r.URL.Query().Get("key"))
		io.WriteString(w, "<html>")
	}))
	defer broken.Close()
	out, err := net.Dial("tcp4", broken.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // nobody listens at the port of a connection that goes out, nor can
	sched := tracker.NewSchedule(
		[][]string{{"http://" + out.LocalAddr().String() + "/announce", broken.URL + "/announce"}, {httpURL}, {udpURL}},
		tracker.ScheduleConfig{}, rand.New(rand.NewPCG(1, 1)))
	c := tracker.NewClient(tracker.Config{Timeout: time.Minute})
	defer c.Close()
	send := func(a tracker.Announce) (tracker.Response, error) {
		return c.Announce(t.Context(), tracker.Request{
			URL: a.URL, Family: a.Family, Event: a.Event, TrackerID: a.TrackerID, NumWant: a.NumWant,
			InfoHash: hash, PeerID: peerID(1), Port: 1, Left: 5, Key: 0xABCD,
		})
	}
	sched.Start(time.Now())
	for range 10 {
		as, _ := sched.Due(time.Now())
		for _, a := range as {
			if r, err := send(a); err != nil {
				sched.Failed(time.Now(), a.ID, err)
			} else {
				sched.Succeeded(time.Now(), a.ID, r)
			}
		}
	}
	for _, v := range sched.View() {
		want := map[string]string{httpURL: tracker.StatusWorking, udpURL: tracker.StatusIdle}[v.URL]
		if want == "" {
			want = tracker.StatusFailed
		}
		if v.Status != want || (v.Error == "") != (want != tracker.StatusFailed) {
			t.Errorf("%+v, want %s", v, want)
		}
	}
	if _, leechers, _ := s.Counts(hash); leechers != 1 {
		t.Errorf("%d leechers", leechers)
	}
	if len(badQueries) != 1 || badQueries[0] != "0000ABCD" {
		t.Errorf("keys sent to the broken tracker: %q", badQueries)
	}
	goodbye := sched.Stop(time.Now())
	if len(goodbye) != 1 || goodbye[0].URL != httpURL || goodbye[0].TrackerID != "remember me" {
		t.Fatalf("goodbye = %+v", goodbye)
	}
	if _, err := send(goodbye[0]); err != nil {
		t.Fatal(err)
	}
	if _, leechers, _ := s.Counts(hash); leechers != 0 {
		t.Errorf("%d leechers after goodbye", leechers)
	}
}

// A socket that cannot be read many packets at a time is read one by one.
func TestPacketsOneByOne(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.ServeUDP(ctx, struct{ net.PacketConn }{conn}) }()
	c := tracker.NewClient(tracker.Config{Timeout: time.Minute})
	defer c.Close()
	u := "udp://" + conn.LocalAddr().String() + "/announce"
	for n := range 3 {
		r, err := c.Announce(t.Context(), tracker.Request{URL: u, InfoHash: hash, PeerID: peerID(n), Port: uint16(n + 1), Left: 1, Family: tracker.IPv4})
		if err != nil || len(r.Peers) != n || r.Leechers != n+1 {
			t.Errorf("announce %d: %+v, %v", n, r, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
