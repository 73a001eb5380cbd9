package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/api/client"
)

// daemon is an API server with answers that stand from the beginning.
type daemon struct {
	t       *testing.T
	socket  string
	answers map[string]any // "GET /path" -> value, or error, or func(body string) that gives one
	stream  []client.Event // what /v1/events sends before it waits
	then    chan client.Event
	cut     chan struct{} // each value ends the stream once

	mu   sync.Mutex
	seen []string // changes that were asked for, with their bodies
}

const (
	idA = "aa11111111111111111111111111111111111111"
	idB = "aa22222222222222222222222222222222222222"
	idC = "cc33333333333333333333333333333333333333"
)

func someTorrents() []client.Torrent {
	return []client.Torrent{
		{
			ID: idA, Name: "Debian 12", State: client.StateDownloading, Dir: "/srv",
			Size: 4 << 30, Wanted: 4 << 30, HaveWanted: 1 << 30, Have: 1 << 30, Progress: 0.25,
			Pieces: 4096, PieceLength: 1 << 20, PiecesHave: 1024,
			RateDown: 5 << 20, RateUp: 1 << 10, Peers: 12, Seeds: 3, PeersKnown: 80, Uploaded: 2 << 30,
			Swarm: client.Swarm{Seeds: 9, Leechers: -1, Downloads: -1},
		},
		{
			ID: idB, Name: "debian-handbook", State: client.StateSeeding, Dir: "/srv", Single: true,
			Size: 10, Wanted: 10, HaveWanted: 10, Have: 10, Progress: 1, Pieces: 1, PieceLength: 16384, PiecesHave: 1,
		},
		{
			ID: idC, Name: "evil \x1b[31m\u202ename", State: client.StateError, Error: "disk full", Dir: "/srv",
			Size: 1000, Wanted: 1000, HaveWanted: 999, Progress: 0.9999,
		},
	}
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	d := &daemon{t: t, socket: filepath.Join(t.TempDir(), "s"), answers: map[string]any{}, then: make(chan client.Event), cut: make(chan struct{})}
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: someTorrents()}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return d
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.t.Error(err)
	}
	d.mu.Lock()
	key := r.Method + " " + r.URL.RequestURI()
	if r.Method != "GET" {
		d.seen = append(d.seen, strings.TrimSpace(key+" "+string(body)))
	}
	answer, ok := d.answers[r.Method+" "+r.URL.Path]
	d.mu.Unlock()
	if r.URL.Path == "/v1/events" && !ok {
		d.serveEvents(w, r)
		return
	}
	if list, isList := answer.(client.TorrentList); isList {
		if ids := r.URL.Query().Get("ids"); ids != "" {
			var some client.TorrentList
			for _, t := range list.Torrents {
				if strings.Contains(ids, t.ID) {
					some.Torrents = append(some.Torrents, t)
				}
			}
			answer = some
		}
	}
	if f, isFunc := answer.(func(string) any); isFunc {
		answer = f(string(body))
	}
	switch v := answer.(type) {
	case nil:
		if r.Method == "GET" {
			answer = &client.Error{Status: 404, Code: client.CodeNotFound, Message: "no such torrent"}
			break
		}
		w.WriteHeader(http.StatusNoContent)
		return
	case *client.Error:
		answer = v
	}
	if e, bad := answer.(*client.Error); bad {
		w.WriteHeader(e.Status)
		answer = client.ErrorResponse{Error: *e}
	}
	if hang, ok := answer.(hang); ok {
		<-r.Context().Done()
		_ = hang
		return
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		d.t.Error(err)
	}
}

// hang is an answer that does not come.
type hang struct{}

func (d *daemon) serveEvents(w http.ResponseWriter, r *http.Request) {
	send := func(e client.Event) {
		b, err := json.Marshal(e)
		if err != nil {
			d.t.Error(err)
		}
		fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, b)
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, ": hello\n\n")
	w.(http.Flusher).Flush()
	for _, e := range d.stream {
		send(e)
	}
	for {
		select {
		case e, ok := <-d.then:
			if !ok {
				return
			}
			send(e)
		case <-d.cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (d *daemon) asked() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.seen, "\n")
}

// result is what a run of the program left behind.
type result struct {
	code     int
	out, err string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\n--- stdout\n%s--- stderr\n%s", r.code, r.out, r.err)
}

// world is what a run of the program sees.
type world struct {
	env      map[string]string
	stdin    string
	in       io.Reader // instead of stdin; may be nil
	tty      bool
	ctx      context.Context
	patience int
	lonely   time.Duration
	after    func(time.Duration, func()) *time.Timer
	words    *lockedBuffer // what the run has said until now; nil where nobody looks
}

func (w world) run(args ...string) result {
	var out lockedBuffer
	errs := w.words
	if errs == nil {
		errs = &lockedBuffer{}
	}
	in := w.in
	if in == nil {
		in = strings.NewReader(w.stdin)
	}
	a := &app{
		in: in, out: &out, err: errs,
		getenv: func(k string) string { return w.env[k] },
		inTTY:  w.tty, outTTY: w.tty, errTTY: w.tty,
		size:     func() (int, int) { return 80, 24 },
		patience: w.patience, lonely: w.lonely, after: w.after,
	}
	ctx := w.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	code := a.run(ctx, args)
	return result{code, out.String(), errs.String()}
}

func (d *daemon) run(args ...string) result {
	return world{env: map[string]string{"BTD_API": "unix://" + d.socket}}.run(args...)
}

// lockedBuffer is written by the program and its drawing goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
