package store

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"
)

// TokenSize is the length of our tokens, bytes.
const TokenSize = 8

const rotation = 5 * time.Minute

// Tokens makes and checks tokens: a keyed hash of an address. The key changes
// every 5 minutes, and the two keys before it are accepted as well, so that a
// token is good for at least 10 minutes (BEP 5, "Overview"), and at most 15.
type Tokens struct {
	keys    [3][16]byte // newest first
	rotated time.Time
}

// NewTokens makes the first key.
func NewTokens(now time.Time, rng *rand.Rand) *Tokens {
	t := &Tokens{rotated: now}
	for i := range t.keys {
		t.keys[i] = key(rng)
	}
	return t
}

func key(rng *rand.Rand) (k [16]byte) {
	binary.NativeEndian.PutUint64(k[:], rng.Uint64())
	binary.NativeEndian.PutUint64(k[8:], rng.Uint64())
	return k
}

// Rotate changes the key if it is time. Call it at least every few minutes.
func (t *Tokens) Rotate(now time.Time, rng *rand.Rand) {
	for range len(t.keys) {
		if now.Sub(t.rotated) < rotation {
			return
		}
		copy(t.keys[1:], t.keys[:2])
		t.keys[0] = key(rng)
		t.rotated = t.rotated.Add(rotation)
	}
	t.rotated = now // a long pause: all keys are new
}

// Append appends the token for an address.
func (t *Tokens) Append(b []byte, ip netip.Addr) []byte {
	token := hash(&t.keys[0], ip)
	return append(b, token[:]...)
}

// Check tells whether a token was given to an address lately.
func (t *Tokens) Check(token []byte, ip netip.Addr) bool {
	ok := 0
	for i := range t.keys {
		want := hash(&t.keys[i], ip)
		ok |= subtle.ConstantTimeCompare(token, want[:])
	}
	return ok == 1
}

func hash(key *[16]byte, ip netip.Addr) (token [TokenSize]byte) {
	var b [32]byte
	copy(b[:], key[:])
	addr := ip.As16()
	copy(b[16:], addr[:])
	sum := sha256.Sum256(b[:])
	copy(token[:], sum[:])
	return token
}
