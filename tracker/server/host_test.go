package server_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"btd/tracker"
	"btd/tracker/server"
)

// memory is a Keeper.
type memory struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (k *memory) Get(key string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m[key], nil
}

func (k *memory) Put(key string, val []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if val == nil {
		delete(k.m, key)
	} else {
		k.m[key] = val
	}
	return nil
}

func (k *memory) List(prefix string) (map[string][]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string][]byte{}
	for key, v := range maps.All(k.m) {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			out[rest] = v
		}
	}
	return out, nil
}

func newHost(t *testing.T, keep *memory, edit func(*server.HostConfig)) *server.Host {
	t.Helper()
	cfg := server.HostConfig{Listen: "127.0.0.1:0", Keeper: keep}
	if edit != nil {
		edit(&cfg)
	}
	h, err := server.NewHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func TestHostRemembers(t *testing.T) {
	keep := &memory{m: map[string][]byte{"torrent/zz": {1}, "torrent/" + strings.Repeat("0a", 20): {9, 'x'}}}
	h := newHost(t, keep, nil)
	if err := h.Begin(nil); err != nil || h.Stats().On || len(h.URLs()) != 0 || len(h.Registered()) != 0 {
		t.Fatalf("a tracker that nobody asked for: %v, %+v", err, h.Stats())
	}
	if err := h.Register(hash, "a name"); err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	token := h.Stats().Token
	h.Close()
	h = newHost(t, keep, nil)
	if err := h.Begin(nil); err != nil || !h.Stats().On || h.Stats().Token != token || len(token) < 20 {
		t.Errorf("after a restart: %v, %+v", err, h.Stats())
	}
	if got := h.Registered(); len(got) != 1 || got[0].Hash != hash || got[0].Name != "a name" {
		t.Errorf("registered: %+v", got)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	if found, err := h.Unregister(hash); !found || err != nil {
		t.Errorf("unregister: %v, %v", found, err)
	}
	if found, _ := h.Unregister(hash); found {
		t.Error("unregistered twice")
	}
	h = newHost(t, keep, func(c *server.HostConfig) { c.Enabled = true })
	if err := h.Begin(nil); err != nil || !h.Stats().On || len(h.Registered()) != 0 {
		t.Errorf("enabled by the configuration: %v, %+v", err, h.Stats())
	}
}

// What is shared goes with its torrent, what was registered by hand stays;
// both over a restart.
func TestHostForgetsWhatWasShared(t *testing.T) {
	keep := &memory{m: map[string][]byte{}}
	h := newHost(t, keep, nil)
	plain, masked, hidden, both, pinned := [20]byte{1}, [20]byte{2}, [20]byte{3}, [20]byte{4}, [20]byte{5}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(h.Share(plain, plain, "plain"))
	check(h.Share(masked, hidden, "masked"))
	check(h.Share(masked, hidden, "renamed")) // again
	check(h.Register(both, "both"))
	check(h.Share(both, both, "shared too"))
	check(h.Share(pinned, pinned, "pinned"))
	check(h.Register(pinned, "pinned"))
	check(h.Start())
	for _, restarted := range []bool{false, true} {
		if restarted {
			h.Close()
			h = newHost(t, keep, nil)
			check(h.Begin(nil))
		}
		got := map[[20]byte]string{}
		for _, r := range h.Registered() {
			got[r.Hash] = r.Name
			if r.Shared {
				got[r.Hash] += " (shared)"
			}
		}
		want := map[[20]byte]string{plain: "plain (shared)", hidden: "renamed (shared)", both: "both", pinned: "pinned"}
		if !maps.Equal(got, want) {
			t.Fatalf("restarted: %v: registered %v, want %v", restarted, got, want)
		}
		if got := h.Shared(); len(got) != 2 || !slices.Contains(got, plain) || !slices.Contains(got, masked) {
			t.Errorf("restarted: %v: shared %x", restarted, got)
		}
	}
	c := tracker.NewClient(tracker.Config{Timeout: time.Minute})
	defer c.Close()
	tracked := func(hash [20]byte) bool {
		t.Helper()
		_, err := c.Announce(t.Context(), tracker.Request{URL: h.URLs()[0], InfoHash: hash, PeerID: peerID(1), Port: 1, Left: 1, Family: tracker.IPv4})
		var refused *tracker.FailureError
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, torrent := range [][20]byte{plain, masked, both, pinned, {9}} {
		found, err := h.Unshare(torrent)
		if want := torrent == plain || torrent == masked; err != nil || found != want {
			t.Errorf("unsharing %x: %v, %v", torrent[:1], found, err)
		}
	}
	for hash, want := range map[[20]byte]bool{plain: false, hidden: false, both: true, pinned: true} {
		if got := tracked(hash); got != want {
			t.Errorf("after the torrents are gone %x is tracked: %v, want %v", hash[:1], got, want)
		}
	}
	h = newHost(t, keep, nil)
	if got := h.Registered(); len(got) != 2 || len(h.Shared()) != 0 {
		t.Errorf("after another restart: %+v", got)
	}
}

// A torrent that comes back with another secret leaves nothing of the first,
// and one that is unregistered by hand is not shared any more.
func TestHostSharesATorrentOnce(t *testing.T) {
	h := newHost(t, &memory{m: map[string][]byte{}}, nil)
	torrent, first, second := [20]byte{1}, [20]byte{2}, [20]byte{3}
	for _, announced := range [][20]byte{first, second} {
		if err := h.Share(torrent, announced, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.Registered(); len(got) != 1 || got[0].Hash != second {
		t.Errorf("registered: %+v", got)
	}
	if found, err := h.Unregister(second); !found || err != nil {
		t.Errorf("unregister: %v, %v", found, err)
	}
	if found, err := h.Unshare(torrent); found || err != nil || len(h.Shared()) != 0 {
		t.Errorf("unshare of what was unregistered: %v, %v", found, err)
	}
}

func TestHostTracksWhatIsRegistered(t *testing.T) {
	file := []byte("d4:infoe")
	var outside atomic.Bool
	h := newHost(t, &memory{m: map[string][]byte{}}, func(c *server.HostConfig) {
		c.Tracker.TorrentFile = func(got [20]byte) ([]byte, error) {
			if got != hash {
				return nil, errors.New("not here")
			}
			return file, nil
		}
		c.Tracker.MayFetch = func(got [20]byte, who netip.Addr) bool { return who.IsLoopback() && !outside.Load() }
	})
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err != nil { // it is on
		t.Fatal(err)
	}
	urls := h.URLs()
	if len(urls) != 1 || !strings.HasPrefix(urls[0], "http://127.0.0.1:") || !strings.HasSuffix(urls[0], "/announce") {
		t.Fatalf("URLs %q", urls)
	}
	base := strings.TrimSuffix(urls[0], "/announce")
	udp := "udp" + strings.TrimPrefix(base, "http")
	token := h.Stats().Token
	c := tracker.NewClient(tracker.Config{Timeout: time.Minute})
	defer c.Close()
	announce := func(u string) error {
		_, err := c.Announce(t.Context(), tracker.Request{URL: u, InfoHash: hash, PeerID: peerID(1), Port: 1, Left: 1, Family: tracker.IPv4})
		return err
	}
	for _, u := range []string{base + "/announce", udp + "/announce", base + "/wrong/announce", udp + "/" + token[1:] + "/announce"} {
		var refused *tracker.FailureError
		if err := announce(u); !errors.As(err, &refused) || !strings.Contains(err.Error(), "not registered") {
			t.Errorf("announce to %s: %v", u, err)
		}
	}
	for _, u := range []string{base + "/" + token + "/announce", udp + "/" + token + "/announce"} {
		if err := announce(u); err != nil {
			t.Errorf("announce with the token: %v", err)
		}
	}
	if s := h.Stats(); s.Refused["not registered"] != 4 || s.Announces["http"] != 1 || s.Announces["udp"] != 1 {
		t.Errorf("stats: %+v", s)
	}
	fetch := func(path string) (int, string) {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	torrent := "/t/" + hex.EncodeToString(hash[:]) + ".torrent"
	if code, _ := fetch(torrent); code != 404 {
		t.Errorf("the file of a torrent that is not registered: %d", code)
	}
	other := [20]byte{9}
	for _, hash := range [][20]byte{hash, other} {
		if err := h.Register(hash, ""); err != nil {
			t.Fatal(err)
		}
	}
	if code, body := fetch(torrent); code != 200 || body != string(file) {
		t.Errorf("the file of a registered torrent: %d %q", code, body)
	}
	for _, path := range []string{"/t/" + hex.EncodeToString(other[:]) + ".torrent", "/t/", "/t/.torrent", torrent + "x", "/t/" + strings.Repeat("z", 40) + ".torrent", "/t/" + strings.Repeat("0a", 21) + ".torrent"} {
		if code, _ := fetch(path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
	outside.Store(true)
	if code, _ := fetch(torrent); code != 404 {
		t.Errorf("the file for somebody who may not have it: %d", code)
	}
	if err := announce(base + "/announce"); err != nil {
		t.Errorf("announce of a registered torrent: %v", err)
	}
	if _, err := h.Unregister(hash); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Peers != 0 {
		t.Errorf("%d peers of a torrent that was unregistered", s.Peers)
	}
}

func TestHostOnAPortThatIsTaken(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, at := range []net.Addr{ln.Addr(), conn.LocalAddr()} {
		h := newHost(t, &memory{m: map[string][]byte{}}, func(c *server.HostConfig) { c.Listen, c.Enabled = at.String(), true })
		if err := h.Begin(nil); err == nil || h.Stats().On || h.Stats().Problem == "" {
			t.Errorf("%s %s is taken: %v, %+v", at.Network(), at, err, h.Stats())
		}
		if err := h.Stop(); err != nil || h.Stats().Problem != "" {
			t.Errorf("a tracker that nobody wants on has a problem: %v, %q", err, h.Stats().Problem)
		}
	}
}

// The URLs are addresses of this machine, and the tracker answers there.
func TestHostURLs(t *testing.T) {
	h := newHost(t, &memory{m: map[string][]byte{}}, func(c *server.HostConfig) { c.Listen, c.Open = ":0", true })
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	urls := h.URLs()
	if len(urls) == 0 || len(urls) > 8 {
		t.Fatalf("%d URLs: %q", len(urls), urls)
	}
	own := map[netip.Addr]bool{}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(n.IP)
			own[ip.Unmap()] = true
		}
	}
	for _, u := range urls {
		hostport := strings.TrimSuffix(strings.TrimPrefix(u, "http://"), "/announce")
		at, err := netip.ParseAddrPort(hostport)
		if err != nil || !own[at.Addr()] || at.Addr().IsLinkLocalUnicast() || at.Addr().IsUnspecified() || (at.Addr().IsLoopback() && len(urls) > 1) {
			t.Errorf("%s: %v", u, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", urls[0]+"?info_hash=x", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
