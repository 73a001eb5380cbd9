package client

import (
	"errors"
	"fmt"
	"strings"
)

// The codes of errors.
const (
	CodeInvalid          = "invalid"                // 400: the message names what
	CodeUnauthorized     = "unauthorized"           // 401: no token, or a wrong one
	CodeForbidden        = "forbidden"              // 403: Host or Origin is not ours
	CodeNotFound         = "not_found"              // 404
	CodeMethodNotAllowed = "method_not_allowed"     // 405
	CodeConflict         = "conflict"               // 409
	CodeTooLarge         = "too_large"              // 413
	CodeUnsupportedMedia = "unsupported_media_type" // 415
	CodeInternal         = "internal"               // 500
	CodeNotSupported     = "not_supported"          // 501
	CodeUnavailable      = "unavailable"            // 503: shutting down, or too many event streams
	CodeTimeout          = "timeout"                // 504
)

// Error is an error that the daemon answered with.
type Error struct {
	Status  int    `json:"-"` // HTTP status
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// ErrorResponse is the body of every answer that is not a success.
type ErrorResponse struct {
	Error Error `json:"error"`
}

// HasCode tells whether err is an Error with that code.
func HasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// ConnectError means that nobody listens at the address, or that we may not
// talk to it: then it wraps fs.ErrPermission.
type ConnectError struct {
	Address string
	Err     error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connect to %s: %v", e.Address, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// AmbiguousError means that a target fits several torrents.
type AmbiguousError struct {
	Target     string
	Candidates []Torrent
}

func (e *AmbiguousError) Error() string {
	const most = 10
	var b strings.Builder
	fmt.Fprintf(&b, "%q fits %d torrents:", e.Target, len(e.Candidates))
	for i, t := range e.Candidates {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Candidates)-most)
			break
		}
		fmt.Fprintf(&b, "\n  %s  %s", t.ID, t.Name)
	}
	return b.String()
}
