//go:build interop && linux

package interop

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name: it is gone when the file
// is closed and no process lives in it.
type namespace struct{ file *os.File }

// path is where other processes of ours find the namespace.
func (n namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// newNamespace makes a namespace with its loopback up.
func newNamespace() (namespace, error) {
	var made namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare a network namespace: %w", err)
		}
		f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			return err
		}
		made = namespace{f}
		return runIP("link set lo up")
	})
	if err != nil && made.file != nil {
		made.file.Close()
	}
	return made, err
}

// do calls fn on a thread that is in the namespace. Sockets made and
// processes started by fn belong to the namespace for good.
func (n namespace) do(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own and puts the thread back into the
// namespace that it came from. The thread stays alive: a child whose parent
// thread ends would get its death signal.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	defer func() {
		// A thread that can't be put back stays locked and ends with its goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}

// runIP runs lines of ip(8) commands in the namespace of the current thread.
func runIP(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// lab is a small network of hosts around one bridge.
type lab struct {
	t   *testing.T
	dir string
	hub *host
	n   int
}

// host is one machine of a lab.
type host struct {
	lab  *lab
	name string
	ns   namespace
	ip4  netip.Addr
	ip6  netip.Addr
	dir  string // its own directory below the lab's

	mu        sync.Mutex
	processes []*process
}

// newLab makes an empty network and takes it down when the test ends.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, dir: caseDir(t)}
	ns, err := newNamespace()
	if err != nil {
		t.Fatalf("make the network: %v", err)
	}
	l.hub = &host{lab: l, name: "hub", ns: ns, ip4: address4(1), ip6: address6(1), dir: filepath.Join(l.dir, "hub")}
	l.adopt(l.hub)
	l.must(ns.do(func() error {
		return runIP("link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up",
			fmt.Sprintf("addr add %s/24 dev br0", l.hub.ip4), fmt.Sprintf("addr add %s/64 dev br0 nodad", l.hub.ip6))
	}))
	l.n = 1
	return l
}

func address4(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("10.77.0.%d", n)) }
func address6(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:77::%x", n)) }

// host adds a machine to the network.
func (l *lab) host(name string) *host {
	l.t.Helper()
	l.n++
	ns, err := newNamespace()
	l.must(err)
	h := &host{
		lab: l, name: name, ns: ns, ip4: address4(l.n), ip6: address6(l.n),
		dir: filepath.Join(l.dir, fmt.Sprintf("%d-%s", l.n, name)),
	}
	l.adopt(h)
	port := fmt.Sprintf("v%d", l.n)
	l.must(l.hub.ns.do(func() error {
		return runIP(fmt.Sprintf("link add %s type veth peer name eth0 netns %s", port, ns.path()),
			fmt.Sprintf("link set %s master br0 up", port))
	}))
	l.must(ns.do(func() error {
		return runIP("link set eth0 up", fmt.Sprintf("addr add %s/24 dev eth0", h.ip4),
			fmt.Sprintf("addr add %s/64 dev eth0 nodad", h.ip6))
	}))
	return h
}

func (l *lab) adopt(h *host) {
	l.must(os.MkdirAll(h.dir, 0o755))
	l.t.Cleanup(func() {
		h.killAll()
		if l.t.Failed() {
			h.dumpLogs()
		}
		h.ns.file.Close()
	})
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// listen opens a TCP listener in the host's namespace.
func (h *host) listen(addr netip.AddrPort) (net.Listener, error) {
	var ln net.Listener
	err := h.ns.do(func() (err error) {
		ln, err = net.Listen("tcp", addr.String())
		return err
	})
	return ln, err
}

// dial connects from the host's namespace. The address must be numeric.
func (h *host) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var conn net.Conn
	err := h.ns.do(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// http is a client whose connections come from the host.
func (h *host) http() *http.Client {
	tr := &http.Transport{DialContext: h.dial, DisableKeepAlives: true}
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}
