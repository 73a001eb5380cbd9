//go:build interop && linux

package interop

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"btd/test/netns"
)

// TestLinkToPeersOfPeers: a link, which is a hash and nothing else, leads btd
// over the DHT to libtorrent, which tells (BEP 11) of a seed that is in nobody's
// list: it does not use the DHT, and libtorrent was given its address. The seed
// is so slow that nobody is complete before the end.
func TestLinkToPeersOfPeers(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "/usr/bin/python3")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := newWideLab(t)
	d := l.startDHT(ctx, false)
	tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1)
	seed, between, last := newBtd(l.Host("seed")), newLibtorrent(l.Host("between")).(*libtorrent), newBtd(l.Host("last"))
	seed.more = []string{"--dht=false", "--limit-up", "64KiB"}
	between.join(d.at...)
	last.join(d.at[0])
	for _, p := range []program{seed, between, last} {
		l.Must(p.start(ctx))
	}
	t.Cleanup(func() {
		if t.Failed() {
			seed.describe(t, tor)
			last.describe(t, tor)
		}
	})
	l.Must(seed.seed(ctx, tor, tor.source))
	l.Must(between.leech(ctx, tor, filepath.Join(l.Dir, "between")))
	l.Must(between.connect(ctx, tor, peerAddr(seed.host, false)))
	d.waitAnnounced(ctx, tor, peerAddr(between.host, false))
	began := time.Now()
	l.Must(last.leechMagnet(ctx, tor, bare(tor), filepath.Join(l.Dir, "last")))
	l.Must(netns.Poll(ctx, 50*time.Millisecond, "btd and the seed meet", func() (met bool, err error) {
		for _, x := range []struct{ at, of *btd }{{last, seed}, {seed, last}} { // either may dial the other
			peers, perr := x.at.api.Peers(ctx, tor.hex())
			err = errors.Join(err, perr)
			for _, p := range peers {
				met = met || p.Source == "pex" && p.Addr == peerAddr(x.of.host, false).String()
			}
		}
		return met, err
	}))
	t.Logf("they met after %.1f s", time.Since(began).Seconds())
}
