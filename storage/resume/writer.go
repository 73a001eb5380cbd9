package resume

import (
	"encoding/binary"
	"errors"
	"fmt"

	"btd/metainfo"

	"go.etcd.io/bbolt"
)

// Limits on what one transaction takes from the queue.
const (
	batchOps   = 4096
	batchBytes = 16 << 20
)

// op is one change. It is applied in the writer's goroutine.
type op struct {
	size  int                                        // bytes it is about to write, roughly
	apply func(b *buckets) (changed bool, err error) // a *refusal must come before any change
	done  func(error)                                // called once, in the writer's goroutine
	err   error
}

// refusal is an error that concerns one op alone and left nothing changed.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// buckets are the tables within one transaction.
type buckets struct {
	meta, torrent, metainfo, stats, bits, dirty, files, kv *bbolt.Bucket
}

func bucketsOf(tx *bbolt.Tx) *buckets {
	return &buckets{
		meta:     tx.Bucket(bucketMeta),
		torrent:  tx.Bucket(bucketTorrent),
		metainfo: tx.Bucket(bucketMetainfo),
		stats:    tx.Bucket(bucketStats),
		bits:     tx.Bucket(bucketBits),
		dirty:    tx.Bucket(bucketDirty),
		files:    tx.Bucket(bucketFiles),
		kv:       tx.Bucket(bucketKV),
	}
}

func (b *buckets) complete() bool {
	return b.meta != nil && b.torrent != nil && b.metainfo != nil && b.stats != nil &&
		b.bits != nil && b.dirty != nil && b.files != nil && b.kv != nil
}

// raise makes the file one of at least this schema.
func (b *buckets) raise(to uint32) error {
	if v := b.meta.Get(keySchema); len(v) == 4 && binary.BigEndian.Uint32(v) >= to {
		return nil
	}
	return b.meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, to))
}

// permit raises the schema if the record needs that.
func (b *buckets) permit(rec *Record) error {
	if rec.Secret.IsZero() && rec.Scope == metainfo.ScopeInternet {
		return nil
	}
	return b.raise(schemaClosed)
}

// do queues a change and waits until it is durable.
func (d *DB) do(size int, apply func(b *buckets) (bool, error)) error {
	ch := make(chan error, 1)
	d.enqueue(&op{size: size, apply: apply, done: func(err error) { ch <- err }})
	return <-ch
}

// enqueue never blocks.
func (d *DB) enqueue(o *op) {
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.queue = append(d.queue, o)
		d.wake.Signal()
	}
	d.mu.Unlock()
	if closed {
		o.done(ErrClosed)
	}
}

// run is the only goroutine that writes. It ends after Close, when the queue
// is empty, and closes the file.
func (d *DB) run() {
	defer close(d.done)
	for {
		ops := d.next()
		if len(ops) == 0 {
			break
		}
		d.write(ops)
		for _, o := range ops {
			o.done(o.err)
		}
		if d.mapped.Load() >= trimBytes {
			d.mapped.Store(0)
			d.trim()
		}
	}
	closeFile := d.bolt.Close
	if d.damage != nil {
		closeFile = d.bolt.abandon
	}
	if err := guard(d.path, closeFile); err != nil {
		d.closeErr = fmt.Errorf("resume: closing %s: %w", d.path, err)
	}
}

// next waits for the ops of one transaction; none means that the database was
// closed.
func (d *DB) next() []*op {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) == 0 && !d.closed {
		d.wake.Wait()
	}
	n, size := 0, 0
	for n < len(d.queue) && n < batchOps && size < batchBytes {
		size += d.queue[n].size
		n++
	}
	ops := d.queue[:n:n]
	if d.queue = d.queue[n:]; len(d.queue) == 0 {
		d.queue = nil
	}
	return ops
}

// errNothing rolls back a transaction that changed nothing, which saves
// writing and syncing it.
var errNothing = errors.New("nothing changed")

// write applies ops in one transaction and sets their errors. If one of them
// cannot be applied, each gets a transaction of its own.
func (d *DB) write(ops []*op) {
	if d.damage != nil {
		d.fail(ops, d.damage)
		return
	}
	applied := false
	err := guard(d.path, func() error {
		return d.bolt.Update(func(tx *bbolt.Tx) error {
			b, changed := bucketsOf(tx), false
			for _, o := range ops {
				c, err := o.apply(b)
				if _, ok := err.(refusal); ok {
					o.err, err = err, nil
				}
				if err != nil {
					return err
				}
				changed = changed || c
			}
			applied = true
			if !changed {
				return errNothing
			}
			return nil
		})
	})
	switch {
	case err == nil, errors.Is(err, errNothing):
	case errors.Is(err, ErrUnreadable):
		d.damage = err
		d.fail(ops, err)
	case !applied && len(ops) > 1:
		for i := range ops {
			ops[i].err = nil
			d.write(ops[i : i+1])
		}
	default:
		d.fail(ops, fmt.Errorf("resume: writing %s: %w", d.path, err))
	}
}

// fail sets the error of the ops that have none.
func (d *DB) fail(ops []*op, err error) {
	for _, o := range ops {
		if o.err == nil {
			o.err = err
		}
	}
}
