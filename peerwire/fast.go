package peerwire

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
	"slices"
)

// FastSet is the first k pieces of the allowed fast set of the peer at
// addr, of a torrent with the given number of pieces (BEP 6, "Allowed Fast
// Set Generation"). It is meant for a small k, some tens. If the torrent has
// no more than k pieces, the set is all of them.
//
// BEP 6 has no rule for IPv6; there the network is the first 8 bytes of the
// address, as it is the first 3 of an IPv4 address.
func FastSet(addr netip.Addr, infoHash [20]byte, pieces, k int) []uint32 {
	if pieces <= 0 || k <= 0 || !addr.IsValid() {
		return nil
	}
	set := make([]uint32, 0, min(k, pieces))
	if pieces <= k {
		for i := range pieces {
			set = append(set, uint32(i))
		}
		return set
	}
	var x []byte
	if addr = addr.Unmap(); addr.Is4() {
		a := addr.As4()
		x = append(x, a[0], a[1], a[2], 0)
	} else {
		a := addr.As16()
		x = append(x, a[:8]...)
	}
	x = append(x, infoHash[:]...)
	for {
		sum := sha1.Sum(x)
		for j := 0; j < len(sum); j += 4 {
			if i := binary.BigEndian.Uint32(sum[j:]) % uint32(pieces); !slices.Contains(set, i) {
				if set = append(set, i); len(set) == k {
					return set
				}
			}
		}
		x = append(x[:0], sum[:]...)
	}
}
