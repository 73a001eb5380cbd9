package netns

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Lab is a small network of hosts around one bridge.
type Lab struct {
	T   testing.TB
	Dir string // for everything of this lab
	Hub *Host  // where the bridge is
	n   int

	wide bool
}

// Host is one machine of a lab.
type Host struct {
	Lab  *Lab
	Name string
	NS   Namespace
	IP4  netip.Addr
	IP6  netip.Addr
	Dir  string // its own directory below the lab's
	port string // the hub's end of its link

	mu        sync.Mutex
	processes []*Process
}

// NewLab makes an empty network and takes it down when the test ends.
func NewLab(t testing.TB, dir string) *Lab {
	t.Helper()
	return start(&Lab{T: t, Dir: dir, n: 1})
}

// NewWideLab is NewLab with addresses as on the Internet: global ones, and no
// two hosts in a /24 or a /64. The hub is 85.77.1.1, 2a05:77:0:1::1.
func NewWideLab(t testing.TB, dir string) *Lab {
	t.Helper()
	return start(&Lab{T: t, Dir: dir, n: 1, wide: true})
}

func start(l *Lab) *Lab {
	l.T.Helper()
	ns, err := New()
	if err != nil {
		l.T.Fatalf("make the network: %v", err)
	}
	l.Hub = &Host{Lab: l, Name: "hub", NS: ns, Dir: filepath.Join(l.Dir, "hub")}
	l.Hub.IP4, l.Hub.IP6 = l.Addrs(1)
	l.adopt(l.Hub)
	l.Must(ns.Do(func() error {
		// A kernel without snooping knows no word for it.
		if IP("link add br0 type bridge forward_delay 0 mcast_snooping 0") != nil {
			if err := IP("link add br0 type bridge forward_delay 0"); err != nil {
				return err
			}
		}
		return IP(append(l.give("br0", l.Hub.IP4, l.Hub.IP6), "link set br0 up")...)
	}))
	return l
}

// Addrs are the addresses of host n in this network; the hub is 1.
func (l *Lab) Addrs(n int) (ip4, ip6 netip.Addr) {
	if !l.wide {
		return Addr4(n), Addr6(n)
	}
	return netip.MustParseAddr(fmt.Sprintf("85.77.%d.1", n)), netip.MustParseAddr(fmt.Sprintf("2a05:77:0:%x::1", n))
}

// HubAddr gives the hub another address of this network.
func (l *Lab) HubAddr(ip netip.Addr) {
	l.T.Helper()
	l.Must(l.Hub.NS.Do(func() error { return IP(l.give("br0", ip)...) }))
}

// give is the commands of ip(8) that give a device addresses: those of IPv6 only
// where there is IPv6.
func (l *Lab) give(dev string, addrs ...netip.Addr) (commands []string) {
	for _, ip := range addrs {
		bits, more := 24, ""
		switch {
		case ip.Is4() && l.wide:
			bits = 16
		case ip.Is6() && LackOfIPv6() != "":
			continue
		case ip.Is6() && l.wide:
			bits, more = 48, " nodad"
		case ip.Is6():
			bits, more = 64, " nodad"
		}
		commands = append(commands, fmt.Sprintf("addr add %s/%d dev %s%s", ip, bits, dev, more))
	}
	return commands
}

// Addr4 is the IPv4 address of host n; the hub is 1.
func Addr4(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("10.77.0.%d", n)) }

// Addr6 is the IPv6 address of host n; the hub is 1.
func Addr6(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:77::%x", n)) }

// Host adds a machine to the network.
func (l *Lab) Host(name string) *Host {
	l.T.Helper()
	l.n++
	ns, err := New()
	l.Must(err)
	h := &Host{
		Lab: l, Name: name, NS: ns, port: fmt.Sprintf("v%d", l.n),
		Dir: filepath.Join(l.Dir, fmt.Sprintf("%d-%s", l.n, name)),
	}
	h.IP4, h.IP6 = l.Addrs(l.n)
	l.adopt(h)
	l.Must(l.Hub.NS.Do(func() error {
		return IP(fmt.Sprintf("link add %s type veth peer name eth0 netns %s", h.port, ns.Path()),
			fmt.Sprintf("link set %s master br0 up", h.port))
	}))
	l.Must(ns.Do(h.addresses))
	return h
}

// addresses brings the host's link up and gives it its addresses.
func (h *Host) addresses() error {
	return IP(append(h.Lab.give("eth0", h.IP4, h.IP6), "link set eth0 up")...)
}

func (l *Lab) adopt(h *Host) {
	l.Must(os.MkdirAll(h.Dir, 0o755))
	l.T.Cleanup(func() {
		h.killAll()
		if l.T.Failed() {
			h.dumpLogs()
		}
		h.NS.Close()
	})
}

// Must ends the test if err is not nil.
func (l *Lab) Must(err error) {
	l.T.Helper()
	if err != nil {
		l.T.Fatal(err)
	}
}

// Listen opens a TCP listener on the host.
func (h *Host) Listen(addr netip.AddrPort) (net.Listener, error) {
	var ln net.Listener
	err := h.NS.Do(func() (err error) {
		ln, err = net.Listen("tcp", addr.String())
		return err
	})
	return ln, err
}

// Dial connects from the host. The address must be numeric.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var conn net.Conn
	err := h.NS.Do(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// HTTP is a client whose connections come from the host.
func (h *Host) HTTP() *http.Client {
	tr := &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// Write makes a file in the host's directory.
func (h *Host) Write(name, content string) (string, error) {
	path := filepath.Join(h.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(content), 0o644)
}
