package server

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
)

const maxURLs = 8 // addresses of this machine that are offered

// lanAddrs is the addresses by which others reach this machine: IPv4 first,
// and those of real interfaces before those of containers and virtual
// machines. A machine without a network has its loopback address alone.
func lanAddrs(only4 bool) []netip.Addr {
	type place struct {
		addr        netip.Addr
		rank, index int
	}
	var all []place
	interfaces, _ := net.Interfaces() // an error means that none is known
	for _, ifc := range interfaces {
		if ifc.Flags&net.FlagUp == 0 || ifc.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, _ := ifc.Addrs() // it may be gone by now
		for _, a := range addrs {
			ip, ok := interfaceAddr(a)
			if ok && ip.IsGlobalUnicast() && (ip.Is4() || !only4) {
				all = append(all, place{ip, rank(ifc.Name), ifc.Index})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.addr.BitLen(), b.addr.BitLen()), cmp.Compare(a.rank, b.rank), cmp.Compare(a.index, b.index))
	})
	var out []netip.Addr
	for _, p := range all {
		if len(out) < maxURLs && !slices.Contains(out, p.addr) {
			out = append(out, p.addr)
		}
	}
	if len(out) == 0 {
		out = append(out, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return out
}

// rank is 1 for interfaces that lead to containers and virtual machines, and 0
// for others.
func rank(name string) int {
	for _, p := range []string{"docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "cni", "lxc", "lxd", "podman"} {
		if strings.HasPrefix(name, p) {
			return 1
		}
	}
	return 0
}

func interfaceAddr(a net.Addr) (netip.Addr, bool) {
	n, ok := a.(*net.IPNet)
	if !ok {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	return ip.Unmap(), ok
}
