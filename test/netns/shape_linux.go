package netns

import (
	"errors"
	"fmt"
	"time"
)

// Link says what a host's link to the bridge is like.
type Link struct {
	Mbit  int           // per second, each way
	Delay time.Duration // each way
}

// Shape makes the host's link as slow as l says, also if it has a shape: a
// token bucket at either end (tc-tbf), and behind it netem for the delay. Where
// the kernel has no netem there is no delay but that of the token bucket's queue:
// see HasNetem.
func (h *Host) Shape(l Link) error {
	return errors.Join(h.ShapeUp(l), h.shape(h.Lab.Hub.NS, h.port, l))
}

// ShapeUp is Shape for what the host sends.
func (h *Host) ShapeUp(l Link) error { return h.shape(h.NS, "eth0", l) }

func (h *Host) shape(ns Namespace, dev string, l Link) error {
	// The bucket holds one run of packets as the kernel hands them over.
	lines := []string{fmt.Sprintf("qdisc replace dev %s root handle 1: tbf rate %dmbit burst 80kb latency 20ms", dev, l.Mbit)}
	if l.Delay > 0 && HasNetem() {
		lines = append(lines, fmt.Sprintf("qdisc replace dev %s parent 1:1 handle 10: netem delay %dus limit 10000", dev, l.Delay.Microseconds()))
	}
	return ns.Do(func() error { return batch("tc", lines) })
}

// Cut takes the host's link down, or brings it up again.
func (h *Host) Cut(down bool) error {
	state := "up"
	if down {
		state = "down"
	}
	return h.Lab.Hub.NS.Do(func() error { return IP(fmt.Sprintf("link set %s %s", h.port, state)) })
}
