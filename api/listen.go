package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxSocketPath is what fits into sockaddr_un, in bytes.
func maxSocketPath() int {
	if runtime.GOOS == "darwin" {
		return 103
	}
	return 107
}

// listenUnix opens a unix socket that only its owner may connect to. The
// directory is made where missing. A socket that nobody listens on any more
// is replaced; anything else at that path is left alone. cleanup removes the
// socket, unless another process has put its own there meanwhile.
func listenUnix(path string) (l net.Listener, cleanup func(), err error) {
	if most := maxSocketPath(); len(path) > most {
		return nil, nil, fmt.Errorf("the path has %d bytes, at most %d are possible: choose a shorter one", len(path), most)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var inner error
		if err := c.Control(func(fd uintptr) { inner = restrict(fd) }); err != nil {
			return err
		}
		return inner
	}}
	l, err = lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := private(path); err != nil {
		l.Close()
		return nil, nil, err
	}
	ours, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return l, func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(ours, now) {
			_ = os.Remove(path)
		}
	}, nil
}

// clearStale removes a socket that nobody listens on.
func clearStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !isSocket(st):
		return errors.New("something that is not a socket is in the way: move it, or choose another path")
	}
	conn, err := net.DialTimeout("unix", path, 2*time.Second)
	if err == nil {
		conn.Close()
		return errors.New("another daemon is listening there already")
	}
	if !errors.Is(err, errRefused) {
		return fmt.Errorf("find out whether somebody listens there: %w", err)
	}
	return os.Remove(path)
}

// listenTCP opens the TCP address and reads or makes its token.
func (s *Server) listenTCP() (*listener, error) {
	if err := checkLoopback(s.cfg.TCP); err != nil {
		return nil, err
	}
	if s.cfg.TokenFile == "" {
		return nil, errors.New("no file for the token is configured")
	}
	token, made, err := loadToken(s.cfg.TokenFile)
	if err != nil {
		return nil, err
	}
	if made {
		s.cfg.Log.Info("made an api token", "file", s.cfg.TokenFile)
	}
	l, err := net.Listen("tcp", s.cfg.TCP)
	if err != nil {
		return nil, err
	}
	// A name such as localhost has been looked up by now: trust what came out.
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("%s is not a loopback address", l.Addr())
	}
	return &listener{Listener: l, handler: newGuard(s.mux, token, addr.Port)}, nil
}

// checkLoopback refuses addresses that other machines could reach.
func checkLoopback(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want host:port such as 127.0.0.1:9091: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not a number up to 65535", port)
	}
	if !loopbackHost(host) {
		return fmt.Errorf("%q is not a loopback address: other machines reach the API through a tunnel such as ssh -L", host)
	}
	return nil
}

// loopbackHost tells whether a host, without brackets, is localhost or a
// loopback address.
func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}
