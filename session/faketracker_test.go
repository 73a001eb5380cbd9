package session

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"testing"
)

// fakeTracker answers as the test wants and remembers what it was asked.
type fakeTracker struct {
	url string

	mu    sync.Mutex
	asked []asked
}

type asked struct {
	url.Values
	from netip.Addr
}

// newFakeTracker serves on loopback. answer gets the number of the announce,
// beginning at 1.
func newFakeTracker(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) *fakeTracker {
	t.Helper()
	f := &fakeTracker{}
	srv := httptest.NewServer(f.handler(answer))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	f.url = srv.URL + "/announce"
	return f
}

func (f *fakeTracker) handler(answer func(w http.ResponseWriter, r *http.Request, n int)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		f.mu.Lock()
		f.asked = append(f.asked, asked{r.URL.Query(), from.Addr().Unmap()})
		n := len(f.asked)
		f.mu.Unlock()
		answer(w, r, n)
	})
}

func (f *fakeTracker) all() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]asked(nil), f.asked...)
}

// count is the number of announces with an event ("" is a regular one).
func (f *fakeTracker) count(event string) (n int) {
	for _, a := range f.all() {
		if a.Get("event") == event {
			n++
		}
	}
	return n
}

// await waits for the nth announce with an event.
func (f *fakeTracker) await(t *testing.T, event string, n int) asked {
	t.Helper()
	var nth asked
	seen := patient(func() bool {
		left := n
		for _, a := range f.all() {
			if a.Get("event") == event {
				if left--; left == 0 {
					nth = a
					return true
				}
			}
		}
		return false
	})
	if !seen {
		t.Fatalf("no announce %d with the event %q in %v", n, event, f.all())
	}
	return nth
}

// answerPeers is a good answer; more is further bencoded pairs that sort
// behind "peers".
func answerPeers(more string, peers ...netip.AddrPort) string {
	var compact []byte
	for _, p := range peers {
		compact = append(compact, p.Addr().Unmap().AsSlice()...)
		compact = binary.BigEndian.AppendUint16(compact, p.Port())
	}
	return fmt.Sprintf("d8:intervali1800e5:peers%d:%s%se", len(compact), compact, more)
}

// say answers every announce with the same body.
func say(body string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) { fmt.Fprint(w, body) }
}

// deadTracker is the URL of a port where nobody listens, nor will: it is in use
// for a connection to somewhere else.
func deadTracker(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); l.Close() })
	return "http://" + conn.LocalAddr().String() + "/announce"
}

// knows tells whether e is announced.
func (a *announcer) knows(e *entry) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.items[e] != nil
}

// trackerOf is the picture of one tracker.
func trackerOf(t *testing.T, s *Session, c content, url string) Tracker {
	t.Helper()
	list, err := s.Trackers(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if v.URL == url {
			return v
		}
	}
	t.Fatalf("no tracker %s in %+v", url, list)
	return Tracker{}
}

// settledTracker is trackerOf once no announce to it is under way: completion
// announces at once, so a tracker that works may be in the middle of the next.
func settledTracker(t *testing.T, s *Session, c content, url string) (v Tracker) {
	t.Helper()
	until(t, "end of the announce", func() bool {
		v = trackerOf(t, s, c, url)
		return v.Status != "announcing"
	})
	return v
}
