package dht

import (
	"bytes"
	"slices"
	"time"
)

// askSelf tells a search of the item that this node keeps for others. In a
// network of a handful of nodes nobody else may have it: whoever stored it
// asked all but himself.
func (n *Node) askSelf(s *search, now time.Time) {
	if s.Kind != Get {
		return
	}
	i := n.items.Get(s.Target, now)
	if i == nil || i.Mutable() && !bytes.Equal(i.Salt, s.Salt) {
		return
	}
	n.tellItem(s, &Item{V: i.V, K: i.K, Sig: i.Sig, Salt: slices.Clone(i.Salt), Seq: i.Seq})
}
