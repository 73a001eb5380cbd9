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

// sourceKey is what the limits of one source go by: an IPv4 address; of IPv6
// the network that one host can take any address of, or the address alone. No
// two sources have the same: who may choose an address must not be able to use
// up what somebody else has.
type sourceKey struct {
	kind          byte
	network, host uint64
}

const (
	keyFour byte = iota
	keyNetwork
	keyAlone
)

func (s source) key() sourceKey {
	if s.addr.Is4() {
		a := s.addr.As4()
		return key4(&a)
	}
	return key6(s.packed(), s.alone)
}

// keyOf is the key of the source that entered a peer.
func keyOf[A ip](r *record[A]) sourceKey {
	switch a := any(&r.addr).(type) {
	case *[4]byte:
		return key4(a)
	case *[16]byte:
		return key6(*a, r.heard&aloneBit != 0)
	}
	return sourceKey{}
}

func key4(a *[4]byte) sourceKey {
	return sourceKey{kind: keyFour, host: uint64(binary.BigEndian.Uint32(a[:]))}
}

func key6(a [16]byte, alone bool) sourceKey {
	k := sourceKey{kind: keyNetwork, network: binary.BigEndian.Uint64(a[:])}
	if alone {
		k.kind, k.host = keyAlone, binary.BigEndian.Uint64(a[8:])
	}
	return k
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
