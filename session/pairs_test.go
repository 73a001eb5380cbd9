package session

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"btd/peerwire"
)

// ends are the local and remote addresses of the connections of a torrent.
func ends(t *testing.T, s *Session, c content) (out [][2]string, dialling int) {
	t.Helper()
	inLoop(t, s, c, func(t *torrent) {
		dialling = t.peers.dialling
		for _, p := range t.peers.all {
			out = append(out, [2]string{p.wire.conn.LocalAddr().String(), p.wire.conn.RemoteAddr().String()})
		}
	})
	return out, dialling
}

// TestSimultaneousConnections lets two sessions dial each other at the same
// time: one connection is left, and it is the same on both sides.
func TestSimultaneousConnections(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"": 100000})
	for range 8 {
		var two [2]*Session
		for i := range two {
			two[i] = open(t, nil)
			add(t, two[i], c, AddOptions{})
		}
		for i := range two {
			await(t, two[i], c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
		}
		var told sync.WaitGroup
		for i := range two {
			told.Go(func() {
				if err := two[i].AddPeers(t.Context(), c.meta.Hash, addrs(two[1-i])); err != nil {
					t.Error(err)
				}
			})
		}
		told.Wait()
		var a, b [][2]string
		if !patient(func() bool {
			var aDials, bDials int
			a, aDials = ends(t, two[0], c)
			b, bDials = ends(t, two[1], c)
			return aDials+bDials == 0 && len(a) == 1 && len(b) == 1 && a[0] == [2]string{b[0][1], b[0][0]}
		}) {
			t.Fatalf("connections %v and %v", a, b)
		}
		for _, s := range two {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestSeedsPart: two seeds have nothing for each other.
func TestSeedsPart(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	var log logged
	a, b := seedOf(t, c, log.keep), seedOf(t, c, nil)
	dialRaw(t, a, c, "stays", fastPeer).until(peerwire.HaveAll) // the loop goes on after the other seed
	if err := a.AddPeers(t.Context(), c.meta.Hash, addrs(b)); err != nil {
		t.Fatal(err)
	}
	log.await(t, "peer connected", b.Addr().String())
	log.await(t, "peer gone", b.Addr().String())
	await(t, b, c, "the end of it", func(v Torrent) bool { return v.Peers == 0 })
	// The address is not dialled again.
	var wait time.Duration
	var ok bool
	inLoop(t, a, c, func(t *torrent) { _, ok, wait = t.book.Next(t.now, netip.AddrPort{}) })
	if ok || wait < time.Minute {
		t.Errorf("the other seed would be dialled again in %s (%t)", wait, ok)
	}
}
