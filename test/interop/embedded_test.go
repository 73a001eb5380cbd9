//go:build interop && linux

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"btd/api/client"
	"btd/test/netns"
)

// startEmbedded starts btd on the hub with its tracker on, where the trackers
// of these tests are expected.
func (l *lab) startEmbedded(ctx context.Context, register ...*torrent) *btd {
	l.T.Helper()
	b := newBtd(l.Hub)
	b.more = []string{"--tracker-enabled", "--tracker-listen", fmt.Sprintf(":%d", trackerPort), "--lsd=false", "--pex=false"}
	l.Must(b.start(ctx))
	for _, t := range register {
		l.Must(b.api.Register(ctx, t.hex(), t.name))
	}
	return b
}

// TestEmbeddedTracker has the programs of other people find each other by
// the tracker in btd, and by nothing else.
func TestEmbeddedTracker(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	kind := map[string]kind{}
	for _, k := range kinds {
		kind[k.name] = k
	}
	for _, m := range meetings {
		for _, pair := range [][2]string{{"transmission", "aria2"}, {"aria2", "libtorrent"}, {"libtorrent", "transmission"}} {
			seed, leech := kind[pair[0]], kind[pair[1]]
			if why := seed.cannot(m.tracker) + leech.cannot(m.tracker); why != "" {
				t.Logf("not over %s: %s", trackerName(m.tracker), why)
				continue
			}
			t.Run(seed.name+" to "+leech.name+" over "+trackerName(m.tracker), func(t *testing.T) {
				t.Parallel()
				if isIPv6(m.tracker) {
					needIPv6(t)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				l := newLab(t)
				tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1, m.tracker)
				b := l.startEmbedded(ctx, tor)
				l.transfer(ctx, tor, m, seed, leech)
				s, err := b.api.TrackerServer(ctx)
				l.Must(err)
				via := strings.TrimSuffix(trackerName(m.tracker), "6")
				if s.Announces[via] < 2 {
					t.Errorf("the tracker counts %v announces", s.Announces)
				}
				l.Must(b.stop(ctx))
			})
		}
	}
}

// TestEmbeddedTrackerTellsOfItsOwnDaemon has btd seed and announce to its own
// tracker, at loopback or at an address that others reach: they reach it.
func TestEmbeddedTrackerTellsOfItsOwnDaemon(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "/usr/bin/python3")
	for _, own := range []string{"http://127.0.0.1:6969/announce", "http://[::1]:6969/announce", udpTracker6, httpTracker} {
		for _, theirs := range []string{httpTracker, udpTracker, httpTracker6, udpTracker6} {
			t.Run(own+" for "+trackerName(theirs), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if strings.Contains(own+theirs, "[") {
					needIPv6(t)
				}
				l := newLab(t)
				mine := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1, own)
				other := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1, theirs) // the same content
				b := l.startEmbedded(ctx, mine)
				l.Must(b.seed(ctx, mine, mine.source))
				l.waitSwarm(ctx, theirs, mine, 1, 0)
				c := newLibtorrent(l.Host("libtorrent"))
				l.Must(c.start(ctx))
				dest := filepath.Join(l.Dir, "downloads")
				l.Must(os.MkdirAll(dest, 0o755))
				l.Must(c.leech(ctx, other, dest))
				l.Must(waitDone(ctx, c, other, "libtorrent downloads from btd"))
				l.Must(c.stop(ctx)) // so that its files are complete
				if err := other.compare(dest, false); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// peerClient is npm's bittorrent-tracker in a directory of its own: an error
// says why there is none.
var peerClient = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "npm")
	cmd := exec.Command("../install-clients.sh", "--npm", dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return filepath.Join(dir, "node_modules", "bittorrent-tracker", "index.js"), nil
})

// webAnswer is a line of tracker_client.mjs.
type webAnswer struct {
	Error                            string
	Complete, Incomplete, Downloaded int
	Interval                         int
	Peers                            []string
	Scrape                           struct{ Complete, Incomplete, Downloaded int }
}

// TestEmbeddedTrackerAndNpm compares what npm's bittorrent-tracker client is
// told with what was announced.
func TestEmbeddedTrackerAndNpm(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "node")
	library, err := peerClient()
	if err != nil {
		unless(t, "npm's bittorrent-tracker cannot be installed: "+err.Error())
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tracker := range []string{httpTracker, udpTracker, httpTracker6} {
		t.Run(trackerName(tracker), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if isIPv6(tracker) {
				needIPv6(t)
			}
			l := newLab(t)
			tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1, tracker)
			b := l.startEmbedded(ctx)
			run := 0
			ask := func(h *netns.Host, port int, event string, left int) (a webAnswer) {
				t.Helper()
				run++
				out, err := os.Create(filepath.Join(h.Dir, fmt.Sprintf("answer-%d", run)))
				l.Must(err)
				defer out.Close()
				p, err := h.Start("node", netns.Command{Stdout: out, Argv: []string{
					"node", filepath.Join(wd, "tracker_client.mjs"), library, tracker, tor.hex(), fmt.Sprint(port), event, fmt.Sprint(left),
				}})
				l.Must(err)
				l.Must(p.Wait(ctx))
				text, err := os.ReadFile(out.Name())
				l.Must(err)
				if err := json.Unmarshal(text, &a); err != nil {
					t.Fatalf("%v: %s\n%s", err, text, p.Tail(20))
				}
				return a
			}
			one, two, three := l.Host("one"), l.Host("two"), l.Host("three")
			if a := ask(one, 1001, "start", 0); !strings.Contains(a.Error, "not registered") {
				t.Errorf("a torrent that is not registered: %+v", a)
			}
			l.Must(b.api.Register(ctx, tor.hex(), tor.name))
			at := func(h *netns.Host, port int) string {
				if isIPv6(tracker) {
					return fmt.Sprintf("[%s]:%d", h.IP6, port)
				}
				return fmt.Sprintf("%s:%d", h.IP4, port)
			}
			check := func(what string, a webAnswer, complete, incomplete, downloaded int, peers ...string) {
				t.Helper()
				counts := struct{ Complete, Incomplete, Downloaded int }{complete, incomplete, downloaded}
				if a.Error != "" || a.Complete != complete || a.Incomplete != incomplete || a.Scrape != counts || a.Interval != 1800 ||
					strings.Join(a.Peers, " ") != strings.Join(peers, " ") {
					t.Errorf("%s: %+v, want %+v and peers %v", what, a, counts, peers)
				}
			}
			check("the first, a seed", ask(one, 1001, "start", 0), 1, 0, 0)
			check("a leecher", ask(two, 1002, "start", 7), 1, 1, 0, at(one, 1001))
			check("another seed", ask(three, 1003, "start", 0), 2, 1, 0, at(two, 1002))
			check("the leecher is complete", ask(two, 1002, "complete", 0), 3, 0, 1)
			check("the first leaves", ask(one, 1001, "stop", 0), 2, 0, 1)
			if s, err := b.api.Registered(ctx); err != nil || len(s) != 1 ||
				s[0] != (client.Registration{ID: tor.hex(), Name: tor.name, Seeds: 2, Downloads: 1}) {
				t.Errorf("the tracker knows %+v, %v", s, err)
			}
		})
	}
}
