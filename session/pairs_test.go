package session

import (
	"net/netip"
	"testing"
	"time"

	"btd/metainfo"
)

// ends are the local and remote addresses of the connections of a torrent.
func ends(t *testing.T, s *Session, h metainfo.Hash) (out [][2]string, dialling int) {
	t.Helper()
	if !s.look(s.byWire(h.Wire()), func(t *torrent) {
		dialling = t.peers.dialling
		for _, p := range t.peers.all {
			out = append(out, [2]string{p.wire.conn.LocalAddr().String(), p.wire.conn.RemoteAddr().String()})
		}
	}) {
		t.Fatal("the torrent's loop does not answer")
	}
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
		go func() {
			if err := two[0].AddPeers(t.Context(), c.meta.Hash, addrs(two[1])); err != nil {
				t.Error(err)
			}
		}()
		if err := two[1].AddPeers(t.Context(), c.meta.Hash, addrs(two[0])); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(15 * time.Second)
		for {
			a, aDials := ends(t, two[0], c.meta.Hash)
			b, bDials := ends(t, two[1], c.meta.Hash)
			if aDials+bDials == 0 && len(a) == 1 && len(b) == 1 && a[0] == [2]string{b[0][1], b[0][0]} {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("connections %v and %v", a, b)
			}
			time.Sleep(2 * time.Millisecond)
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
	a, b := seedOf(t, c, nil), seedOf(t, c, nil)
	if err := a.AddPeers(t.Context(), c.meta.Hash, addrs(b)); err != nil {
		t.Fatal(err)
	}
	joined := func(v Torrent) bool { return v.Peers == 1 }
	alone := func(v Torrent) bool { return v.Peers == 0 }
	await(t, a, c, "the connection", joined)
	await(t, b, c, "the connection", joined)
	await(t, a, c, "the end of it", alone)
	await(t, b, c, "the end of it", alone)
	// The address is not dialled again.
	var wait time.Duration
	var ok bool
	if !a.look(a.byWire(c.meta.Hash.Wire()), func(t *torrent) {
		_, ok, wait = t.book.Next(t.now, netip.AddrPort{})
	}) {
		t.Fatal("the torrent's loop does not answer")
	}
	if ok || wait < time.Minute {
		t.Errorf("the other seed would be dialled again in %s (%t)", wait, ok)
	}
}
