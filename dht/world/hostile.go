package world

import (
	"net/netip"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// lie is how a hostile node misbehaves.
type lie uint8

// The lies.
const (
	honest     lie = iota
	otherID        // another id in each reply
	unroutable     // names nodes next to the target at addresses of a LAN, with port 0, or where nobody is
	noToken        // no token, no values, and no nodes
	huge           // names 500 nodes: the last ones are next to the target, and nobody is there
	itself         // names itself only, with ids nearer and nearer to the target
	accomplice     // names other hostile nodes, with ids next to the target
	clique         // names other hostile nodes as they are
	lies           // how many there are
)

// Hostile reports whether a node misbehaves.
func (n *Network) Hostile(rank int) bool { return n.lie(rank) != honest }

func (n *Network) lie(rank int) lie {
	h := n.hash(forHostile, uint64(n.number[rank]))
	if n.cfg.Hostile == 0 || unit(h) >= n.cfg.Hostile {
		return honest
	}
	return lie(1 + n.hash(forLie, uint64(n.number[rank]))%uint64(lies-1))
}

// next is an id close to target: it has all but the last bits in common.
func next(target krpc.ID, salt uint64) krpc.ID {
	return contact.Key{Hi: salt, Mid: salt, Lo: uint32(mix(salt, 3))}.Mix(contact.KeyOf(target), 40+int(salt%80)).ID()
}

// deceive makes a reply what the node's lie makes of it.
func (n *Network) deceive(rank int, target krpc.ID, r *Reply) {
	number := uint64(n.number[rank])
	random := mix(number, contact.KeyOf(target).Hi)
	nobody := func(i uint64) netip.AddrPort { // global, but not in use
		h := mix(random, i)
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{200 + byte(h%20), byte(h >> 8), byte(h >> 16), byte(h >> 24)}), 7000)
	}
	switch n.lie(rank) {
	case honest:
		return
	case otherID:
		r.ID = next(target, random)
	case unroutable:
		r.Nodes = nil
		for i := range uint64(k) {
			a := nobody(i)
			switch i % 4 {
			case 1:
				a = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), byte(random)}), 6881)
			case 2:
				a = netip.AddrPortFrom(a.Addr(), 0)
			}
			r.Nodes = append(r.Nodes, contact.Node{ID: next(target, mix(random, i)), Addr: a})
		}
	case noToken:
		r.Nodes, r.Token = nil, nil
	case huge:
		for i := range uint64(500) {
			id := contact.Key{Hi: mix(random, i)}.ID()
			if i >= 400 {
				id = next(target, mix(random, i))
			}
			r.Nodes = append(r.Nodes, contact.Node{ID: id, Addr: nobody(i)})
		}
	case itself:
		r.Nodes = nil
		for i := range uint64(k) {
			self := n.Node(rank)
			r.Nodes = append(r.Nodes, contact.Node{ID: next(target, mix(random, i)), Addr: self.Addr})
		}
	case clique:
		r.Nodes = nil
		for i := uint64(0); len(r.Nodes) < k && i < 1000; i++ {
			if o := int(mix(random, i) % uint64(len(n.ids))); n.Hostile(o) && !n.Dead(o) {
				r.Nodes = append(r.Nodes, n.Node(o))
			}
		}
	case accomplice:
		r.Nodes = nil
		for i := uint64(0); len(r.Nodes) < k && i < 1000; i++ {
			o := int(mix(random, i) % uint64(len(n.ids)))
			if n.Hostile(o) && !n.Dead(o) {
				r.Nodes = append(r.Nodes, contact.Node{ID: next(target, mix(random, i)), Addr: n.Node(o).Addr})
			}
		}
	}
	r.Values = false
}
