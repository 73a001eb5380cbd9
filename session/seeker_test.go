package session

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"btd/dht"
	"btd/dht/lookup"
	"btd/session/dhtpace"
)

// bootNode is a DHT node that knows no torrents.
func bootNode(t *testing.T) (*dht.Server, string) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := dht.NewServer(dht.ServerConfig{IPv4: dht.Socket{Conn: c, Own: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, c.LocalAddr().String()
}

// joins makes a session begin with a DHT node.
func joins(boot ...string) func(*Config) {
	return func(cfg *Config) { cfg.DHT = DHTConfig{On: true, Bootstrap: boot, Isolated: true} }
}

func TestPeersFindEachOtherByHashAlone(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 12345})
	seedOf(t, c, joins(addr))
	until(t, "announce of the seed", func() bool { return boot.Stats().IPv4.Peers > 0 })
	leech := open(t, joins(addr))
	if _, _, err := leech.Add(t.Context(), c.file, AddOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	// A third one knows the link alone. It gets little before its peers were
	// looked at.
	third := open(t, func(cfg *Config) { joins(addr)(cfg); cfg.Limits.Down = 1 })
	addMagnet(t, third, c.link(), AddOptions{})
	until(t, "peer from the DHT", func() bool {
		peers, err := third.Peers(c.meta.Hash)
		return err == nil && slices.ContainsFunc(peers, func(p Peer) bool { return p.Source == FromDHT })
	})
	if err := third.SetSessionLimits(t.Context(), Limits{}); err != nil {
		t.Fatal(err)
	}
	await(t, third, c, "completion", complete)
	c.same(t, third.cfg.Dir)
}

func TestMagnetTellsHowManyNodesWereAsked(t *testing.T) {
	t.Parallel()
	_, addr := bootNode(t)
	c := makeContent(t, 64<<10, map[string]int{"": 1000})
	leech := open(t, joins(addr))
	addMagnet(t, leech, c.link(), AddOptions{})
	await(t, leech, c, "node asked", func(v Torrent) bool { return v.Waiting != nil && v.Waiting.Nodes > 0 })
}

func TestPrivateTorrentsDoNotTouchTheDHT(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	c := makePrivate(t, makeContent(t, 64<<10, map[string]int{"": 1 << 20}))
	seed := seedOf(t, c, joins(addr))
	leech := open(t, joins(addr))
	if _, _, err := leech.Add(t.Context(), c.file, AddOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Session{seed, leech} {
		until(t, "node", func() bool { st := s.DHTStats(); return st.Nodes() > 0 })
		if st := s.DHTStats(); st.Torrents != 0 || st.IPv4.Searches > 2 {
			t.Errorf("%+v, %+v", st, st.IPv4)
		}
		if _, err := s.DHTLookup(t.Context(), c.meta.Hash.Wire(), nil, nil); err == nil {
			t.Error("a private torrent was looked up")
		}
	}
	if st := boot.Stats().IPv4; st.Torrents != 0 {
		t.Errorf("%d torrents are stored", st.Torrents)
	}
}

// TestMagnetTurnsOutPrivate has somebody announce a private torrent.
func TestMagnetTurnsOutPrivate(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	c := makePrivate(t, makeContent(t, 64<<10, map[string]int{"": 1 << 20}))
	seed := seedOf(t, c, nil)
	other, _ := bootNode(t)
	other.AddHosts([]string{addr})
	q := dht.Search{Kind: dht.GetPeers, Announce: true, Port: seed.Addr().Port()}
	hash := c.meta.Hash.Wire()
	q.Target.SetBytes(hash[:])
	if r, err := other.Search(t.Context(), q); err != nil || r.Stored() == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	leech := open(t, joins(addr))
	addMagnet(t, leech, c.link(), AddOptions{})
	v := await(t, leech, c, "its metadata", func(v Torrent) bool { return v.Waiting == nil && v.State == StateDownloading })
	if !v.Private || leech.DHTStats().Torrents != 0 {
		t.Errorf("%+v, %+v", v, leech.DHTStats())
	}
	if peers, err := leech.Peers(c.meta.Hash); err != nil || len(peers) > 0 {
		t.Errorf("peers %+v, %v", peers, err)
	}
	if n := boot.Stats().IPv4.Peers; n != 1 {
		t.Errorf("%d peers are stored, want the one", n)
	}
}

func TestIdleSeedsAreAnnouncedWithoutLoading(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	s := open(t, nil)
	for i := range 50 {
		c := makeContent(t, 16<<10, map[string]int{fmt.Sprint(i): 100 + i})
		add(t, s, c, AddOptions{Dir: c.dir})
		await(t, s, c, "seeding", complete)
	}
	s = reopen(t, s, joins(addr))
	until(t, "announce of all", func() bool {
		for _, e := range s.entries() {
			if e.running() != nil {
				t.Fatalf("%s has a loop", e.hash)
			}
		}
		return boot.Stats().IPv4.Torrents == 50
	})
	e := s.entries()[0]
	if err := s.Stop(t.Context(), e.hash); err != nil {
		t.Fatal(err)
	}
	if st := s.DHTStats(); st.Torrents != 49 {
		t.Errorf("%d torrents are announced after one was stopped", st.Torrents)
	}
}

func TestTheTableSurvivesARestart(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	state := t.TempDir()
	keep := func(cfg *Config) { cfg.StateDir = state }
	first := open(t, func(cfg *Config) { keep(cfg); joins(addr)(cfg) })
	until(t, "node", func() bool { st := first.DHTStats(); return st.Nodes() > 0 })
	id := first.DHTStats().IPv4.ID
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, func(cfg *Config) { keep(cfg); joins()(cfg) })
	until(t, "node after the restart", func() bool { st := again.DHTStats(); return st.Nodes() > 0 })
	if got := again.DHTStats().IPv4.ID; got != id {
		t.Errorf("the id was %v and is %v", id, got)
	}
	_ = boot
}

func TestATakenUDPPortIsTold(t *testing.T) {
	t.Parallel()
	var s *Session
	for range 50 { // the TCP port of that number may be somebody's as well
		_, addr := bootNode(t)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		s = open(t, func(cfg *Config) { joins()(cfg); cfg.Listen = addr })
		break
	}
	if s == nil {
		t.Fatal("of 50 UDP ports none is free for TCP")
	}
	st := s.DHTStats()
	if st.IPv4 != nil || st.Problem == "" || s.Stats().DHT != st.Problem || !st.On {
		t.Errorf("%+v", st)
	}
	if _, err := s.DHTGet(t.Context(), [20]byte{1}, nil); err == nil {
		t.Error("an item was got without a node")
	}
}

// TestUTPIsRefused: who tries uTP at the port of the DHT hears at once that there
// is none, and the DHT is served beside it.
func TestUTPIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, joins())
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.port())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	const (
		reset = "\x31\x00\xab\xcd" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x12\x34"
		syn   = "\x41\x00\xab\xcd" + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x10\x00\x00" + "\x12\x34\x00\x00"
		ping  = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"
	)
	for _, x := range []struct{ send, want string }{{"", ""}, {reset, ""}, {syn[:19], ""}, {syn, reset}, {ping, "d"}, {syn, reset}} {
		if _, err := conn.Write([]byte(x.send)); err != nil {
			t.Fatal(err)
		}
		var got [1500]byte
		for x.want != "" {
			n, err := conn.Read(got[:])
			if err != nil {
				t.Fatalf("%q: %v", x.send, err)
			}
			if x.want != "d" && n > 0 && got[0] == 'd' {
				continue // it asks us something
			}
			if !strings.HasPrefix(string(got[:n]), x.want) {
				t.Errorf("%q is answered with %q, want %q", x.send, got[:n], x.want)
			}
			break
		}
	}
	if n := s.Stats().Counters["utp_refused"]; n != 2 {
		t.Errorf("%d refused, want 2", n)
	}
}

// busyDHT has no place for the first searches.
type busyDHT struct {
	fakeDHT
	refuse  atomic.Int32
	started atomic.Int32
	peer    netip.AddrPort
}

func (f *busyDHT) Start(q dht.Search, done func(dht.Results)) func() {
	f.started.Add(1)
	go func() {
		if f.refuse.Add(-1) >= 0 {
			done(dht.Results{IPv4: &dht.Result{Err: dht.ErrBusy}})
			return
		}
		q.Peers([]netip.AddrPort{f.peer})
		done(dht.Results{IPv4: &dht.Result{}})
	}()
	return func() {}
}

func TestBusyIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 100_000})
	seed := seedOf(t, c, nil)
	fake := &busyDHT{peer: seed.Addr()}
	fake.refuse.Store(2)
	leech := open(t, func(cfg *Config) { cfg.DHT = DHTConfig{On: true, fake: fake} })
	if _, _, err := leech.Add(t.Context(), c.file, AddOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	if n := fake.started.Load(); n < 3 {
		t.Errorf("%d searches", n)
	}
}

// TestRefusedAnnouncesHoldUpNobody: that nobody takes the announce of one torrent
// says nothing of the others.
func TestRefusedAnnouncesHoldUpNobody(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{dht.ErrRefused: true, dht.ErrNoNodes: false} {
		d := &seeker{wake: make(chan struct{}, 1)}
		d.init()
		now := time.Now()
		first, second := &sought{e: &entry{}}, &sought{e: &entry{}}
		first.item = d.pace.Add(first, dhtpace.Hungry, now)
		if it, _ := d.pace.Next(now); it != first.item {
			t.Fatal("the first is not due")
		}
		d.flying.Add(1)
		d.end(first, dht.Results{IPv4: &dht.Result{Err: err, Stats: lookup.Stats{Queries: 30, Replies: 20}}})
		second.item = d.pace.Add(second, dhtpace.Hungry, now)
		if it, wait := d.pace.Next(time.Now()); (it == second.item) != want {
			t.Errorf("after %q the next begins at once: %t, it waits for %v", err, it != nil, wait.Sub(now))
		}
	}
}

func TestItemsAreStoredAndFound(t *testing.T) {
	t.Parallel()
	_, addr := bootNode(t)
	s := open(t, joins(addr))
	until(t, "node", func() bool { st := s.DHTStats(); return st.Nodes() > 0 })
	target, n, err := s.DHTPut(t.Context(), DHTItem{V: []byte("5:hello")})
	if err != nil || n != 1 {
		t.Fatalf("stored at %d: %v", n, err)
	}
	if i, err := s.DHTGet(t.Context(), target, nil); err != nil || string(i.V) != "5:hello" {
		t.Errorf("%+v, %v", i, err)
	}
	if _, _, err := s.DHTPut(t.Context(), DHTItem{V: []byte("hello")}); err == nil {
		t.Error("a value that is no bencode is stored")
	}
	if _, err := s.DHTGet(t.Context(), [20]byte{9}, nil); err == nil {
		t.Error("an item was found that nobody stored")
	}
}

// BenchmarkAnnounces is one search and announce over loopback, both nodes'
// work included.
func BenchmarkAnnounces(b *testing.B) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	boot, err := dht.NewServer(dht.ServerConfig{IPv4: dht.Socket{Conn: c, Own: true}})
	if err != nil {
		b.Fatal(err)
	}
	defer boot.Close()
	dir, err := os.MkdirTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	cfg := Config{StateDir: dir, Dir: dir, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}
	joins(c.LocalAddr().String())(&cfg)
	s, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for st := s.DHTStats(); st.Nodes() == 0; st = s.DHTStats() {
		time.Sleep(time.Millisecond)
	}
	n := 0
	for b.Loop() {
		n++
		q := dht.Search{Kind: dht.GetPeers, Announce: true, Port: 5}
		q.Target.SetBytes([]byte(fmt.Sprintf("%020d", n)))
		if _, err := s.seeker.node.Search(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNodesTellWhichTorrentsTheyKnow(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	c := makeContent(t, 64<<10, map[string]int{"a": 100_000})
	s := seedOf(t, c, joins(addr))
	until(t, "announce of the seed", func() bool { return boot.Stats().IPv4.Peers > 0 })
	got, err := s.DHTSample(t.Context(), [20]byte{7})
	if err != nil || len(got.Hashes) != 1 || got.Hashes[0] != c.meta.Hash.Wire() || got.Nodes != 1 || got.Kept != 1 || got.Queries == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	// It wants to be left alone now.
	if got, err = s.DHTSample(t.Context(), [20]byte{8}); err != nil || len(got.Hashes) != 0 || got.Nodes != 0 {
		t.Errorf("at once again: %+v, %v", got, err)
	}
}
