//go:build interop && linux

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// meeting is one way for two programs to meet.
type meeting struct {
	tracker    string // announce URL
	leechFirst bool   // the leecher is in the swarm before the seed, which so dials it
}

// meetings: every program meets btd in each of these ways.
var meetings = []meeting{
	{tracker: httpTracker},
	{tracker: udpTracker, leechFirst: true},
	{tracker: httpTracker6},
	{tracker: udpTracker6, leechFirst: true},
}

// TestClients lets btd download from each program that people run, and each
// of them download from btd.
func TestClients(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "opentracker")
	for _, other := range kinds {
		for _, m := range meetings {
			if why := other.cannot(m.tracker); why != "" {
				t.Logf("not over %s: %s", trackerName(m.tracker), why)
				continue
			}
			for _, p := range []struct {
				name        string
				seed, leech kind
			}{
				{"btd downloads from " + other.name, other, btdKind},
				{"btd seeds to " + other.name, btdKind, other},
			} {
				t.Run(p.name+" over "+trackerName(m.tracker), func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					l := newLab(t)
					tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1, m.tracker)
					l.startTracker(ctx, m.tracker, tor)
					l.transfer(ctx, tor, m, p.seed, p.leech)
				})
			}
		}
	}
}

// transfer lets one program seed and another download, and compares.
func (l *lab) transfer(ctx context.Context, tor *torrent, m meeting, seed, leech kind) {
	l.T.Helper()
	need(l.T, append(seed.programs, leech.programs...)...)
	s, d := seed.make(l.Host(seed.name)), leech.make(l.Host(leech.name))
	for _, p := range []program{s, d} {
		if b, ok := p.(*btd); ok {
			l.T.Cleanup(func() {
				if l.T.Failed() {
					b.describe(l.T, tor)
				}
			})
		}
	}
	dest := filepath.Join(l.Dir, "downloads")
	l.Must(os.MkdirAll(dest, 0o755))
	l.Must(s.start(ctx))
	l.Must(d.start(ctx))
	began := time.Now()
	if m.leechFirst {
		l.Must(d.leech(ctx, tor, dest))
		l.waitSwarm(ctx, m.tracker, tor, 0, 1)
		l.Must(s.seed(ctx, tor, tor.source))
	} else {
		l.Must(s.seed(ctx, tor, tor.source))
		l.waitSwarm(ctx, m.tracker, tor, 1, 0)
		l.Must(d.leech(ctx, tor, dest))
	}
	l.Must(waitDone(ctx, d, tor, leech.name+" downloads from "+seed.name))
	took := time.Since(began)
	for _, p := range []program{s, d} {
		if b, ok := p.(*btd); ok {
			l.Must(b.account(ctx, tor, m.tracker, p == d))
		}
	}
	l.Must(d.stop(ctx))
	if err := tor.compare(dest, leech.noEmpty != ""); err != nil {
		l.T.Errorf("%s downloaded from %s: %v", leech.name, seed.name, err)
	}
	l.Must(s.stop(ctx))
	l.T.Logf("%s to %s: %.1f MiB in %.1f s", seed.name, leech.name, float64(tor.size)/(1<<20), took.Seconds())
}

// account checks what btd says about a transfer that is over. Its counters
// may be a moment behind.
func (c *btd) account(ctx context.Context, tor *torrent, tracker string, downloaded bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var got client.Torrent
	_ = netns.Poll(ctx, 50*time.Millisecond, "btd counts what was sent", func() (ok bool, err error) {
		got, err = c.torrent(ctx, tor)
		return downloaded || got.Uploaded >= tor.size, err
	})
	var trackers []client.Tracker
	err := netns.Poll(ctx, 50*time.Millisecond, "btd's tracker works", func() (ok bool, err error) {
		trackers, err = c.api.Trackers(ctx, tor.hex())
		return len(trackers) == 1 && trackers[0].Status == "working", err
	})
	if err != nil {
		return fmt.Errorf("%w: %+v", err, trackers)
	}
	switch {
	case downloaded && (got.Downloaded < tor.size || got.Downloaded > tor.size+tor.size/4):
		return fmt.Errorf("btd says that it downloaded %d bytes of a torrent of %d", got.Downloaded, tor.size)
	case !downloaded && got.Uploaded < tor.size:
		return fmt.Errorf("btd says that it uploaded %d bytes of a torrent of %d", got.Uploaded, tor.size)
	case got.Corrupt != 0:
		return fmt.Errorf("btd says that %d bytes were corrupt", got.Corrupt)
	case trackers[0].URL != tracker || trackers[0].Error != "":
		return fmt.Errorf("btd shows the tracker as %+v, want %s without an error", trackers[0], tracker)
	}
	return nil
}

// TestPeerNames: while btd downloads, its list of peers says who is there.
func TestPeerNames(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "opentracker")
	l := newLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tor := makeTorrent(t, l.Dir, "named", []contentFile{{[]string{"a"}, 8 << 20}}, 256<<10, 2, httpTracker)
	l.startOpentracker(ctx, tor)
	seed := &libtorrent{host: l.Host("libtorrent"), upLimit: 64 << 10} // so that nobody is done before the list is seen
	l.Must(seed.start(ctx))
	l.Must(seed.seed(ctx, tor, tor.source))
	l.waitSwarm(ctx, httpTracker, tor, 1, 0)
	b := newBtd(l.Host("btd"))
	l.Must(b.start(ctx))
	l.Must(b.leech(ctx, tor, filepath.Join(l.Dir, "downloads")))
	var peers []client.Peer
	err := netns.Poll(ctx, 50*time.Millisecond, "btd downloads from one peer", func() (bool, error) {
		if _, err := b.torrent(ctx, tor); err != nil {
			return false, err
		}
		var err error
		peers, err = b.api.Peers(ctx, tor.hex())
		return len(peers) == 1 && peers[0].Downloaded > 0, err
	})
	if err != nil {
		b.describe(t, tor)
		t.Fatal(err)
	}
	p := peers[0]
	if want := peerAddr(seed.host, false).String(); p.Addr != want {
		t.Errorf("peer's address is %s, want %s", p.Addr, want)
	}
	if !strings.HasPrefix(p.Client, "libtorrent/") || p.Source != "tracker" || p.Incoming || p.Progress != 1 || !p.Fast || !p.Extended {
		t.Errorf("peer is %+v, want libtorrent/…, from the tracker, not incoming, complete, with the fast extension and extensions", p)
	}
}
