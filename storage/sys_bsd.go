//go:build unix && !linux

package storage

import (
	"errors"
	"os"
	"syscall"
)

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// Free is how many bytes an ordinary user may still write at path, -1 if that
// is not known.
func Free(string) int64 { return -1 }

func syncDirectory(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

func tooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }

func isQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func isBroken(err error) bool { return errors.Is(err, syscall.EIO) }

func isTooBig(err error) bool { return errors.Is(err, syscall.EFBIG) }
