package addrbook

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Priority is the canonical priority of a connection between two addresses
// (BEP 40, "Overview"). Both ends compute the same number, whoever is a; the
// higher is preferred. The BEP does not say what to do with addresses of two
// families: they are then compared in their 16-byte form.
func Priority(a, b netip.AddrPort) uint32 {
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	var buf [32]byte
	switch {
	case x == y:
		lo, hi := min(a.Port(), b.Port()), max(a.Port(), b.Port())
		binary.BigEndian.PutUint16(buf[:], lo)
		binary.BigEndian.PutUint16(buf[2:], hi)
		return crc32.Checksum(buf[:4], castagnoli)
	case x.Is4() && y.Is4():
		p, q := x.As4(), y.As4()
		return masked(buf[:0], p[:], q[:], 2)
	default:
		p, q := x.As16(), y.As16()
		return masked(buf[:0], p[:], q[:], 6)
	}
}

// masked is the checksum of the masked addresses p and q, the smaller first.
// The first whole bytes count in full: at least the first `whole`, and always
// one more than those in which the addresses agree. Of the others every other
// bit counts.
func masked(buf, p, q []byte, whole int) uint32 {
	same := 0
	for same < len(p) && p[same] == q[same] {
		same++
	}
	for i := max(whole, same+1); i < len(p); i++ {
		p[i] &= 0x55
		q[i] &= 0x55
	}
	if bytes.Compare(p, q) > 0 {
		p, q = q, p
	}
	return crc32.Checksum(append(append(buf, p...), q...), castagnoli)
}
