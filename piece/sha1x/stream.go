package sha1x

import (
	"crypto/sha1"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
)

// chunk is what SHA-1 takes in at once, bytes.
const chunk = sha1.BlockSize

// Stream is the SHA-1 of one message that comes in parts. It has no memory
// outside itself. Reset makes it an empty message; the zero value is not one.
type Stream struct {
	state [5]uint32
	n     uint64      // bytes so far
	tail  [chunk]byte // of those, the last n%64, which wait for the rest of their chunk
}

// Reset makes s an empty message.
func (s *Stream) Reset() {
	s.state = [5]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}
	s.n = 0
}

// Part is what comes next of a message, in pieces of any size.
type Part struct {
	Stream *Stream
	Data   [][]byte
}

// Hasher hashes. It belongs to one goroutine at a time. The zero value is valid.
type Hasher struct {
	std   digest // hashes what goes alone
	saved []byte // std's state as it marshals it
	lanes set
	wide  int // lanes at most; 0 means as many as the processor has
}

// digest is crypto/sha1's, with the state that goes in and out.
type digest interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// The form in which crypto/sha1 marshals its state: this, the state, a chunk
// that waits, the length.
const magic = "sha\x01"

const savedLen = len(magic) + 20 + chunk + 8

var zeros [chunk]byte

// Lanes is how many messages are hashed side by side on this machine, at most
// MaxLanes; 1 if it cannot.
func Lanes() int { return lanes() }

// Write adds p to the message s, alone.
func (h *Hasher) Write(s *Stream, p []byte) {
	h.alone(s, p, nil)
}

// Sum is the SHA-1 of the message s, which may go on after it.
func (h *Hasher) Sum(s *Stream) [sha1.Size]byte {
	h.load(s)
	h.saved = h.std.Sum(h.saved[:0])
	return [sha1.Size]byte(h.saved)
}

// load makes std continue s.
func (h *Hasher) load(s *Stream) {
	if h.std == nil {
		h.std = sha1.New().(digest)
	}
	b := append(h.saved[:0], magic...)
	for _, v := range s.state {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = append(b, s.tail[:s.n%chunk]...)
	b = append(b, zeros[s.n%chunk:]...)
	b = binary.BigEndian.AppendUint64(b, s.n)
	if err := h.std.UnmarshalBinary(b); err != nil {
		panic(fmt.Sprintf("sha1x: crypto/sha1 does not take its own state: %v", err))
	}
	h.saved = b
}

// store takes std's state back.
func (h *Hasher) store(s *Stream) {
	b, err := h.std.AppendBinary(h.saved[:0])
	if err != nil || len(b) != savedLen {
		panic(fmt.Sprintf("sha1x: crypto/sha1 gave a state of %d bytes, want %d: %v", len(b), savedLen, err))
	}
	h.saved = b
	b = b[len(magic):]
	for i := range s.state {
		s.state[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	copy(s.tail[:], b[20:])
	s.n = binary.BigEndian.Uint64(b[20+chunk:])
}
