package metainfo

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Secret is what the members of a closed swarm share: 256 random bits. The
// zero value means that there is none.
//
// Its text is had from String alone. Printing it with fmt or slog, also as
// part of something else, shows that there is a secret and nothing of it;
// encoding/json refuses it.
type Secret [32]byte

// secretText is the length of a secret's text: 32 bytes as base64url (RFC 4648
// section 5) without padding.
const secretText = 43

// What the text of a secret has at least. One of 2,000 random ones has less,
// and is drawn again; most sentences somebody made up have less as well.
const (
	minSecretKinds    = 3  // capitals, small letters, digits
	minSecretDistinct = 18 // characters
)

// ErrSecret is wrapped by every error about a text that is no secret.
var ErrSecret = errors.New("metainfo: bad secret")

// NewSecret makes a secret of random bytes: rand is crypto/rand.Reader.
func NewSecret(rand io.Reader) (Secret, error) {
	for range 64 {
		var s Secret
		if _, err := io.ReadFull(rand, s[:]); err != nil {
			return Secret{}, fmt.Errorf("making a secret: %w", err)
		}
		if looksRandom(s.String()) {
			return s, nil
		}
	}
	return Secret{}, errors.New("making a secret: the random source does not look random")
}

// ParseSecret reads what String writes. Pass-phrases are refused, since they
// can be guessed by whoever has recorded an announce. No error shows the text.
func ParseSecret(text string) (Secret, error) {
	if len(text) != secretText {
		return Secret{}, fmt.Errorf("%w: a secret is %d characters that btd made, this has %d; a pass-phrase can be guessed", ErrSecret, secretText, len(text))
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(Secret{}) {
		return Secret{}, fmt.Errorf("%w: a secret has letters, digits, - and _ only, and the last character is one of 16", ErrSecret)
	}
	if !looksRandom(text) {
		return Secret{}, fmt.Errorf("%w: a secret is %d random characters that btd made; a pass-phrase can be guessed", ErrSecret, secretText)
	}
	return Secret(b), nil
}

// looksRandom tells apart what a random source made and what a person did, as
// far as that is easy.
func looksRandom(text string) bool {
	var seen [128]bool
	var kinds [4]int
	distinct := 0
	for _, c := range []byte(text) {
		switch {
		case c >= 'A' && c <= 'Z':
			kinds[0] = 1
		case c >= 'a' && c <= 'z':
			kinds[1] = 1
		case c >= '0' && c <= '9':
			kinds[2] = 1
		}
		if !seen[c&127] {
			seen[c&127] = true
			distinct++
		}
	}
	return kinds[0]+kinds[1]+kinds[2] >= minSecretKinds && distinct >= minSecretDistinct
}

// IsZero tells whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// String is the text of the secret, 43 characters. It is the secret: it must
// not get into a log or an answer.
func (s Secret) String() string { return base64.RawURLEncoding.EncodeToString(s[:]) }

// Mask is what trackers and neighbours on the network are told in place of the
// v1 info-hash: HMAC-SHA256(secret, info-hash), cut to 20 bytes. A torrent
// that has only a v2 hash is masked by its wire form. Without a secret it is
// the hash itself.
func (s Secret) Mask(h Hash) Hash {
	if s.IsZero() {
		return h
	}
	wire := h.Wire()
	mac := hmac.New(sha256.New, s[:])
	mac.Write(wire[:])
	return V1([20]byte(mac.Sum(nil)[:20]))
}

// WithoutSecret is a magnet link as it may be shown: without what stands behind
// its #.
func WithoutSecret(link string) string {
	if shown, _, closed := strings.Cut(link, "#"); closed {
		return shown + "#..."
	}
	return link
}

// hidden is how a secret is printed.
func (s Secret) hidden() string {
	if s.IsZero() {
		return "none"
	}
	return "[secret]"
}

// Format implements fmt.Formatter: whatever the verb, the secret is not shown.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.hidden()) }

// LogValue implements slog.LogValuer: the secret is not shown.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.hidden()) }

// MarshalText refuses, so that no encoder writes a secret by accident.
func (s Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("metainfo: a secret is not to be encoded")
}
