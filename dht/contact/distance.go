package contact

import (
	"encoding/binary"
	"math/bits"

	"btd/dht/krpc"
)

// Bits is the number of bits of an id.
const Bits = 160

// Key is an id, or the distance between two, as numbers: faster to compare
// than bytes. The first is the most significant.
type Key struct {
	Hi, Mid uint64
	Lo      uint32
}

// KeyOf is id as numbers.
func KeyOf(id krpc.ID) Key {
	b := id.AsByteArray()
	return Key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:16]), binary.BigEndian.Uint32(b[16:])}
}

// ID is the opposite of KeyOf.
func (k Key) ID() (id krpc.ID) {
	var b [Bits / 8]byte
	binary.BigEndian.PutUint64(b[:8], k.Hi)
	binary.BigEndian.PutUint64(b[8:16], k.Mid)
	binary.BigEndian.PutUint32(b[16:], k.Lo)
	id.SetBytes(b[:])
	return id
}

// Xor is the distance between k and o.
func (k Key) Xor(o Key) Key { return Key{k.Hi ^ o.Hi, k.Mid ^ o.Mid, k.Lo ^ o.Lo} }

// Less reports whether k is the smaller number: of two distances, the nearer.
func (k Key) Less(o Key) bool {
	if k.Hi != o.Hi {
		return k.Hi < o.Hi
	}
	if k.Mid != o.Mid {
		return k.Mid < o.Mid
	}
	return k.Lo < o.Lo
}

// Zeros is the number of zero bits in front: of a distance, how many bits two
// ids have in common before they part, 160 if they are equal.
func (k Key) Zeros() int {
	switch {
	case k.Hi != 0:
		return bits.LeadingZeros64(k.Hi)
	case k.Mid != 0:
		return 64 + bits.LeadingZeros64(k.Mid)
	}
	return 128 + bits.LeadingZeros32(k.Lo)
}

// Common is the number of bits that a and b have in common in front.
func Common(a, b krpc.ID) int { return KeyOf(a).Xor(KeyOf(b)).Zeros() }

// Mix is k with its first n bits taken from prefix: with a random k, a random
// id that has those bits in front.
func (k Key) Mix(prefix Key, n int) Key {
	take := func(n, width int) uint64 { // of the n highest bits of width
		switch {
		case n <= 0:
			return 0
		case n >= width:
			return ^uint64(0) >> (64 - width)
		}
		return ^uint64(0) >> (64 - width) &^ (1<<(width-n) - 1)
	}
	hi, mid, lo := take(n, 64), take(n-64, 64), uint32(take(n-128, 32))
	return Key{k.Hi&^hi | prefix.Hi&hi, k.Mid&^mid | prefix.Mid&mid, k.Lo&^lo | prefix.Lo&lo}
}

// Flip is k with bit n, counted from the front, turned over.
func (k Key) Flip(n int) Key {
	switch {
	case n < 64:
		k.Hi ^= 1 << (63 - n)
	case n < 128:
		k.Mid ^= 1 << (127 - n)
	default:
		k.Lo ^= 1 << (159 - n)
	}
	return k
}
