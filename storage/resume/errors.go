package resume

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Errors that callers branch on. The messages of Open's errors say what the
// operator can do.
var (
	// ErrLocked means that another process has the database open.
	ErrLocked = errors.New("another btd uses this state directory")
	// ErrNewer means that a newer btd wrote the database.
	ErrNewer = errors.New("the resume database was written by a newer btd")
	// ErrUnreadable means that the file is damaged, is not a resume
	// database, or may not be opened.
	ErrUnreadable = errors.New("the resume database cannot be read")
	// ErrCorrupt means that one value failed its checksum or makes no sense.
	ErrCorrupt = errors.New("resume: bad record")
	// ErrNotFound means that the torrent is not in the database.
	ErrNotFound = errors.New("resume: no such torrent")
	// ErrExists means that the torrent is in the database already.
	ErrExists = errors.New("resume: torrent exists already")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("resume: the database is closed")
)

// adviceLocked and the others end the messages of Open's errors.
const (
	adviceLocked     = "stop it, or give this one its own state directory"
	adviceNewer      = "run that version again, or move the file away to start with an empty list; it was not changed"
	adviceUnreadable = "restore it from a backup, or move it away to start with an empty list and add the torrents again" +
		" (data on disk is then checked, not downloaded again); it was not changed"
	adviceDamaged = "stop btd and restore the file from a backup, or move it away to start with an empty list"
)

func locked(path string) error {
	return fmt.Errorf("%w (%s is in use): %s", ErrLocked, path, adviceLocked)
}

func unreadable(path string, err error) error {
	return fmt.Errorf("%w: %s: %w: %s", ErrUnreadable, path, err, adviceUnreadable)
}

// guard turns a panic inside bbolt, which is how it meets damaged pages, and
// a fault on the mapped file, which is how a shrunken file shows, into an
// error. fn must not call the caller's code.
func guard(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %s: damaged (%v): %s", ErrUnreadable, path, p, adviceDamaged)
		}
	}()
	return fn()
}
