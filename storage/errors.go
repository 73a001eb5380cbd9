package storage

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// Errors that callers branch on. They come wrapped in an *Error where a path
// is involved.
var (
	ErrClosed       = errors.New("storage: closed")
	ErrSymlink      = errors.New("is a symbolic link, and links are not followed")
	ErrNotRegular   = errors.New("is not a regular file")
	ErrNotDirectory = errors.New("is not a directory")
	ErrRange        = errors.New("storage: range outside the piece")
)

// Error is a failed operation on a file or directory. errors.Is finds the
// system's own error (syscall.ENOSPC, fs.ErrNotExist, ...) beneath it.
type Error struct {
	Op   string // what was being done: open, create, write, ...
	Path string // absolute
	Err  error
}

// Error tells what was being done to which path, and why that did not work.
func (e *Error) Error() string { return "storage: " + e.Op + " " + e.Path + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// What an Error was about, where that is looked at again.
const (
	opDir  = "open directory" // the download directory itself
	opOpen = "open"           // for reading
	opRead = "read"
	opLook = "look at"
)

// wrap makes an Error of err, without the paths that the os package repeats.
func wrap(op, dir, rel string, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &Error{Op: op, Path: filepath.Join(dir, filepath.FromSlash(rel)), Err: err}
}

// InDirectory tells whether err is about the download directory itself, which
// is gone or cannot be opened, and not about a file in it.
func InDirectory(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Op == opDir
}

// missing tells whether err says that a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// obstructed tells whether err says that a file is not there or that its path
// leads elsewhere.
func obstructed(err error) bool {
	return missing(err) || errors.Is(err, ErrSymlink) || errors.Is(err, ErrNotRegular) || errors.Is(err, ErrNotDirectory)
}
