package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"time"
)

// Link says what a host's link to the bridge is like.
type Link struct {
	Mbit  int           // per second, each way
	Delay time.Duration // each way
}

// Shape makes the host's link as slow as l says: a token bucket at either end
// (tc-tbf), and behind it netem for the delay. Where the kernel has no netem
// there is no delay but that of the token bucket's queue: see HasNetem.
func (h *Host) Shape(l Link) error {
	netem := l.Delay > 0 && HasNetem()
	var all error
	for _, end := range []struct {
		ns  Namespace
		dev string
	}{{h.NS, "eth0"}, {h.Lab.Hub.NS, h.port}} {
		// The bucket holds one run of packets as the kernel hands them over.
		lines := []string{fmt.Sprintf("qdisc add dev %s root handle 1: tbf rate %dmbit burst 80kb latency 20ms", end.dev, l.Mbit)}
		if netem {
			lines = append(lines, fmt.Sprintf("qdisc add dev %s parent 1:1 handle 10: netem delay %dus limit 10000", end.dev, l.Delay.Microseconds()))
		}
		all = errors.Join(all, end.ns.Do(func() error { return batch("tc", lines) }))
	}
	return all
}

// HasNetem tells whether the kernel can delay packets.
func HasNetem() bool {
	ns, err := New()
	if err != nil {
		return false
	}
	defer ns.Close()
	return ns.Do(func() error { return batch("tc", []string{"qdisc add dev lo root netem delay 1ms"}) }) == nil
}

// Cut takes the host's link down, or brings it up again.
func (h *Host) Cut(down bool) error {
	state := "up"
	if down {
		state = "down"
	}
	return h.Lab.Hub.NS.Do(func() error { return IP(fmt.Sprintf("link set %s %s", h.port, state)) })
}

// Measure sends n bytes over one plain TCP connection and returns how many
// bytes arrived in a second, and how long it took to connect: one round trip.
func Measure(ctx context.Context, from, to *Host, n int64) (rate float64, trip time.Duration, err error) {
	ln, err := to.Listen(netip.AddrPortFrom(to.IP4, 0))
	if err != nil {
		return 0, 0, err
	}
	defer ln.Close()
	sent := make(chan error, 1)
	go func() {
		began := time.Now()
		c, err := from.Dial(ctx, "tcp", ln.Addr().String())
		trip = time.Since(began)
		if err == nil {
			_, err = io.CopyN(c, zeros{}, n)
			err = errors.Join(err, c.Close())
		}
		sent <- err
	}()
	if d, ok := ctx.Deadline(); ok {
		_ = ln.(*net.TCPListener).SetDeadline(d)
	}
	c, err := ln.Accept()
	if err != nil {
		return 0, 0, errors.Join(err, <-sent)
	}
	defer c.Close()
	began := time.Now()
	got, err := io.Copy(io.Discard, c)
	took := time.Since(began)
	if err = errors.Join(err, <-sent); err == nil && got != n {
		err = fmt.Errorf("%d bytes arrived, want %d", got, n)
	}
	return float64(got) / took.Seconds(), trip, err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// MissingShaping says why links can't be shaped here, "" if they can.
func MissingShaping() string {
	if _, err := exec.LookPath("tc"); err != nil {
		return "tc is not installed (test/install-clients.sh installs it)"
	}
	ns, err := New()
	if err != nil {
		return "can't make network namespaces here: " + err.Error()
	}
	defer ns.Close()
	if err := ns.Do(func() error {
		return batch("tc", []string{"qdisc add dev lo root tbf rate 200mbit burst 80kb latency 20ms"})
	}); err != nil {
		return "this kernel can't shape links: " + err.Error()
	}
	return ""
}
