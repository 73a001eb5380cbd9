package krpc

import (
	"math/bits"

	"github.com/anacrolix/dht/v2/int160"
)

// ID is a node id, an info-hash or the target of an item: 160 bits, compared
// by XOR distance (BEP 5, "Overview").
type ID = int160.T

// DistanceBits is the number of bits of the distance between two ids: 0 if
// they are the same, 160 if they differ in the first bit.
func DistanceBits(a, b ID) int {
	x, y := a.AsByteArray(), b.AsByteArray()
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			return (len(x)-i-1)*8 + bits.Len8(d)
		}
	}
	return 0
}

// Nearer tells whether a is nearer to target than b is.
func Nearer(target, a, b ID) bool {
	t, x, y := target.AsByteArray(), a.AsByteArray(), b.AsByteArray()
	for i := range t {
		if p, q := x[i]^t[i], y[i]^t[i]; p != q {
			return p < q
		}
	}
	return false
}
