package resume

import (
	"encoding/binary"
	"math/bits"
)

// chunkBits is how many pieces, or files, one chunk of bits covers.
const chunkBits = 16384

// bitChunk is a set of numbers from 0 to chunkBits-1, stored like a bitfield:
// the high bit of the first byte is 0.
type bitChunk [chunkBits / 8]byte

// Kinds of encoded chunks, the first byte of the payload.
const (
	chunkRaw = 0 // bytes of the set, zeros at the end cut off
	chunkRun = 1 // uvarint n: the set is 0 to n-1
)

func (c *bitChunk) has(i int) bool { return c[i>>3]&(0x80>>(i&7)) != 0 }

// set adds or removes i and tells whether that changed the set.
func (c *bitChunk) set(i int, on bool) bool {
	if c.has(i) == on {
		return false
	}
	c[i>>3] ^= 0x80 >> (i & 7)
	return true
}

// used is the number of bytes up to the last that is not zero.
func (c *bitChunk) used() int {
	n := len(c)
	for n > 0 && c[n-1] == 0 {
		n--
	}
	return n
}

// append appends the payload of a set that is not empty. A set without gaps
// from 0, which is what a complete torrent has, takes a few bytes.
func (c *bitChunk) append(b []byte) []byte {
	n := c.used()
	if run, ok := c.run(n); ok {
		return binary.AppendUvarint(append(b, chunkRun), uint64(run))
	}
	return append(append(b, chunkRaw), c[:n]...)
}

// run is the length of the set if it has no gaps from 0; n is c.used().
func (c *bitChunk) run(n int) (int, bool) {
	if n == 0 {
		return 0, true
	}
	for _, x := range c[:n-1] {
		if x != 0xff {
			return 0, false
		}
	}
	ones := bits.LeadingZeros8(^c[n-1])
	return (n-1)*8 + ones, c[n-1]<<ones == 0
}

// fillRun makes c the set 0 to n-1.
func (c *bitChunk) fillRun(n int) {
	*c = bitChunk{}
	for i := range n / 8 {
		c[i] = 0xff
	}
	if r := n % 8; r != 0 {
		c[n/8] = 0xff << (8 - r)
	}
}

// decode reads what append wrote.
func (c *bitChunk) decode(p []byte) error {
	*c = bitChunk{}
	r := reader{b: p}
	switch kind := r.byte("kind"); kind {
	case chunkRun:
		n := int(r.size("run", chunkBits))
		if n == 0 {
			r.fail("empty run")
		}
		if err := r.end(); err != nil {
			return err
		}
		c.fillRun(n)
	case chunkRaw:
		if len(r.b) > len(c) || len(r.b) == 0 || r.b[len(r.b)-1] == 0 {
			r.fail("set of %d bytes", len(r.b))
			return r.err
		}
		copy(c[:], r.b)
		if _, ok := c.run(len(r.b)); ok {
			r.fail("run stored as a set")
			return r.err
		}
	default:
		r.fail("kind %d", kind)
	}
	return r.err
}

// chunkFiles is how many files one value of bucket "files" covers.
const chunkFiles = 64

// fileChunk is what is recorded of chunkFiles files.
type fileChunk [chunkFiles]fileRecord

type fileRecord struct {
	size, modTime int64
	known         bool
}

// append appends the payload: the number of entries up to the last known one,
// then for each 0, or 1 and size and modification time. It appends nothing
// for a chunk without known files.
func (c *fileChunk) append(b []byte) []byte {
	n := len(c)
	for n > 0 && !c[n-1].known {
		n--
	}
	if n == 0 {
		return b
	}
	b = append(b, byte(n))
	for _, f := range c[:n] {
		if !f.known {
			b = append(b, 0)
			continue
		}
		b = append(b, 1)
		b = binary.AppendUvarint(b, uint64(f.size))
		b = appendVarint(b, f.modTime)
	}
	return b
}

// decode reads what append wrote.
func (c *fileChunk) decode(p []byte) error {
	*c = fileChunk{}
	r := reader{b: p}
	n := int(r.byte("entries"))
	if n == 0 || n > len(c) {
		r.fail("%d entries", n)
		return r.err
	}
	for i := range n {
		switch r.byte("entry") {
		case 0:
		case 1:
			c[i] = fileRecord{size: r.size("size", Forgotten), modTime: r.varint("modification time"), known: true}
		default:
			r.fail("entry %d", i)
		}
	}
	if !c[n-1].known {
		r.fail("last entry is empty")
	}
	if err := r.end(); err != nil {
		*c = fileChunk{}
		return err
	}
	return nil
}
