package lsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// hops is how many routers an announce may pass, where they forward it at all.
// The groups are those of an organisation and a site; most see one network only.
const hops = 4

// groups are where announces are sent to (BEP 14), by family.
func groups(port uint16) [2]netip.AddrPort {
	return [2]netip.AddrPort{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 192, 152, 143}), port),
		netip.AddrPortFrom(netip.MustParseAddr("ff15::efc0:988f"), port),
	}
}

// sendTimeout is how long one packet may take to leave.
const sendTimeout = time.Second

// link is the sockets of one family. They belong to the goroutine of Run, but
// for reading.
type link struct {
	group netip.AddrPort
	in    *net.UDPConn // hears the group; nil if it could not be opened
	out   *net.UDPConn // likewise, for sending
	heard map[path]bool
	deaf  chan struct{} // closed when nobody reads from in any more
}

func (l *link) network() string {
	if l.group.Addr().Is6() {
		return "udp6"
	}
	return "udp4"
}

// open opens the sockets that are not open.
func (l *link) open(ctx context.Context) (fresh bool, err error) {
	any := netip.IPv4Unspecified()
	if l.group.Addr().Is6() {
		any = netip.IPv6Unspecified()
	}
	if l.out == nil {
		c, err := net.ListenUDP(l.network(), net.UDPAddrFromAddrPort(netip.AddrPortFrom(any, 0)))
		if err != nil {
			return false, fmt.Errorf("opening a socket: %w", err)
		}
		l.out = c
	}
	if l.in != nil {
		select {
		case <-l.deaf:
			l.in.Close()
			l.in = nil
		default:
		}
	}
	if l.in == nil {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return onFD(c, func(fd uintptr) error { return errors.Join(share(fd), strict(fd, any.Is6())) })
		}}
		c, err := lc.ListenPacket(ctx, l.network(), netip.AddrPortFrom(any, l.group.Port()).String())
		if err != nil {
			return false, fmt.Errorf("listening at UDP port %d: %w", l.group.Port(), err)
		}
		l.in, l.heard, l.deaf = c.(*net.UDPConn), map[path]bool{}, make(chan struct{})
		return true, nil
	}
	return false, nil
}

func (l *link) close() {
	for _, c := range []*net.UDPConn{l.in, l.out} {
		if c != nil {
			c.Close()
		}
	}
	l.in, l.out = nil, nil
}

// join makes l hear the group on p.
func (l *link) join(p path) error {
	err := onSocket(l.in, func(fd uintptr) error { return joinGroup(fd, l.group.Addr(), p) })
	if err != nil {
		return fmt.Errorf("joining the multicast group: %w", err)
	}
	l.heard[p] = true
	return nil
}

// keep forgets what is heard on other paths. The system counts a membership
// until it is given back, also of an interface that is gone, and allows few:
// without that, networks that come and go would leave us deaf in new ones.
func (l *link) keep(paths []path) {
	for p := range l.heard {
		if slices.Contains(paths, p) {
			continue
		}
		delete(l.heard, p)
		if !slices.ContainsFunc(paths, func(q path) bool { return q.index == p.index }) {
			_ = onSocket(l.in, func(fd uintptr) error { return leaveGroup(fd, l.group.Addr(), p) }) // another path of the interface may have done it
		}
	}
}

// send sends a packet on p.
func (l *link) send(p path, packet []byte) error {
	if l.out == nil {
		return errors.New("there is no socket")
	}
	if err := onSocket(l.out, func(fd uintptr) error { return sendOn(fd, p) }); err != nil {
		return fmt.Errorf("choosing the interface: %w", err)
	}
	if err := l.out.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err := l.out.WriteToUDPAddrPort(packet, l.group)
	return err
}

// onSocket runs f on the descriptor of a socket.
func onSocket(c *net.UDPConn, f func(fd uintptr) error) error {
	if c == nil {
		return errors.New("there is no socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return onFD(raw, f)
}

func onFD(raw syscall.RawConn, f func(fd uintptr) error) error {
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(fd) }); err != nil {
		return err
	}
	return inner
}
