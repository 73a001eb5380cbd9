package dht

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"btd/dht/contact"
	"btd/dht/table"
)

const (
	bootAtOnce  = 2
	bootFirst   = 2 * time.Second // until it is tried again; doubles
	bootLongest = 5 * time.Minute
)

// bootstrap is whom we ask while we know nobody, or few.
type bootstrap struct {
	addrs []netip.AddrPort // to be asked in turn
	next  time.Time        // zero: never
	wait  time.Duration
	tries int // in a row, while we know nobody
}

// SetBootstrap tells whom to ask when the table is empty. It asks at once if
// it is.
func (n *Node) SetBootstrap(addrs []netip.AddrPort, now time.Time) {
	b := &n.boot
	b.addrs = b.addrs[:0]
	for _, a := range addrs {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if n.reachable(a) && !slices.Contains(b.addrs, a) && len(b.addrs) < maxNodes {
			b.addrs = append(b.addrs, a)
		}
	}
	n.rng.Shuffle(len(b.addrs), func(i, j int) { b.addrs[i], b.addrs[j] = b.addrs[j], b.addrs[i] })
	b.next, b.wait, b.tries = now, 0, 0
	n.dueAt(now)
}

// runBootstrap asks two of the list, beside what is left of an earlier run,
// with pauses that grow to 5 minutes: as long as we know few, not only until
// somebody answers, so that a network can form whose nodes all start at once, and
// so that two halves of a small one find each other.
func (n *Node) runBootstrap(now time.Time) {
	b := &n.boot
	if b.next.IsZero() || now.Before(b.next) {
		return
	}
	if len(b.addrs) == 0 {
		b.next = time.Time{}
		return
	}
	known := n.table.Len()
	if known >= table.K {
		b.wait, b.tries = 0, 0
		b.next = now.Add(bootLongest)
		return
	}
	b.wait = min(max(bootFirst, 2*b.wait), bootLongest)
	b.next = now.Add(b.wait)
	if b.tries++; known > 0 {
		b.tries = 0
	}
	for range min(bootAtOnce, len(b.addrs)) {
		addr := b.addrs[0]
		b.addrs = append(b.addrs[1:], addr)
		n.findNode(contact.Node{Addr: addr}, n.self, true, now)
	}
}

// met is called when a query of ours came back to us: to is our own address,
// so it need not be asked any more. In a private network everybody may have the
// same list.
func (b *bootstrap) met(own netip.AddrPort) {
	b.addrs = slices.DeleteFunc(b.addrs, func(a netip.AddrPort) bool { return a == own })
}

// Status says in words how it stands with the node.
func (n *Node) Status(now time.Time) string {
	b := &n.boot
	switch known := n.table.Len(); {
	case known > 0 && n.table.LinkDown():
		return "nobody answers any more: our own connection seems to be down"
	case known > 0:
		return fmt.Sprintf("%d nodes known", known)
	case len(b.addrs) == 0:
		return "nobody known: no bootstrap host could be resolved, and no node is remembered"
	case b.tries > 1:
		return fmt.Sprintf("no bootstrap host answers: tried %d times, next in %v", b.tries, max(0, b.next.Sub(now)).Round(time.Second))
	}
	return "asking bootstrap hosts"
}
