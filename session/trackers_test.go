package session

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"btd/tracker"
)

// TestTierFailover: one tier after the other fails in its own way, the last
// works.
func TestTierFailover(t *testing.T) {
	working, _ := startTracker(t)
	var around *fakeTracker
	around = newFakeTracker(t, func(w http.ResponseWriter, r *http.Request, n int) {
		http.Redirect(w, r, around.url+fmt.Sprint("?n=", n), http.StatusFound)
	})
	type broken struct{ url, reason string }
	all := []broken{
		{deadTracker(t), "refused"},
		{newFakeTracker(t, say("d14:failure reason17:go away right nowe")).url, "go away right now"},
		{around.url, "redirects"},
		{newFakeTracker(t, say("d8:intervali60e5:peers"+strings.Repeat("4000000:"+strings.Repeat("x", 1000), 3000))).url, "larger than"},
		{newFakeTracker(t, say("<html>this is a shop</html>")).url, "malformed"},
		{newFakeTracker(t, say("")).url, "malformed"},
		{newFakeTracker(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			http.Error(w, "no more", http.StatusServiceUnavailable)
		}).url, "503"},
	}
	var urls []string
	for _, b := range all {
		urls = append(urls, b.url)
	}
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20}, append(urls, working)...)
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{})
	v := await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	if v.Error != "" {
		t.Errorf("the torrent shows an error: %q", v.Error)
	}
	for tier, b := range all {
		got := settledTracker(t, leech, c, b.url)
		if got.Status != "failed" || got.Failures == 0 || got.Tier != tier || !strings.Contains(got.Error, b.reason) {
			t.Errorf("tracker %d, want a reason with %q: %+v", tier, b.reason, got)
		}
		until(t, "plan to try it again", func() bool { return trackerOf(t, leech, c, b.url).Next.After(time.Now()) })
	}
	if got := settledTracker(t, leech, c, working); got.Status != "working" || got.Error != "" || got.Announces == 0 {
		t.Errorf("the one that works: %+v", got)
	}
	tries := 2 // that may be under way
	for _, s := range []*Session{seed, leech} {
		tries += trackerOf(t, s, c, around.url).Failures
	}
	if n := len(around.all()); n > tries*6 { // one family, the request and five redirects
		t.Errorf("%d requests in the endless redirect, which was tried %d times", n, tries)
	}
}

// TestSwarmCounts: what a tracker says of the swarm is shown, also of one
// where nobody can be reached.
func TestSwarmCounts(t *testing.T) {
	f := newFakeTracker(t, say("d8:completei5e10:incompletei7e8:intervali1800e5:peers0:e"))
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20}, f.url)
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	f.await(t, "started", 1)
	await(t, s, c, "the numbers", func(v Torrent) bool {
		return v.Swarm.Seeds == 5 && v.Swarm.Leechers == 7 && v.SecondsActive > 0
	})
}

// TestSlowTracker: the next tier is tried beside a tracker that does not
// answer, and Close does not wait for it.
func TestSlowTracker(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	seed := seedOf(t, c, nil)
	ctx := t.Context()
	slow := newFakeTracker(t, func(_ http.ResponseWriter, r *http.Request, _ int) {
		select {
		case <-r.Context().Done():
		case <-ctx.Done():
		}
	})
	good := newFakeTracker(t, say(answerPeers("", addrs(seed)...)))
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	if err := s.AddTrackers(ctx, c.meta.Hash, 0, []string{slow.url}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddTrackers(ctx, c.meta.Hash, 1, []string{good.url}); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
	if got := trackerOf(t, s, c, slow.url); got.Status != "announcing" {
		t.Errorf("the slow tracker: %+v", got)
	}
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second { // the slow one is given up after 45 s
		t.Errorf("closing took %s", took)
	}
	good.await(t, "stopped", 1)
}

// answered waits until s has taken in as many answers of the tracker.
func answered(t *testing.T, s *Session, c content, f *fakeTracker, n int) {
	t.Helper()
	until(t, "answer", func() bool { return trackerOf(t, s, c, f.url).Announces >= n })
}

// TestAnnounces follows one torrent's announces over its life.
func TestAnnounces(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1<<20 + 5})
	quiet := seedOf(t, c, nil)
	f := newFakeTracker(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		fmt.Fprint(w, answerPeers(fmt.Sprintf("10:tracker id2:T%d15:warning message4:soon", n), addrs(quiet)...))
	})
	s := open(t, nil)
	add(t, s, c, AddOptions{Stopped: true})
	if err := s.AddTrackers(t.Context(), c.meta.Hash, 0, []string{f.url}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "completion", complete)
	f.await(t, "completed", 1)
	answered(t, s, c, f, 2) // which carries the next tracker id
	if v := trackerOf(t, s, c, f.url); v.Warning != "soon" || v.Peers != 1 {
		t.Errorf("the tracker: %+v", v)
	}
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	f.await(t, "stopped", 1)
	if err := s.Start(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	f.await(t, "started", 2)
	await(t, s, c, "seeding", complete)
	answered(t, s, c, f, 1) // or no stopped is due
	s = reopen(t, s)
	f.await(t, "stopped", 2)
	f.await(t, "started", 3)
	answered(t, s, c, f, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(1<<20 + 5)
	want := []struct{ event, trackerID, left, downloaded string }{
		{"started", "", id, "0"},
		{"completed", "T1", "0", id},
		{"stopped", "T2", "0", id},
		{"started", "", "0", id},
		{"stopped", "T4", "0", id},
		{"started", "", "0", "0"},
		{"stopped", "T6", "0", "0"},
	}
	all := f.all()
	if len(all) != len(want) {
		t.Errorf("%d announces, want %d: %v", len(all), len(want), all)
	}
	for i := range min(len(all), len(want)) {
		a, w := all[i], want[i]
		if a.Get("event") != w.event || a.Get("trackerid") != w.trackerID || a.Get("left") != w.left || a.Get("downloaded") != w.downloaded {
			t.Errorf("announce %d: %v, want %+v", i+1, a, w)
		}
		wire := c.meta.Hash.Wire()
		if a.Get("info_hash") != string(wire[:]) || a.Get("compact") != "1" || !strings.HasPrefix(a.Get("peer_id"), "-BD0010-") || len(a.Get("peer_id")) != 20 {
			t.Errorf("announce %d: %v", i+1, a)
		}
		if first := all[0].Get("key"); i < 5 && (a.Get("key") == "" || a.Get("key") != first) {
			t.Errorf("announce %d has the key %q, the first %q", i+1, a.Get("key"), first)
		}
	}
}

// TestCompleteDataIsNotAnnouncedAsCompleted: data that was there before is no
// download.
func TestCompleteDataIsNotAnnouncedAsCompleted(t *testing.T) {
	f := newFakeTracker(t, say(answerPeers("")))
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20}, f.url)
	s := seedOf(t, c, nil)
	if a := f.await(t, "started", 1); a.Get("left") != "0" {
		t.Errorf("announced as started with %s left", a.Get("left"))
	}
	answered(t, s, c, f, 1)
	if err := s.Verify(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "the check", func(v Torrent) bool { return v.State == StateChecking || complete(v) })
	await(t, s, c, "the end of the check", complete)
	if err := s.Remove(t.Context(), c.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	f.await(t, "stopped", 1)
	if n := f.count("completed"); n != 0 {
		t.Errorf("announced as completed %d times", n)
	}
}

// TestBothFamilies: a tracker with addresses of both families learns ours of
// both.
func TestBothFamilies(t *testing.T) {
	f := &fakeTracker{}
	h := f.handler(say(answerPeers("")))
	var four, six net.Listener
	for range 20 {
		var err error
		if four, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		six, err = net.Listen("tcp6", fmt.Sprintf("[::1]:%d", four.Addr().(*net.TCPAddr).Port))
		if err == nil {
			break
		}
		four.Close()
	}
	if six == nil {
		t.Skip("no IPv6 on loopback")
	}
	for _, l := range []net.Listener{four, six} {
		srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
		srv.Start()
		t.Cleanup(srv.Close)
	}
	f.url = fmt.Sprintf("http://tracker.test:%d/announce", four.Addr().(*net.TCPAddr).Port)
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20}, f.url)
	s := open(t, func(cfg *Config) { cfg.Listen = ":0" })
	s.trackers.Close()
	s.trackers = tracker.NewClient(tracker.Config{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, nil
	}})
	add(t, s, c, AddOptions{})
	a, b := f.await(t, "started", 1), f.await(t, "started", 2)
	if a.from.Is4() == b.from.Is4() {
		t.Errorf("announced from %s and %s", a.from, b.from)
	}
	if a.Get("key") == "" || a.Get("key") != b.Get("key") || a.Get("peer_id") != b.Get("peer_id") || a.Get("port") != b.Get("port") {
		t.Errorf("the two differ: %v and %v", a, b)
	}
	answered(t, s, c, f, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := f.count("stopped"); n != 2 {
		t.Errorf("stopped was sent %d times, want over both families", n)
	}
}
