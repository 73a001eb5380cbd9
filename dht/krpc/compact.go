package krpc

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// Sizes of compact addresses, in bytes (BEP 5, BEP 32).
const (
	PeerSize  = 6  // IPv4 address and port
	Peer6Size = 18 // IPv6 address and port
	NodeSize  = idSize + PeerSize
	Node6Size = idSize + Peer6Size
)

// Nodes4 goes through compact IPv4 nodes. Nodes with port 0 are left out, and
// so is what is left over at the end.
func Nodes4(compact []byte) iter.Seq2[ID, netip.AddrPort] { return nodes(compact, NodeSize) }

// Nodes6 goes through compact IPv6 nodes. Nodes with port 0, and IPv4
// addresses in an IPv6 coat, are left out.
func Nodes6(compact []byte) iter.Seq2[ID, netip.AddrPort] { return nodes(compact, Node6Size) }

func nodes(b []byte, size int) iter.Seq2[ID, netip.AddrPort] {
	return func(yield func(ID, netip.AddrPort) bool) {
		for ; len(b) >= size; b = b[size:] {
			addr := compact(b[idSize:size])
			if addr.Port() == 0 || addr.Addr().Is4() != (size == NodeSize) {
				continue
			}
			var id ID
			id.SetBytes(b[:idSize])
			if !yield(id, addr) {
				return
			}
		}
	}
}

// Peers goes through the values of a reply, of both families (BEP 32). Those
// with port 0 are left out.
func (m *Body) Peers() iter.Seq[netip.AddrPort] {
	return func(yield func(netip.AddrPort) bool) {
		s := scanner{b: m.Values}
		for s.at < len(s.b) {
			b := s.str()
			if len(b) != PeerSize && len(b) != Peer6Size {
				return
			}
			if addr := compact(b); addr.Port() != 0 && !yield(addr) {
				return
			}
		}
	}
}

// AppendPeer appends a compact address of 6 or 18 bytes.
func AppendPeer(b []byte, addr netip.AddrPort) []byte {
	if a := addr.Addr().Unmap(); a.Is4() {
		ip := a.As4()
		b = append(b, ip[:]...)
	} else {
		ip := a.As16()
		b = append(b, ip[:]...)
	}
	return binary.BigEndian.AppendUint16(b, addr.Port())
}

// AppendNode appends a compact node of 26 or 38 bytes.
func AppendNode(b []byte, id ID, addr netip.AddrPort) []byte {
	raw := id.AsByteArray()
	return AppendPeer(append(b, raw[:]...), addr)
}

// AppendValue appends one element for Body.Values from a compact address of 6
// or 18 bytes.
func AppendValue(b, compact []byte) []byte {
	if len(compact) == PeerSize {
		b = append(b, '6', ':')
	} else {
		b = append(b, '1', '8', ':')
	}
	return append(b, compact...)
}

// AddrOf reads a compact address of 6 or 18 bytes. It is invalid for any other
// length.
func AddrOf(b []byte) netip.AddrPort {
	if len(b) != PeerSize && len(b) != Peer6Size {
		return netip.AddrPort{}
	}
	return compact(b)
}
