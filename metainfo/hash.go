package metainfo

import (
	"encoding/hex"
	"fmt"
)

// Hash identifies a torrent. It carries a v1 info-hash (SHA-1, BEP 3), a v2
// info-hash (SHA-256, BEP 52) or both (a hybrid). It is comparable, so that
// it can be a map key. The zero value identifies nothing.
type Hash struct {
	v1   [20]byte
	v2   [32]byte
	kind kind
}

type kind uint8

const (
	hasV1 kind = 1 << iota
	hasV2
)

// V1 is the identity of a torrent that has only a v1 info-hash.
func V1(h [20]byte) Hash { return Hash{v1: h, kind: hasV1} }

// WithV2 adds a v2 info-hash.
func (h Hash) WithV2(v2 [32]byte) Hash {
	h.v2, h.kind = v2, h.kind|hasV2
	return h
}

// V1 is the SHA-1 info-hash, if there is one.
func (h Hash) V1() ([20]byte, bool) { return h.v1, h.kind&hasV1 != 0 }

// V2 is the SHA-256 info-hash, if there is one.
func (h Hash) V2() ([32]byte, bool) { return h.v2, h.kind&hasV2 != 0 }

// IsZero tells whether h identifies nothing.
func (h Hash) IsZero() bool { return h.kind == 0 }

// Wire is the 20 bytes that handshakes and trackers carry: the v1 hash, or
// the v2 hash cut to 20 bytes (BEP 52, "infohash").
func (h Hash) Wire() [20]byte {
	if h.kind&hasV1 != 0 {
		return h.v1
	}
	return [20]byte(h.v2[:20])
}

// String is the v1 hash in lower-case hex, or the v2 hash where there is no
// v1 hash.
func (h Hash) String() string {
	if h.kind&hasV1 == 0 && h.kind&hasV2 != 0 {
		return hex.EncodeToString(h.v2[:])
	}
	return hex.EncodeToString(h.v1[:])
}

// ParseHash reads what String writes: 40 hex digits for v1, 64 for v2.
func ParseHash(s string) (Hash, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return Hash{}, fmt.Errorf("metainfo: info-hash %q is not hexadecimal", s)
	}
	switch len(b) {
	case 20:
		return V1([20]byte(b)), nil
	case 32:
		return Hash{}.WithV2([32]byte(b)), nil
	}
	return Hash{}, fmt.Errorf("metainfo: info-hash %q has %d digits, want 40 (v1) or 64 (v2)", s, len(s))
}
