package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
)

// status gives every code its HTTP status.
func status(code string) int {
	switch code {
	case client.CodeInvalid:
		return http.StatusBadRequest
	case client.CodeUnauthorized:
		return http.StatusUnauthorized
	case client.CodeForbidden:
		return http.StatusForbidden
	case client.CodeNotFound:
		return http.StatusNotFound
	case client.CodeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case client.CodeConflict:
		return http.StatusConflict
	case client.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case client.CodeUnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case client.CodeNotSupported:
		return http.StatusNotImplemented
	case client.CodeUnavailable:
		return http.StatusServiceUnavailable
	case client.CodeTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func fail(code, format string, args ...any) *client.Error {
	return &client.Error{Status: status(code), Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *client.Error {
	return fail(client.CodeInvalid, format, args...)
}

// asError maps what a handler or the engine returned.
func asError(err error) *client.Error {
	var ready *client.Error
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &size):
		return fail(client.CodeTooLarge, "the body has more than %d bytes", size.Limit)
	case dhtStatus(err) != "":
		return fail(dhtStatus(err), "%v", err)
	case errors.Is(err, session.ErrNotFound):
		return fail(client.CodeNotFound, "%v", err)
	case errors.Is(err, metainfo.ErrUnsupported):
		return fail(client.CodeNotSupported, "%s", reason(err))
	case errors.Is(err, session.ErrInvalid), errors.Is(err, metainfo.ErrMalformed):
		return fail(client.CodeInvalid, "%s", reason(err))
	case errors.Is(err, session.ErrExists):
		return fail(client.CodeConflict, "%v", err)
	case errors.Is(err, session.ErrClosed):
		return fail(client.CodeUnavailable, "the daemon is stopping")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fail(client.CodeTimeout, "given up: %v", err)
	}
	return fail(client.CodeInternal, "%v", err)
}

// reason leaves out what the code says already.
func reason(err error) string {
	text := strings.TrimPrefix(err.Error(), session.ErrInvalid.Error()+": ")
	return strings.Replace(text, metainfo.ErrMagnet.Error()+": "+metainfo.ErrUnsupported.Error(), metainfo.ErrMagnet.Error(), 1)
}

func writeError(w http.ResponseWriter, e *client.Error) {
	body, err := json.Marshal(client.ErrorResponse{Error: *e})
	if err != nil {
		panic(err) // two strings
	}
	writeBody(w, e.Status, append(body, '\n'))
}
