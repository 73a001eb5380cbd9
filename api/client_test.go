package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/api/client"
	"btd/session"
)

// clients are one for each address.
func (p *place) clients(t *testing.T) map[string]*client.Client {
	t.Helper()
	out := map[string]*client.Client{}
	for name, cfg := range map[string]client.Config{
		"unix": {Address: "unix://" + p.socket},
		"tcp":  {Address: "http://" + p.tcp, Token: p.token},
	} {
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		out[name] = c
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// TestClient calls every method of the client at both addresses.
func TestClient(t *testing.T) {
	f := newFake(3)
	p := serve(t, f, nil)
	id := hashOf(1).String()
	ctx := t.Context()
	for name, c := range p.clients(t) {
		t.Run(name, func(t *testing.T) {
			f.mu.Lock()
			f.calls, f.limits = nil, session.Limits{}
			f.torrents[1].Options.Limits = session.Limits{}
			f.mu.Unlock()
			check := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			list, err := c.Torrents(ctx)
			check("list", err)
			one, err := c.Torrent(ctx, id)
			check("one", err)
			mine := torrentOf(1)
			if want := fromTorrent(&mine); len(list) != 3 || !reflect.DeepEqual(one, want) || !reflect.DeepEqual(list[1], want) {
				t.Errorf("got %+v\nand %+v\nwant %+v", list[1], one, want)
			}
			some, err := c.Torrents(ctx, id, hashOf(99).String())
			check("some", err)
			if len(some) != 1 {
				t.Errorf("%d torrents of one id", len(some))
			}
			resp, err := c.Add(ctx, client.AddRequest{Torrent: []byte("again"), Only: []int{1}, Limits: client.Limits{Up: 1}})
			check("add", err)
			if !resp.Existed || resp.Torrent.Name != "torrent-77" {
				t.Errorf("add: %+v", resp)
			}
			check("start", c.Start(ctx, id))
			check("stop", c.Stop(ctx, id))
			check("verify", c.Verify(ctx, id))
			check("reannounce", c.Reannounce(ctx, id))
			check("patch", c.Patch(ctx, id, client.TorrentPatch{Sequential: ptr(false), Limits: &client.LimitsPatch{Up: ptr(int64(0))}}))
			check("priorities", c.SetPriorities(ctx, id, map[int]string{0: "low"}))
			check("peers", c.AddPeers(ctx, id, []string{"1.2.3.4:5"}))
			check("trackers", c.AddTrackers(ctx, id, client.TrackersRequest{URLs: []string{"http://x/?a=b&c"}, Tier: ptr(0)}))
			check("trackers", c.RemoveTrackers(ctx, id, []string{"http://x/?a=b&c", "udp://y:1"}))
			limits, err := c.SetLimits(ctx, client.LimitsPatch{Up: ptr(int64(3))})
			check("limits", err)
			again, err := c.Limits(ctx)
			check("limits", err)
			if want := (client.Limits{Up: 3}); limits != want || again != want {
				t.Errorf("limits %+v, then %+v", limits, again)
			}
			check("remove", c.Remove(ctx, id, true))

			files, err := c.Files(ctx, id)
			check("files", err)
			peers, err := c.Peers(ctx, id)
			check("peers", err)
			trackers, err := c.Trackers(ctx, id)
			check("trackers", err)
			pieces, err := c.Pieces(ctx, id)
			check("pieces", err)
			stats, err := c.Stats(ctx)
			check("stats", err)
			v, err := c.Version(ctx)
			check("version", err)
			switch {
			case len(files) != 2 || files[0].Priority != "high" || !files[1].Pad:
				t.Errorf("files %+v", files)
			case len(peers) != 1 || peers[0].ConnectedSeconds != 90 || peers[0].Addr != "[2001:db8::1]:6881":
				t.Errorf("peers %+v", peers)
			case len(trackers) != 2 || trackers[1].Error != "no answer" || trackers[0].Last.Unix() != 1700000000 || !trackers[0].Next.IsZero():
				t.Errorf("trackers %+v", trackers)
			case pieces.Count != 10 || pieces.HaveCount != 2 || string(pieces.Have) != "\x80\x40" || pieces.PieceLength != 1<<20:
				t.Errorf("pieces %+v", pieces)
			case stats.Torrents["seeding"] != 3 || stats.UptimeSeconds != 3600:
				t.Errorf("stats %+v", stats)
			case v.Version != "1.2.3" || v.API != "v1":
				t.Errorf("version %+v", v)
			}
			want := `add 5 bytes {Dir: Stopped:false Sequential:false Only:[1] Limits:{Up:1 Down:0} Scope:internet Secret:none Peers:[] Seen:0000000000000000000000000000000000000000000000000000000000000000}
start
stop
verify
reannounce
limits {Up:0 Down:0}
options sequential=false
priorities map[0:1]
peers [1.2.3.4:5]
trackers + 0 [http://x/?a=b&c]
trackers - [http://x/?a=b&c udp://y:1]
session limits {Up:3 Down:0}
remove data=true`
			if got := f.noted(); got != want {
				t.Errorf("the engine was asked\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestClientErrors(t *testing.T) {
	p := serve(t, newFake(1), nil)
	both := p.clients(t)
	_, err := both["unix"].Torrent(t.Context(), hashOf(5).String())
	if !client.HasCode(err, client.CodeNotFound) {
		t.Errorf("no torrent: %v", err)
	}
	stranger, err := client.New(client.Config{Address: "http://" + p.tcp})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Version(t.Context()); !client.HasCode(err, client.CodeUnauthorized) {
		t.Errorf("no token: %v", err)
	}
	for _, err := range stranger.Events(t.Context(), 0) {
		if !client.HasCode(err, client.CodeUnauthorized) {
			t.Errorf("events without a token: %v", err)
		}
	}
	p.stop()
	var ce *client.ConnectError
	if _, err := both["unix"].Version(t.Context()); !errors.As(err, &ce) {
		t.Errorf("no daemon: %v", err)
	}
}

// TestClientEventsOverARestart takes the daemon away under a client that
// listens.
func TestClientEventsOverARestart(t *testing.T) {
	f := newFake(1)
	f.subbed = make(chan uint64, 4)
	p := serve(t, f, nil)
	c := p.clients(t)["unix"]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	var last uint64
	for e, err := range c.Events(ctx, 0) {
		switch {
		case errors.Is(err, client.ErrStreamEnded):
			got = append(got, "ended")
			s := New(Config{Engine: newFakeWith(f), Socket: p.socket})
			again, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			if err := s.Listen(); err != nil {
				t.Fatal(err)
			}
			go func() { done <- s.Serve(again) }()
			defer func() { stop(); <-done }()
			continue
		case err != nil:
			t.Fatalf("after %v: %v", got, err)
		}
		got = append(got, e.Kind)
		if e.Seq != 0 && e.Seq <= last {
			t.Errorf("number %d follows %d", e.Seq, last)
		}
		last = max(last, e.Seq)
		switch len(got) {
		case 1:
			<-f.subbed
			f.publish(session.EventAdded)
		case 2:
			p.stop()
		case 4:
			<-f.subbed
			f.publish(session.EventRemoved)
		}
		if len(got) == 5 {
			break
		}
	}
	if want := "lost added ended lost removed"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// newFakeWith is the engine of the next run of a daemon: its numbers begin
// anew.
func newFakeWith(f *fake) *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history, f.ended = nil, false
	return f
}

func TestServeWaitsForRequests(t *testing.T) {
	f := newFake(1)
	f.verifying = make(chan struct{})
	p := serve(t, f, func(c *Config) { c.Grace, c.heed = 20*time.Millisecond, time.Minute })
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := p.unix.Post("http://btd/v1/torrents/"+hashOf(0).String()+"/verify", "", nil)
		if err == nil {
			resp.Body.Close()
		}
	}()
	<-f.verifying
	p.stop() // the grace runs out, the context ends, the engine returns
	if got := f.noted(); got != "verify ended: context canceled" {
		t.Errorf("when Serve returned the engine had noted %q", got)
	}
	<-done
}

// slowVerify sends a request whose answer waits for the request's end.
func slowVerify(t *testing.T, f *fake, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/torrents/%s/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", hashOf(0))
	<-f.verifying
	return conn
}

func TestRequestsEndWithTheirClient(t *testing.T) {
	f := newFake(1)
	f.verifying, f.verified = make(chan struct{}), make(chan struct{})
	p := serve(t, f, nil)
	conn := slowVerify(t, f, "unix", p.socket)
	conn.Close()
	select {
	case <-f.verified:
	case <-time.After(time.Minute):
		t.Error("the request goes on without its client")
	}
}

// limited is a listener that notes the time until when its last connection
// may read.
type limited struct {
	net.Listener
	mu    sync.Mutex
	until []time.Time
}

type limitedConn struct {
	net.Conn
	l *limited
}

func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return limitedConn{c, l}, err
}

func (c limitedConn) SetReadDeadline(at time.Time) error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.until = append(c.l.until, at)
	return c.Conn.SetReadDeadline(at)
}

// TestRequestsMayTakeLong sees that the time to send a request does not
// bound the time to work on it.
func TestRequestsMayTakeLong(t *testing.T) {
	f := newFake(1)
	f.verifying, f.verified = make(chan struct{}), make(chan struct{})
	hs := New(Config{Engine: f}).newHTTP(nil)
	hs.Handler = New(Config{Engine: f}).mux
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: inner}
	done := make(chan struct{})
	go func() { defer close(done); hs.Serve(l) }()
	conn := slowVerify(t, f, "tcp", inner.Addr().String())
	l.mu.Lock()
	if n := len(l.until); n < 2 || l.until[0].IsZero() || !l.until[n-1].IsZero() {
		t.Errorf("while a request is worked on the times to read were %v, want some for the request and then none", l.until)
	}
	l.mu.Unlock()
	conn.Close()
	<-f.verified
	hs.Close()
	<-done
}

func TestServerTimeouts(t *testing.T) {
	hs := New(Config{}).newHTTP(http.NotFoundHandler())
	if hs.ReadHeaderTimeout <= 0 || hs.ReadTimeout <= 0 || hs.IdleTimeout <= 0 || hs.MaxHeaderBytes <= 0 {
		t.Errorf("no timeout somewhere: %+v", hs)
	}
}
