package contact

import (
	"net/netip"

	"btd/dht/krpc"
)

// Node is an id and the address that it was heard from, or was said to be at.
type Node struct {
	ID   krpc.ID
	Addr netip.AddrPort
}

// Scope is where an address can be reached from.
type Scope uint8

// The scopes.
const (
	Unusable Scope = iota // no node can be there: port 0, multicast, reserved, documentation
	Local                 // a LAN, a link or this machine
	Global                // the internet
)

// special is a block of addresses that is not global.
type special struct {
	bits, mask uint32
	scope      Scope
}

// special4 has the blocks of IPv4 that are not global (RFC 6890).
var special4 = [...]special{
	{0x00000000, 0xff000000, Unusable}, // 0/8, this network
	{0x0a000000, 0xff000000, Local},    // 10/8
	{0x64400000, 0xffc00000, Local},    // 100.64/10, shared by the customers of a provider
	{0x7f000000, 0xff000000, Local},    // 127/8
	{0xa9fe0000, 0xffff0000, Local},    // 169.254/16
	{0xac100000, 0xfff00000, Local},    // 172.16/12
	{0xc0000000, 0xffffff00, Unusable}, // 192.0.0/24
	{0xc0000200, 0xffffff00, Unusable}, // 192.0.2/24, documentation
	{0xc0a80000, 0xffff0000, Local},    // 192.168/16
	{0xc6120000, 0xfffe0000, Unusable}, // 198.18/15, measurements
	{0xc6336400, 0xffffff00, Unusable}, // 198.51.100/24, documentation
	{0xcb007100, 0xffffff00, Unusable}, // 203.0.113/24, documentation
	{0xe0000000, 0xe0000000, Unusable}, // 224/3, multicast and reserved
}

// ScopeOf says where addr can be reached from.
func ScopeOf(addr netip.AddrPort) Scope {
	if addr.Port() == 0 {
		return Unusable
	}
	a := addr.Addr()
	switch {
	case a.Is4():
		b := a.As4()
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		for _, s := range special4 {
			if n&s.mask == s.bits {
				return s.scope
			}
		}
		return Global
	case a.Is4In6(), !a.Is6():
		return Unusable // an IPv4 address in disguise would be counted twice
	}
	b := a.As16()
	switch {
	case a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsPrivate():
		return Local
	case b[0]&0xe0 != 0x20: // only 2000::/3 is given out
		return Unusable
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8: // documentation
		return Unusable
	}
	return Global
}

// MayName reports whether a node at from can be believed to know a node at
// addr: of the same family, with an address that is usable, and not one of a
// LAN when from is not in a LAN itself. What a stranger says of our own LAN
// would only make us knock at its doors.
func MayName(from, addr netip.AddrPort) bool {
	if from.Addr().Is4() != addr.Addr().Is4() {
		return false
	}
	s := ScopeOf(addr)
	return s == Global || s == Local && ScopeOf(from) == Local
}

// Network is a block of addresses that one party easily owns whole: a /24 of
// IPv4, a /64 of IPv6. Zero is no network.
type Network uint64

// NetworkOf is the block of a global address, and zero for any other: rules of
// diversity don't hold in a LAN.
func NetworkOf(addr netip.AddrPort) Network {
	if ScopeOf(addr) != Global {
		return 0
	}
	if addr.Addr().Is4() {
		b := addr.Addr().As4()
		return Network(b[0])<<16 | Network(b[1])<<8 | Network(b[2])
	}
	b := addr.Addr().As16()
	n := Network(0)
	for _, x := range b[:8] {
		n = n<<8 | Network(x)
	}
	return n
}
