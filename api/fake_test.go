package api

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/metainfo"
	"btd/piece"
	"btd/session"
)

// fake is an Engine in memory that writes down what it is asked to do.
type fake struct {
	mu        sync.Mutex
	torrents  []session.Torrent
	limits    session.Limits
	calls     []string
	err       error         // what changes answer with
	verifying chan struct{} // if not nil: Verify says so here and waits for its context

	verified chan struct{} // if not nil: is closed when that is over

	history []session.Event
	forget  uint64 // events up to this number are not in the history
	subs    map[chan session.Event]bool
	ended   bool
	subbed  chan uint64 // receives since of every Subscribe, if not nil
}

func hashOf(n int) metainfo.Hash {
	var h [20]byte
	copy(h[:], fmt.Sprintf("%020d", n))
	return metainfo.V1(h)
}

func torrentOf(n int) session.Torrent {
	return session.Torrent{
		Hash: hashOf(n), Name: fmt.Sprintf("torrent-%d", n), Dir: "/srv/downloads",
		State: session.StateDownloading, Size: 1 << 30, Wanted: 1 << 30, Have: 1 << 29, HaveWanted: 1 << 29,
		Pieces: 1024, PieceLength: 1 << 20, PiecesHave: 512, RateDown: 1 << 20,
		Swarm: session.SwarmCounts{Seeds: 10, Leechers: -1, Downloads: -1},
		Added: time.Date(2025, 1, 2, 3, 4, 5, 6789000, time.UTC),
	}
}

func newFake(n int) *fake {
	f := &fake{subs: map[chan session.Event]bool{}}
	for i := range n {
		f.torrents = append(f.torrents, torrentOf(i))
	}
	return f
}

func (f *fake) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) noted() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, "\n")
}

func (f *fake) find(h metainfo.Hash) (int, error) {
	i := slices.IndexFunc(f.torrents, func(t session.Torrent) bool { return t.Hash == h })
	if i < 0 {
		return 0, fmt.Errorf("%w: %s", session.ErrNotFound, h)
	}
	return i, nil
}

func (f *fake) Add(_ context.Context, file []byte, o session.AddOptions) (session.Torrent, bool, error) {
	err := f.note("add %d bytes %+v", len(file), o)
	return torrentOf(77), string(file) == "again", err
}

func (f *fake) AddMagnet(_ context.Context, link string, o session.AddOptions) (session.Torrent, bool, error) {
	if _, err := metainfo.ParseMagnet(link); err != nil {
		return session.Torrent{}, false, fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	v := torrentOf(78)
	v.State, v.Waiting = session.StateMetadata, &session.Waiting{Tried: 3, Sources: 1, Have: 2, Pieces: 5, Size: 70000}
	return v, false, f.note("magnet %s %+v", link, o)
}

func (f *fake) DHTStats() session.DHTStats {
	n := &session.DHTNode{Status: "7 nodes known", Nodes: 7}
	n.Queries[0].In, n.BadTokens = 3, 2
	return session.DHTStats{On: true, Port: 6881, IPv4: n, Torrents: 2}
}

func (f *fake) DHTLookup(_ context.Context, hash [20]byte, trace func(session.DHTEvent), peers func([]netip.AddrPort)) (session.DHTFound, error) {
	if err := f.note("lookup %x", hash); err != nil {
		return session.DHTFound{}, err
	}
	trace(session.DHTEvent{At: time.Now(), Hop: 1, RTT: 5 * time.Millisecond, Named: 8})
	found := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5")}
	peers(found)
	return session.DHTFound{Peers: found, Queries: 9}, nil
}

func (f *fake) DHTGet(_ context.Context, target [20]byte, salt []byte) (session.DHTItem, error) {
	return session.DHTItem{Target: target, V: []byte("3:abc"), Salt: salt}, f.note("get %x %s", target, salt)
}

func (f *fake) followed() session.Followed {
	return session.Followed{
		Target: [20]byte{5}, Key: []byte("0123456789abcdef0123456789abcdef"), Salt: []byte("s"), Name: "feed", Dir: "/srv", KeepOld: true,
		Current: session.Version{Hash: hashOf(1), Seq: 4}, Looks: 2, Bad: 1, Problem: "rain",
	}
}

func (f *fake) Follow(_ context.Context, link string, o session.FollowOptions) (session.Followed, bool, error) {
	keep := o.KeepOld != nil && *o.KeepOld
	return f.followed(), o.Dir == "/again", f.note("follow %s dir=%s keep=%t", link, o.Dir, keep)
}
func (f *fake) Follows() []session.Followed { return []session.Followed{f.followed()} }
func (f *fake) LookNow(_ context.Context, target [20]byte) (session.Followed, error) {
	return f.followed(), f.note("look %x", target)
}

func (f *fake) Unfollow(_ context.Context, target [20]byte) error {
	return f.note("unfollow %x", target)
}

func (f *fake) published() session.Published {
	return session.Published{
		Target: [20]byte{6}, Key: []byte("0123456789abcdef0123456789abcdef"), Name: "feed",
		Version: session.Version{Hash: hashOf(1), Seq: 4}, Stored: 8,
	}
}

func (f *fake) Publish(_ context.Context, i session.DHTItem) (session.Published, error) {
	return f.published(), f.note("publish %s %x %s %d", i.V, i.K, i.Salt, i.Seq)
}
func (f *fake) Publications() []session.Published { return []session.Published{f.published()} }
func (f *fake) Unpublish(_ context.Context, target [20]byte) error {
	return f.note("unpublish %x", target)
}

func (f *fake) DHTSample(_ context.Context, target [20]byte) (session.DHTSamples, error) {
	return session.DHTSamples{Hashes: [][20]byte{target, {1}}, Nodes: 3, Kept: 5, Queries: 7}, f.note("sample %x", target)
}

func (f *fake) DHTPut(_ context.Context, i session.DHTItem) ([20]byte, int, error) {
	return [20]byte{1}, 8, f.note("put %s %x %s %d", i.V, i.K, i.Salt, i.Seq)
}

func (f *fake) Torrents() []session.Torrent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.torrents)
}

func (f *fake) Torrent(h metainfo.Hash) (session.Torrent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.find(h)
	if err != nil {
		return session.Torrent{}, err
	}
	return f.torrents[i], nil
}

func (f *fake) Secret(h metainfo.Hash) (metainfo.Secret, error) {
	_, err := f.Torrent(h)
	return metainfo.Secret{}, err
}

func (f *fake) Files(h metainfo.Hash) ([]session.File, error) {
	if _, err := f.Torrent(h); err != nil {
		return nil, err
	}
	return []session.File{
		{Index: 0, Path: "t/a", Size: 5, Have: 5, Priority: session.High},
		{Index: 1, Path: "t/b", Size: 7, Priority: session.Skip, Pad: true},
	}, nil
}

func (f *fake) Peers(h metainfo.Hash) ([]session.Peer, error) {
	if _, err := f.Torrent(h); err != nil {
		return nil, err
	}
	return []session.Peer{{
		Addr: netip.MustParseAddrPort("[2001:db8::1]:6881"), Client: "x\x1b[31m", Source: session.FromTracker,
		Progress: 0.25, Connected: 90 * time.Second, Fast: true,
	}}, nil
}

func (f *fake) Trackers(h metainfo.Hash) ([]session.Tracker, error) {
	if _, err := f.Torrent(h); err != nil {
		return nil, err
	}
	return []session.Tracker{
		{URL: "http://a.example/announce", Tier: 0, Status: "working", Last: time.Unix(1700000000, 0)},
		{URL: "udp://b.example:1", Tier: 3, Status: "failed", Error: "no answer"},
	}, nil
}

func (f *fake) Pieces(h metainfo.Hash) (*piece.Bitfield, []uint16, error) {
	if _, err := f.Torrent(h); err != nil {
		return nil, nil, err
	}
	b := piece.NewBitfield(10)
	b.Set(0)
	b.Set(9)
	return b, nil, nil
}

func (f *fake) does(word string, h metainfo.Hash) error {
	if _, err := f.Torrent(h); err != nil {
		return err
	}
	return f.note("%s", word)
}

func (f *fake) Start(_ context.Context, h metainfo.Hash) error { return f.does("start", h) }
func (f *fake) Stop(_ context.Context, h metainfo.Hash) error  { return f.does("stop", h) }
func (f *fake) Remove(_ context.Context, h metainfo.Hash, data bool) error {
	return f.does(fmt.Sprintf("remove data=%t", data), h)
}

func (f *fake) Verify(ctx context.Context, h metainfo.Hash) error {
	if f.verifying != nil {
		f.verifying <- struct{}{}
		<-ctx.Done()
		err := f.note("verify ended: %v", ctx.Err())
		if f.verified != nil {
			close(f.verified)
		}
		return err
	}
	return f.does("verify", h)
}

func (f *fake) Reannounce(_ context.Context, h metainfo.Hash) error { return f.does("reannounce", h) }

func (f *fake) AddPeers(_ context.Context, h metainfo.Hash, p []netip.AddrPort) error {
	return f.does(fmt.Sprint("peers ", p), h)
}

func (f *fake) AddTrackers(_ context.Context, h metainfo.Hash, tier int, urls []string) error {
	return f.does(fmt.Sprint("trackers + ", tier, urls), h)
}

func (f *fake) RemoveTrackers(_ context.Context, h metainfo.Hash, urls []string) error {
	return f.does(fmt.Sprint("trackers - ", urls), h)
}

func (f *fake) SetLimits(_ context.Context, h metainfo.Hash, l session.Limits) error {
	f.mu.Lock()
	if i, err := f.find(h); err == nil {
		f.torrents[i].Options.Limits = l
	}
	f.mu.Unlock()
	return f.does(fmt.Sprintf("limits %+v", l), h)
}

func (f *fake) SetOptions(_ context.Context, h metainfo.Hash, p session.OptionsPatch) error {
	words := "options"
	if p.Sequential != nil {
		words += fmt.Sprint(" sequential=", *p.Sequential)
	}
	if p.RatioLimit != nil {
		words += fmt.Sprint(" ratio=", *p.RatioLimit)
	}
	if p.SeedTime != nil {
		words += fmt.Sprint(" seed=", *p.SeedTime)
	}
	return f.does(words, h)
}

func (f *fake) SetPriorities(_ context.Context, h metainfo.Hash, files map[int]session.Priority) error {
	return f.does(fmt.Sprint("priorities ", files), h)
}

func (f *fake) Stats() session.Stats {
	return session.Stats{Torrents: map[session.State]int{session.StateSeeding: 3}, Uptime: time.Hour}
}

func (f *fake) Limits() session.Limits {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.limits
}

func (f *fake) SetSessionLimits(_ context.Context, l session.Limits) error {
	f.mu.Lock()
	f.limits = l
	f.mu.Unlock()
	return f.note("session limits %+v", l)
}

func (f *fake) Subscribe(since uint64) (<-chan session.Event, func(), bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch := make(chan session.Event, 1024)
	lost := false
	if since != 0 {
		newest := uint64(len(f.history))
		lost = since < f.forget || since > newest
		for _, e := range f.history[min(max(since, f.forget), newest):] {
			ch <- e
		}
	}
	if f.ended {
		close(ch)
	} else {
		f.subs[ch] = true
	}
	if f.subbed != nil {
		f.subbed <- since
	}
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, ch)
	}, lost
}

// publish makes an event. Readers that are too slow are dropped.
func (f *fake) publish(kind session.EventKind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := torrentOf(1)
	e := session.Event{Seq: uint64(len(f.history)) + 1, Time: time.Unix(1700000000, 0), Kind: kind, Hash: t.Hash, Torrent: &t}
	f.history = append(f.history, e)
	for ch := range f.subs {
		select {
		case ch <- e:
		default:
			delete(f.subs, ch)
			close(ch)
		}
	}
}

// end closes every subscription: for good, or as for readers that are too
// slow.
func (f *fake) end(forGood bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = forGood
	for ch := range f.subs {
		delete(f.subs, ch)
		close(ch)
	}
}

// place is a running server and clients of both its addresses.
type place struct {
	*fake
	server *Server
	socket string
	unix   *http.Client // any host name goes to the socket
	tcp    string       // host:port
	token  string
	stop   func() // stops the server and waits for it
}

func serve(t testing.TB, f *fake, change func(*Config)) *place {
	t.Helper()
	dir := t.TempDir()
	cfg := Config{
		Engine: f, Tracker: f.tracker(), Version: "1.2.3", Heartbeat: time.Hour, Grace: time.Minute,
		Socket: filepath.Join(dir, "s"), TCP: "127.0.0.1:0", TokenFile: filepath.Join(dir, "token"),
	}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	var once sync.Once
	p := &place{fake: f, server: s, socket: cfg.Socket, stop: func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("serve ended with %v", err)
			}
		})
	}}
	t.Cleanup(p.stop)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", cfg.Socket)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	p.unix = &http.Client{Transport: tr}
	if cfg.TCP != "" {
		p.tcp = s.TCPAddr().String()
		token, err := readToken(cfg.TokenFile)
		if err != nil {
			t.Fatal(err)
		}
		p.token = token
	}
	return p
}

// do sends a request to the socket and returns status and body.
func (p *place) do(t testing.TB, method, path, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://btd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := p.unix.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
