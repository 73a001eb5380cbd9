//go:build unix

package lsd

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// share lets other programs on this machine listen at the same port.
func share(fd uintptr) error {
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	return errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}

// joinGroup makes a socket hear what is sent to group on p.
func joinGroup(fd uintptr, group netip.Addr, p path) error {
	var err error
	if p.ipv6() {
		err = unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(p.index)})
	} else {
		err = unix.SetsockoptIPMreq(int(fd), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group.As4(), Interface: p.addr.As4()})
	}
	if errors.Is(err, unix.EADDRINUSE) { // it does already
		return nil
	}
	return err
}

// sendOn makes what a socket sends to groups leave on p.
func sendOn(fd uintptr, p path) error {
	if p.ipv6() {
		err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hops)
		return errors.Join(err, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, p.index))
	}
	err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, hops)
	return errors.Join(err, unix.SetsockoptInet4Addr(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, p.addr.As4()))
}
