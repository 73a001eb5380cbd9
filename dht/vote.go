package dht

import (
	"net/netip"
	"time"

	"btd/dht/contact"
)

const (
	maxVotes   = 64
	needVotes  = 3 // from different networks
	stayAtHome = 10 * time.Minute
)

// votes are what others say our address is (BEP 42, "Bootstrapping").
type votes struct {
	cast     [maxVotes]vote
	count    int // ever
	external netip.Addr
	changed  time.Time
}

type vote struct {
	by contact.Network
	ip netip.Addr
}

// External is our address as others see it; invalid if that is not known, or
// if we are in a LAN only.
func (n *Node) External() netip.Addr { return n.votes.external }

// vote counts what a node that we asked says our address is. Each network has
// one vote, and more than half of the last 64 must agree. If our id does not fit
// the address, we take one that does.
func (n *Node) vote(ip netip.Addr, from netip.AddrPort, now time.Time) {
	v := &n.votes
	by := contact.NetworkOf(from)
	if by == 0 || !ip.IsValid() || ip.Is4() == n.cfg.IPv6 || contact.ScopeOf(netip.AddrPortFrom(ip, 1)) != contact.Global {
		return
	}
	at := -1
	for i := range min(v.count, maxVotes) {
		if v.cast[i].by == by {
			at = i
		}
	}
	if at < 0 {
		at = v.count % maxVotes
		v.count++
	}
	v.cast[at] = vote{by, ip}
	if ip == v.external {
		return
	}
	all, agree := min(v.count, maxVotes), 0
	for _, o := range v.cast[:all] {
		if o.ip == ip {
			agree++
		}
	}
	if agree < needVotes || agree*2 <= all || (v.external.IsValid() && now.Sub(v.changed) < stayAtHome) {
		return
	}
	v.external, v.changed = ip, now
	n.stats.AddressChanges++
	if !contact.Secure(n.self, ip) {
		n.rehome(contact.MakeSecure(n.randomID(), ip), now)
	}
}
