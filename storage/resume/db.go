package resume

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Names of the buckets, and the key of the layout's version.
var (
	bucketMeta     = []byte("meta")
	bucketTorrent  = []byte("torrent")
	bucketMetainfo = []byte("metainfo")
	bucketStats    = []byte("stats")
	bucketBits     = []byte("bits")
	bucketDirty    = []byte("dirty")
	bucketFiles    = []byte("files")
	bucketKV       = []byte("kv")
	keySchema      = []byte("schema")
)

// schema is the newest version of the layout that this package reads. Files
// are of version 1 until a torrent has a secret or is of scope lan: a btd that
// knows neither would take its record for damaged and bring it back in the open,
// in another directory, and so must not open the file.
const (
	schema       = 2
	schemaFirst  = 1
	schemaClosed = 2
)

// DB is an open resume database. Its methods may be called from any
// goroutine. Methods that change something return when the change is durable;
// calls that arrive while a transaction is being written share the next one.
type DB struct {
	path string
	log  *slog.Logger
	bolt *store

	mu     sync.Mutex
	wake   sync.Cond // there is something in queue, or closed was set
	queue  []*op
	closed bool

	damage   error         // the writer's: a transaction panicked, no other must be tried
	done     chan struct{} // closed when the writer has ended
	closeErr error         // what closing the file gave; read after done

	mapped atomic.Int64 // bytes read through the mapping since it was last trimmed
}

// Open opens the database at path, which is created if it does not exist. It
// refuses, with ErrLocked, ErrNewer or ErrUnreadable, and without changing a
// byte, a file that is in use, that a newer btd wrote, or that it cannot
// read.
func Open(path string, log *slog.Logger) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	bolt, err := open(path, log)
	if err != nil {
		return nil, err
	}
	return start(bolt, path, log), nil
}

// start begins to write to an open database.
func start(bolt *store, path string, log *slog.Logger) *DB {
	d := &DB{path: path, log: log, bolt: bolt, done: make(chan struct{})}
	d.wake.L = &d.mu
	go d.run()
	return d
}

// Close writes what is queued and closes the file.
func (d *DB) Close() error {
	d.mu.Lock()
	d.closed = true
	d.wake.Signal()
	d.mu.Unlock()
	<-d.done
	return d.closeErr
}

// view runs fn in a read transaction. fn must be quick, copy what it keeps,
// and not call the caller's code.
func (d *DB) view(fn func(tx *bbolt.Tx) error) error {
	err := guard(d.path, func() error { return d.bolt.View(fn) })
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// Get returns the value of key, nil if there is none.
func (d *DB) Get(key string) ([]byte, error) {
	var val []byte
	err := d.view(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketKV).Get([]byte(key))
		if v == nil {
			return nil
		}
		p, err := unseal([]byte(key), kvVersion, v)
		if err != nil {
			return fmt.Errorf("value of %q: %w", key, err)
		}
		val = append([]byte{}, p...)
		return nil
	})
	return val, err
}

// Put sets the value of key, durably. A nil value removes the key.
func (d *DB) Put(key string, val []byte) error {
	if key == "" || len(key) > 255 || len(val) > maxKV {
		return fmt.Errorf("resume: value of %d bytes under a key of %d bytes", len(val), len(key))
	}
	k := []byte(key)
	return d.do(len(val), func(b *buckets) (bool, error) {
		if val == nil {
			if b.kv.Get(k) == nil {
				return false, nil
			}
			return true, b.kv.Delete(k)
		}
		return true, b.kv.Put(k, seal(k, kvVersion, val))
	})
}
