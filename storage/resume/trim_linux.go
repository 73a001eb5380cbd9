package resume

import (
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// trim drops the pages of the mapping, which would else count as memory of
// this process for ever. It runs in the writer's goroutine: nobody else moves
// the mapping.
func (d *DB) trim() {
	err := d.bolt.View(func(tx *bbolt.Tx) error {
		// All pages up to Size are mapped. Nothing is lost by this: the
		// mapping is shared and never written through.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, d.bolt.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED); errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		d.log.Debug("trimming the mapping of the resume database", "err", err)
	}
}
