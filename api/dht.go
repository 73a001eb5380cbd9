package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"btd/api/client"
	"btd/session"
)

const (
	maxLookup   = 90 * time.Second // a search gives up before
	maxLookupQ  = 4096             // events that wait for a client, beyond which they are left out
	maxDHTValue = 8 << 10          // bytes of a body that stores an item
)

func (s *Server) dhtStats(w http.ResponseWriter, _ *http.Request) error {
	st := s.cfg.Engine.DHTStats()
	out := client.DHTStats{
		On: st.On, Problem: st.Problem, Status: st.Status(), Port: st.Port, Nodes: st.Nodes(), Torrents: st.Torrents,
		Busy: st.Busy, Dropped: st.Dropped, ReadErrors: st.ReadErrors, IPv4: fromNode(st.IPv4), IPv6: fromNode(st.IPv6),
	}
	if !st.On {
		out.Status = "off"
	}
	return writeJSON(w, http.StatusOK, out)
}

func fromNode(n *session.DHTNode) *client.DHTNode {
	if n == nil {
		return nil
	}
	id := n.ID.AsByteArray()
	out := &client.DHTNode{
		ID: hex.EncodeToString(id[:]), Status: n.Status, AddressChanges: n.AddressChanges,
		Nodes: n.Nodes, Pending: n.Pending, Searches: n.Searches, Running: n.Running, Waiting: n.Waiting,
		PacketsIn: n.PacketsIn, PacketsOut: n.PacketsOut, BytesIn: n.BytesIn, BytesOut: n.BytesOut, SendErrors: n.SendErrors,
		HeldTorrents: n.Torrents, HeldPeers: n.Peers, HeldItems: n.Items,
		QueriesIn: map[string]int64{}, QueriesOut: map[string]int64{}, Replies: n.Replies, TimedOut: n.TimedOut,
		Refused: map[string]int64{},
	}
	if n.External.IsValid() {
		out.External = n.External.String()
	}
	for m, c := range session.DHTQueries(n) {
		out.QueriesIn[m], out.QueriesOut[m] = c.In, c.Out
	}
	for name, c := range session.DHTRefused(n) {
		out.Refused[name] = c
	}
	return out
}

// target reads 20 bytes in hex.
func target(name, value string) (out [20]byte, err error) {
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != len(out) {
		return out, invalid("%s is %q, want 40 hex digits", name, value)
	}
	return [20]byte(b), nil
}

// dhtLookup streams a search for peers as server-sent events.
func (s *Server) dhtLookup(w http.ResponseWriter, r *http.Request) error {
	hash, err := target("hash", r.URL.Query().Get("hash"))
	if err != nil {
		return err
	}
	if s.streams.Add(1) > int32(s.cfg.Streams) {
		s.streams.Add(-1)
		return fail(client.CodeUnavailable, "there are %d event streams already", s.cfg.Streams)
	}
	defer s.streams.Add(-1)
	if r.Method == http.MethodHead {
		streamHeader(w)
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxLookup)
	defer cancel()
	began := time.Now()
	events := make(chan client.DHTEvent, maxLookupQ)
	tell := func(e client.DHTEvent) {
		select {
		case events <- e:
		default:
		}
	}
	var found session.DHTFound
	over := make(chan error, 1)
	go func() {
		var err error
		found, err = s.cfg.Engine.DHTLookup(ctx, hash,
			func(e session.DHTEvent) { tell(fromTrace(e, began)) },
			func(peers []netip.AddrPort) {
				e := client.DHTEvent{AfterMS: millis(time.Since(began)), Kind: "peers"}
				for _, p := range peers {
					e.Peers = append(e.Peers, p.String())
				}
				tell(e)
			})
		over <- err
	}()
	st := &eventStream{server: s, w: w, ctl: http.NewResponseController(w)}
	for begun := false; ; {
		select {
		case e := <-events:
			if !begun {
				streamHeader(w)
				begun = true
			}
			if err := st.lookup(e, events); err != nil {
				cancel()
				<-over
				return nil // the client has gone away
			}
		case <-s.closing:
			cancel()
			<-over
			return nil
		case err := <-over:
			if err != nil && !begun && len(events) == 0 {
				return err
			}
			if !begun {
				streamHeader(w)
			}
			_ = st.lookup(lastEvent(found, err, began), events)
			return nil
		}
	}
}

func streamHeader(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
}

// lookup writes what is waiting, with e behind it if that is the last.
func (st *eventStream) lookup(e client.DHTEvent, events <-chan client.DHTEvent) error {
	list := []client.DHTEvent{e}
	for range len(events) {
		list = append(list, <-events)
	}
	if e.Found != nil || e.Kind == "error" {
		list = append(list[1:], e)
	}
	for _, e := range list {
		data, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode an event: %w", err)
		}
		st.buf = fmt.Appendf(st.buf, "event: %s\ndata: %s\n\n", e.Kind, data)
	}
	return st.flush()
}

func lastEvent(f session.DHTFound, err error, began time.Time) client.DHTEvent {
	e := client.DHTEvent{AfterMS: millis(time.Since(began)), Kind: "found", Found: &client.DHTFound{
		Peers: len(f.Peers), Queries: f.Queries, Replies: f.Replies, Closest: f.Closest,
		FirstMS: millis(f.FirstAfter), ElapsedMS: millis(f.Elapsed),
		EstimatedSeeds: f.EstimatedSeeds, EstimatedPeers: f.EstimatedPeers,
	}}
	if err != nil {
		e = client.DHTEvent{AfterMS: e.AfterMS, Kind: "error", Message: err.Error()}
	}
	return e
}

func fromTrace(e session.DHTEvent, began time.Time) client.DHTEvent {
	out := client.DHTEvent{
		AfterMS: millis(e.At.Sub(began)), Kind: e.Kind.String(), Hop: e.Hop, RTTMS: millis(e.RTT),
		Again: e.Again, Late: e.Late, Named: e.Named, New: e.New, Values: e.Values, Why: e.Why,
	}
	if e.Node.Addr.IsValid() {
		out.Addr = e.Node.Addr.String()
	}
	if !e.Node.ID.IsZero() {
		id := e.Node.ID.AsByteArray()
		out.Node, out.Bits = hex.EncodeToString(id[:]), 160-e.Bits
	}
	return out
}

// millis is d in milliseconds, to a microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s *Server) dhtGet(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	var at [20]byte
	var err error
	switch key := q.Get("key"); {
	case (key == "") == (q.Get("target") == ""):
		return invalid("give either target or key")
	case key == "":
		at, err = target("target", q.Get("target"))
	default:
		var k []byte
		if k, err = hex.DecodeString(key); err != nil || len(k) != 32 {
			return invalid("key is %q, want 64 hex digits", key)
		}
		at, err = session.DHTTarget(k, []byte(q.Get("salt")))
	}
	if err != nil {
		return err
	}
	i, err := s.cfg.Engine.DHTGet(r.Context(), at, []byte(q.Get("salt")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, client.DHTItem{
		Target: hex.EncodeToString(i.Target[:]), V: i.V, K: hex.EncodeToString(i.K), Salt: i.Salt, Seq: i.Seq, Sig: hex.EncodeToString(i.Sig),
	})
}

func (s *Server) dhtPut(w http.ResponseWriter, r *http.Request) error {
	var p client.DHTPutRequest
	if err := readJSON(w, r, maxDHTValue, &p); err != nil {
		return err
	}
	i, err := signedItem(p)
	if err != nil {
		return err
	}
	at, stored, err := s.cfg.Engine.DHTPut(r.Context(), i)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, client.DHTPutResponse{Target: hex.EncodeToString(at[:]), Stored: stored})
}

func (s *Server) dhtSample(w http.ResponseWriter, r *http.Request) error {
	at, err := target("target", r.URL.Query().Get("target"))
	if err != nil {
		return err
	}
	x, err := s.cfg.Engine.DHTSample(r.Context(), at)
	if err != nil {
		return err
	}
	out := client.DHTSamples{Nodes: x.Nodes, Kept: x.Kept, Queries: x.Queries, Hashes: []string{}}
	for _, h := range x.Hashes {
		out.Hashes = append(out.Hashes, hex.EncodeToString(h[:]))
	}
	return writeJSON(w, http.StatusOK, out)
}

// dhtStatus gives an error of the DHT its code; "" if it is none.
func dhtStatus(err error) string {
	switch {
	case errors.Is(err, session.ErrMissing):
		return client.CodeNotFound
	case errors.Is(err, session.ErrNewer):
		return client.CodeConflict
	case errors.Is(err, session.ErrNoDHT):
		return client.CodeNotSupported
	case errors.Is(err, session.ErrUnanswered):
		return client.CodeTimeout
	}
	return ""
}
