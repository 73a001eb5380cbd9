package secure

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newTry is how to read from a socket without waiting, nil if that cannot be
// done. Without a word to the scheduler, since it does not wait.
func newTry(conn net.Conn) func(b []byte) (int, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var (
		into  []byte
		got   int
		errno syscall.Errno
	)
	once := func(fd uintptr) bool { // kept, since making it allocates
		for {
			n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)), unix.MSG_DONTWAIT, 0, 0)
			if e != unix.EINTR {
				got, errno = int(n), e
				return true
			}
		}
	}
	return func(b []byte) (int, error) {
		into = b
		err := raw.Read(once)
		into = nil
		switch {
		case err != nil:
			return 0, err
		case errno == unix.EAGAIN:
			return 0, errEmpty
		case errno != 0:
			return 0, os.NewSyscallError("recvfrom", errno)
		case got == 0:
			return 0, io.EOF
		}
		return got, nil
	}
}
