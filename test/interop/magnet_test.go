//go:build interop && linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// magnetLeech is a program that can be given a magnet link.
type magnetLeech interface {
	program
	leechMagnet(ctx context.Context, t *torrent, link, dir string) error
}

// byMagnet gets its downloads as links.
type byMagnet struct {
	magnetLeech
	tracker string
	dir     string
}

func (c *byMagnet) leech(ctx context.Context, t *torrent, dir string) error {
	c.dir = dir
	return c.leechMagnet(ctx, t, fmt.Sprintf("magnet:?xt=urn:btih:%s&tr=%s", t.hex(), url.QueryEscape(c.tracker)), dir)
}

func (c *byMagnet) stop(ctx context.Context) error {
	return errors.Join(c.magnetLeech.stop(ctx), tidy(c.dir))
}

// tidy takes away what rtorrent keeps of a link beside the content.
func tidy(dir string) (err error) {
	left, _ := filepath.Glob(filepath.Join(dir, "*.meta"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// linked is k with its downloads added as links.
func (k kind) linked(tracker string) kind {
	make := k.make
	k.make = func(h *netns.Host) program { return &byMagnet{magnetLeech: make(h).(magnetLeech), tracker: tracker} }
	return k
}

// TestMagnets gives each program a link to what btd seeds, and the other way
// round: the metadata has to come from the other side.
func TestMagnets(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "opentracker")
	m := meeting{tracker: httpTracker}
	for _, other := range kinds {
		if other.name == "qbittorrent" {
			continue // it is libtorrent once more
		}
		for _, p := range []struct {
			name        string
			seed, leech kind
		}{
			{"btd asks " + other.name, other, btdKind.linked(m.tracker)},
			{other.name + " asks btd", btdKind, other.linked(m.tracker)},
		} {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				l := newLab(t)
				tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 16<<10, 1, m.tracker)
				l.startTracker(ctx, m.tracker, tor)
				l.transfer(ctx, tor, m, p.seed, p.leech)
			})
		}
	}
}

// TestPeersTellOfOthers has libtorrent tell btd of a third peer, and btd tell
// libtorrent. There is no tracker.
func TestPeersTellOfOthers(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "/usr/bin/python3")
	t.Run("btd hears of another from libtorrent", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		l := newLab(t)
		tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1)
		seed, between, last := newBtd(l.Host("seed")), newLibtorrent(l.Host("between")).(*libtorrent), newBtd(l.Host("last"))
		seed.more = []string{"--limit-up", "64KiB"}
		for _, p := range []program{seed, between, last} {
			l.Must(p.start(ctx))
		}
		l.Must(seed.seed(ctx, tor, tor.source))
		l.Must(between.leech(ctx, tor, filepath.Join(l.Dir, "between")))
		l.Must(between.connect(ctx, tor, peerAddr(seed.host, false)))
		l.Must(last.add(ctx, tor, client.AddRequest{Dir: filepath.Join(l.Dir, "last"), Peers: []string{peerAddr(between.host, false).String()}}))
		l.Must(netns.Poll(ctx, 100*time.Millisecond, "one of them dials the other", func() (found bool, err error) {
			for _, c := range []*btd{seed, last} {
				peers, perr := c.api.Peers(ctx, tor.hex())
				err = errors.Join(err, perr)
				for _, p := range peers {
					found = found || p.Source == "pex"
				}
			}
			return found, err
		}))
	})
	t.Run("libtorrent hears of a seed from btd", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		l := newLab(t)
		tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1)
		seed, between, last := newBtd(l.Host("seed")), newBtd(l.Host("between")), newLibtorrent(l.Host("last")).(*libtorrent)
		seed.more = []string{"--limit-up", "64KiB"}
		for _, p := range []program{seed, between, last} {
			l.Must(p.start(ctx))
		}
		l.Must(seed.seed(ctx, tor, tor.source))
		l.Must(between.add(ctx, tor, client.AddRequest{Dir: filepath.Join(l.Dir, "between"), Peers: []string{peerAddr(seed.host, false).String()}}))
		l.Must(last.leech(ctx, tor, filepath.Join(l.Dir, "last")))
		l.Must(last.connect(ctx, tor, peerAddr(between.host, false)))
		l.Must(netns.Poll(ctx, 100*time.Millisecond, "libtorrent knows both", func() (bool, error) {
			s, err := last.status(ctx, tor)
			return s.Peers == 2, err
		}))
	})
}
