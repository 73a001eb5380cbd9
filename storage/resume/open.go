package resume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	lockTimeout = time.Second
	// initialMmap is how much address space is mapped at once, so that
	// growing rarely waits for readers.
	initialMmap = 64 << 20
	// allocSize is the step by which the file grows.
	allocSize = 4 << 20
)

// open gives a database of our schema, compacted if most of it was air.
func open(path string, log *slog.Logger) (*store, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a compacted file takes the place of the real one
	}
	var bolt *store
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		bolt, err = create(path)
	case err != nil:
		err = unreadable(path, err)
	default:
		if err = check(path, fi); err == nil {
			bolt, err = openBolt(path)
		}
	}
	if err != nil {
		return nil, err
	}
	return compact(bolt, path, (*os.File).Sync, log), nil
}

// check looks at an existing file without a way to change it.
func check(path string, fi fs.FileInfo) error {
	switch {
	case !fi.Mode().IsRegular():
		return unreadable(path, errors.New("it is not a regular file"))
	case fi.Size() == 0:
		return unreadable(path, errors.New("it is empty"))
	case fi.Mode().Perm()&0o200 == 0:
		return unreadable(path, errors.New("it is read-only (chmod u+w if that is not wanted)"))
	}
	return guardOpen(path, func() error {
		bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
		if err != nil {
			return err
		}
		defer bolt.Close() // nothing was written
		return bolt.View(func(tx *bbolt.Tx) error {
			fi, err := os.Stat(path)
			if err != nil {
				return err
			}
			if tx.Size() > fi.Size() {
				return fmt.Errorf("it is cut short: %d bytes, want %d", fi.Size(), tx.Size())
			}
			return checkSchema(path, tx)
		})
	})
}

// checkSchema tells whether the database is ours and of a version we know.
func checkSchema(path string, tx *bbolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return errors.New("it is not a resume database")
	}
	v := meta.Get(keySchema)
	if len(v) != 4 {
		return errors.New("it does not say which version it has")
	}
	switch n := binary.BigEndian.Uint32(v); {
	case n > schema:
		return fmt.Errorf("%w: %s has schema %d, this version reads up to %d: %s", ErrNewer, path, n, schema, adviceNewer)
	case n < schemaFirst:
		return fmt.Errorf("it has schema %d", n)
	}
	if b := bucketsOf(tx); !b.complete() {
		return errors.New("it lacks a table")
	}
	return nil
}

// store is an open bbolt file.
type store struct {
	*bbolt.DB
	file *os.File // the one that DB uses
}

// abandon gives up a file in which a transaction panicked: bbolt may hold its
// locks for ever then. The mapping stays.
func (s *store) abandon() error { return errors.Join(unlock(s.file), s.file.Close()) }

// openBolt opens a file that was checked, or makes an empty one.
func openBolt(path string) (bolt *store, err error) {
	bolt = new(store)
	o := &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType}
	o.OpenFile = func(name string, flag int, perm os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, perm)
		bolt.file = f
		return f, err
	}
	if runtime.GOOS != "windows" { // where the file would get that size
		o.InitialMmapSize = initialMmap
	}
	err = guardOpen(path, func() error {
		bolt.DB, err = bbolt.Open(path, 0o600, o)
		return err
	})
	if err != nil {
		if bolt.file != nil {
			_ = bolt.abandon() // after a panic it is still open and locked
		}
		return nil, err
	}
	bolt.AllocSize = allocSize
	return bolt, nil
}

// guardOpen gives the errors of bbolt.Open the meaning and the advice that
// Open promises.
func guardOpen(path string, fn func() error) error {
	err := guard(path, fn)
	switch {
	case err == nil, errors.Is(err, ErrNewer), errors.Is(err, ErrUnreadable):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return locked(path)
	}
	return unreadable(path, err)
}

// create makes an empty database under another name and moves it into place
// when it is complete and durable, so that what stands at path is never half
// a database. The lock on the new file decides between two processes that do
// this at the same time.
func create(path string) (*store, error) {
	tmp := path + ".new"
	bolt, err := openBolt(tmp)
	if errors.Is(err, ErrUnreadable) && !errors.Is(err, fs.ErrPermission) && os.Remove(tmp) == nil {
		bolt, err = openBolt(tmp) // the first was left by a crash right here
	}
	if err != nil {
		return nil, err
	}
	if err := initialise(bolt); err != nil {
		return nil, fmt.Errorf("resume: making %s: %w", path, errors.Join(err, bolt.Close(), os.Remove(tmp)))
	}
	if _, err := os.Stat(path); err == nil {
		_, _ = bolt.Close(), os.Remove(tmp)
		return nil, locked(path) // somebody else was quicker
	}
	bolt, unsynced, err := place(bolt, tmp, path, (*os.File).Sync)
	if err != nil {
		return nil, fmt.Errorf("resume: making %s: %w", path, err)
	}
	if unsynced != nil {
		return nil, fmt.Errorf("resume: making %s: %w", path, errors.Join(unsynced, bolt.Close()))
	}
	return bolt, nil
}

// place moves the open database at tmp to path. Where an open file cannot be
// renamed it is closed and opened again. unsynced tells that it is there, but
// the directory could not be made durable. After err it is closed.
func place(bolt *store, tmp, path string, sync func(*os.File) error) (placed *store, unsynced, err error) {
	if runtime.GOOS == "windows" {
		if err := bolt.Close(); err != nil {
			return nil, nil, err
		}
		if err := os.Rename(tmp, path); err != nil {
			return nil, nil, err
		}
		placed, err = openBolt(path)
		return placed, nil, err
	}
	dir, err := os.Open(filepath.Dir(path)) // what can fail does so before it matters
	if err != nil {
		return nil, nil, errors.Join(err, bolt.Close())
	}
	defer dir.Close()
	if err := os.Rename(tmp, path); err != nil {
		return nil, nil, errors.Join(err, bolt.Close())
	}
	unsynced = sync(dir)
	if errors.Is(unsynced, syscall.EINVAL) { // some file systems can't sync directories
		unsynced = nil
	}
	return bolt, unsynced, nil
}

func initialise(bolt *store) error {
	return bolt.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{
			bucketMeta, bucketTorrent, bucketMetainfo, bucketStats, bucketBits, bucketDirty, bucketFiles, bucketKV,
		} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, binary.BigEndian.AppendUint32(nil, schemaFirst))
	})
}
