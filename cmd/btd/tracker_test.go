package main

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
	"btd/tracker"
	"btd/tracker/server"
)

// TestTracker has a daemon be a tracker, over a restart.
func TestTracker(t *testing.T) {
	state := shortDir(t)
	id := strings.Repeat("0b", 20)
	for run, args := range [][]string{{"--tracker-listen", "127.0.0.1:0"}, {"--tracker-listen", "127.0.0.1:0", "--tracker-open"}} {
		d := start(t, state, args...)
		d.ready(t)
		api, err := client.New(client.Config{Address: "unix://" + d.socket})
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close()
		if run == 0 {
			if s, err := api.TrackerServer(t.Context()); err != nil || s.On {
				t.Errorf("nobody wants a tracker yet: %+v, %v", s, err)
			}
			if err := api.StartTracker(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := api.Register(t.Context(), id, "name"); err != nil {
				t.Fatal(err)
			}
		}
		s, err := api.TrackerServer(t.Context())
		if err != nil || !s.On || s.Open != (run == 1) || s.Registered != 1 || len(s.URLs) != 1 {
			t.Fatalf("run %d: %+v, %v", run, s, err)
		}
		c := tracker.NewClient(tracker.Config{Timeout: patience})
		defer c.Close()
		for _, u := range []string{s.URLs[0], strings.Replace(s.URLs[0], "http://", "udp://", 1)} {
			r := tracker.Request{URL: u, InfoHash: [20]byte([]byte(strings.Repeat("\x0b", 20))), PeerID: [20]byte{1}, Port: 7, Left: 1, Family: tracker.IPv4}
			if _, err := c.Announce(t.Context(), r); err != nil {
				t.Errorf("run %d: %s: %v", run, u, err)
			}
			r.InfoHash = [20]byte{1}
			if _, err := c.Announce(t.Context(), r); (err == nil) != (run == 1) {
				t.Errorf("run %d: %s: a torrent that is not registered: %v", run, u, err)
			}
		}
		if list, err := api.Registered(t.Context()); err != nil || len(list) != 1 || list[0].ID != id || list[0].Name != "name" || list[0].Leechers != 1 {
			t.Errorf("run %d: registered %+v, %v", run, list, err)
		}
		if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if code := d.wait(t); code != 0 {
			t.Errorf("run %d: exit status %d\n%s", run, code, d.stderr.String())
		}
	}
}

// What is shared is not tracked any more once it is removed, also where the
// daemon died in between. What was registered by hand is.
func TestRemovedTorrentsAreNotTracked(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	ses, err := session.Open(session.Config{StateDir: t.TempDir(), Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer ses.Close()
	host := func() *server.Host {
		t.Helper()
		h, err := hostFor(ses, server.HostConfig{Listen: "127.0.0.1:0", Log: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		return h
	}
	h := host()
	var added []metainfo.Hash
	for _, link := range []string{"1", "2", "3"} {
		v, _, err := ses.AddMagnet(t.Context(), "magnet:?xt=urn:btih:"+strings.Repeat("0", 39)+link, session.AddOptions{Stopped: true})
		if err != nil {
			t.Fatal(err)
		}
		added = append(added, v.Hash)
	}
	lost := [20]byte{9} // of a torrent that went while nobody looked
	for _, hash := range [][20]byte{added[0].Wire(), added[1].Wire(), lost} {
		if err := h.Share(hash, hash, "shared"); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Register(added[2].Wire(), "by hand"); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 2} {
		if err := ses.Remove(t.Context(), added[i], false); err != nil {
			t.Fatal(err)
		}
	}
	registered := func(h *server.Host) (out [][20]byte) {
		for _, r := range h.Registered() {
			out = append(out, r.Hash)
		}
		return out
	}
	if got, want := registered(h), [][20]byte{added[2].Wire(), added[1].Wire(), lost}; !slices.Equal(got, want) {
		t.Errorf("registered %x, want %x", got, want)
	}
	if got, want := registered(host()), [][20]byte{added[2].Wire(), added[1].Wire()}; !slices.Equal(got, want) {
		t.Errorf("registered after a restart %x, want %x", got, want)
	}
}

// A link that is mistyped is taken for a file: its secret gets into no log.
func TestMistypedLinkIsNotLogged(t *testing.T) {
	secret, err := metainfo.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, before := range []string{"<", "x", "./"} {
		var out bytes.Buffer
		link := before + "magnet:?xt=urn:btih:0123456789012345678901234567890123456789#" + secret.String()
		addFiles(t.Context(), nil, []string{link}, slog.New(slog.NewTextHandler(&out, nil)))
		if text := out.String(); !strings.Contains(text, "no such file") || strings.Contains(text, secret.String()) {
			t.Errorf("logged: %s", text)
		}
	}
}
