package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"btd/api/client"
	"btd/session"
)

// listener reads a stream in a test.
type reader struct {
	t    *testing.T
	body io.ReadCloser
	r    *bufio.Reader
}

func (p *place) stream(t *testing.T, query, lastID string) *reader {
	t.Helper()
	req, err := http.NewRequest("GET", "http://btd/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := p.unix.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("status %d, type %q", resp.StatusCode, ct)
	}
	return &reader{t: t, body: resp.Body, r: bufio.NewReader(resp.Body)}
}

// next is the fields of the next message; nil is the end of the stream.
func (r *reader) next() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	for range 100 {
		line, err := r.r.ReadString('\n')
		if err == io.EOF && line == "" {
			return nil
		}
		if err != nil {
			r.t.Fatalf("the stream broke: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return out
		}
		name, value, _ := strings.Cut(line, ": ")
		out[name] = value
	}
	r.t.Fatal("a message without an end")
	return nil
}

// event skips what is no event.
func (r *reader) event() (id uint64, e client.Event) {
	r.t.Helper()
	for range 100 {
		m := r.next()
		if m == nil {
			r.t.Fatal("the stream ended")
		}
		if m["event"] == "" {
			continue
		}
		if err := json.Unmarshal([]byte(m["data"]), &e); err != nil {
			r.t.Fatalf("data %q: %v", m["data"], err)
		}
		if m["event"] != e.Kind {
			r.t.Errorf("event %q with data of kind %q", m["event"], e.Kind)
		}
		if m["id"] != "" {
			n, err := strconv.ParseUint(m["id"], 10, 64)
			if err != nil || n != e.Seq {
				r.t.Errorf("id %q with number %d", m["id"], e.Seq)
			}
			id = n
		}
		return id, e
	}
	r.t.Fatal("no event")
	return 0, e
}

func TestEventsComeInOrder(t *testing.T) {
	f := newFake(1)
	f.subbed = make(chan uint64, 1)
	p := serve(t, f, nil)
	r := p.stream(t, "", "")
	<-f.subbed
	kinds := []session.EventKind{session.EventAdded, session.EventState, session.EventProgress, session.EventCompleted, session.EventRemoved}
	for _, k := range kinds {
		f.publish(k)
	}
	var last uint64
	for i, k := range kinds {
		id, e := r.event()
		if e.Kind != string(k) || e.Torrent == nil || e.ID != hashOf(1).String() {
			t.Errorf("event %d is %+v, want %s", i, e, k)
		}
		if last != 0 && id != last+1 {
			t.Errorf("number %d follows %d", id, last)
		}
		last = id
	}
}

func TestEventsResume(t *testing.T) {
	f := newFake(1)
	p := serve(t, f, nil)
	for range 5 {
		f.publish(session.EventProgress)
	}
	at := func(n uint64) string { return fmt.Sprint(p.server.epoch + n) }
	for name, tt := range map[string]struct {
		query, header string
	}{
		"query":                       {"?since=" + at(3), ""},
		"header":                      {"", at(3)},
		"the header goes before both": {"?since=" + at(1), at(3)},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.stream(t, tt.query, tt.header)
			for _, want := range []uint64{4, 5} {
				if id, e := r.event(); id != p.server.epoch+want || e.Kind != "progress" {
					t.Errorf("got number %d %s, want %d", id-p.server.epoch, e.Kind, want)
				}
			}
		})
	}
}

func TestManyEventsComeInOrder(t *testing.T) {
	f := newFake(1)
	p := serve(t, f, nil)
	for range 2*maxBatch + 10 {
		f.publish(session.EventProgress)
	}
	r := p.stream(t, fmt.Sprintf("?since=%d", p.server.epoch+1), "")
	for want := p.server.epoch + 2; want <= p.server.epoch+2*maxBatch+10; want++ {
		if id, _ := r.event(); id != want {
			t.Fatalf("got number %d, want %d", id-p.server.epoch, want-p.server.epoch)
		}
	}
}

func TestEventsThatAreLostAreReported(t *testing.T) {
	f := newFake(1)
	f.forget = 3
	for range 5 {
		f.publish(session.EventProgress)
	}
	p := serve(t, f, nil)
	for name, since := range map[string]uint64{
		"history does not reach":    p.server.epoch + 1,
		"another run of the daemon": 12,
		"in the future":             p.server.epoch + 1000,
	} {
		t.Run(name, func(t *testing.T) {
			r := p.stream(t, fmt.Sprintf("?since=%d", since), "")
			if id, e := r.event(); e.Kind != client.EventLost || id != 0 {
				t.Errorf("first event is %d %+v, want lost", id, e)
			}
		})
	}
}

func TestEventsGoOnAfterASlowReader(t *testing.T) {
	f := newFake(1)
	f.subbed = make(chan uint64, 1)
	p := serve(t, f, nil)
	r := p.stream(t, "", "")
	<-f.subbed
	f.publish(session.EventAdded)
	first, _ := r.event()
	f.end(false) // as if this reader had been too slow
	if since := <-f.subbed; since != first-p.server.epoch {
		t.Errorf("subscribed again behind %d, want %d", since, first-p.server.epoch)
	}
	f.publish(session.EventRemoved)
	if id, e := r.event(); id != first+1 || e.Kind != "removed" {
		t.Errorf("got %d %s, want %d", id, e.Kind, first+1)
	}
}

func TestEventsEndWithTheEngine(t *testing.T) {
	f := newFake(1)
	f.subbed = make(chan uint64, 2)
	p := serve(t, f, nil)
	r := p.stream(t, "", "")
	<-f.subbed
	f.publish(session.EventAdded)
	r.event()
	f.end(true)
	if m := r.next(); m != nil {
		t.Errorf("got %v, want the end", m)
	}
}

func TestEventsEndWithTheServer(t *testing.T) {
	f := newFake(1)
	f.subbed = make(chan uint64, 1)
	p := serve(t, f, nil)
	r := p.stream(t, "", "")
	<-f.subbed
	r.next() // retry
	p.stop() // a stream that waits for the grace to run out is cut, and has no end
	if m := r.next(); m != nil {
		t.Errorf("got %v, want the end", m)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subs) != 0 {
		t.Errorf("%d subscriptions are left", len(f.subs))
	}
}

func TestEventsHeartbeat(t *testing.T) {
	p := serve(t, newFake(0), func(c *Config) { c.Heartbeat = time.Millisecond })
	r := p.stream(t, "", "")
	for range 20 {
		if m := r.next(); m[""] == "heartbeat" || m[": heartbeat"] != "" {
			return
		} else if _, ok := m[":"]; ok {
			return
		}
	}
	t.Error("no heartbeat")
}

func TestEventsAreBounded(t *testing.T) {
	p := serve(t, newFake(0), func(c *Config) { c.Streams = 2 })
	p.stream(t, "", "").next()
	second := p.stream(t, "", "")
	second.next()
	code, body := p.do(t, "GET", "/v1/events", "", "")
	if code != 503 || !strings.Contains(body, "unavailable") {
		t.Errorf("third stream: %d %s", code, body)
	}
}

func TestEventsRefuseNonsense(t *testing.T) {
	p := serve(t, newFake(0), nil)
	if code, body := p.do(t, "GET", "/v1/events?since=yesterday", "", ""); code != 400 {
		t.Errorf("%d %s", code, body)
	}
}
