package store

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha1"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// Bounds of BEP 44, bytes.
const (
	MaxValue = 1000
	MaxSalt  = 64
)

// ItemsConfig bounds the stored items. The zero value means the defaults.
type ItemsConfig struct {
	Count  int           // at most so many; 0 means 700
	Bytes  int           // of values and all that belongs to them; 0 means 512 KiB
	Expiry time.Duration // after the last put; 0 means 2 h
}

func (c ItemsConfig) withDefaults() ItemsConfig {
	if c.Count == 0 {
		c.Count = 700
	}
	if c.Bytes == 0 {
		c.Bytes = 512 << 10
	}
	if c.Expiry == 0 {
		c.Expiry = 2 * time.Hour
	}
	return c
}

// itemSize is about what an item costs beside its value and salt, bytes.
const itemSize = 256

// Item is a stored value.
type Item struct {
	V    []byte // bencoded
	K    []byte // public key; nil if immutable
	Sig  []byte
	Salt []byte
	Seq  int64

	put     time.Time
	from    netip.Addr // of the last put
	askedBy uint64     // a bit for each address that has put it, by hash
}

// Mutable tells whether the item has a key.
func (i *Item) Mutable() bool { return len(i.K) > 0 }

func (i *Item) size() int { return itemSize + len(i.V) + len(i.Salt) }

// Items are the stored values.
type Items struct {
	cfg   ItemsConfig
	self  contact.Key
	items map[krpc.ID]*Item
	bytes int
}

// NewItems makes an empty store. self is our node id.
func NewItems(cfg ItemsConfig, self krpc.ID) *Items {
	return &Items{cfg: cfg.withDefaults(), self: contact.KeyOf(self), items: make(map[krpc.ID]*Item)}
}

// SetSelf tells a new node id.
func (s *Items) SetSelf(id krpc.ID) { s.self = contact.KeyOf(id) }

// Len is the number of items and about how many bytes they take.
func (s *Items) Len() (items, bytes int) { return len(s.items), s.bytes }

// Get is the item at a target, nil if there is none. It is not to be changed.
func (s *Items) Get(target krpc.ID, now time.Time) *Item {
	i := s.items[target]
	if i == nil || now.Sub(i.put) > s.cfg.Expiry {
		return nil
	}
	return i
}

// Put stores the value of a put query, whose slices are copied. It returns 0,
// or the code of the error to answer with. The caller has checked the token.
func (s *Items) Put(b *krpc.Body, from netip.Addr, now time.Time) (code int) {
	mutable := b.Has&krpc.HasK != 0
	var salt []byte
	if b.Has&krpc.HasSalt != 0 {
		salt = b.Salt
	}
	switch {
	case len(b.V) > MaxValue:
		return krpc.CodeValueSize
	case len(salt) > MaxSalt:
		return krpc.CodeSaltSize
	case !krpc.Canonical(b.V), mutable && b.Seq < 0:
		return krpc.CodeProtocol
	}
	target := ImmutableTarget(b.V)
	if mutable {
		target = MutableTarget(b.K, salt)
	}
	old := s.Get(target, now)
	if old != nil && mutable {
		if b.Has&krpc.HasCas != 0 && b.Cas != old.Seq {
			return krpc.CodeCAS
		}
		same := b.Seq == old.Seq && bytes.Equal(b.V, old.V)
		if b.Seq < old.Seq || (b.Seq == old.Seq && !same) {
			return krpc.CodeSequence
		}
	}
	if mutable && !Verify(b.K, salt, b.Seq, b.V, b.Sig) {
		return krpc.CodeSignature
	}
	if old != nil && old.Seq == b.Seq && bytes.Equal(b.V, old.V) {
		old.put, old.from = now, from
		old.askedBy |= voter(from)
		return 0
	}
	item := &Item{V: slices.Clone(b.V), put: now, from: from, askedBy: voter(from)}
	if mutable {
		item.K, item.Sig, item.Salt, item.Seq = slices.Clone(b.K), slices.Clone(b.Sig), slices.Clone(salt), b.Seq
	}
	if old != nil {
		item.askedBy |= old.askedBy
	}
	s.drop(target)
	if !s.makeRoom(target, item, now) {
		if old != nil {
			s.items[target] = old
			s.bytes += old.size()
		}
		return krpc.CodeServer
	}
	s.items[target] = item
	s.bytes += item.size()
	return 0
}

func (s *Items) drop(target krpc.ID) {
	if i := s.items[target]; i != nil {
		s.bytes -= i.size()
		delete(s.items, target)
	}
}

// makeRoom drops items until a new one fits, or tells that it is the first
// that would go.
func (s *Items) makeRoom(target krpc.ID, item *Item, now time.Time) bool {
	if len(s.items) < s.cfg.Count && s.bytes+item.size() <= s.cfg.Bytes {
		return true
	}
	s.Expire(now)
	for len(s.items) >= s.cfg.Count || s.bytes+item.size() > s.cfg.Bytes {
		victim, fewest, far := target, bits.OnesCount64(item.askedBy), contact.KeyOf(target).Xor(s.self)
		own, ownVictim, ownFar := 0, target, contact.Key{}
		for t, i := range s.items {
			n, d := bits.OnesCount64(i.askedBy), contact.KeyOf(t).Xor(s.self)
			if n < fewest || (n == fewest && far.Less(d)) {
				victim, fewest, far = t, n, d
			}
			if i.from == item.from {
				if own == 0 || ownFar.Less(d) {
					ownVictim, ownFar = t, d
				}
				own++
			}
		}
		if own > s.cfg.Count/16 && !Local(item.from) {
			victim = ownVictim
		}
		if victim == target {
			return false
		}
		s.drop(victim)
	}
	return true
}

// Expire forgets items that nobody has put for long. Call it every few
// minutes.
func (s *Items) Expire(now time.Time) {
	for target, i := range s.items {
		if now.Sub(i.put) > s.cfg.Expiry {
			s.drop(target)
		}
	}
}

// voter is the bit of an address.
func voter(ip netip.Addr) uint64 {
	return 1 << (asked(ip.Unmap()) * 0x9e3779b97f4a7c15 >> 58)
}

// ImmutableTarget is where an immutable value, bencoded, is stored: at its
// SHA-1.
func ImmutableTarget(v []byte) (id krpc.ID) {
	sum := sha1.Sum(v)
	id.SetBytes(sum[:])
	return id
}

// MutableTarget is where the value of a key and a salt is stored.
func MutableTarget(key, salt []byte) (id krpc.ID) {
	b := make([]byte, 0, krpc.KeySize+MaxSalt)
	sum := sha1.Sum(append(append(b, key...), salt...))
	id.SetBytes(sum[:])
	return id
}

// AppendSigned appends what is signed for a value (BEP 44, "Signature
// Verification").
func AppendSigned(b, salt []byte, seq int64, v []byte) []byte {
	if len(salt) > 0 {
		b = append(b, "4:salt"...)
		b = strconv.AppendInt(b, int64(len(salt)), 10)
		b = append(append(b, ':'), salt...)
	}
	b = append(b, "3:seqi"...)
	b = strconv.AppendInt(b, seq, 10)
	return append(append(b, "e1:v"...), v...)
}

// Sign signs a value.
func Sign(key ed25519.PrivateKey, salt []byte, seq int64, v []byte) []byte {
	return ed25519.Sign(key, AppendSigned(nil, salt, seq, v))
}

// Verify checks a signature. Keys and signatures of a wrong length are wrong.
func Verify(key, salt []byte, seq int64, v, sig []byte) bool {
	if len(key) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return false
	}
	b := make([]byte, 0, 128+MaxValue)
	return ed25519.Verify(key, AppendSigned(b, salt, seq, v), sig)
}
