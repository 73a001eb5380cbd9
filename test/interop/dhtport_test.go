//go:build interop && linux

package interop

import (
	"context"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// TestPortMessage: a program that knows no node of the DHT gets into it by the
// PORT message (BEP 5) of a peer that it got by address.
func TestPortMessage(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	for _, other := range kinds {
		t.Run(other.name+" learns a node from btd", func(t *testing.T) {
			t.Parallel()
			p := newPairing(t, other)
			p.us.join(p.dht.at[0])
			p.them.join()
			p.meet()
			p.dht.waitNode(p.ctx, dhtAddr(p.there, other))
			t.Logf("%s is in the DHT %.1f s after it was dialled", other.name, time.Since(p.began).Seconds())
		})
		if other.name == "qbittorrent" {
			continue // 4.5.2 has no setting for nodes to begin with
		}
		t.Run("btd learns a node from "+other.name, func(t *testing.T) {
			t.Parallel()
			p := newPairing(t, other)
			p.us.join()
			p.them.join(p.dht.at...)
			p.meet()
			p.dht.waitNode(p.ctx, peerAddr(p.us.host, false))
			t.Logf("btd is in the DHT %.1f s after it dialled %s", time.Since(p.began).Seconds(), other.name)
			p.dht.waitAnnounced(p.ctx, p.torrent, peerAddr(p.us.host, false))
			t.Logf("btd is announced %.1f s after it dialled %s", time.Since(p.began).Seconds(), other.name)
		})
	}
}

// pairing is another program that seeds a torrent, and btd that gets its
// address.
type pairing struct {
	lab     *lab
	ctx     context.Context
	dht     *privateDHT
	us      *btd
	them    joiner
	there   *netns.Host
	torrent *torrent
	began   time.Time
}

func newPairing(t *testing.T, other kind) *pairing {
	t.Helper()
	need(t, other.programs...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	l := newWideLab(t)
	p := &pairing{lab: l, ctx: ctx, us: newBtd(l.Host("btd")), there: l.Host(other.name)}
	p.them = other.make(p.there).(joiner)
	p.torrent = makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1)
	p.dht = l.startDHT(ctx, false)
	t.Cleanup(func() {
		if t.Failed() {
			p.us.describe(t, p.torrent)
		}
	})
	return p
}

// meet starts both and lets btd dial the other.
func (p *pairing) meet() {
	p.lab.T.Helper()
	p.lab.Must(p.us.start(p.ctx))
	p.lab.Must(p.them.start(p.ctx))
	p.lab.Must(p.them.seed(p.ctx, p.torrent, p.torrent.source))
	p.began = time.Now()
	p.lab.Must(p.us.add(p.ctx, p.torrent, client.AddRequest{
		Dir: filepath.Join(p.lab.Dir, "downloads"), Peers: []string{peerAddr(p.there, false).String()},
	}))
}

// dhtAddr is where the program on h listens for the DHT.
func dhtAddr(h *netns.Host, k kind) netip.AddrPort {
	if k.name == "aria2" || k.name == "rtorrent" {
		return netip.AddrPortFrom(h.IP4, dhtPort)
	}
	return peerAddr(h, false)
}
