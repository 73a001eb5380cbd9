package lsd

import (
	"net"
	"net/netip"
	"slices"

	"btd/metainfo"
)

// Limits on where is announced.
const (
	maxInterfaces = 16 // Linux lets a socket join 20 groups
	maxPathsEach  = 4  // IPv4 addresses of one interface
)

// path is one way into a network: an interface, and of IPv4 the address there.
type path struct {
	index int
	name  string
	addr  netip.Addr // our address there, IPv4; not valid for IPv6
}

// ipv6 tells which family it is of.
func (p path) ipv6() bool { return !p.addr.IsValid() }

func (p path) String() string {
	if p.ipv6() {
		return "IPv6 on " + p.name
	}
	return "IPv4 on " + p.name
}

// network is one interface with what the operating system says of it.
type network struct {
	net.Interface
	addrs []netip.Prefix
}

// networks are all interfaces.
func networks() ([]network, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []network
	for _, i := range list {
		n := network{Interface: i}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away
		}
		for _, a := range addrs {
			if ipn, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(ipn.IP); ok {
					ones, _ := ipn.Mask.Size()
					n.addrs = append(n.addrs, netip.PrefixFrom(ip.Unmap(), ones))
				}
			}
		}
		out = append(out, n)
	}
	return out, nil
}

// usable tells whether the network is one to announce in: it can multicast and
// has neighbours, which the other end of a tunnel is not. The loopback
// interface is used only by who listens there.
func (n network) usable(listen netip.Addr) bool {
	if n.Flags&net.FlagUp == 0 {
		return false
	}
	if n.Flags&net.FlagLoopback != 0 {
		return listen.IsLoopback()
	}
	return n.Flags&net.FlagMulticast != 0 && n.Flags&net.FlagPointToPoint == 0
}

// plan is the paths into the networks of somebody who listens at an address,
// and the prefixes that are attached there.
func plan(all []network, listen netip.Addr) (paths []path, attached []netip.Prefix) {
	interfaces := 0
	for _, n := range all {
		if !n.usable(listen) || interfaces == maxInterfaces {
			continue
		}
		before, six := len(paths), false
		for _, p := range n.addrs {
			ip := p.Addr()
			if !listen.IsUnspecified() && ip != listen.WithZone("") || listen.Is4() && !ip.Is4() {
				continue
			}
			if listen.Zone() != "" && listen.Zone() != n.Name {
				continue
			}
			if ip.Is4() && len(paths)-before < maxPathsEach {
				paths = append(paths, path{n.Index, n.Name, ip})
			}
			six = six || ip.Is6()
			if !slices.Contains(attached, p.Masked()) {
				attached = append(attached, p.Masked())
			}
		}
		if six {
			paths = append(paths, path{index: n.Index, name: n.Name})
		}
		if len(paths) > before {
			interfaces++
		}
	}
	return paths, attached
}

// neighbour is the address of a peer in our networks, from the source of its
// packet. Others are refused: whoever is somewhere else has no reason to send
// here.
func neighbour(from netip.Addr, attached []netip.Prefix) (netip.Addr, bool) {
	ip := from.Unmap()
	if !ip.IsLinkLocalUnicast() || ip.Is4() {
		ip = ip.WithZone("")
	} else if ip.Zone() == "" {
		return ip, false // nobody could connect to it
	}
	if metainfo.ScopeLAN.Covers(ip) {
		return ip, true
	}
	for _, p := range attached {
		if p.Contains(ip) {
			return ip, true
		}
	}
	return ip, false
}
