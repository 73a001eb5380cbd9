package resume

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"btd/metainfo"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealHeader is the length of what seal puts before the payload.
const sealHeader = 5

// seal makes the stored form of a payload: checksum, version, payload. The
// checksum covers the key, so that a value found under another key is bad.
func seal(key []byte, version byte, payload []byte) []byte {
	v := make([]byte, sealHeader, sealHeader+len(payload))
	v[4] = version
	v = append(v, payload...)
	binary.LittleEndian.PutUint32(v, checksum(key, v[4:]))
	return v
}

// unseal returns the payload within v, which it does not copy.
func unseal(key []byte, version byte, v []byte) ([]byte, error) {
	if len(v) < sealHeader {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(v))
	}
	if binary.LittleEndian.Uint32(v) != checksum(key, v[4:]) {
		return nil, fmt.Errorf("%w: checksum mismatch", ErrCorrupt)
	}
	if v[4] != version {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrCorrupt, v[4], version)
	}
	return v[sealHeader:], nil
}

func checksum(key, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rest)
}

// Kinds of torrent keys, the first byte.
const (
	keyV1     = 1
	keyV2     = 2
	keyHybrid = 3
)

// appendKey appends the key of a torrent. Keys of one kind have one length,
// so that no key is a prefix of another.
func appendKey(b []byte, h metainfo.Hash) []byte {
	v1, has1 := h.V1()
	v2, has2 := h.V2()
	switch {
	case has1 && has2:
		b = append(append(b, keyHybrid), v1[:]...)
		return append(b, v2[:]...)
	case has2:
		return append(append(b, keyV2), v2[:]...)
	default:
		return append(append(b, keyV1), v1[:]...)
	}
}

func torrentKey(h metainfo.Hash) []byte { return appendKey(make([]byte, 0, 64), h) }

func chunkKey(key []byte, chunk int) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, len(key)+4), key...), uint32(chunk))
}

// parseKey reads what appendKey wrote.
func parseKey(k []byte) (metainfo.Hash, bool) {
	switch {
	case len(k) == 21 && k[0] == keyV1:
		return metainfo.V1([20]byte(k[1:])), true
	case len(k) == 33 && k[0] == keyV2:
		return metainfo.Hash{}.WithV2([32]byte(k[1:])), true
	case len(k) == 53 && k[0] == keyHybrid:
		return metainfo.V1([20]byte(k[1:])).WithV2([32]byte(k[21:])), true
	}
	return metainfo.Hash{}, false
}

// reader consumes a payload. After the first error it yields zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
		r.b = nil
	}
}

// uvarint accepts only the shortest form, so that every accepted payload
// encodes to the same bytes again.
func (r *reader) uvarint(what string) uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail("%s: not a number", what)
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) varint(what string) int64 {
	u := r.uvarint(what)
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of things that take at least one byte each in what
// follows, which bounds what may be allocated for them.
func (r *reader) count(what string) int {
	n := r.uvarint(what)
	if n > uint64(len(r.b)) {
		r.fail("%s: %d of them in %d bytes", what, n, len(r.b))
		return 0
	}
	return int(n)
}

// size reads a number from 0 to limit.
func (r *reader) size(what string, limit int64) int64 {
	n := r.uvarint(what)
	if n > uint64(limit) {
		r.fail("%s: %d, at most %d", what, n, limit)
		return 0
	}
	return int64(n)
}

func (r *reader) take(what string, n int) []byte {
	if n > len(r.b) {
		r.fail("%s: %d bytes wanted, %d left", what, n, len(r.b))
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) bytes(what string) []byte { return r.take(what, r.count(what)) }

func (r *reader) byte(what string) byte {
	if p := r.take(what, 1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) float(what string) float64 {
	if p := r.take(what, 8); p != nil {
		return math.Float64frombits(binary.LittleEndian.Uint64(p))
	}
	return 0
}

// end tells whether everything was read and made sense.
func (r *reader) end() error {
	if len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	return r.err
}

func appendVarint(b []byte, x int64) []byte {
	return binary.AppendUvarint(b, uint64(x)<<1^uint64(x>>63))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
