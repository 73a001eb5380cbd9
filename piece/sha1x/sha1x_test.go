package sha1x

import (
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"testing"
)

// widths are the lanes that this machine can be held to.
func widths() []int {
	all := []int{1}
	for _, w := range []int{8, 16} {
		if w <= Lanes() {
			all = append(all, w)
		}
	}
	return all
}

// TestSameAsTheStandardLibrary: messages of all sizes, cut anywhere and added
// in any company, have the sums that crypto/sha1 gives.
func TestSameAsTheStandardLibrary(t *testing.T) {
	for _, wide := range widths() {
		t.Run(fmt.Sprint(wide), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(wide)))
			h := &Hasher{wide: wide}
			for round := range 300 {
				n := 1 + rng.IntN(40)
				messages, left := make([][]byte, n), make([][]byte, n)
				streams := make([]Stream, n)
				unit := []int{1, 64, 1024}[rng.IntN(3)]
				for i := range messages {
					messages[i] = random(rng, unit*rng.IntN(5000/unit+1))
					if rng.IntN(2) == 0 && i > 0 {
						messages[i] = random(rng, len(messages[0]))
					}
					left[i] = messages[i]
					streams[i].Reset()
				}
				for range 3 {
					h.WriteAll(cut(rng, unit, streams, left, false))
				}
				h.WriteAll(cut(rng, unit, streams, left, true))
				for i := range messages {
					if got, want := h.Sum(&streams[i]), sha1.Sum(messages[i]); got != want {
						t.Fatalf("round %d: message %d of %d, %d bytes: %x, want %x", round, i, n, len(messages[i]), got, want)
					}
				}
			}
		})
	}
}

func random(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// cut takes a part of some messages, or what is left of all, and leaves the
// rest in left.
func cut(rng *rand.Rand, unit int, streams []Stream, left [][]byte, all bool) []Part {
	var parts []Part
	for i := range streams {
		n := len(left[i])
		if !all {
			n = min(n, unit*rng.IntN(len(left[i])/unit+1))
		}
		p, rest := left[i][:n], left[i][n:]
		left[i] = rest
		part := Part{Stream: &streams[i]}
		for len(p) > 0 && rng.IntN(4) > 0 {
			k := min(len(p), unit*(1+rng.IntN(20)))
			part.Data = append(part.Data, p[:k])
			p = p[k:]
		}
		part.Data = append(part.Data, p)
		if len(part.Data) > 0 && (n > 0 || rng.IntN(2) == 0) {
			parts = append(parts, part)
		}
	}
	rng.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
	return parts
}

// TestWriteAfterSum: a sum does not end a message.
func TestWriteAfterSum(t *testing.T) {
	var h Hasher
	var s Stream
	s.Reset()
	for i, want := range []string{"", "a", "aa", "aaa"} {
		if i > 0 {
			h.Write(&s, []byte("a"))
		}
		if got := h.Sum(&s); got != sha1.Sum([]byte(want)) {
			t.Errorf("%q: %x", want, got)
		}
	}
}

// TestNothingIsAllocated: a Hasher whose lanes are full allocates nothing.
func TestNothingIsAllocated(t *testing.T) {
	if Lanes() == 1 {
		t.Skip("this processor has no lanes")
	}
	parts, _ := pieces(MaxLanes, 4096)
	var h Hasher
	h.WriteAll(parts)
	if n := testing.AllocsPerRun(10, func() { h.WriteAll(parts) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func pieces(n, size int) ([]Part, int64) {
	streams, parts := make([]Stream, n), make([]Part, n)
	for i := range parts {
		streams[i].Reset()
		parts[i] = Part{&streams[i], [][]byte{make([]byte, size)}}
	}
	return parts, int64(n) * int64(size)
}

// BenchmarkWriteAll is 16 KiB of each of some messages.
func BenchmarkWriteAll(b *testing.B) {
	for _, wide := range widths() {
		for _, n := range []int{1, 4, 6, 8, 12, 16} {
			b.Run(fmt.Sprintf("lanes=%d/messages=%d", wide, n), func(b *testing.B) {
				parts, bytes := pieces(n, 16<<10)
				h := Hasher{wide: wide}
				b.SetBytes(bytes)
				b.ReportAllocs()
				for b.Loop() {
					h.WriteAll(parts)
				}
			})
		}
	}
}
