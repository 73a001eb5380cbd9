package server

import (
	"net/netip"
)

// class is who can reach an address.
type class uint8

const (
	everywhere class = iota
	loopback         // programs of the same machine
	linkLocal        // machines on the same link
)

func classOf(a netip.Addr) class {
	switch {
	case a.IsLoopback():
		return loopback
	case a.IsLinkLocalUnicast():
		return linkLocal
	}
	return everywhere
}

// source is where a request comes from.
type source struct {
	addr  netip.Addr // without a zone, and unmapped
	zone  uint32     // index of the interface of a link-local IPv6 address
	local netip.Addr // our address that it was sent to; invalid if that is not known
}

// packed is a link-local address with its zone in bytes that are zero in all
// of them, so that the same address on two links is two peers.
func (s source) packed() [16]byte {
	a := s.addr.As16()
	if s.zone != 0 && s.addr.IsLinkLocalUnicast() {
		a[4], a[5], a[6], a[7] = byte(s.zone>>24), byte(s.zone>>16), byte(s.zone>>8), byte(s.zone)
	}
	return a
}

// unpack takes the zone out of an address.
func unpack(a [16]byte) (addr [16]byte, zone uint32) {
	if isLink(a) {
		zone = uint32(a[4])<<24 | uint32(a[5])<<16 | uint32(a[6])<<8 | uint32(a[7])
		a[4], a[5], a[6], a[7] = 0, 0, 0, 0
	}
	return a, zone
}

func isLink(a [16]byte) bool { return a[0] == 0xfe && a[1]&0xc0 == 0x80 }

func class4(a *[4]byte) class { return classOf(netip.AddrFrom4(*a)) }

func class6(a *[16]byte) class {
	if isLink(*a) {
		return linkLocal
	}
	return classOf(netip.AddrFrom16(*a))
}

// key is what the limits of one source go by: an IPv4 address, or the network
// that one IPv6 host can take any address of.
func (s source) key() uint64 {
	if s.addr.Is4() {
		a := s.addr.As4()
		return 1<<32 | uint64(a[0])<<24 | uint64(a[1])<<16 | uint64(a[2])<<8 | uint64(a[3])
	}
	return netKey(s.packed())
}

func key4(a *[4]byte) uint64 { return source{addr: netip.AddrFrom4(*a)}.key() }

func key6(a *[16]byte) uint64 { return netKey(*a) }

func netKey(a [16]byte) uint64 {
	var k uint64
	half := a[:8]
	if isLink(a) {
		half = a[8:] // all of them are in one network
	}
	for _, b := range half {
		k = k<<8 | uint64(b)
	}
	return k
}
