package dht

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"btd/dht/contact"
)

// besideFor is how long what the system says of its interfaces is good enough.
const besideFor = 30 * time.Second

// beside knows the global IPv6 networks that this machine is in. Many machines
// have addresses of such a network, each one of its own. It is for one goroutine.
type beside struct {
	list     func() ([]net.Addr, error)
	networks []contact.Network
	at       time.Time
}

// has tells whether an address is of a network of this machine.
func (b *beside) has(ip netip.Addr, now time.Time) bool {
	if b.at.IsZero() || now.Sub(b.at) >= besideFor {
		b.at, b.networks = now, b.networks[:0]
		addrs, _ := b.list() // an error means that none is known
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || prefix.Addr().Is4() {
				continue
			}
			if n := networkOf(prefix.Addr()); n != 0 {
				b.networks = append(b.networks, n)
			}
		}
	}
	n := networkOf(ip)
	return n != 0 && slices.Contains(b.networks, n)
}

func networkOf(ip netip.Addr) contact.Network { return contact.NetworkOf(netip.AddrPortFrom(ip, 1)) }
