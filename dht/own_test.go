package dht

import (
	"crypto/ed25519"
	"net/netip"
	"slices"
	"testing"
)

// TestTwoNodesExchangeItems: each stores at the other, and asks the other.
func TestTwoNodesExchangeItems(t *testing.T) {
	t.Parallel()
	w := grow(t, 2, addrOf)
	key, salt := ed25519.NewKeyFromSeed(make([]byte, 32)), []byte("salt")
	i, err := SignItem(key, salt, 3, []byte("1:a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 1} {
		if r := w.search(addrOf(at), Search{Kind: Get, Target: i.Target(), Salt: salt}); r.Err != ErrNotFound {
			t.Errorf("before anybody put it: %+v", r)
		}
	}
	if r := w.search(addrOf(0), Search{Kind: Get, Target: i.Target(), Salt: salt, Put: func(*Item) *Item { return i }}); r.Stored != 1 {
		t.Fatalf("put: %+v", r)
	}
	for _, at := range []int{0, 1} {
		told := 0
		r := w.search(addrOf(at), Search{Kind: Get, Target: i.Target(), Salt: salt, Item: func(Item) { told++ }})
		if r.Err != nil || r.Item == nil || r.Item.Seq != 3 || told != 1 || r.Item.Check() != nil || r.Bad != 0 {
			t.Errorf("node %d: %+v, told %d times", at, r, told)
		}
		if r := w.search(addrOf(at), Search{Kind: Get, Target: i.Target(), Salt: []byte("other")}); r.Item != nil {
			t.Errorf("node %d, with another salt: %+v", at, r)
		}
	}
}

// A search begins with the peers that this node keeps for others: it need not
// reach anybody for that, and hears of each once.
func TestSearchBeginsAtHome(t *testing.T) {
	t.Parallel()
	w := newNetwork(t)
	n := w.add(addrOf(0), Config{Version: "BD01"}) // all alone
	hash := hashOf(3)
	var all, leechers []netip.AddrPort
	for i := range 700 { // more than are kept
		peer := netip.AddrPortFrom(addrOf(i+1).Addr(), 7000)
		if seed := i%2 == 0; n.peers.Announce(hash, peer, seed, w.now) && !seed {
			leechers = append(leechers, peer)
		}
		all = append(all, peer)
	}
	for _, noSeed := range []bool{false, true} {
		var got []netip.AddrPort
		r := w.search(addrOf(0), Search{Kind: GetPeers, Target: hash, NoSeed: noSeed, Scrape: true, Peers: func(p []netip.AddrPort) { got = append(got, p...) }})
		known, few := all, 200
		if noSeed {
			known, few = leechers, 50
		}
		if len(got) < few || len(got) > 500 || r.Peers != len(got) || r.Filters != 1 || r.Err != ErrNoNodes {
			t.Errorf("without seeds %v: told of %d: %+v", noSeed, len(got), r)
		}
		for i, p := range got {
			if !slices.Contains(known, p) || slices.Contains(got[:i], p) {
				t.Errorf("without seeds %v: told of %v", noSeed, p)
			}
		}
	}
	if r := w.search(addrOf(0), Search{Kind: GetPeers, Target: hashOf(4)}); r.Peers != 0 {
		t.Errorf("another torrent has %d peers", r.Peers)
	}
}
