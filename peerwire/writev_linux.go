package peerwire

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVectors is how much one writev takes (IOV_MAX of Linux is 1,024).
const maxVectors = 1024

// output writes to a TCP socket from many places by one call.
type output struct {
	raw   syscall.RawConn
	call  func(fd uintptr) bool // kept, since making it allocates
	iov   []unix.Iovec
	n     int
	errno syscall.Errno
	flat  flatOutput // for connections that are not TCP sockets
}

func (o *output) init(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	o.raw, o.call = raw, o.once
}

// shrink gives memory back.
func (o *output) shrink() { o.iov, o.flat.buf = nil, nil }

// send writes the arena with the data in between.
func (o *output) send(conn net.Conn, arena []byte, data []span) (n int64, err error) {
	if o.raw == nil {
		return o.flat.send(conn, arena, data)
	}
	at := 0
	for len(data) > 0 || at < len(arena) {
		k := min(len(data), maxVectors/2)
		o.iov = o.iov[:0]
		for _, s := range data[:k] {
			o.add(arena[at:s.at])
			o.add(s.data)
			at = s.at
		}
		if data = data[k:]; len(data) == 0 && len(o.iov) < maxVectors {
			o.add(arena[at:])
			at = len(arena)
		}
		m, err := o.all()
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (o *output) add(b []byte) {
	if len(b) > 0 {
		o.iov = appendVec(o.iov, b)
	}
}

// all writes all of iov.
func (o *output) all() (n int64, err error) {
	vecs := o.iov
	for len(o.iov) > 0 {
		if err = o.raw.Write(o.call); err == nil && o.errno != 0 {
			err = o.errno
		}
		if err != nil {
			break
		}
		n += int64(o.n)
		o.advance(o.n)
	}
	clear(vecs) // so as not to keep data that is given back
	o.iov = vecs[:0]
	if cap(vecs) > 2*keepSpans {
		o.iov = nil
	}
	return n, err
}

// advance takes n written bytes off iov.
func (o *output) advance(n int) {
	for n > 0 {
		v := &o.iov[0]
		k := min(n, int(v.Len))
		n -= k
		if k == int(v.Len) {
			o.iov = o.iov[1:]
			continue
		}
		v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), k))
		v.SetLen(int(v.Len) - k)
	}
}

// once is one attempt; false waits until the socket is writable.
func (o *output) once(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&o.iov[0])), uintptr(len(o.iov)))
		switch errno {
		case 0:
			o.n, o.errno = int(n), 0
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			o.n, o.errno = 0, errno
			return true
		}
	}
}
