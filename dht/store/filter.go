package store

import (
	"crypto/sha1"
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"btd/dht/krpc"
)

// Filter is a bloom filter of addresses (BEP 33, "Bloom Filters").
type Filter [krpc.FilterSize]byte

// Insert adds an address.
func (f *Filter) Insert(ip netip.Addr) {
	if ip = ip.Unmap(); ip.Is4() {
		b := ip.As4()
		f.insert(b[:])
	} else {
		b := ip.As16()
		f.insert(b[:])
	}
}

func (f *Filter) insert(ip []byte) {
	sum := sha1.Sum(ip)
	for _, at := range [2]uint16{binary.LittleEndian.Uint16(sum[0:]), binary.LittleEndian.Uint16(sum[2:])} {
		at %= uint16(len(f) * 8)
		f[at/8] |= 1 << (at % 8)
	}
}

// Add adds all of another filter, given as bytes. What has another length is
// ignored.
func (f *Filter) Add(other []byte) {
	if len(other) != len(f) {
		return
	}
	for i, b := range other {
		f[i] |= b
	}
}

// Estimate is about how many addresses were inserted (BEP 33, "Calculating the
// estimate"). It means nothing beyond 6,000.
func (f *Filter) Estimate() float64 {
	const hashes = 2
	m := float64(len(f) * 8)
	zeros := 0
	for _, b := range f {
		zeros += 8 - bits.OnesCount8(b)
	}
	c := max(1, min(m-1, float64(zeros)))
	if zeros == len(f)*8 {
		return 0
	}
	return math.Log(c/m) / (hashes * math.Log(1-1/m))
}
