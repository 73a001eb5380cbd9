package resume

import (
	"bytes"
	"errors"
	"fmt"

	"btd/metainfo"

	"go.etcd.io/bbolt"
)

// Add stores a new torrent, durably. It gives ErrExists if there is one with
// this hash.
func (d *DB) Add(rec Record, metainfo []byte) error {
	o, err := addOp(rec, metainfo)
	if err != nil {
		return err
	}
	return d.wait(o)
}

// AddAsync is Add without waiting: done is called once the torrent is durable
// or the change has failed. It is called in the writer's goroutine, or here
// if there is nothing to wait for; it must be quick and must not call a
// method that waits. metainfo must not change until then. The queue has no
// limit of its own: the caller bounds how much it has outstanding.
func (d *DB) AddAsync(rec Record, metainfo []byte, done func(error)) {
	o, err := addOp(rec, metainfo)
	d.async(o, err, done)
}

// Complete gives a torrent that was added without it its metainfo, and
// replaces its record, durably. It gives ErrNotFound if there is no such
// torrent.
func (d *DB) Complete(rec Record, metainfo []byte) error {
	o, err := completeOp(rec, metainfo)
	if err != nil {
		return err
	}
	return d.wait(o)
}

// CompleteAsync is Complete without waiting; see AddAsync.
func (d *DB) CompleteAsync(rec Record, metainfo []byte, done func(error)) {
	o, err := completeOp(rec, metainfo)
	d.async(o, err, done)
}

// Update replaces the record of a torrent, its counters included, durably.
func (d *DB) Update(rec Record) error {
	o, err := updateOp(rec)
	if err != nil {
		return err
	}
	return d.wait(o)
}

// UpdateAsync is Update without waiting; see AddAsync.
func (d *DB) UpdateAsync(rec Record, done func(error)) {
	o, err := updateOp(rec)
	d.async(o, err, done)
}

// Remove forgets all that is known of a torrent, durably. It gives
// ErrNotFound if there is nothing.
func (d *DB) Remove(h metainfo.Hash) error { return d.wait(removeOp(h)) }

// RemoveAsync is Remove without waiting; see AddAsync.
func (d *DB) RemoveAsync(h metainfo.Hash, done func(error)) { d.async(removeOp(h), nil, done) }

func (d *DB) wait(o *op) error { return d.do(o.size, o.apply) }

func (d *DB) async(o *op, err error, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	if err != nil {
		done(err)
		return
	}
	o.done = done
	d.enqueue(o)
}

// sealRecord encodes a record and its counters.
func sealRecord(rec *Record) (key, record, stats []byte, err error) {
	if rec.Hash.IsZero() {
		return nil, nil, nil, errors.New("resume: record without a hash")
	}
	key = torrentKey(rec.Hash)
	p, err := appendRecord(nil, rec)
	if err != nil {
		return nil, nil, nil, err
	}
	return key, seal(key, recordVersion, p), seal(key, statsVersion, appendCounters(nil, rec.Counters())), nil
}

func addOp(rec Record, raw []byte) (*op, error) {
	key, record, stats, err := sealRecord(&rec)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxMetainfo {
		return nil, fmt.Errorf("resume: metainfo of %d bytes, at most %d", len(raw), maxMetainfo)
	}
	return &op{size: len(record) + len(raw) + 256, apply: func(b *buckets) (bool, error) {
		if b.torrent.Get(key) != nil {
			return false, refusal{fmt.Errorf("%w: %v", ErrExists, rec.Hash)}
		}
		if _, err := b.forget(key); err != nil { // no claim may outlive its torrent
			return false, err
		}
		return true, errors.Join(
			b.permit(&rec),
			b.torrent.Put(key, record),
			b.stats.Put(key, stats),
			b.metainfo.Put(key, seal(key, metainfoVersion, raw)))
	}}, nil
}

func updateOp(rec Record) (*op, error) {
	key, record, stats, err := sealRecord(&rec)
	if err != nil {
		return nil, err
	}
	return &op{size: len(record) + 256, apply: func(b *buckets) (bool, error) {
		old := b.torrent.Get(key)
		if old == nil {
			return false, refusal{fmt.Errorf("%w: %v", ErrNotFound, rec.Hash)}
		}
		changed := false
		if !bytes.Equal(old, record) {
			changed = true
			if err := errors.Join(b.permit(&rec), b.torrent.Put(key, record)); err != nil {
				return false, err
			}
		}
		if !bytes.Equal(b.stats.Get(key), stats) {
			changed = true
			if err := b.stats.Put(key, stats); err != nil {
				return false, err
			}
		}
		return changed, nil
	}}, nil
}

func completeOp(rec Record, raw []byte) (*op, error) {
	o, err := updateOp(rec)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxMetainfo {
		return nil, fmt.Errorf("resume: metainfo of %d bytes, at most %d", len(raw), maxMetainfo)
	}
	key, update := torrentKey(rec.Hash), o.apply
	return &op{size: o.size + len(raw), apply: func(b *buckets) (bool, error) {
		if _, err := update(b); err != nil {
			return false, err
		}
		return true, b.metainfo.Put(key, seal(key, metainfoVersion, raw))
	}}, nil
}

func removeOp(h metainfo.Hash) *op {
	key := torrentKey(h)
	return &op{size: 4096, apply: func(b *buckets) (bool, error) {
		found, err := b.forget(key)
		if err == nil && !found {
			err = refusal{fmt.Errorf("%w: %v", ErrNotFound, h)}
		}
		return found, err
	}}
}

// forget deletes all that is stored under key and tells whether there was
// anything.
func (b *buckets) forget(key []byte) (found bool, err error) {
	for _, bucket := range []*bbolt.Bucket{b.torrent, b.stats, b.metainfo} {
		if bucket.Get(key) == nil {
			continue
		}
		found = true
		if err := bucket.Delete(key); err != nil {
			return false, err
		}
	}
	for _, bucket := range []*bbolt.Bucket{b.bits, b.dirty, b.files} {
		c := bucket.Cursor()
		// Deleting moves what the cursor stands on: seek every time.
		for k, _ := c.Seek(key); bytes.HasPrefix(k, key); k, _ = c.Seek(key) {
			found = true
			if err := bucket.Delete(bytes.Clone(k)); err != nil {
				return false, err
			}
		}
	}
	return found, nil
}
