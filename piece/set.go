package piece

import "math/bits"

// set is a Bitfield with a summary above it: one bit for each 64-piece word
// that is not zero. Looking for the next member of two sparse sets then
// touches one bit in 64 instead of every word.
type set struct {
	Bitfield
	sum []uint64 // bit w&63 of sum[w>>6] tells whether word w has a member
}

// newSet is an empty set over n pieces.
func newSet(n int) *set {
	s := &set{Bitfield: *NewBitfield(n)}
	s.sum = make([]uint64, (s.words()+63)/64)
	return s
}

// wrapSet puts a summary above f, which it takes over.
func wrapSet(f *Bitfield) *set {
	s := &set{Bitfield: *f}
	s.sum = make([]uint64, (s.words()+63)/64)
	for w := range s.words() {
		if s.word(w) != 0 {
			s.sum[w>>6] |= 1 << (w & 63)
		}
	}
	return s
}

// add puts i into the set and tells whether that changed it.
func (s *set) add(i Index) bool {
	if !s.Set(i) {
		return false
	}
	s.sum[i>>12] |= 1 << (i >> 6 & 63)
	return true
}

// remove takes i out of the set and tells whether that changed it.
func (s *set) remove(i Index) bool {
	if !s.Clear(i) {
		return false
	}
	if s.word(int(i>>6)) == 0 {
		s.sum[i>>12] &^= 1 << (i >> 6 & 63)
	}
	return true
}

// next is the first piece from i on that is in s and in o, which range over
// the same pieces. s.next(s, i) is the next member of s alone.
func (s *set) next(o *set, i Index) (Index, bool) {
	if int(i) >= s.n {
		return 0, false
	}
	w := int(i >> 6)
	x := s.word(w) & o.word(w) & (^uint64(0) >> (i & 63))
	for x == 0 {
		if w = s.nextWord(o, w+1); w < 0 {
			return 0, false
		}
		x = s.word(w) & o.word(w)
	}
	return Index(w<<6 + bits.LeadingZeros64(x)), true
}

// nextWord is the first word from w on where both sets have members, or -1.
func (s *set) nextWord(o *set, w int) int {
	k := w >> 6
	if k >= len(s.sum) {
		return -1
	}
	y := s.sum[k] & o.sum[k] & (^uint64(0) << (w & 63))
	for y == 0 {
		if k++; k == len(s.sum) {
			return -1
		}
		y = s.sum[k] & o.sum[k]
	}
	return k<<6 + bits.TrailingZeros64(y)
}
