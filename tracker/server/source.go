package server

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
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
	alone bool       // it has an IPv6 address that counts by itself for the limits
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

// key is what the limits of one source go by: an IPv4 address; of IPv6 the
// network that one host can take any address of, or the address alone.
func (s source) key() uint64 {
	if s.addr.Is4() {
		a := s.addr.As4()
		return key4(&a)
	}
	return key6(s.packed(), s.alone)
}

// keyOf is the key of the source that entered a peer.
func keyOf[A ip](r *record[A]) uint64 {
	switch a := any(&r.addr).(type) {
	case *[4]byte:
		return key4(a)
	case *[16]byte:
		return key6(*a, r.heard&aloneBit != 0)
	}
	return 0
}

func key4(a *[4]byte) uint64 { return 1<<32 | uint64(binary.BigEndian.Uint32(a[:])) }

func key6(a [16]byte, alone bool) uint64 {
	network, host := binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:])
	if alone {
		return network*0x9e3779b97f4a7c15 + host
	}
	return network
}

// standsAlone tells whether an IPv6 address is to be limited by itself: it is
// of a network of ours, where each of many machines has one, and not of one
// that somebody else has as a whole.
func (s *Server) standsAlone(a netip.Addr, at time.Time) bool {
	if a.Is4() {
		return false
	}
	if a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLoopback() {
		return true
	}
	b := a.As16()
	return slices.ContainsFunc(s.own.now(at), func(own ownAddr) bool {
		o := own.addr.As16()
		return own.addr.Is6() && [8]byte(o[:8]) == [8]byte(b[:8])
	})
}
