//go:build unix && !aix && !solaris

package resume

import (
	"os"
	"syscall"
)

// unlock releases bbolt's lock on a file. Closing the file does not: the
// mapping keeps it open.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
