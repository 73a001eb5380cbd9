//go:build !unix

package api

import (
	"io/fs"
	"syscall"
)

// errRefused is what connecting to a socket without a listener gives:
// WSAECONNREFUSED.
var errRefused error = syscall.Errno(10061)

// restrict does nothing: the directory's access list protects the socket.
func restrict(uintptr) error { return nil }

func private(string) error { return nil }

// isSocket accepts what Windows shows of a socket, which is a reparse point.
func isSocket(st fs.FileInfo) bool { return !st.Mode().IsRegular() && !st.IsDir() }

// privateMode is not told by mode bits here.
func privateMode(fs.FileInfo) bool { return true }
