package dht

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// quiet is a way to a socket that the runtime does not watch. A socket that it
// watches wakes it up for every packet, whether or not somebody wants to read.
type quiet struct {
	fd   int
	ipv6 bool
	to4  unix.SockaddrInet4
	to6  unix.SockaddrInet6
}

// newQuiet makes another way to the socket of conn.
func newQuiet(conn *net.UDPConn, ipv6 bool) (*quiet, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	q := &quiet{fd: -1, ipv6: ipv6}
	if e := raw.Control(func(fd uintptr) {
		q.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("dht: another way to the socket: %w", err)
	}
	return q, nil
}

// watched makes one more way to the socket, which the runtime watches.
func (q *quiet) watched() (*net.UDPConn, error) {
	fd, err := unix.FcntlInt(uintptr(q.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("dht: another way to the socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "dht")
	defer f.Close() // net.FilePacketConn makes its own
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// recv reads a packet that is there. It returns false if there is none.
func (q *quiet) recv(b []byte) (n int, from netip.AddrPort, ok bool, err error) {
	n, sa, err := unix.Recvfrom(q.fd, b, unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, from, false, nil
	case err != nil:
		return 0, from, true, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				ip = ip.WithZone(i.Name)
			}
		}
		from = netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return n, from, true, nil
}

// send sends a packet. It is for one goroutine at a time.
func (q *quiet) send(b []byte, to netip.AddrPort) error {
	sa := unix.Sockaddr(&q.to4)
	if q.ipv6 {
		q.to6 = unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
		if zone := to.Addr().Zone(); zone != "" {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return err
			}
			q.to6.ZoneId = uint32(i.Index)
		}
		sa = &q.to6
	} else {
		if !to.Addr().Unmap().Is4() {
			return errors.New("dht: not an IPv4 address")
		}
		q.to4 = unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	}
	for range 3 {
		err := unix.Sendto(q.fd, b, unix.MSG_DONTWAIT, sa)
		if err != unix.EAGAIN && err != unix.EINTR {
			return err
		}
		// What was sent before is still on its way out of this machine.
		unix.Poll([]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLOUT}}, 100)
	}
	return unix.EAGAIN
}

func (q *quiet) close() { unix.Close(q.fd) }
