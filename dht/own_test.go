package dht

import (
	"crypto/ed25519"
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
