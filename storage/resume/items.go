package resume

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Versions of the payloads of items.
const (
	followVersion      = 1
	publicationVersion = 1
)

// Prefixes of the keys of items, in the bucket of small values.
var (
	followPrefix      = []byte("follow ")
	publicationPrefix = []byte("publish ")
)

// Limits on one item.
const (
	maxSalt  = 64
	maxValue = 1000
	maxLink  = 64 << 10
	maxPath  = 32 << 10
)

// Item is a mutable item of the DHT (BEP 44). Without V it has not been seen.
type Item struct {
	Key  [32]byte // ed25519 public key
	Salt []byte
	Seq  int64
	V    []byte // bencoded
	Sig  []byte
}

// Version is a torrent that an item named (BEP 46).
type Version struct {
	Hash   [20]byte // zero: there is none
	Seq    int64
	Owned  bool // the torrent was added because of the item, not by a user
	Halted bool // the version in use was running, and was stopped to make way for this one
	Placed bool // this one has its directory and files, so that the version in use may go
}

// Follow is what is remembered of an item whose torrents are followed.
type Follow struct {
	Item           // the newest that was taken
	Link    string // a magnet link: name, trackers and peers for the torrents
	Dir     string // download directory
	Keep    bool   // old versions stay
	Added   time.Time
	Current Version // the version in use
	Next    Version // the one that is to take its place
}

// Publication is what is remembered of an item that is published.
type Publication struct {
	Item
	Name    string // of the torrent, for display
	Stopped bool   // not kept alive any more; its number is still remembered
	Added   time.Time
}

// PutFollow records a follow, durably. It replaces that of the same key and
// salt.
func (d *DB) PutFollow(f Follow) error {
	if err := f.check(); err != nil {
		return err
	}
	if len(f.Link) > maxLink || len(f.Dir) > maxPath {
		return fmt.Errorf("resume: following %x: a link of %d bytes, a directory of %d", f.Key, len(f.Link), len(f.Dir))
	}
	return d.putItem(followPrefix, &f.Item, followVersion, appendFollow(nil, &f))
}

// RemoveFollow forgets a follow, durably.
func (d *DB) RemoveFollow(key [32]byte, salt []byte) error {
	return d.putItem(followPrefix, &Item{Key: key, Salt: salt}, followVersion, nil)
}

// Follows are all follows. damaged are the errors of those that cannot be read.
func (d *DB) Follows() (all []Follow, damaged []error, err error) {
	return items(d, followPrefix, followVersion, decodeFollow)
}

// PutPublication records a publication, durably. It replaces that of the same
// key and salt.
func (d *DB) PutPublication(p Publication) error {
	if err := p.check(); err != nil {
		return err
	}
	if len(p.Name) > maxPath {
		return fmt.Errorf("resume: publishing %x: a name of %d bytes", p.Key, len(p.Name))
	}
	return d.putItem(publicationPrefix, &p.Item, publicationVersion, appendPublication(nil, &p))
}

// Publications are all publications. damaged are the errors of those that
// cannot be read.
func (d *DB) Publications() (all []Publication, damaged []error, err error) {
	return items(d, publicationPrefix, publicationVersion, decodePublication)
}

// check refuses what could not be read back.
func (i *Item) check() error {
	switch {
	case i.Key == [32]byte{}:
		return errors.New("resume: item without a key")
	case len(i.Salt) > maxSalt, len(i.V) > maxValue, len(i.Sig) != 64 && len(i.V) > 0, i.Seq < 0:
		return fmt.Errorf("resume: item of %x: salt of %d bytes, value of %d, signature of %d, number %d",
			i.Key, len(i.Salt), len(i.V), len(i.Sig), i.Seq)
	}
	return nil
}

func itemKey(prefix []byte, i *Item) []byte {
	return append(append(bytes.Clone(prefix), i.Key[:]...), i.Salt...)
}

// putItem writes a payload; a nil one removes what there is.
func (d *DB) putItem(prefix []byte, i *Item, version byte, payload []byte) error {
	k := itemKey(prefix, i)
	return d.do(len(payload)+256, func(b *buckets) (bool, error) {
		if payload == nil {
			return b.kv.Get(k) != nil, b.kv.Delete(k)
		}
		v := seal(k, version, payload)
		return !bytes.Equal(b.kv.Get(k), v), b.kv.Put(k, v)
	})
}

// items reads what has a prefix.
func items[T any](d *DB, prefix []byte, version byte, decode func(key, p []byte) (T, error)) (all []T, damaged []error, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketKV).Cursor()
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			p, err := unseal(k, version, v)
			var x T
			if err == nil {
				x, err = decode(k[len(prefix):], p)
			}
			if err != nil {
				damaged = append(damaged, fmt.Errorf("value of %q: %w", k, err))
				continue
			}
			all = append(all, x)
		}
		return nil
	})
	return all, damaged, err
}

func appendItem(b []byte, i *Item) []byte {
	b = appendVarint(b, i.Seq)
	b = appendString(b, string(i.V))
	return appendString(b, string(i.Sig))
}

// item reads what appendItem wrote. Key and salt are in the key.
func (r *reader) item(key []byte) (i Item) {
	if len(key) < len(i.Key) || len(key) > len(i.Key)+maxSalt {
		r.fail("a key of %d bytes", len(key))
		return i
	}
	copy(i.Key[:], key)
	if len(key) > len(i.Key) {
		i.Salt = bytes.Clone(key[len(i.Key):])
	}
	i.Seq = r.varint("number")
	if v, sig := r.bytes("value"), r.bytes("signature"); len(v)+len(sig) > 0 {
		i.V, i.Sig = bytes.Clone(v), bytes.Clone(sig)
	}
	if err := i.check(); err != nil {
		r.fail("%v", err)
	}
	return i
}

func appendVersion(b []byte, v Version) []byte {
	b = append(b, v.Hash[:]...)
	b = appendVarint(b, v.Seq)
	return append(b, flag(v.Owned)|flag(v.Halted)<<1|flag(v.Placed)<<2)
}

func (r *reader) version(what string) (v Version) {
	copy(v.Hash[:], r.take(what, len(v.Hash)))
	v.Seq = r.varint(what)
	f := r.byte(what)
	if f > 7 {
		r.fail("%s: flags %#x", what, f)
	}
	v.Owned, v.Halted, v.Placed = f&1 != 0, f&2 != 0, f&4 != 0
	return v
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func (r *reader) flag(what string) bool {
	f := r.byte(what)
	if f > 1 {
		r.fail("%s: %d is neither yes nor no", what, f)
	}
	return f == 1
}

func appendFollow(b []byte, f *Follow) []byte {
	b = appendItem(b, &f.Item)
	b = appendString(b, f.Link)
	b = appendString(b, f.Dir)
	b = append(b, flag(f.Keep))
	b = appendVarint(b, nanos(f.Added))
	b = appendVersion(b, f.Current)
	return appendVersion(b, f.Next)
}

func decodeFollow(key, p []byte) (Follow, error) {
	r := reader{b: p}
	f := Follow{Item: r.item(key)}
	f.Link, f.Dir = string(r.bytes("link")), string(r.bytes("directory"))
	f.Keep, f.Added = r.flag("keep"), fromNanos(r.varint("added"))
	f.Current, f.Next = r.version("current"), r.version("next")
	return f, r.end()
}

func appendPublication(b []byte, p *Publication) []byte {
	b = appendItem(b, &p.Item)
	b = appendString(b, p.Name)
	b = append(b, flag(p.Stopped))
	return appendVarint(b, nanos(p.Added))
}

func decodePublication(key, b []byte) (Publication, error) {
	r := reader{b: b}
	p := Publication{Item: r.item(key)}
	p.Name, p.Stopped, p.Added = string(r.bytes("name")), r.flag("stopped"), fromNanos(r.varint("added"))
	return p, r.end()
}
