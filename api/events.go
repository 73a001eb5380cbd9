package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"btd/api/client"
	"btd/session"
)

// maxBatch is how many events are put into one write at most.
const maxBatch = 256

// events streams what happens as server-sent events:
//
//	id: 1763718000000042
//	event: progress
//	data: {"seq":1763718000000042,"kind":"progress",...}
//
// The numbers are those of the engine with the server's start (microseconds
// since 1970) added. So a client that comes back after a restart of the
// daemon has a number below all that exist, and is told that it lost events,
// instead of being given others under the same numbers.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	since, err := sinceParam(r)
	if err != nil {
		return err
	}
	if s.streams.Add(1) > int32(s.cfg.Streams) {
		s.streams.Add(-1)
		return fail(client.CodeUnavailable, "there are %d event streams already", s.cfg.Streams)
	}
	defer s.streams.Add(-1)

	streamHeader(w)
	if r.Method == http.MethodHead {
		return nil
	}
	st := &eventStream{server: s, w: w, ctl: http.NewResponseController(w), last: since}
	st.buf = append(st.buf, "retry: 1000\n\n"...)
	// An error is of no use to anybody: the client has gone away.
	_ = st.run(r.Context())
	return nil
}

// sinceParam is the number of the last event that the client saw, 0 for none.
func sinceParam(r *http.Request) (uint64, error) {
	value := r.Header.Get("Last-Event-ID") // what a browser sends when it comes back
	if value == "" {
		value = r.URL.Query().Get("since")
	}
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, invalid("%q is not the number of an event", value)
	}
	return n, nil
}

// eventStream is one client that listens.
type eventStream struct {
	server *Server
	w      http.ResponseWriter
	ctl    *http.ResponseController
	buf    []byte // not written yet
	last   uint64 // number of the last event, the server's start included; 0 is none
}

// run ends when the client goes away, the server closes or the engine does.
func (st *eventStream) run(ctx context.Context) error {
	for {
		more, err := st.subscription(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// subscription streams one subscription to its end. more tells whether to
// subscribe again: when the engine dropped it because it was too slow.
func (st *eventStream) subscription(ctx context.Context) (more bool, err error) {
	s := st.server
	var since uint64
	known := st.last >= s.epoch // else it comes from another run of the daemon
	if st.last != 0 && known {
		since = st.last - s.epoch
	}
	events, cancel, lost := s.cfg.Engine.Subscribe(since)
	defer cancel()
	if lost || (st.last != 0 && !known) {
		if err := st.appendLost(); err != nil {
			return false, err
		}
	}
	if err := st.flush(); err != nil {
		return false, err
	}
	beat := time.NewTicker(s.cfg.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-s.closing:
			return false, nil
		case <-beat.C:
			st.buf = append(st.buf, ": heartbeat\n\n"...)
		case e, ok := <-events:
			// A subscription that ends before it yields anything is the end of
			// the engine, not of a slow reader.
			if !ok {
				return more, nil
			}
			more = true
			if err := st.batch(e, events); err != nil {
				return false, err
			}
		}
		if err := st.flush(); err != nil {
			return false, err
		}
	}
}

// batch takes e and what else is waiting.
func (st *eventStream) batch(e session.Event, events <-chan session.Event) error {
	for range maxBatch {
		if err := st.append(&e); err != nil {
			return err
		}
		select {
		case next, ok := <-events:
			if !ok {
				return nil // the caller finds that out by itself
			}
			e = next
		default:
			return nil
		}
	}
	return st.append(&e)
}

func (st *eventStream) append(e *session.Event) error {
	out := st.server.fromEvent(e)
	st.last = out.Seq
	data, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	st.buf = fmt.Appendf(st.buf, "id: %d\nevent: %s\ndata: %s\n\n", out.Seq, out.Kind, data)
	return nil
}

// appendLost says that events are missing. It has no number of its own, so a
// client that comes back is told again until it has seen another event.
func (st *eventStream) appendLost() error {
	data, err := json.Marshal(client.Event{Time: moment(time.Now()), Kind: client.EventLost})
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	st.buf = fmt.Appendf(st.buf, "event: %s\ndata: %s\n\n", client.EventLost, data)
	return nil
}

func (st *eventStream) flush() error {
	if len(st.buf) == 0 {
		return nil
	}
	extend(st.w)
	_, err := st.w.Write(st.buf)
	st.buf = st.buf[:0]
	if err != nil {
		return fmt.Errorf("write an event: %w", err)
	}
	return st.ctl.Flush()
}
