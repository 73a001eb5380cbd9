package metainfo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Fingerprint stands for the state in which somebody saw all files of a
// torrent: SHA-256 of the info-hash (20 bytes; 32 of a torrent that has v2
// only), then, for each file but padding in the torrent's order, of its size
// in bytes and its modification time in nanoseconds since 1970, each as 8
// bytes with the highest first. Who has hashed the files can say by it which
// files it were, so that nobody has to hash them again.
type Fingerprint [sha256.Size]byte

// Fingerprint makes one of what stat says of each file.
func (m *Info) Fingerprint(stat func(i int) (size, modTime int64, err error)) (Fingerprint, error) {
	h := sha256.New()
	if v1, ok := m.Hash.V1(); ok {
		h.Write(v1[:])
	} else if v2, ok := m.Hash.V2(); ok {
		h.Write(v2[:])
	}
	var b [16]byte
	for i := range m.Files {
		if m.Files[i].Pad {
			continue
		}
		size, at, err := stat(i)
		if err != nil {
			return Fingerprint{}, err
		}
		binary.BigEndian.PutUint64(b[:8], uint64(size))
		binary.BigEndian.PutUint64(b[8:], uint64(at))
		h.Write(b[:])
	}
	return Fingerprint(h.Sum(nil)), nil
}

// ParseFingerprint reads what String writes.
func ParseFingerprint(s string) (Fingerprint, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return Fingerprint{}, fmt.Errorf("a fingerprint has %d hexadecimal digits", 2*sha256.Size)
	}
	return Fingerprint(b), nil
}

// String is 64 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// IsZero tells whether there is none.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }
