package contact

import (
	"hash/crc32"
	"net/netip"

	"btd/dht/krpc"
)

// Secure reports whether id may be used at addr (BEP 42). Any id is as good as
// another in a LAN.
func Secure(id krpc.ID, addr netip.Addr) bool {
	if ScopeOf(netip.AddrPortFrom(addr, 1)) == Local {
		return true
	}
	b := id.AsByteArray()
	want := prefix(addr, b[19])
	return b[0] == byte(want>>24) && b[1] == byte(want>>16) && b[2]&0xf8 == byte(want>>8)&0xf8
}

// MakeSecure changes the first 21 bits of id so that it may be used at addr
// (BEP 42). The rest is kept, so a random id stays random.
func MakeSecure(id krpc.ID, addr netip.Addr) krpc.ID {
	b := id.AsByteArray()
	want := prefix(addr, b[19])
	b[0], b[1] = byte(want>>24), byte(want>>16)
	b[2] = byte(want>>8)&0xf8 | b[2]&7
	id.SetBytes(b[:])
	return id
}

// prefix has the 21 bits in front that an id with this last byte must have at
// addr: the CRC-32C of some of the address's bits and three of the id's.
func prefix(addr netip.Addr, last byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once, by the library
	if addr.Is4() || addr.Is4In6() {
		b := addr.Unmap().As4()
		for i, m := range [4]byte{0x03, 0x0f, 0x3f, 0xff} {
			b[i] &= m
		}
		b[0] |= last & 7 << 5
		return crc32.Checksum(b[:], table)
	}
	b := addr.As16()
	for i, m := range [8]byte{0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff} {
		b[i] &= m
	}
	b[0] |= last & 7 << 5
	return crc32.Checksum(b[:8], table)
}
