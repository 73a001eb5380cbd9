package dht

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"

	"btd/dht/krpc"
	"btd/dht/store"
)

// Item is a value of BEP 44. Without K it is immutable.
type Item struct {
	V    []byte // bencoded, at most 1,000 bytes
	K    []byte // ed25519 public key
	Sig  []byte
	Salt []byte // at most 64 bytes
	Seq  int64  // of a mutable one, not negative
	CAS  bool   // put it only where the number that was found is still the newest
}

// Mutable tells whether the item has a key.
func (i *Item) Mutable() bool { return len(i.K) > 0 }

// Target is where the item is stored.
func (i *Item) Target() krpc.ID {
	if i.Mutable() {
		return store.MutableTarget(i.K, i.Salt)
	}
	return store.ImmutableTarget(i.V)
}

// NewItem makes an immutable item.
func NewItem(v []byte) (*Item, error) {
	i := &Item{V: v}
	return i, i.Check()
}

// SignItem makes a mutable item.
func SignItem(key ed25519.PrivateKey, salt []byte, seq int64, v []byte) (*Item, error) {
	i := &Item{V: v, K: key.Public().(ed25519.PublicKey), Sig: store.Sign(key, salt, seq, v), Salt: salt, Seq: seq}
	return i, i.Check()
}

// Check tells what makes an item one that no node would store.
func (i *Item) Check() error {
	switch {
	case len(i.V) > store.MaxValue:
		return fmt.Errorf("dht: the value has %d bytes, at most %d", len(i.V), store.MaxValue)
	case !krpc.Canonical(i.V):
		return fmt.Errorf("dht: the value is not canonical bencode")
	case !i.Mutable():
		return nil
	case len(i.Salt) > store.MaxSalt:
		return fmt.Errorf("dht: the salt has %d bytes, at most %d", len(i.Salt), store.MaxSalt)
	case i.Seq < 0:
		return fmt.Errorf("dht: sequence number %d is negative", i.Seq)
	case !store.Verify(i.K, i.Salt, i.Seq, i.V, i.Sig):
		return fmt.Errorf("dht: the signature is wrong")
	}
	return nil
}

// readItem is the item in a reply, nil if there is none or if it is not what
// its target, its key and its signature say.
func (n *Node) readItem(s *search, m *krpc.Message, from netip.AddrPort) *Item {
	const mutable = krpc.HasK | krpc.HasSig | krpc.HasSeq
	if m.Has&krpc.HasV == 0 || len(m.V) > store.MaxValue {
		return nil
	}
	item := &Item{V: m.V}
	if m.Has&mutable == mutable {
		item.K, item.Sig, item.Seq, item.Salt = m.K, m.Sig, m.Seq, s.Salt
	}
	known := s.result.Item
	same := known != nil && known.Seq == item.Seq && bytes.Equal(known.V, item.V) && bytes.Equal(known.Sig, item.Sig) &&
		bytes.Equal(known.K, item.K)
	if !same {
		if item.Target() != s.Target || item.Check() != nil {
			n.stats.BadItems++
			s.result.Bad++
			return nil
		}
	}
	if len(s.holders) < maxNodes {
		s.holders[from] = item.Seq
	}
	return item
}

// tellItem hands on an item if it is newer than the ones before.
func (n *Node) tellItem(s *search, item *Item) {
	if known := s.result.Item; known != nil && item.Seq <= known.Seq {
		return
	}
	s.result.Item = &Item{
		V: slices.Clone(item.V), K: slices.Clone(item.K), Sig: slices.Clone(item.Sig),
		Salt: slices.Clone(item.Salt), Seq: item.Seq,
	}
	if s.Item != nil {
		s.Item(*s.result.Item)
	}
}
