package tracker

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var testHash = [20]byte{0, 1, 2, ' ', '+', '%', '&', '=', 'a', 'Z', '~', '.', '-', '_', 0x7f, 0x80, 0xff, '/', '?', '#'}

// patience is how long a test waits for what must come, on a busy machine.
const patience = time.Minute

func testClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	c := NewClient(cfg)
	t.Cleanup(c.Close)
	return c
}

// httpTracker serves handler and returns its announce URL.
func httpTracker(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL + "/announce"
}

func fixed(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

func TestHTTPAnnounceRequest(t *testing.T) {
	var got *http.Request
	u := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		io.WriteString(w, "d8:intervali1800e5:peers0:10:tracker id3:x&ye")
	})
	c := testClient(t, Config{UserAgent: "btd/1.2"})
	r := Request{
		URL: u + "?passkey=a+b%20c#frag", InfoHash: testHash, PeerID: [20]byte([]byte("-BD0100-abcdefghijkl")), Port: 6881,
		Uploaded: 1, Downloaded: 2, Left: 3, Corrupt: 4, Event: Started, NumWant: 80, Key: 0xBEEF, TrackerID: "id &", Family: IPv4,
	}
	resp, err := c.Announce(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.TrackerID != "x&y" {
		t.Errorf("tracker id = %q", resp.TrackerID)
	}
	if !strings.HasPrefix(got.URL.RawQuery, "passkey=a+b%20c&info_hash=%00%01%02%20%2B%25%26%3DaZ~.-_%7F%80%FF%2F%3F%23&") {
		t.Errorf("query = %s", got.URL.RawQuery)
	}
	for key, want := range map[string]string{
		"info_hash": string(testHash[:]), "peer_id": "-BD0100-abcdefghijkl", "port": "6881", "uploaded": "1", "downloaded": "2",
		"left": "3", "corrupt": "4", "event": "started", "numwant": "80", "key": "0000BEEF", "trackerid": "id &", "compact": "1",
	} {
		if v := got.URL.Query()[key]; len(v) != 1 || v[0] != want {
			t.Errorf("%s = %q, want %q", key, v, want)
		}
	}
	if ua := got.Header.Get("User-Agent"); ua != "btd/1.2" {
		t.Errorf("user agent = %q", ua)
	}
	r.Event, r.TrackerID, r.Corrupt, r.Uploaded = Stopped, "", 0, -1
	if _, err := c.Announce(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	q := got.URL.Query()
	if q.Get("numwant") != "0" || q.Get("event") != "stopped" || q.Has("trackerid") || q.Has("corrupt") || q.Get("uploaded") != "0" {
		t.Errorf("query of stopped = %s", got.URL.RawQuery)
	}
}

func TestHTTPAnswers(t *testing.T) {
	c := testClient(t, Config{})
	bigPeers := strings.Repeat("\x01\x02\x03\x04\x1a\xe1", 9000)
	tests := []struct {
		name, body string
		want       func(Response) bool
	}{
		{"compact", "d8:completei5e10:incompletei6e8:intervali60e12:min intervali40e5:peers12:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x00\x50e", func(r Response) bool {
			return r.Seeds == 5 && r.Leechers == 6 && r.Downloads == -1 && r.Interval == time.Minute && r.MinInterval == 40*time.Second &&
				fmt.Sprint(r.Peers) == "[1.2.3.4:6881 5.6.7.8:80]"
		}},
		{"dictionaries", "d8:intervali60e5:peersld2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881eed2:ip5:[::1]4:porti1eed2:ip3:::14:porti2eed2:ip4:host4:porti3eed4:porti3eei7e3:abceee", func(r Response) bool {
			return fmt.Sprint(r.Peers) == "[1.2.3.4:6881 [::1]:2]"
		}},
		{"peers6 and external ip", "d11:external ip4:\x09\x08\x07\x068:intervali60e5:peers6:\x01\x02\x03\x04\x1a\xe16:peers618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x07e", func(r Response) bool {
			return fmt.Sprint(r.Peers) == "[1.2.3.4:6881 [2001:db8::1]:7]" && r.External == netip.MustParseAddr("9.8.7.6")
		}},
		{"keys out of order, trailing newline", "d5:peers0:8:intervali90ee\r\n", func(r Response) bool { return r.Interval == 90*time.Second }},
		{"negative interval", "d8:intervali-1e5:peers0:e", func(r Response) bool { return r.Interval == 30*time.Minute }},
		{"tiny interval", "d8:intervali1e5:peers0:e", func(r Response) bool { return r.Interval == 30*time.Second }},
		{"huge intervals", "d8:intervali99999999999999999999e12:min intervali9223372036854775807e5:peers0:e", func(r Response) bool {
			return r.Interval == 12*time.Hour && r.MinInterval == 12*time.Hour
		}},
		{"minimum above the interval", "d8:intervali60e12:min intervali300e5:peers0:e", func(r Response) bool {
			return r.Interval == 5*time.Minute && r.MinInterval == 5*time.Minute
		}},
		{"useless peers", "d8:intervali60e5:peers24:\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x00\x01\xe0\x00\x00\x01\x00\x01e", func(r Response) bool { return len(r.Peers) == 0 }},
		{"half a peer", "d8:intervali60e5:peers8:\x01\x02\x03\x04\x1a\xe1\x01\x02e", func(r Response) bool { return len(r.Peers) == 1 }},
		{"too many peers", fmt.Sprintf("d8:intervali60e5:peers%d:%se", len(bigPeers), bigPeers), func(r Response) bool { return len(r.Peers) == 2000 }},
		{"warning", "d8:intervali60e5:peers0:15:warning message9:go\naway\x1b\xffe", func(r Response) bool { return r.Warning == "go away ?" }},
		{"endless warning", "d8:intervali60e15:warning message5000:" + strings.Repeat("w", 5000) + "e", func(r Response) bool { return len(r.Warning) <= 512 }},
		{"numbers as strings", "d8:interval2:605:peers0:8:completele10:incompletedee", func(r Response) bool {
			return r.Interval == 30*time.Minute && r.Seeds == -1 && r.Leechers == -1
		}},
		{"negative counts", "d8:completei-5e10:incompletei99999999999e8:intervali60ee", func(r Response) bool { return r.Seeds == -1 && r.Leechers == 1<<31-1 }},
		{"bad external ip", "d11:external ip3:abc8:intervali60ee", func(r Response) bool { return !r.External.IsValid() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := c.Announce(t.Context(), Request{URL: httpTracker(t, fixed(tt.body))})
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want(r) {
				t.Errorf("response = %+v", r)
			}
		})
	}
}

func TestHTTPBadAnswers(t *testing.T) {
	c := testClient(t, Config{})
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		is      error
		text    string
	}{
		{"empty", fixed(""), ErrMalformed, "empty"},
		{"web page", fixed("<html>hello"), ErrMalformed, "web page"},
		{"text", fixed("tracker is down"), ErrMalformed, ""},
		{"empty dictionary", fixed("de"), ErrMalformed, "neither"},
		{"cut short", fixed("d8:intervali60e5:peers12:abc"), ErrMalformed, ""},
		{"string longer than memory", fixed("d8:intervali60e5:peers99999999999:abce"), ErrMalformed, ""},
		{"nested deeply", fixed("d1:x" + strings.Repeat("l", 1<<20)), ErrMalformed, "deep"},
		{"endless number", fixed("d8:intervali" + strings.Repeat("9", 1<<20)), ErrMalformed, ""},
		{"list", fixed("le"), ErrMalformed, ""},
		{"huge", func(w http.ResponseWriter, _ *http.Request) {
			for range 40 {
				if _, err := w.Write(bytes.Repeat([]byte("i0e"), 1<<16)); err != nil {
					return
				}
			}
		}, ErrMalformed, "larger than 2 MiB"},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			chunk := make([]byte, 1<<20)
			for range 64 {
				if _, err := z.Write(chunk); err != nil {
					return
				}
			}
			z.Close()
		}, ErrMalformed, "larger than 2 MiB"},
		{"bad gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "d8:intervali60ee")
		}, nil, ""},
		{"redirect for ever", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		}, ErrMalformed, "more than 5 redirects"},
		{"redirect to a file", redirect("file:///etc/passwd"), ErrMalformed, "something other than http"},
		{"redirect to nowhere", redirect("http://127.0.0.1:1/"), nil, "refused"},
		{"failure", fixed("d14:failure reason14:unknown hash\x07\ne"), nil, "refused by the tracker: unknown hash"},
		{"failure with a bad status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "d14:failure reason6:bannede")
		}, nil, "refused by the tracker: banned"},
		{"bad status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, "<html>")
		}, nil, "HTTP status 503 Service Unavailable"},
		{"good body, bad status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, "d8:intervali60e5:peers0:e")
		}, nil, "HTTP status 404"},
		{"hangs up", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, nil, "EOF"},
		{"hangs up in the middle", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "d8:interval")
		}, nil, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Announce(t.Context(), Request{URL: httpTracker(t, tt.handler)})
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v, want %v with %q", err, tt.is, tt.text)
			}
			if err != nil && (strings.Contains(err.Error(), "info_hash") || strings.ContainsAny(err.Error(), "\n\x07")) {
				t.Errorf("error shows too much: %q", err)
			}
		})
	}
}

// What comes over the wire need not be HTTP.
func TestNotHTTP(t *testing.T) {
	for name, answer := range map[string]string{
		"garbage":       strings.Repeat("\x00\x1b[2J\xff", 1000),
		"endless line":  "HTTP/1.1 200 " + strings.Repeat("x", 1<<20),
		"many headers":  "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 1<<17),
		"many hints":    strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n", 1<<11),
		"bad chunks":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nxx",
		"bad length":    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nd8:intervali60ee",
		"huge length":   "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nd8:intervali60ee",
		"bad redirect":  "HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
		"lost redirect": "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					http.ReadRequest(bufio.NewReader(conn))
					io.WriteString(conn, answer)
					conn.Close()
				}
			}()
			_, err = testClient(t, Config{}).Announce(t.Context(), Request{URL: "http://" + ln.Addr().String() + "/announce"})
			if err == nil || len(err.Error()) > maxText || clean([]byte(err.Error())) != err.Error() {
				t.Errorf("error = %q", err)
			}
		})
	}
}

func TestHTTPRedirectIsFollowed(t *testing.T) {
	var referer, query string
	end := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		referer, query = r.Referer(), r.URL.RawQuery
		io.WriteString(w, "d8:intervali60e5:peers0:e")
	})
	begin := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, end+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
	})
	if _, err := testClient(t, Config{}).Announce(t.Context(), Request{URL: begin, InfoHash: testHash}); err != nil {
		t.Fatal(err)
	}
	if referer != "" || !strings.Contains(query, "info_hash=") {
		t.Errorf("referer %q, query %q", referer, query)
	}
}

func TestFiveRedirectsAreFollowed(t *testing.T) {
	for hops, ok := range map[int]bool{5: true, 6: false} {
		asked := 0
		u := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked <= hops {
				http.Redirect(w, r, "/announce", http.StatusTemporaryRedirect)
				return
			}
			io.WriteString(w, "d8:intervali60e5:peers0:e")
		})
		if _, err := testClient(t, Config{}).Announce(t.Context(), Request{URL: u}); (err == nil) != ok {
			t.Errorf("%d redirects: %v", hops, err)
		}
		if asked != 6 {
			t.Errorf("%d redirects: %d requests, want 6", hops, asked)
		}
	}
}

func TestRedirectToThisMachine(t *testing.T) {
	req := func(u string) *http.Request { return httptest.NewRequest("GET", u, nil) }
	far, near := req("http://tracker.example/announce"), req("http://127.0.0.1:9/announce")
	for _, u := range []string{"http://localhost/", "http://127.1.2.3/", "http://[::1]:80/", "http://a.localhost./", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/"} {
		if checkRedirect(req(u), []*http.Request{far}) == nil {
			t.Errorf("redirect from afar to %s is followed", u)
		}
		if err := checkRedirect(req(u), []*http.Request{near}); err != nil {
			t.Errorf("redirect from here to %s: %v", u, err)
		}
	}
}

func TestBEP31(t *testing.T) {
	c := testClient(t, Config{})
	for body, want := range map[string]FailureError{
		"d14:failure reason4:busy8:retry ini7ee":                  {Reason: "busy", RetryIn: 7 * time.Minute},
		"d14:failure reason4:gone8:retry in5:nevere":              {Reason: "gone", Never: true},
		"d14:failure reason0:8:retry ini99999999999999999ee":      {RetryIn: 12 * time.Hour},
		"d14:failure reason3:bad8:retry ini-7e8:intervali1800eee": {Reason: "bad"},
	} {
		_, err := c.Announce(t.Context(), Request{URL: httpTracker(t, fixed(body))})
		var got *FailureError
		if !errors.As(err, &got) || *got != want {
			t.Errorf("%q: %+v, want %+v", body, err, want)
		}
	}
}

func TestSlowTracker(t *testing.T) {
	hold := make(chan struct{})
	dribble := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		for range 1000 {
			io.WriteString(w, "d")
			w.(http.Flusher).Flush()
			select {
			case <-hold:
				return
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	silent := httpTracker(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hold) })
	c := testClient(t, Config{Timeout: 300 * time.Millisecond})
	for name, u := range map[string]string{"dribble": dribble, "silent": silent} {
		_, err := c.Announce(t.Context(), Request{URL: u})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// refusing is a TCP address where nobody listens, nor can while the test runs:
// an outgoing connection has the port.
func refusing(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

func TestUnreachable(t *testing.T) {
	c := testClient(t, Config{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}})
	at := refusing(t)
	_, err := c.Announce(t.Context(), Request{URL: "http://" + at + "/announce?passkey=secret"})
	if err == nil || err.Error() != "connection refused by "+at {
		t.Errorf("error = %v", err)
	}
	for _, u := range []string{"http://nowhere.example/announce", "udp://nowhere.example:1/announce"} {
		if _, err = c.Announce(t.Context(), Request{URL: u}); err == nil || err.Error() != "host nowhere.example not found" {
			t.Errorf("error = %v", err)
		}
	}
}

func TestHTTPFamilies(t *testing.T) {
	lookup := func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "both.example":
			return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
		case "four.example":
			return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		}
		return nil, &net.DNSError{IsNotFound: true}
	}
	c := testClient(t, Config{Lookup: lookup})
	var (
		mu   sync.Mutex
		from []string
	)
	handler := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from = append(from, r.RemoteAddr)
		mu.Unlock()
		io.WriteString(w, "d8:intervali60e5:peers0:e")
	}
	_, port, _ := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(httpTracker(t, handler), "http://"), "/announce"))
	if _, err := c.Announce(t.Context(), Request{URL: "http://both.example:" + port + "/announce", Family: IPv4}); err != nil {
		t.Error(err)
	}
	for _, u := range []string{"http://four.example:" + port, "http://127.0.0.1:" + port} {
		if _, err := c.Announce(t.Context(), Request{URL: u, Family: IPv6}); !errors.Is(err, ErrNoFamily) {
			t.Errorf("%s over IPv6: %v, want ErrNoFamily", u, err)
		}
		if _, err := c.Announce(t.Context(), Request{URL: u, Family: IPv4}); err != nil {
			t.Errorf("%s over IPv4: %v", u, err)
		}
	}
	for _, addr := range from {
		if !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Errorf("announce over IPv4 came from %s", addr)
		}
	}
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	six := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	six.Listener.Close()
	six.Listener = ln
	six.Start()
	defer six.Close()
	from = nil
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	if _, err := c.Announce(t.Context(), Request{URL: "http://both.example:" + port + "/announce", Family: IPv6}); err != nil {
		t.Error(err)
	}
	if len(from) != 1 || !strings.HasPrefix(from[0], "[::1]:") {
		t.Errorf("announce over IPv6 came from %v", from)
	}
}

func TestProxyIsAskedOnce(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "tracker.example" {
			asked.Add(1)
		}
		io.WriteString(w, "d8:intervali60e5:peers0:e")
	}))
	defer proxy.Close()
	u, _ := url.Parse(proxy.URL)
	c := testClient(t, Config{Proxy: http.ProxyURL(u)})
	r := Request{URL: "http://tracker.example/announce", Family: IPv4}
	if _, err := c.Announce(t.Context(), r); err != nil {
		t.Error(err)
	}
	r.Family = IPv6
	if _, err := c.Announce(t.Context(), r); !errors.Is(err, ErrNoFamily) {
		t.Errorf("over IPv6: %v, want ErrNoFamily", err)
	}
	if asked.Load() != 1 {
		t.Errorf("the proxy was asked %d times", asked.Load())
	}
}

func TestConnectionIsReused(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(fixed("d8:intervali60e5:peers0:e"))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := testClient(t, Config{})
	for range 20 {
		if _, err := c.Announce(t.Context(), Request{URL: s.URL + "/announce"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n > 5 { // net/http gives one up whose writer is 50 ms late
		t.Errorf("%d connections for 20 announces", n)
	}
}

func TestHTTPS(t *testing.T) {
	s := httptest.NewUnstartedServer(fixed("d8:intervali60e5:peers0:e"))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	r := Request{URL: s.URL + "/announce", Family: IPv4}
	if _, err := testClient(t, Config{}).Announce(t.Context(), r); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
	c := testClient(t, Config{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig})
	if _, err := c.Announce(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestScrapeURL(t *testing.T) {
	for in, want := range map[string]string{
		"http://example.com/announce":             "http://example.com/scrape",
		"http://example.com/x/announce":           "http://example.com/x/scrape",
		"http://example.com/announce.php":         "http://example.com/scrape.php",
		"http://example.com/announce?x=2%0644":    "http://example.com/scrape?x=2%0644",
		"http://example.com/a%2Fb/announce?x=2/4": "http://example.com/a%2Fb/scrape?x=2/4",
		"http://example.com/a":                    "",
		"http://example.com":                      "",
		"http://example.com/announce/x":           "",
		"http://example.com/x%2Fannounce":         "",
		"http://example.com/xannounce":            "",
	} {
		u, err := parseURL(in)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if s, err := scrapeURL(u); err == nil {
			got = s.String()
		} else if !errors.Is(err, ErrNoScrape) {
			t.Errorf("%s: %v", in, err)
		}
		if got != want || CanScrape(in) != (want != "") {
			t.Errorf("%s is scraped at %q (%v), want %q", in, got, CanScrape(in), want)
		}
	}
}

func TestCanScrapeOverUDP(t *testing.T) {
	for in, want := range map[string]bool{"udp://tracker.example:6969": true, "udp://tracker.example": false, "announce": false} {
		if got := CanScrape(in); got != want {
			t.Errorf("%s can be scraped: %v, want %v", in, got, want)
		}
	}
}

func TestHTTPScrape(t *testing.T) {
	var asked []int
	u := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		hashes := r.URL.Query()["info_hash"]
		asked = append(asked, len(hashes))
		if r.URL.Path != "/scrape" {
			t.Errorf("path = %s", r.URL.Path)
		}
		fmt.Fprintf(w, "d5:filesd20:%sd8:completei5e10:downloadedi50e10:incompletei10eee5:flagsd20:min_request_intervali3600eee", hashes[0])
	})
	c := testClient(t, Config{})
	hashes := make([][20]byte, 90)
	for i := range hashes {
		hashes[i][3] = byte(i)
	}
	hashes[2] = hashes[0]
	got, err := c.Scrape(t.Context(), u, hashes)
	if err != nil || len(got) != 90 {
		t.Fatalf("%d results, %v", len(got), err)
	}
	known := ScrapeResult{5, 10, 50}
	for i, r := range got {
		want := unknownScrape
		if i%maxScrapeHTTP == 0 || i == 2 {
			want = known
		}
		if r != want {
			t.Errorf("result %d = %v, want %v", i, r, want)
		}
	}
	if fmt.Sprint(asked) != "[40 40 10]" {
		t.Errorf("hashes per request = %v", asked)
	}
	for body, want := range map[string]error{"d5:filesi3ee": ErrMalformed, "de": ErrMalformed, "d5:filesd3:abci3eee": nil} {
		if _, err := c.Scrape(t.Context(), httpTracker(t, fixed(body)), hashes[:1]); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", body, err, want)
		}
	}
	var refused *FailureError
	if _, err := c.Scrape(t.Context(), httpTracker(t, fixed("d14:failure_reason2:noe")), hashes[:1]); !errors.As(err, &refused) {
		t.Errorf("refused scrape: %v", err)
	}
	if _, err := c.Scrape(t.Context(), "http://127.0.0.1:1/x", hashes[:1]); !errors.Is(err, ErrNoScrape) {
		t.Errorf("scrape without a URL for it: %v", err)
	}
}

// What a tracker said before it failed counts.
func TestHTTPScrapeThatFailsHalfway(t *testing.T) {
	n := 0
	u := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "d5:filesd20:%sd8:completei5eeee", r.URL.Query()["info_hash"][0])
	})
	hashes := make([][20]byte, maxScrapeHTTP+1)
	for i := range hashes {
		hashes[i][3] = byte(i)
	}
	got, err := testClient(t, Config{}).Scrape(t.Context(), u, hashes)
	var status *StatusError
	if !errors.As(err, &status) {
		t.Errorf("error %v, want one about the status", err)
	}
	if len(got) != maxScrapeHTTP || got[0].Seeds != 5 {
		t.Errorf("%d results, the first %v; want those of the first request", len(got), got[:min(1, len(got))])
	}
}

// waiting is how many requests wait for their turn.
func (g *gate) waiting() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range g.hosts {
		n += q.waiting[0].Len() + q.waiting[1].Len()
	}
	return n
}

func awaitWaiting(t *testing.T, g *gate, want int) {
	t.Helper()
	for end := time.Now().Add(patience); g.waiting() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests wait, want %d", g.waiting(), want)
		}
	}
}

func TestAtMostEightInFlightAndStoppedFirst(t *testing.T) {
	const normal, stopped = 30, 10
	var (
		mu          sync.Mutex
		now, most   int
		order       []string
		arrived     = make(chan struct{}, 100)
		letOneLeave = make(chan struct{})
	)
	u := httpTracker(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		order = append(order, r.URL.Query().Get("event"))
		mu.Unlock()
		arrived <- struct{}{}
		<-letOneLeave
		mu.Lock()
		now--
		mu.Unlock()
		io.WriteString(w, "d8:intervali60e5:peers0:e")
	})
	c := testClient(t, Config{})
	var wg sync.WaitGroup
	send := func(n int, e Event) {
		for range n {
			wg.Go(func() {
				if _, err := c.Announce(t.Context(), Request{URL: u, Event: e}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	send(normal, None)
	for range 8 {
		<-arrived
	}
	awaitWaiting(t, c.gate, normal-8)
	send(stopped, Stopped)
	awaitWaiting(t, c.gate, normal-8+stopped)
	for i := range normal + stopped {
		letOneLeave <- struct{}{}
		if i < normal+stopped-8 {
			<-arrived
		}
	}
	wg.Wait()
	if most != 8 {
		t.Errorf("at most %d requests at a time, want 8", most)
	}
	for i, e := range order {
		if want := i >= 8 && i < 8+stopped; (e == "stopped") != want {
			t.Errorf("request %d has event %q", i, e)
		}
	}
	if len(c.gate.hosts) != 0 {
		t.Errorf("hosts left in the gate: %d", len(c.gate.hosts))
	}
}

func TestDeadTrackerCostsOneTimeout(t *testing.T) {
	sock, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close() // never answers
	c := testClient(t, Config{Timeout: 200 * time.Millisecond, UDPRetry: 50 * time.Millisecond})
	var turns []pass // all of them, until everybody waits
	for range 8 {
		p, err := c.gate.enter(t.Context(), "127.0.0.1", "another", false)
		if err != nil {
			t.Fatal(err)
		}
		turns = append(turns, p)
	}
	const all = 200
	results := make(chan error, all)
	for range all {
		go func() {
			_, err := c.Announce(t.Context(), Request{URL: "udp://" + sock.LocalAddr().String(), Family: IPv4})
			results <- err
		}()
	}
	awaitWaiting(t, c.gate, all)
	c.gate.leave(turns[0], nil, true) // one is sent
	for n := range all {
		err := <-results
		if err == nil || !strings.Contains(err.Error(), "no answer within") {
			t.Errorf("error = %v", err)
		}
		if n == 0 && c.gate.waiting() != 0 {
			t.Errorf("%d announces wait after one to the same tracker had no answer", c.gate.waiting())
		}
	}
	for _, p := range turns[1:] {
		c.gate.leave(p, nil, true)
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	hold, arrived := make(chan struct{}), make(chan struct{}, 1)
	u := httpTracker(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-hold
		io.WriteString(w, "d8:intervali60e5:peers0:e")
	})
	c := testClient(t, Config{PerHost: 1})
	first := make(chan error)
	go func() {
		_, err := c.Announce(t.Context(), Request{URL: u})
		first <- err
	}()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Announce(ctx, Request{URL: u}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Announce(ctx, Request{URL: u}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "took too long") {
		t.Errorf("late: %v", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A turn that comes at the moment its request is given up goes to the next.
func TestTurnIsNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if _, err := g.enter(t.Context(), "h", "e", false); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() {
			_, err := g.enter(ctx, "h", "e", true)
			results <- err
		}()
		go func() {
			p, err := g.enter(t.Context(), "h", "e", false)
			if err == nil {
				g.leave(p, nil, true)
			}
			results <- err
		}()
		synctest.Wait()
		g.mu.Lock()
		cancel()                     // the urgent one goes away,
		g.release("h", g.hosts["h"]) // but before it can say so it is its turn
		g.mu.Unlock()
		first, second := <-results, <-results
		if !errors.Is(errors.Join(first, second), context.Canceled) || first != nil && second != nil {
			t.Errorf("results: %v, %v", first, second)
		}
		synctest.Wait()
		if len(g.hosts) != 0 {
			t.Error("a turn was taken and not given back")
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	hold, arrived := make(chan struct{}), make(chan struct{}, 100)
	u := httpTracker(t, func(_ http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-hold
	})
	defer close(hold)
	sock, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	c := NewClient(Config{})
	results := make(chan error, 100)
	for i := range 40 {
		r := Request{URL: u}
		if i%2 == 0 {
			r.URL = "udp://" + sock.LocalAddr().String()
		}
		go func() {
			_, err := c.Announce(context.Background(), r)
			results <- err
		}()
	}
	<-arrived
	c.Close()
	for range 40 {
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("announce ended with %v", err)
		}
	}
	c.Close()
	if _, err := c.Announce(t.Context(), Request{URL: u}); !errors.Is(err, ErrClosed) {
		t.Errorf("announce after Close: %v", err)
	}
}

func TestBadURLs(t *testing.T) {
	c := testClient(t, Config{})
	for _, u := range []string{"", "x", "ftp://a/announce", "udp://a", "http://", "http://a:99999/", "http://a:0/", "http://[::1", "http://a/\x00", "http://a/" + strings.Repeat("x", 3000)} {
		if _, err := c.Announce(t.Context(), Request{URL: u}); !errors.Is(err, ErrURL) {
			t.Errorf("%.20q: %v, want ErrURL", u, err)
		}
	}
	if err := CheckURL("HTTP://A/announce"); err != nil {
		t.Error(err)
	}
}

// TestSourceAddress binds announces to one address: trackers learn where we
// can be reached, and the other family is left alone.
func TestSourceAddress(t *testing.T) {
	from := make(chan string, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from <- r.RemoteAddr
		io.WriteString(w, "d8:intervali60e5:peers0:e")
	}))
	defer srv.Close()
	src := netip.MustParseAddr("127.0.0.77")
	if l, err := net.Listen("tcp", src.String()+":0"); err != nil {
		t.Skip("no further loopback address on this machine:", err)
	} else {
		l.Close()
	}
	c := NewClient(Config{Source: src})
	defer c.Close()
	if _, err := c.Announce(t.Context(), Request{URL: srv.URL, Port: 1, Family: IPv4}); err != nil {
		t.Fatal(err)
	}
	if got := <-from; !strings.HasPrefix(got, "127.0.0.77:") {
		t.Errorf("the announce came from %s, want 127.0.0.77", got)
	}
	if _, err := c.Announce(t.Context(), Request{URL: "http://[::1]:1/announce", Port: 1, Family: IPv6}); !errors.Is(err, ErrNoFamily) {
		t.Errorf("announce over the other family: %v, want ErrNoFamily", err)
	}
}
