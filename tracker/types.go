package tracker

import (
	"net/netip"
	"time"
)

// Event tells a tracker why it is asked (BEP 3, "event").
type Event uint8

// The events of BEP 3. None is a regular announce.
const (
	None Event = iota
	Started
	Completed
	Stopped
)

// String is the event as HTTP trackers spell it; empty for None.
func (e Event) String() string {
	switch e {
	case Started:
		return "started"
	case Completed:
		return "completed"
	case Stopped:
		return "stopped"
	}
	return ""
}

// Family is the address family that an announce travels over. A tracker
// learns one address of ours per announce (BEP 7), hence one announce for
// each family.
type Family uint8

// The families. Any leaves the choice to the resolver.
const (
	Any Family = iota
	IPv4
	IPv6
)

// String names the family for people.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "any"
}

// has tells whether a is an address of the family.
func (f Family) has(a netip.Addr) bool {
	switch f {
	case IPv4:
		return a.Is4()
	case IPv6:
		return a.Is6() && !a.Is4In6()
	}
	return a.IsValid()
}

// Request is one announce.
type Request struct {
	URL        string // http, https or udp; its query and path are kept
	InfoHash   [20]byte
	PeerID     [20]byte
	Port       uint16 // where we listen
	Uploaded   int64  // bytes since started
	Downloaded int64  // bytes since started
	Left       int64  // bytes
	Corrupt    int64  // bytes that failed their hash; sent if not 0 (HTTP only)
	Event      Event
	NumWant    int    // addresses wanted: 0 leaves it to the tracker, negative means none; Stopped always wants none
	Key        uint32 // the same for both families, for the life of the session (BEP 7)
	TrackerID  string // from the last answer of this tracker; HTTP only
	Family     Family
}

// Response is the answer to an announce. Every number in it is within its
// documented range, whatever the tracker sent.
type Response struct {
	Interval    time.Duration // 30 s to 12 h
	MinInterval time.Duration // 0 if not stated, else up to Interval
	Seeds       int           // -1 is unknown
	Leechers    int           // -1 is unknown
	Downloads   int           // -1 is unknown
	Peers       []netip.AddrPort
	External    netip.Addr // our address as the tracker saw it (BEP 24); may be invalid
	TrackerID   string     // to be sent back
	Warning     string     // for people; at most 512 bytes, no control characters
}

// ScrapeResult is what a tracker knows of one torrent (BEP 48).
type ScrapeResult struct {
	Seeds, Leechers, Downloads int // -1 is unknown
}

// unknownScrape is the result for a torrent the tracker said nothing of.
var unknownScrape = ScrapeResult{-1, -1, -1}

// Limits on what trackers say.
const (
	minInterval     = 30 * time.Second
	maxInterval     = 12 * time.Hour
	defaultInterval = 30 * time.Minute
	maxText         = 512 // bytes of a reason, a warning or a tracker id
)

// clampInterval makes a usable interval out of any number of seconds.
func clampInterval(seconds int64) time.Duration {
	switch {
	case seconds <= 0:
		return defaultInterval
	case seconds > int64(maxInterval/time.Second):
		return maxInterval
	}
	return max(time.Duration(seconds)*time.Second, minInterval)
}

// clampMin makes a usable minimum interval: 0 if there is none. An interval
// below it is raised by the caller.
func clampMin(seconds int64) time.Duration {
	if seconds <= 0 {
		return 0
	}
	return min(time.Duration(min(seconds, int64(maxInterval/time.Second)))*time.Second, maxInterval)
}

// count makes a number of peers out of any number.
func count(n int64) int {
	if n < 0 {
		return -1
	}
	return int(min(n, 1<<31-1))
}

// dialable tells whether an address from a tracker can belong to a peer.
func dialable(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.Port() != 0 && ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
