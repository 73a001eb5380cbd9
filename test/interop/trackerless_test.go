//go:build interop && linux

package interop

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// TestTrackerless: btd and another program are in a private DHT. Each seeds
// something, and is given the link to what the other seeds, which is a hash and
// nothing else: the peer has to come from the DHT and the metadata from the peer.
func TestTrackerless(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	for _, other := range kinds {
		if other.name == "qbittorrent" {
			continue // it is libtorrent once more
		}
		t.Run(other.name, func(t *testing.T) {
			t.Parallel()
			newSwap(t, other, false).run()
		})
	}
	t.Run("libtorrent over IPv6", func(t *testing.T) {
		t.Parallel()
		newSwap(t, kinds[0], true).run()
	})
}

// swap is btd and another program that seed one torrent each and download the
// other's by its hash.
type swap struct {
	lab          *lab
	ctx          context.Context
	dht          *privateDHT
	ipv6         bool
	us           *btd
	other        kind
	them         joiner
	there        *netns.Host
	ours, theirs *torrent // what each seeds
	toUs, toThem string   // where each downloads to
}

func newSwap(t *testing.T, other kind, ipv6 bool) *swap {
	t.Helper()
	need(t, other.programs...)
	if ipv6 {
		needIPv6(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	l := newWideLab(t)
	s := &swap{lab: l, ctx: ctx, ipv6: ipv6, other: other, us: newBtd(l.Host("btd")), there: l.Host(other.name)}
	s.them = other.make(s.there).(joiner)
	s.ours = makeTorrent(t, l.Dir, "ours", oddFiles, 16<<10, 1)
	s.theirs = makeTorrent(t, l.Dir, "theirs", oddFiles, 16<<10, 2)
	s.toUs, s.toThem = filepath.Join(l.Dir, "to-btd"), filepath.Join(l.Dir, "to-"+other.name)
	for _, dir := range []string{s.toUs, s.toThem} {
		l.Must(os.MkdirAll(dir, 0o755))
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.us.describe(t, s.theirs)
			s.us.describe(t, s.ours)
		}
	})
	return s
}

func (s *swap) run() {
	l, ctx := s.lab, s.ctx
	l.T.Helper()
	s.dht = l.startDHT(ctx, s.ipv6)
	s.us.join(s.dht.at[0])
	l.Must(s.us.start(ctx))
	s.us.waitExternal(ctx, s.ipv6)
	s.them.join(s.dht.at...)
	l.Must(s.them.start(ctx))
	began := time.Now()
	l.Must(s.them.seed(ctx, s.theirs, s.theirs.source))
	s.dht.waitAnnounced(ctx, s.theirs, peerAddr(s.there, s.ipv6))
	l.T.Logf("%s is in the DHT's list of peers after %.1f s", s.other.name, time.Since(began).Seconds())

	s.limit(trickle)
	began = time.Now()
	l.Must(s.us.leechMagnet(ctx, s.theirs, bare(s.theirs), s.toUs))
	first, got := s.first(s.theirs, began)
	s.limit(0)
	l.Must(waitDone(ctx, s.us, s.theirs, "btd downloads from "+s.other.name))
	l.T.Logf("btd asks %s: gave the first peer after %.2f s and all after %.2f s", s.other.name, got.Seconds(), time.Since(began).Seconds())
	if first.Source != "dht" || first.Incoming || first.Addr != peerAddr(s.there, s.ipv6).String() {
		l.T.Errorf("btd's first peer is %+v, want %s from the DHT", first, peerAddr(s.there, s.ipv6))
	}

	s.limit(trickle)
	began = s.give()
	_, gave := s.first(s.ours, began)
	s.limit(0)
	l.Must(waitDone(ctx, s.them, s.ours, s.other.name+" downloads from btd"))
	l.T.Logf("%s asks btd: gave the first peer after %.2f s and all after %.2f s", s.other.name, gave.Seconds(), time.Since(began).Seconds())

	l.Must(s.us.stop(ctx))
	l.Must(s.them.stop(ctx))
	if err := s.theirs.compare(s.toUs, false); err != nil {
		l.T.Errorf("btd downloaded from %s: %v", s.other.name, err)
	}
	l.Must(tidy(s.toThem))
	if err := s.ours.compare(s.toThem, s.other.noEmpty != ""); err != nil {
		l.T.Errorf("%s downloaded from btd: %v", s.other.name, err)
	}
}

// trickle is a rate, in bytes/s, at which btd's peers stay until they were seen.
const trickle = 64 << 10

// limit sets btd's rates in bytes/s; 0 is unlimited.
func (s *swap) limit(rate int64) {
	s.lab.T.Helper()
	_, err := s.us.api.SetLimits(s.ctx, client.LimitsPatch{Up: &rate, Down: &rate})
	s.lab.Must(err)
}

// give makes the other program find what btd seeds, and returns when its search
// began. It has to be the other way round where the program does not dial whom
// it finds: it is announced when btd looks for somebody who wants the torrent.
func (s *swap) give() time.Time {
	l, ctx := s.lab, s.ctx
	l.T.Helper()
	if s.other.noDial != "" {
		l.Must(s.them.leechMagnet(ctx, s.ours, bare(s.ours), s.toThem))
		s.dht.waitAnnounced(ctx, s.ours, peerAddr(s.there, s.ipv6))
		began := time.Now()
		l.Must(s.us.seed(ctx, s.ours, s.ours.source))
		return began
	}
	l.Must(s.us.seed(ctx, s.ours, s.ours.source))
	s.dht.waitAnnounced(ctx, s.ours, peerAddr(s.us.host, s.ipv6))
	began := time.Now()
	l.Must(s.them.leechMagnet(ctx, s.ours, bare(s.ours), s.toThem))
	return began
}

// first waits for btd's first peer of a torrent.
func (s *swap) first(t *torrent, began time.Time) (peer client.Peer, after time.Duration) {
	s.lab.T.Helper()
	s.lab.Must(netns.Poll(s.ctx, 5*time.Millisecond, "btd's first peer", func() (bool, error) {
		peers, err := s.us.api.Peers(s.ctx, t.hex())
		if err != nil || len(peers) == 0 {
			return false, err
		}
		peer, after = peers[0], time.Since(began)
		return true, nil
	}))
	return peer, after
}

// bare is the link to a torrent that has its hash only.
func bare(t *torrent) string { return "magnet:?xt=urn:btih:" + t.hex() }
