package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxEvent   = 1 << 20          // bytes of one event
	quietLimit = 60 * time.Second // a stream without even a heartbeat is dead
	retryMin   = 250 * time.Millisecond
	retryMax   = 5 * time.Second
)

// ErrStreamEnded means that the daemon ended the event stream, as it does
// when it stops.
var ErrStreamEnded = errors.New("the daemon ended the event stream")

// Events yields what happens from now on, or after event number since where
// that is not 0. It connects again when the connection is lost and carries
// on where it was; where that is impossible it yields an event of kind
// EventLost, after which the caller should list the torrents again. The first
// thing it yields after connecting for the first time is an event of kind
// EventLost too where since is 0: a list that is taken then misses nothing.
//
// An error is yielded for each time that the connection is lost or cannot be
// made. A caller that goes on ranging has Events try again, after a pause
// that grows from 250 ms to 5 s; errors that trying again does not mend (an
// Error of the daemon) end the sequence. It ends without an error when ctx is
// done.
func (c *Client) Events(ctx context.Context, since uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := stream{client: c, last: since, yield: yield}
		pause := retryMin
		for {
			before := s.connects
			err := s.once(ctx)
			if s.stopped || ctx.Err() != nil {
				return
			}
			var answer *Error
			if !yield(Event{}, err) || (errors.As(err, &answer) && answer.Code != CodeUnavailable) {
				return
			}
			if s.connects > before {
				pause = retryMin
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, retryMax)
		}
	}
}

// errQuiet means that a stream did not even have heartbeats.
var errQuiet = errors.New("the daemon is silent")

// quietly says that silence is what ended a connection, if that is so.
func quietly(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errQuiet) {
		return errQuiet
	}
	return err
}

type stream struct {
	client   *Client
	last     uint64 // number of the last event; 0 before the first
	connects int    // times the stream was there
	stopped  bool   // the caller has enough
	yield    func(Event, error) bool
}

func (s *stream) emit(e Event) bool {
	if !s.yield(e, nil) {
		s.stopped = true
	}
	return !s.stopped
}

// once reads one connection to its end. It returns nil only if the caller has
// enough.
func (s *stream) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	path := EventsPath
	if s.last != 0 {
		path += "?since=" + strconv.FormatUint(s.last, 10)
	}
	quiet := time.AfterFunc(quietLimit, func() { cancel(errQuiet) })
	defer quiet.Stop()
	resp, err := s.client.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return quietly(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answerError(resp)
	}
	s.connects++
	if s.last == 0 && !s.emit(Event{Kind: EventLost}) {
		return nil
	}
	r := bufio.NewReader(resp.Body)
	for {
		quiet.Reset(quietLimit)
		data, err := readEvent(r)
		switch {
		case errors.Is(err, io.EOF):
			return ErrStreamEnded
		case err != nil:
			return fmt.Errorf("read the event stream: %w", quietly(ctx, err))
		case data == "":
			continue // a heartbeat
		}
		var e Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("decode an event: %w", err)
		}
		if e.Seq != 0 {
			s.last = e.Seq
		}
		if !s.emit(e) {
			return nil
		}
	}
}

// readEvent reads up to the empty line that ends an event and returns its
// data, which is empty for a comment. The kind and the number are in the data
// too, so the other fields are not needed.
func readEvent(r *bufio.Reader) (string, error) {
	var data strings.Builder
	total := 0
	for {
		line, err := readLine(r)
		if err != nil {
			return "", err
		}
		if total += len(line); total > maxEvent {
			return "", fmt.Errorf("an event of more than %d bytes", maxEvent)
		}
		if line == "" {
			return data.String(), nil
		}
		if value, ok := strings.CutPrefix(line, "data:"); ok {
			if data.Len() > 0 {
				data.WriteByte('\n')
			}
			data.WriteString(strings.TrimPrefix(value, " "))
		}
	}
}

// readLine reads a line of at most maxEvent bytes without its end.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxEvent:
			return "", fmt.Errorf("a line of more than %d bytes", maxEvent)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return "", err
		}
		return strings.TrimRight(string(line), "\r\n"), nil
	}
}
