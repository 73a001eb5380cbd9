package peerwire

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxWindow bounds the blocks of one read: two vectors each, two more, and
// the kernel takes at most 1,024.
const maxWindow = 256

// vector reads from a TCP socket into many places by one call.
//
// The call is recvmsg rather than readv for its MSG_DONTWAIT: it cannot
// wait, so that it needs no word to the Go scheduler, which would hand the
// processor to another thread in the middle of a long copy. That is worth 5
// to 10 % of a receiver's CPU time.
type vector struct {
	raw   syscall.RawConn
	call  func(fd uintptr) bool // kept, since making it allocates
	msg   unix.Msghdr
	iov   []unix.Iovec  // of the call under way
	two   [2]unix.Iovec // memory of iov while no run of blocks is expected
	long  []unix.Iovec  // and while one is
	n     int
	errno syscall.Errno

	// idle is called when there is nothing to read yet, before the wait: it
	// gives memory back and says how many of the segments are left.
	idle  func() int
	lead  int  // vectors before those of the segments
	idled bool // in the call under way
}

// newVector is how to read from conn into many places, nil if that cannot be
// done.
func newVector(conn net.Conn, idle func() int) (scatter func([]byte, []segment) (int, error), shrink func()) {
	raw := socketOf(conn)
	if raw == nil {
		return nil, nil
	}
	v := &vector{raw: raw, idle: idle}
	v.call = v.once
	return v.read, v.shrink
}

// socketOf is the socket under conn if it is a plain TCP connection.
func socketOf(conn net.Conn) syscall.RawConn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// read waits for bytes, and reads them into direct and then the segments.
func (v *vector) read(direct []byte, segs []segment) (int, error) {
	v.iov = v.two[:0]
	if len(segs) >= len(v.two) {
		if cap(v.long) <= len(segs) {
			v.long = make([]unix.Iovec, 0, cap(segs)+1)
		}
		v.iov = v.long[:0]
	}
	if len(direct) > 0 {
		v.iov = appendVec(v.iov, direct)
	}
	v.lead, v.idled = len(v.iov), false
	for i := range segs {
		v.iov = appendVec(v.iov, segs[i].b)
	}
	err := v.raw.Read(v.call)
	clear(v.iov) // so as not to keep memory that is given away
	v.msg.Iov = nil
	switch {
	case err != nil:
		return 0, err
	case v.errno != 0:
		return 0, os.NewSyscallError("recvmsg", v.errno)
	case v.n == 0:
		return 0, io.EOF
	}
	return v.n, nil
}

// shrink gives back what long runs need.
func (v *vector) shrink() { v.long = nil }

// once is one attempt; false waits until the socket is readable.
func (v *vector) once(fd uintptr) bool {
	v.msg.Iov = &v.iov[0]
	v.msg.SetIovlen(len(v.iov))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&v.msg)), unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			v.n, v.errno = int(n), 0
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			if !v.idled {
				v.idled = true
				left := v.lead + v.idle()
				clear(v.iov[left:])
				v.iov = v.iov[:left]
			}
			return false
		default:
			v.n, v.errno = 0, errno
			return true
		}
	}
}

func appendVec(iov []unix.Iovec, b []byte) []unix.Iovec {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return append(iov, v)
}
