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

// A closed swarm is tracked by its mask, however it is registered: its
// info-hash says nothing to who asks the tracker.
func TestClosedSwarmIsTrackedByItsMask(t *testing.T) {
	d := start(t, shortDir(t), "--tracker-listen", "127.0.0.1:0")
	api := d.ready(t)
	secret, err := metainfo.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := "d4:infod6:lengthi5e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee"
	added, err := api.Add(t.Context(), client.AddRequest{Torrent: []byte(file), Stopped: true, Secret: secret.String()})
	if err != nil {
		t.Fatal(err)
	}
	id := added.Torrent.ID
	h, err := metainfo.ParseHash(id)
	if err != nil {
		t.Fatal(err)
	}
	mask := secret.Mask(h).String()
	if _, err := api.Share(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		do     func() error
		shared bool
		left   int
	}{
		{"shared", func() error { return nil }, true, 1},
		{"registered", func() error { return api.Register(t.Context(), id, "by hand") }, false, 1},
		{"unregistered", func() error { return api.Unregister(t.Context(), id) }, false, 0},
		{"registered again", func() error { return api.Register(t.Context(), id, "by hand") }, false, 1},
		{"removed", func() error { return api.Remove(t.Context(), id, false) }, false, 1},
		{"unregistered by its mask", func() error { return api.Unregister(t.Context(), mask) }, false, 0},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		list, err := api.Registered(t.Context())
		if err != nil || len(list) != step.left || step.left > 0 && (list[0].ID != mask || list[0].Shared != step.shared) {
			t.Errorf("%s: registered %+v, %v, want the mask %s", step.name, list, err, mask)
		}
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
