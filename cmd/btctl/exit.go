package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"btd/api/client"
)

// The exit codes, as the help lists them.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNoDaemon = 3
	exitAuth     = 4
	exitNotFound = 5
	exitTimeout  = 7
)

// usageError means that the command line has to be changed.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// explain picks the exit code of an error and says what to do next.
func explain(err error) (code int, text string) {
	var usage usageError
	var many *client.AmbiguousError
	var conn *client.ConnectError
	var answer *client.Error
	var missing missingError
	switch {
	case errors.As(err, &usage):
		return exitUsage, usage.text
	case errors.As(err, &many):
		return exitUsage, many.Error() + "\nUse more of the name, or the id."
	case errors.As(err, &conn) && errors.Is(conn.Err, fs.ErrPermission):
		return exitAuth, fmt.Sprintf("not allowed to open %s: run btctl as the user that runs btd", conn.Address)
	case errors.As(err, &conn):
		return exitNoDaemon, fmt.Sprintf("btd is not running: start it with `btd`, or say where it listens with --api\n(%v)", conn)
	case errors.Is(err, client.ErrStreamEnded):
		return exitNoDaemon, "btd has stopped: start it again with `btd`"
	case errors.As(err, &answer):
		return explainAnswer(answer, err)
	case errors.As(err, &missing):
		return exitNotFound, missing.text
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout, "timed out: allow more time with --timeout"
	case errors.Is(err, context.Canceled):
		return exitFailed, "interrupted"
	}
	return exitFailed, err.Error()
}

func explainAnswer(answer *client.Error, err error) (code int, text string) {
	switch answer.Code {
	case client.CodeUnauthorized:
		return exitAuth, "the daemon wants its token: give it with --token or $BTD_TOKEN (the daemon keeps it in the file api-token of its state directory)"
	case client.CodeForbidden:
		return exitAuth, err.Error()
	case client.CodeNotFound:
		return exitNotFound, err.Error() + " (btctl ls lists the torrents)"
	case client.CodeTimeout:
		return exitTimeout, err.Error()
	case client.CodeUnavailable:
		return exitNoDaemon, err.Error() + ": try again"
	}
	return exitFailed, err.Error()
}

// missingError means that a file or tracker of a torrent is not there.
type missingError struct{ text string }

func (e missingError) Error() string { return e.text }

// errDeclined means that a person answered no.
var errDeclined = errors.New("not confirmed")
