package tracker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Errors that callers branch on.
var (
	// ErrNoFamily says that the tracker has no address of the wanted family,
	// or that this machine has no route for it. It is not the tracker's
	// failure: the schedule drops that family quietly.
	ErrNoFamily = errors.New("cannot be reached over this address family")
	// ErrMalformed marks an answer that is not what the protocol allows.
	ErrMalformed = errors.New("malformed answer")
	// ErrURL marks a URL that cannot be announced to.
	ErrURL = errors.New("bad tracker URL")
	// ErrNoScrape says that the tracker's URL has no scrape form (BEP 48).
	ErrNoScrape = errors.New("tracker does not support scrape")
	// ErrClosed is returned by a closed Client.
	ErrClosed = errors.New("tracker: client is closed")
)

// FailureError is a refusal by the tracker itself ("failure reason", or an
// error packet of BEP 15).
type FailureError struct {
	Reason  string        // for people; at most 512 bytes, no control characters
	RetryIn time.Duration // when to ask again (BEP 31); 0 if not stated
	Never   bool          // do not ask again (BEP 31)
}

func (e *FailureError) Error() string {
	if e.Reason == "" {
		return "refused by the tracker"
	}
	return "refused by the tracker: " + e.Reason
}

// StatusError is an HTTP answer whose status is not 200 and that gives no
// failure reason.
type StatusError struct {
	Code int
	Text string
}

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", e.Code, e.Text))
}

// plainError says what went wrong in words for people, without the URL
// (it may hold a passkey), and keeps the cause for errors.Is.
type plainError struct {
	text  string
	cause error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.cause }

// errNoAnswer marks timeouts and connections that could not be made: another
// request to the same place would fare no better.
var errNoAnswer = errors.New("tracker: no answer")

// explain turns errors of the net and http packages into plain ones.
func explain(err error, waited time.Duration) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	var (
		plain *plainError
		dns   *net.DNSError
		op    *net.OpError
	)
	switch {
	case errors.Is(err, ErrNoFamily), errors.Is(err, ErrMalformed), errors.Is(err, ErrClosed), errors.As(err, &plain):
		return err
	case errors.As(err, &dns) && dns.IsNotFound:
		return &plainError{"host " + clean([]byte(dns.Name)) + " not found", err}
	case errors.As(err, &dns):
		return &plainError{"looking up host " + clean([]byte(dns.Name)) + ": no answer", errors.Join(errNoAnswer, err)}
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return &plainError{fmt.Sprintf("no answer within %s", waited.Round(time.Second/10)), errors.Join(errNoAnswer, err)}
	case errors.Is(err, syscall.ECONNREFUSED) && errors.As(err, &op) && op.Addr != nil:
		return &plainError{"connection refused by " + op.Addr.String(), errors.Join(errNoAnswer, err)}
	case errors.As(err, &op) && op.Op == "dial":
		return &plainError{clean([]byte(err.Error())), errors.Join(errNoAnswer, err)}
	}
	if full := err.Error(); clean([]byte(full)) != full { // net/http quotes what it could not understand
		return &plainError{clean([]byte(full)), err}
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// noRoute tells whether err means that this machine cannot send packets of
// the family at all. The numbers are the Windows Sockets codes, which no
// other system uses.
func noRoute(f Family, err error) bool {
	const wsaNoSupport, wsaNotAvail, wsaUnreach = 10047, 10049, 10051
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ENETUNREACH, syscall.EAFNOSUPPORT, wsaNoSupport, wsaUnreach:
		return f != Any
	case syscall.EADDRNOTAVAIL, wsaNotAvail:
		return f == IPv6 // of IPv4 there is always an address: all its ports are taken, for now
	}
	return false
}

// clean makes a tracker's text fit to be shown: bounded, valid UTF-8, without
// control characters.
func clean(b []byte) string {
	cut := len(b) > maxText
	if cut {
		b = b[:maxText-len("…")]
	}
	s := strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return ' '
		}
		return r
	}, string(b))
	if s = strings.TrimSpace(s); cut {
		s += "…"
	}
	return s
}
