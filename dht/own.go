package dht

import (
	"bytes"
	"slices"
	"time"

	"btd/dht/krpc"
	"btd/dht/store"
)

// maxOwnPeers is how many peers of its own store a search is told of.
const maxOwnPeers = 500

// askSelf tells a search of what this node keeps for others. In a network of a
// handful of nodes nobody else may have it: whoever stored it asked all but
// himself.
func (n *Node) askSelf(s *search, now time.Time) {
	switch s.Kind {
	case GetPeers:
		n.askOwnPeers(s, now)
	case Get:
		i := n.items.Get(s.Target, now)
		if i == nil || i.Mutable() && !bytes.Equal(i.Salt, s.Salt) {
			return
		}
		n.tellItem(s, &Item{V: i.V, K: i.K, Sig: i.Sig, Salt: slices.Clone(i.Salt), Seq: i.Seq})
	}
}

// askOwnPeers tells a search of the peers that announced themselves here. Each
// is known to have its address, so that none is doubted as what others name is.
func (n *Node) askOwnPeers(s *search, now time.Time) {
	if s.Scrape && !s.scraped { // it may begin twice
		if seeds, peers, ok := n.peers.Filters(s.Target, 0, now); ok {
			s.scraped = true
			s.seeds.Add(seeds[:])
			s.peers.Add(peers[:])
			s.result.Filters++
		}
	}
	var count int
	own, without := &n.scratch, store.Without(0)
	if s.NoSeed {
		without = store.Seeds
	}
	if own.values, count = n.peers.AppendValues(own.values[:0], s.Target, maxOwnPeers, without, now, n.rng); count == 0 {
		return
	}
	own.peers = slices.AppendSeq(own.peers[:0], (&krpc.Body{Values: own.values}).Peers())
	n.tellPeers(s, own.peers)
}
