package pexset

import "net/netip"

// reach is how far an address can be reached from.
type reach uint8

const (
	nowhere reach = iota // of no use
	global
	local     // a private network
	ourselves // this computer
)

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	shared      = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: behind a carrier's translation
	reserved    = netip.MustParsePrefix("240.0.0.0/4")
	closed      = [...]netip.Prefix{
		netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	}
	globalV6 = netip.MustParsePrefix("2000::/3")
	docV6    = netip.MustParsePrefix("2001:db8::/32")
)

func reachOf(ip netip.Addr) reach {
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || thisNetwork.Contains(ip) || reserved.Contains(ip):
		return nowhere
	case ip.IsLoopback():
		return ourselves
	case ip.IsPrivate(), ip.IsLinkLocalUnicast(), shared.Contains(ip):
		return local
	case ip.Is6() && (!globalV6.Contains(ip) || docV6.Contains(ip)):
		return nowhere
	}
	for _, p := range closed {
		if p.Contains(ip) {
			return local // used in closed networks only
		}
	}
	return global
}

// sensible tells whether addr means something to both us and a peer at the
// other address: whoever is on the Internet has nothing to do with a private
// network, and nobody but this computer with its loopback.
func sensible(addr netip.AddrPort, peer netip.Addr) bool {
	a, p := reachOf(addr.Addr()), reachOf(peer)
	return addr.Port() != 0 && addr.Addr().Zone() == "" && a != nowhere && a <= max(p, global)
}
