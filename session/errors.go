package session

import "errors"

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("no such torrent")
	ErrClosed   = errors.New("the session is closed")
	ErrInvalid  = errors.New("invalid argument") // wrapped with what was wrong
	ErrExists   = errors.New("torrent exists already")
)
