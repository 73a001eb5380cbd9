package peerwire

import (
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxWindow bounds the blocks of one readv: two vectors each, two more, and
// the kernel takes at most 1,024.
const maxWindow = 256

// vector reads from a TCP socket into many places by one call.
type vector struct {
	raw   syscall.RawConn
	call  func(fd uintptr) bool // kept, since making it allocates
	iov   []unix.Iovec          // of the call under way
	two   [2]unix.Iovec         // memory of iov while no run of blocks is expected
	long  []unix.Iovec          // and while one is
	n     int
	errno syscall.Errno
}

// newVector is how to read from conn by readv, nil if that cannot be done.
func newVector(conn net.Conn) (scatter func([]byte, []segment) (int, error), shrink func()) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, nil
	}
	v := &vector{raw: raw}
	v.call = v.once
	return v.readv, v.shrink
}

// readv waits for bytes, and reads them into direct and then the segments.
func (v *vector) readv(direct []byte, segs []segment) (int, error) {
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
	for i := range segs {
		v.iov = appendVec(v.iov, segs[i].b)
	}
	err := v.raw.Read(v.call)
	clear(v.iov) // so as not to keep memory that is given away
	switch {
	case err != nil:
		return 0, err
	case v.errno != 0:
		return 0, v.errno
	case v.n == 0:
		return 0, io.EOF
	}
	return v.n, nil
}

// shrink gives back what long runs need.
func (v *vector) shrink() { v.long = nil }

// once is one attempt; false waits until the socket is readable.
func (v *vector) once(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall(unix.SYS_READV, fd, uintptr(unsafe.Pointer(&v.iov[0])), uintptr(len(v.iov)))
		switch errno {
		case 0:
			v.n, v.errno = int(n), 0
			return true
		case unix.EINTR:
		case unix.EAGAIN:
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
