package resume

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"go.etcd.io/bbolt"
)

const (
	// compactMin is the size below which a file is left as it is, bytes.
	compactMin = 8 << 20
	// compactTx bounds the memory of one transaction while copying, bytes.
	compactTx = 4 << 20
)

// compact gives back the space of a file of which less than a quarter is in
// use. The copy takes the place of the file only when it is complete and
// durable. If that does not work out, the file is used as it is.
func compact(bolt *store, path string, sync func(*os.File) error, log *slog.Logger) *store {
	if runtime.GOOS == "windows" { // an open file cannot be replaced there
		return bolt
	}
	total, live, err := usage(bolt)
	if err != nil || total < compactMin || live*4 >= total {
		return bolt
	}
	small, unsynced, err := copyInto(path+".compact", path, bolt, sync)
	if err != nil {
		log.Warn("compacting the resume database", "path", path, "err", err)
		return bolt
	}
	if unsynced != nil {
		// The old file has no name any more: what is written to it is lost.
		log.Warn("after a power loss now the resume database may be what it was before it was compacted", "path", path, "err", unsynced)
	}
	if err := bolt.Close(); err != nil {
		log.Warn("closing the resume database that was compacted", "path", path, "err", err)
	}
	log.Info("compacted the resume database", "path", path, "bytes", total, "live", live)
	return small
}

// usage is the size of the database, and of the part that holds something.
func usage(bolt *store) (total, live int64, err error) {
	err = bolt.View(func(tx *bbolt.Tx) error {
		total = tx.Size()
		return nil
	})
	return total, total - int64(bolt.Stats().FreePageN)*int64(bolt.Info().PageSize), err
}

// copyInto copies src to tmp and moves that to path. It returns the copy,
// open and locked; unsynced as place does.
func copyInto(tmp, path string, src *store, sync func(*os.File) error) (small *store, unsynced, err error) {
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("removing an older copy: %w", err)
	}
	dst, err := openBolt(tmp)
	if err != nil {
		return nil, nil, err
	}
	err = guard(path, func() error { return bbolt.Compact(dst.DB, src.DB, compactTx) })
	if errors.Is(err, ErrUnreadable) {
		return nil, nil, errors.Join(err, dst.abandon(), os.Remove(tmp))
	}
	if err != nil {
		return nil, nil, errors.Join(err, dst.Close(), os.Remove(tmp))
	}
	small, unsynced, err = place(dst, tmp, path, sync)
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(tmp))
	}
	return small, unsynced, nil
}
