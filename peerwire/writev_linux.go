package peerwire

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVectors is how much one call takes, at most 1,024 (IOV_MAX of Linux).
// With a header to each block it is 1 MiB, after which a longer call saves
// nothing and keeps the processor from others.
const maxVectors = 128

// output writes to a TCP socket from many places by one call: sendmsg, for
// the reason that vector has.
type output struct {
	raw   syscall.RawConn
	call  func(fd uintptr) bool // kept, since making it allocates
	msg   unix.Msghdr
	mem   []unix.Iovec
	iov   []unix.Iovec // the part of mem that is not sent yet
	n     int
	errno syscall.Errno
	flat  flatOutput // for connections that are not TCP sockets
}

func (o *output) init(conn net.Conn) {
	if o.raw = socketOf(conn); o.raw != nil {
		o.call = o.once
	}
}

// shrink gives memory back.
func (o *output) shrink() { o.mem, o.iov, o.flat.buf = nil, nil, nil }

// send writes the arena with the data in between.
func (o *output) send(conn net.Conn, arena []byte, data []span) (n int64, err error) {
	if o.raw == nil {
		return o.flat.send(conn, arena, data)
	}
	at := 0
	for len(data) > 0 || at < len(arena) {
		k := min(len(data), maxVectors/2)
		if want := 2*k + 1; cap(o.mem) < want {
			o.mem = make([]unix.Iovec, 0, want)
		}
		o.iov = o.mem[:0]
		for _, s := range data[:k] {
			o.add(arena[at:s.at])
			o.add(s.data)
			at = s.at
		}
		if data = data[k:]; len(data) == 0 {
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
	for len(o.iov) > 0 {
		if err = o.raw.Write(o.call); err == nil && o.errno != 0 {
			err = os.NewSyscallError("sendmsg", o.errno)
		}
		if err != nil {
			break
		}
		n += int64(o.n)
		o.advance(o.n)
	}
	clear(o.mem[:cap(o.mem)]) // so as not to keep data that is given back
	o.iov, o.msg.Iov = nil, nil
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
	o.msg.Iov = &o.iov[0]
	o.msg.SetIovlen(len(o.iov))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&o.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
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
