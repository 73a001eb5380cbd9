package resume

import (
	"bytes"
	"fmt"

	"btd/metainfo"
	"btd/piece"

	"go.etcd.io/bbolt"
)

// eachBatch is how many records one read transaction of Each takes.
const eachBatch = 256

// Each calls fn for every torrent, in no useful order, until it returns
// false. err is not nil if the record is bad: then only rec.Hash is set, and
// that torrent must be checked again. Torrents that are added or removed
// meanwhile may or may not be seen. An error of Each itself means that the
// database is damaged.
func (d *DB) Each(fn func(rec Record, err error) bool) error {
	e := each{strings: make(map[string]string)}
	for {
		e.batch = e.batch[:0]
		if err := d.view(e.read); err != nil {
			return err
		}
		for i := range e.batch {
			if !fn(e.batch[i].rec, e.batch[i].err) {
				return nil
			}
		}
		if len(e.batch) < eachBatch {
			d.pages(e.bytes)
			return nil
		}
	}
}

// each is a walk over the records.
type each struct {
	after   []byte // key of the last record read
	batch   []eachRecord
	strings map[string]string // those seen, so that equal ones share memory
	bytes   int
}

type eachRecord struct {
	rec Record
	err error
}

// internMax bounds the strings that a walk remembers.
const internMax = 4096

func (e *each) read(tx *bbolt.Tx) error {
	stats := tx.Bucket(bucketStats)
	c := tx.Bucket(bucketTorrent).Cursor()
	k, v := c.First()
	if e.after != nil {
		if k, v = c.Seek(e.after); bytes.Equal(k, e.after) {
			k, v = c.Next()
		}
	}
	for ; k != nil && len(e.batch) < eachBatch; k, v = c.Next() {
		e.after = append(e.after[:0], k...)
		e.bytes += len(v) + 128
		e.batch = append(e.batch, e.record(k, v, stats.Get(k)))
	}
	return nil
}

func (e *each) record(k, v, stats []byte) eachRecord {
	h, ok := parseKey(k)
	if !ok {
		return eachRecord{err: fmt.Errorf("%w: key %x", ErrCorrupt, k)}
	}
	p, err := unseal(k, recordVersion, v)
	if err != nil {
		return eachRecord{Record{Hash: h}, fmt.Errorf("record of %v: %w", h, err)}
	}
	rec, err := decodeRecord(p, e.intern)
	rec.Hash = h
	if err != nil {
		return eachRecord{rec, fmt.Errorf("record of %v: %w", h, err)}
	}
	// Counters that cannot be read start again from zero: nothing but
	// statistics is lost.
	if p, err := unseal(k, statsVersion, stats); err == nil {
		if c, err := decodeCounters(p); err == nil {
			rec.SetCounters(c)
		}
	}
	return eachRecord{rec: rec}
}

func (e *each) intern(b []byte) string {
	if s, ok := e.strings[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(e.strings) < internMax {
		e.strings[s] = s
	}
	return s
}

// Metainfo returns the .torrent file of a torrent, as it was added. It gives
// ErrNotFound or ErrCorrupt.
func (d *DB) Metainfo(h metainfo.Hash) ([]byte, error) {
	var raw []byte
	key := torrentKey(h)
	err := d.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketMetainfo).Get(key)
		if v == nil {
			return fmt.Errorf("%w: %v", ErrNotFound, h)
		}
		p, err := unseal(key, metainfoVersion, v)
		if err != nil {
			return fmt.Errorf("metainfo of %v: %w", h, err)
		}
		raw = append(make([]byte, 0, len(p)), p...)
		return nil
	})
	d.pages(len(raw))
	return raw, err
}

// Pieces returns the claimed pieces of a torrent that has n. Claims that
// cannot be read, or that make no sense for n pieces, are absent.
func (d *DB) Pieces(h metainfo.Hash, n int) (*piece.Bitfield, error) {
	if n < 0 || n > piece.MaxPieces {
		return nil, fmt.Errorf("resume: claims of %v: %d pieces", h, n)
	}
	f := piece.NewBitfield(n)
	if n == 0 {
		return f, nil
	}
	key := torrentKey(h)
	bits := make([]byte, (n+7)/8)
	any := false
	err := d.view(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketBits)
		for i := 0; i*chunkBits < n; i++ {
			k := chunkKey(key, i)
			v := bucket.Get(k)
			if v == nil {
				continue
			}
			var c bitChunk
			if c.load(k, v) != nil || !c.within(n-i*chunkBits) {
				continue
			}
			any = true
			copy(bits[i*chunkBits/8:], c[:])
		}
		return nil
	})
	if err != nil || !any {
		return f, err
	}
	if f, err = piece.ParseBitfield(bits, n); err != nil {
		return nil, fmt.Errorf("resume: claims of %v: %w", h, err)
	}
	return f, nil
}

// within tells whether every member is below n.
func (c *bitChunk) within(n int) bool {
	if n >= chunkBits {
		return true
	}
	used := c.used()
	return used < n/8+1 || used == n/8+1 && c[n/8]<<(n%8) == 0
}

// FileStat is what is known of one file.
type FileStat struct {
	Size    int64 // bytes
	ModTime int64 // nanoseconds since 1970
	Known   bool  // Size and ModTime were recorded
	Dirty   bool  // the file may have been written to after that

	// Forgotten means that what was recorded of the file counts for nothing, its
	// claims included. It is not Known then.
	Forgotten bool
}

// Files returns what is known of the n files of a torrent. A file of which
// the record or the mark cannot be read is neither Known nor Dirty, so that
// its claims count for nothing.
func (d *DB) Files(h metainfo.Hash, n int) ([]FileStat, error) {
	if n < 0 || n > maxFiles {
		return nil, fmt.Errorf("resume: files of %v: %d files", h, n)
	}
	key := torrentKey(h)
	files := make([]FileStat, n)
	err := d.view(func(tx *bbolt.Tx) error {
		records, dirty := tx.Bucket(bucketFiles), tx.Bucket(bucketDirty)
		for i := 0; i < n; i += chunkFiles {
			k := chunkKey(key, i/chunkFiles)
			v := records.Get(k)
			var c fileChunk
			if v == nil || c.load(k, v) != nil {
				continue
			}
			for j := range files[i:min(i+chunkFiles, n)] {
				if c[j].size == Forgotten {
					files[i+j].Forgotten = true
					continue
				}
				files[i+j] = FileStat{Size: c[j].size, ModTime: c[j].modTime, Known: c[j].known}
			}
		}
		for i := 0; i < n; i += chunkBits {
			k := chunkKey(key, i/chunkBits)
			v := dirty.Get(k)
			if v == nil {
				continue
			}
			part := files[i:min(i+chunkBits, n)]
			var c bitChunk
			if c.load(k, v) != nil {
				clear(part)
				continue
			}
			for j := range part {
				part[j].Dirty = c.has(j)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// Dirty returns the torrents that have files which may have been written to
// after they were recorded: after a clean stop there are none. A mark that
// cannot be read counts.
func (d *DB) Dirty() (map[metainfo.Hash]bool, error) {
	out := make(map[metainfo.Hash]bool)
	err := d.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketDirty).ForEach(func(k, v []byte) error {
			var c bitChunk
			if err := c.load(k, v); err == nil && c.used() == 0 {
				return nil
			}
			if h, ok := parseKey(k[:max(0, len(k)-4)]); ok {
				out[h] = true
			}
			return nil
		})
	})
	return out, err
}
