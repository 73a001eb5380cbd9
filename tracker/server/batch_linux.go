package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize  = 64 // packets in one call
	maxReaders = 4  // goroutines
	controlLen = 64 // bytes; holds the address that a packet was sent to
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// serveBatches reads and writes many packets in one call. The system tells to
// which of our addresses each was sent, and the answer leaves from there. It
// is not done where the socket does not allow that.
func (s *Server) serveBatches(ctx context.Context, conn *net.UDPConn) (done bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false, nil
	}
	var v6 bool
	var problem error
	err = raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		if v6 = domain == unix.AF_INET6; v6 {
			problem = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1))
		} else {
			problem = errors.Join(err, unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_PKTINFO, 1))
		}
	})
	if err != nil || problem != nil {
		return false, nil
	}
	var readers sync.WaitGroup
	ended := make(chan error, maxReaders)
	n := min(maxReaders, runtime.NumCPU()) // GOMAXPROCS may be low for a moment
	for range n {
		readers.Go(func() {
			err := newBatch(s, raw, v6).serve(ctx)
			conn.Close() // ends the others too
			ended <- err
		})
	}
	readers.Wait()
	if ctx.Err() != nil {
		return true, nil
	}
	return true, fmt.Errorf("serving the tracker: %w", <-ended)
}

// batch is the memory of one reader.
type batch struct {
	server *Server
	raw    syscall.RawConn
	v6     bool
	out    *answer

	in, answers [batchSize]mmsghdr
	inVec       [batchSize]unix.Iovec
	outVec      [batchSize]unix.Iovec
	names       [batchSize]unix.RawSockaddrInet6 // has room for an IPv4 address too
	control     [batchSize][controlLen]byte
	requests    [batchSize][maxRequest]byte
	replies     [batchSize][]byte
}

func newBatch(s *Server, raw syscall.RawConn, v6 bool) *batch {
	b := &batch{server: s, raw: raw, v6: v6, out: newAnswer()}
	for i := range b.in {
		b.replies[i] = make([]byte, 0, maxPacket)
		b.inVec[i].Base = &b.requests[i][0]
		b.inVec[i].SetLen(maxRequest)
		h := &b.in[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Iov = &b.inVec[i]
		h.SetIovlen(1)
		h.Control = &b.control[i][0]
	}
	return b
}

func (b *batch) serve(ctx context.Context) error {
	for bad := 0; ; {
		n, err := b.receive()
		if ctx.Err() != nil {
			return nil
		}
		if bad++; err != nil {
			if errors.Is(err, net.ErrClosed) || bad > maxReadErrors {
				return err
			}
			continue
		}
		bad = 0
		now := time.Now()
		due := 0
		for i := range n {
			if b.answer(i, &b.answers[due], now) {
				due++
			}
		}
		if err := b.send(due); err != nil {
			return err
		}
	}
}

// receive waits for packets and returns how many there are.
func (b *batch) receive() (n int, err error) {
	for i := range b.in {
		h := &b.in[i].hdr
		h.Namelen = uint32(unsafe.Sizeof(b.names[i]))
		h.SetControllen(controlLen)
	}
	var problem error
	err = b.raw.Read(func(fd uintptr) bool {
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			n = int(got)
		case unix.EAGAIN:
			return false // and wait
		default:
			problem = errno
		}
		return true
	})
	return n, errors.Join(err, problem)
}

// answer makes the answer to the packet at place i, if one is due.
func (b *batch) answer(i int, dst *mmsghdr, now time.Time) bool {
	h := &b.in[i].hdr
	if h.Flags&unix.MSG_TRUNC != 0 {
		b.server.refuse(becauseMalformed)
		return false
	}
	from, port, ok := b.from(i)
	if !ok {
		return false
	}
	from.local = b.local(i)
	b.replies[i] = b.server.packet(b.replies[i][:0], b.requests[i][:b.in[i].n], from, port, b.out, now)
	if len(b.replies[i]) == 0 {
		return false
	}
	b.outVec[i].Base = &b.replies[i][0]
	b.outVec[i].SetLen(len(b.replies[i]))
	dst.hdr = *h // the address, and with it the one of ours that was asked
	dst.hdr.Flags = 0
	dst.hdr.Iov = &b.outVec[i]
	return true
}

func (b *batch) from(i int) (from source, port uint16, ok bool) {
	switch name := &b.names[i]; name.Family {
	case unix.AF_INET:
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return source{addr: netip.AddrFrom4(name.Addr)}, networkOrder(&name.Port), true
	case unix.AF_INET6:
		return source{addr: netip.AddrFrom16(name.Addr).Unmap(), zone: name.Scope_id}, networkOrder(&name.Port), true
	}
	return from, 0, false
}

func networkOrder(port *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(port))[:])
}

// local is which of our addresses the packet at place i was sent to. The
// interface is taken out of it, so that the system chooses by which one the
// answer leaves, but for link-local addresses.
func (b *batch) local(i int) netip.Addr {
	h := &b.in[i].hdr
	hdr := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i][0]))
	data := unsafe.Pointer(&b.control[i][unix.CmsgLen(0)])
	switch {
	case h.Flags&unix.MSG_CTRUNC != 0 || int(h.Controllen) < unix.CmsgLen(0):
	case hdr.Level == unix.SOL_IP && hdr.Type == unix.IP_PKTINFO && int(h.Controllen) >= unix.CmsgLen(unix.SizeofInet4Pktinfo):
		info := (*unix.Inet4Pktinfo)(data)
		info.Ifindex = 0
		return netip.AddrFrom4(info.Spec_dst)
	case hdr.Level == unix.SOL_IPV6 && hdr.Type == unix.IPV6_PKTINFO && int(h.Controllen) >= unix.CmsgLen(unix.SizeofInet6Pktinfo):
		info := (*unix.Inet6Pktinfo)(data)
		addr := netip.AddrFrom16(info.Addr).Unmap()
		if !addr.IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
		if !addr.IsMulticast() {
			return addr
		}
	}
	h.SetControllen(0) // let the system choose
	return netip.Addr{}
}

// send sends the first n answers. Those that the system does not take are
// lost, as any packet may be.
func (b *batch) send(n int) error {
	for sent := 0; sent < n; {
		var errno syscall.Errno
		done := 0
		err := b.raw.Write(func(fd uintptr) bool {
			var r uintptr
			r, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.answers[sent])), uintptr(n-sent), unix.MSG_DONTWAIT, 0, 0)
			if done = int(r); errno != 0 {
				done = 0
			}
			return errno != unix.EAGAIN
		})
		if err != nil {
			return err
		}
		sent += done
		if errno != 0 && errno != unix.EINTR {
			sent++ // this one cannot be sent
		}
	}
	return nil
}
