package lsd

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// oobSize has room for where a packet was sent to.
const oobSize = 64

// strict makes a socket hear nothing of groups that only others have joined,
// and tell where each packet was sent to.
func strict(fd uintptr, six bool) error {
	set := func(level, opt, value int) error { return unix.SetsockoptInt(int(fd), level, opt, value) }
	if six {
		err := set(unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0) // Linux 4.20
		if errors.Is(err, unix.ENOPROTOOPT) {
			err = nil
		}
		return errors.Join(err, set(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
	}
	return errors.Join(set(unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0), set(unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
}

// leaveGroup undoes joinGroup. It goes by the interface's index, which is all
// that is left of one that is gone.
func leaveGroup(fd uintptr, group netip.Addr, p path) error {
	if p.ipv6() {
		return unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(p.index)})
	}
	return unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(p.index)})
}

// toGroup tells whether a packet was sent to a group, and not to us alone:
// from far away only that can reach us.
func toGroup(oob []byte) bool {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range list {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 12:
			return netip.AddrFrom4([4]byte(m.Data[8:12])).IsMulticast()
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			return netip.AddrFrom16([16]byte(m.Data[:16])).IsMulticast()
		}
	}
	return false
}
