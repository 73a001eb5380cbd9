package metainfo

import (
	"errors"
	"fmt"
	"strconv"
)

var (
	// ErrMalformed is wrapped by every error about a torrent that breaks the
	// format, its limits or the rules for names. A *PathError wraps it too.
	ErrMalformed = errors.New("metainfo: malformed torrent")

	// ErrUnsupported is wrapped by errors about torrents that may be right
	// but that this version can't use: those that are v2 only (BEP 52), or
	// newer.
	ErrUnsupported = errors.New("metainfo: unsupported torrent")
)

// PathError says which file of a torrent is refused, and why.
type PathError struct {
	Path   string // slash-separated, as the torrent has it: may hold anything
	Reason string // reads on from the path
}

// Error is one line that is safe to print: the path is quoted.
func (e *PathError) Error() string {
	return "metainfo: file " + quote(e.Path) + " " + e.Reason
}

// Unwrap makes every PathError an ErrMalformed.
func (e *PathError) Unwrap() error { return ErrMalformed }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// quote makes a string of the input printable and bounded.
func quote(s string) string {
	const most = 400
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
