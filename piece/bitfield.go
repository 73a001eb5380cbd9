package piece

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
)

// Bitfield is a set of pieces, stored as BEP 3 sends it: the high bit of the
// first byte is piece 0, spare bits at the end are zero. It counts its
// members as they change.
type Bitfield struct {
	b     []byte // padded with zeros to a multiple of 8, so that it can be read in words
	n     int
	count int
}

// NewBitfield is an empty set over n pieces.
func NewBitfield(n int) *Bitfield {
	return &Bitfield{b: make([]byte, (n+63)/64*8), n: n}
}

// ParseBitfield copies the payload of a "bitfield" message for n pieces. The
// length must be exact and the spare bits zero (BEP 3).
func ParseBitfield(p []byte, n int) (*Bitfield, error) {
	if len(p) != (n+7)/8 {
		return nil, fmt.Errorf("piece: bitfield of %d bytes, want %d for %d pieces", len(p), (n+7)/8, n)
	}
	if r := n % 8; r != 0 && p[len(p)-1]<<r != 0 {
		return nil, fmt.Errorf("piece: bitfield has bits set after the last piece")
	}
	f := NewBitfield(n)
	copy(f.b, p)
	for w := range f.words() {
		f.count += bits.OnesCount64(f.word(w))
	}
	return f, nil
}

// Len is the number of pieces the set ranges over.
func (f *Bitfield) Len() int { return f.n }

// Count is the number of pieces in the set.
func (f *Bitfield) Count() int { return f.count }

// All tells whether every piece is in the set.
func (f *Bitfield) All() bool { return f.count == f.n }

// Has tells whether piece i is in the set.
func (f *Bitfield) Has(i Index) bool { return f.b[i>>3]&(0x80>>(i&7)) != 0 }

// Set adds piece i and tells whether that changed the set.
func (f *Bitfield) Set(i Index) bool {
	if f.Has(i) {
		return false
	}
	f.b[i>>3] |= 0x80 >> (i & 7)
	f.count++
	return true
}

// Clear removes piece i and tells whether that changed the set.
func (f *Bitfield) Clear(i Index) bool {
	if !f.Has(i) {
		return false
	}
	f.b[i>>3] &^= 0x80 >> (i & 7)
	f.count--
	return true
}

// Fill adds every piece.
func (f *Bitfield) Fill() {
	b := f.Bytes()
	for i := range b {
		b[i] = 0xff
	}
	if r := f.n % 8; r != 0 {
		b[len(b)-1] = 0xff << (8 - r)
	}
	f.count = f.n
}

// Bytes is the wire form. The caller must not change it, nor keep it beyond
// the next change of the set.
func (f *Bitfield) Bytes() []byte { return f.b[:(f.n+7)/8] }

// Clone is an independent copy.
func (f *Bitfield) Clone() *Bitfield {
	c := *f
	c.b = append([]byte(nil), f.b...)
	return &c
}

// Indexes yields the members in ascending order.
func (f *Bitfield) Indexes() iter.Seq[Index] {
	return func(yield func(Index) bool) {
		for w := range f.words() {
			x := f.word(w)
			for x != 0 {
				r := bits.LeadingZeros64(x)
				if !yield(Index(w*64 + r)) {
					return
				}
				x &^= 1 << 63 >> r
			}
		}
	}
}

// words is the number of 64-piece words.
func (f *Bitfield) words() int { return len(f.b) / 8 }

// word is 64 pieces from piece 64*w on; the high bit is the first of them.
func (f *Bitfield) word(w int) uint64 { return binary.BigEndian.Uint64(f.b[w*8:]) }

// common is the number of pieces in both sets, which range over the same
// pieces.
func (f *Bitfield) common(o *Bitfield) int {
	n := 0
	for w := range f.words() {
		n += bits.OnesCount64(f.word(w) & o.word(w))
	}
	return n
}
