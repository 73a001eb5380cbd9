//go:build unix

package api

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// errRefused is what connecting to a socket without a listener gives.
var errRefused error = syscall.ECONNREFUSED

// restrict sets the mode that the socket's file is born with, so that there
// is no moment at which others may connect. Only Linux takes it from the
// descriptor; elsewhere the mode set after binding has to do.
func restrict(fd uintptr) error {
	err := syscall.Fchmod(int(fd), 0o600)
	if err != nil && (runtime.GOOS != "linux" || errors.Is(err, syscall.EINVAL)) {
		return nil
	}
	return err
}

// private sets the mode of the socket's file.
func private(path string) error { return os.Chmod(path, 0o600) }

func isSocket(st fs.FileInfo) bool { return st.Mode().Type() == fs.ModeSocket }

// privateMode tells whether a file is closed to everybody but its owner.
func privateMode(st fs.FileInfo) bool { return st.Mode().Perm()&0o077 == 0 }
