package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

const openFlags = 0

// Free is how many bytes an ordinary user may still write at path, -1 if that
// is not known.
func Free(string) int64 { return -1 }

// syncDirectory does nothing: Windows keeps directory entries in its journal.
func syncDirectory(*os.File) error { return nil }

func tooManyFiles(err error) bool { return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) }

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

func isQuota(err error) bool { return errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) }

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func isBroken(err error) bool {
	return errors.Is(err, windows.ERROR_CRC) || errors.Is(err, windows.ERROR_IO_DEVICE)
}

func isTooBig(err error) bool { return errors.Is(err, windows.ERROR_FILE_TOO_LARGE) }
