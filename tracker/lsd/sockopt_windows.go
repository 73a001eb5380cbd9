package lsd

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/windows"
)

// share lets other programs on this machine listen at the same port.
func share(fd uintptr) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1)
}

// joinGroup makes a socket hear what is sent to group on p.
func joinGroup(fd uintptr, group netip.Addr, p path) error {
	var err error
	if p.ipv6() {
		g := group.As16()
		mreq := binary.NativeEndian.AppendUint32(g[:], uint32(p.index))
		err = windows.Setsockopt(windows.Handle(fd), windows.IPPROTO_IPV6, windows.IPV6_JOIN_GROUP, &mreq[0], int32(len(mreq)))
	} else {
		mreq := windows.IPMreq{Multiaddr: group.As4(), Interface: p.addr.As4()}
		err = windows.SetsockoptIPMreq(windows.Handle(fd), windows.IPPROTO_IP, windows.IP_ADD_MEMBERSHIP, &mreq)
	}
	if errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, windows.WSAEINVAL) { // it does already
		return nil
	}
	return err
}

// sendOn makes what a socket sends to groups leave on p.
func sendOn(fd uintptr, p path) error {
	h := windows.Handle(fd)
	if p.ipv6() {
		err := windows.SetsockoptInt(h, windows.IPPROTO_IPV6, windows.IPV6_MULTICAST_HOPS, hops)
		return errors.Join(err, windows.SetsockoptInt(h, windows.IPPROTO_IPV6, windows.IPV6_MULTICAST_IF, p.index))
	}
	err := windows.SetsockoptInt(h, windows.IPPROTO_IP, windows.IP_MULTICAST_TTL, hops)
	return errors.Join(err, windows.SetsockoptInet4Addr(h, windows.IPPROTO_IP, windows.IP_MULTICAST_IF, p.addr.As4()))
}
