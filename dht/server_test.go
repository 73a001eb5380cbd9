package dht

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"btd/dht/krpc"
	"btd/dht/lookup"
)

// bind is a UDP socket on loopback.
func bind(t testing.TB, network, host string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil {
		t.Skipf("no socket on %s: %v", host, err)
	}
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func serve(t testing.TB, cfg ServerConfig) *Server {
	t.Helper()
	cfg.Version = "BD01"
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// crowd are servers on loopback that all know the first.
func crowd(t testing.TB, count int) (all []*Server, addrs []netip.AddrPort) {
	t.Helper()
	for range count {
		conn, addr := bind(t, "udp4", "127.0.0.1")
		addrs = append(addrs, addr)
		all = append(all, serve(t, ServerConfig{
			IPv4: Socket{Conn: conn, Own: true}, Bootstrap: []string{addrs[0].String()},
		}))
	}
	return all, addrs
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func id160(t testing.TB, s *Server) krpc.ID {
	id, _ := s.IDs()
	if id.IsZero() {
		t.Fatal("no id")
	}
	return id
}

func TestTwoServers(t *testing.T) {
	t.Parallel()
	all, addrs := crowd(t, 2)
	ctx := within(t, time.Minute)
	hash := hashOf(1)
	r, err := all[1].Search(ctx, Search{Kind: GetPeers, Target: hash, Announce: true, Port: 7})
	if err != nil || r.Stored() != 1 || r.IPv6 != nil {
		t.Fatalf("announce: %+v, %v", r, err)
	}
	var mu sync.Mutex
	var got []netip.AddrPort
	hops := 0
	r, err = all[1].Search(ctx, Search{
		Kind: GetPeers, Target: hash,
		Peers: func(p []netip.AddrPort) { mu.Lock(); defer mu.Unlock(); got = append(got, p...) },
		Trace: func(lookup.Event) { hops++ },
	})
	mu.Lock()
	defer mu.Unlock()
	if want := netip.AddrPortFrom(addrs[1].Addr(), 7); err != nil || !slices.Equal(got, []netip.AddrPort{want}) || hops < 3 || r.Peers() != 1 {
		t.Errorf("lookup: %+v, %v, peers %v, %d events", r, err, got, hops)
	}
}

func TestTwentyServers(t *testing.T) {
	t.Parallel()
	all, addrs := crowd(t, 20)
	ctx := within(t, 2*time.Minute)
	var wg sync.WaitGroup
	for _, s := range all { // all at once, from several goroutines
		wg.Go(func() {
			if r, err := s.Search(ctx, Search{Kind: FindNode, Target: id160(t, s)}); err != nil {
				t.Errorf("%+v: %v", r, err)
			}
		})
	}
	wg.Wait()
	hash := hashOf(2)
	for _, i := range []int{3, 4} {
		if r, err := all[i].Search(ctx, Search{Kind: GetPeers, Target: hash, Announce: true, ImpliedPort: true}); err != nil || r.Stored() < 4 {
			t.Fatalf("announce: %+v, %v", r, err)
		}
	}
	for i, s := range all {
		wg.Go(func() {
			var got []netip.AddrPort
			r, err := s.Search(ctx, Search{Kind: GetPeers, Target: hash, Peers: func(p []netip.AddrPort) { got = append(got, p...) }})
			// The network is a moment old: not everybody knows everybody yet.
			wrong := slices.ContainsFunc(got, func(a netip.AddrPort) bool { return a != addrs[3] && a != addrs[4] })
			if err != nil || len(got) == 0 || wrong {
				t.Errorf("server %d found %v: %v, %+v", i, got, err, r)
			}
		})
	}
	wg.Wait()
	item, err := NewItem([]byte("4:blue"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := all[5].Put(ctx, item.Target(), nil, func(*Item) *Item { return item }); err != nil || n < 4 {
		t.Fatalf("put: %d, %v", n, err)
	}
	if got, err := all[6].Get(ctx, item.Target(), nil); err != nil || string(got.V) != "4:blue" {
		t.Errorf("get: %+v, %v", got, err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	var target krpc.ID
	for seq := range int64(3) {
		next := func(newest *Item) *Item {
			if (newest == nil) != (seq == 0) {
				t.Errorf("before version %d there is %+v", seq, newest)
			}
			i, err := SignItem(key, nil, seq, fmt.Appendf(nil, "i%de", seq))
			if err != nil {
				t.Error(err)
			}
			return i
		}
		i, _ := SignItem(key, nil, 0, []byte("0:"))
		target = i.Target()
		if n, err := all[7].Put(ctx, target, nil, next); err != nil || n < 4 {
			t.Fatalf("put of version %d: %d, %v", seq, n, err)
		}
	}
	if got, err := all[8].Get(ctx, target, nil); err != nil || string(got.V) != "i2e" {
		t.Errorf("get: %+v, %v", got, err)
	}
	if _, err := all[8].Get(ctx, hashOf(77), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	stats := all[0].Stats()
	if stats.IPv4 == nil || stats.IPv6 != nil || stats.IPv4.Nodes < 8 || stats.IPv4.PacketsIn == 0 || stats.IPv4.Largest > maxReply4 {
		t.Errorf("%+v", stats.IPv4)
	}
}

// deliver reads conn for s until it is closed; then the channel is.
func deliver(conn *net.UDPConn, s *Server) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			s.Deliver(b[:n], from)
		}
	}()
	return done
}

// TestSharedSocket has a socket that somebody else reads.
func TestSharedSocket(t *testing.T) {
	t.Parallel()
	conn, addr := bind(t, "udp4", "127.0.0.1")
	shared := serve(t, ServerConfig{IPv4: Socket{Conn: conn}})
	done := deliver(conn, shared)
	all, addrs := crowd(t, 1)
	if shared.Deliver([]byte("\x41not ours"), addrs[0]) || shared.Deliver(nil, addrs[0]) || shared.Deliver([]byte("d"), netip.MustParseAddrPort("[::1]:5")) {
		t.Error("a packet is taken that is not for the DHT")
	}
	all[0].AddNode(addr)
	ctx := within(t, time.Minute)
	if r, err := all[0].Search(ctx, Search{Kind: GetPeers, Target: hashOf(1), Announce: true, Port: 9}); err != nil || r.Stored() != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if s := shared.Stats(); s.IPv4.Torrents != 1 || s.IPv4.Peers != 1 {
		t.Errorf("%+v", s.IPv4)
	}
	conn.Close()
	<-done
}

func TestBothFamilies(t *testing.T) {
	t.Parallel()
	make4 := func() (Socket, netip.AddrPort) {
		c, a := bind(t, "udp4", "127.0.0.1")
		return Socket{Conn: c, Own: true}, a
	}
	make6 := func() (Socket, netip.AddrPort) {
		c, a := bind(t, "udp6", "::1")
		return Socket{Conn: c, Own: true}, a
	}
	a4, addr4 := make4()
	a6, addr6 := make6()
	a := serve(t, ServerConfig{IPv4: a4, IPv6: a6})
	c4, _ := make4()
	c6, _ := make6()
	c := serve(t, ServerConfig{IPv4: c4, IPv6: c6, Bootstrap: []string{addr4.String(), addr6.String()}})
	// b knows the IPv4 address of a only, which tells of the IPv6 node of c.
	b4, _ := make4()
	b6, _ := make6()
	b := serve(t, ServerConfig{IPv4: b4, IPv6: b6, Bootstrap: []string{addr4.String()}})
	for _, s := range []*Server{c, b} {
		r, err := s.Search(within(t, 2*time.Minute), Search{Kind: FindNode, Target: hashOf(1)})
		if err != nil || len(r.IPv4.Closest) == 0 || len(r.IPv6.Closest) == 0 {
			t.Fatalf("%+v and %+v: %v", r.IPv4, r.IPv6, err)
		}
	}
	ctx := within(t, time.Minute)
	hash := hashOf(5)
	if r, err := a.Search(ctx, Search{Kind: GetPeers, Target: hash, Announce: true, Port: 11}); err != nil || r.IPv4 == nil || r.IPv6 == nil {
		t.Errorf("%+v, %v", r, err)
	}
	x4, x6 := a.IDs()
	if x4 == x6 || x4.IsZero() || x6.IsZero() {
		t.Errorf("ids %v and %v", x4, x6)
	}
	s4, s6 := b.State()
	if len(s4) < stateHead || len(s6) < stateHead {
		t.Errorf("state has %d and %d bytes", len(s4), len(s6))
	}
	b.Close()
	again4, again6 := b.State()
	if !slices.Equal(again4[:22], s4[:22]) || !slices.Equal(again6[:22], s6[:22]) {
		t.Error("after Close the state is another")
	}
}

// TestOneFamilyWithoutAWayOut has an IPv6 node that nobody answers.
func TestOneFamilyWithoutAWayOut(t *testing.T) {
	t.Parallel()
	_, addrs := crowd(t, 2)
	c4, _ := bind(t, "udp4", "127.0.0.1")
	c6, _ := bind(t, "udp6", "::1")
	s := serve(t, ServerConfig{
		IPv4: Socket{Conn: c4, Own: true}, IPv6: Socket{Conn: c6, Own: true}, Bootstrap: []string{addrs[0].String()},
	})
	ctx := within(t, 2*time.Minute)
	r, err := s.Search(ctx, Search{Kind: GetPeers, Target: hashOf(1), Announce: true, Port: 5})
	if err != nil || r.IPv4.Stored == 0 || r.IPv6.Err != ErrNoNodes {
		t.Errorf("%+v and %+v: %v", r.IPv4, r.IPv6, err)
	}
}

// TestOneSocketForBothFamilies has a socket that takes packets of both.
func TestOneSocketForBothFamilies(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Skip(err)
	}
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	shared := serve(t, ServerConfig{IPv4: Socket{Conn: conn}, IPv6: Socket{Conn: conn}})
	done := deliver(conn, shared)
	defer func() { conn.Close(); <-done }()
	for _, host := range []string{"127.0.0.1", "::1"} {
		network, socket := "udp4", Socket{Own: true}
		if host == "::1" {
			network = "udp6"
		}
		c, _ := bind(t, network, host)
		socket.Conn = c
		cfg := ServerConfig{IPv4: socket}
		if host == "::1" {
			cfg = ServerConfig{IPv6: socket}
		}
		cfg.Bootstrap = []string{netip.AddrPortFrom(netip.MustParseAddr(host), port).String()}
		s := serve(t, cfg)
		r, err := s.Search(within(t, time.Minute), Search{Kind: GetPeers, Target: hashOf(1), Announce: true, Port: 5})
		if err != nil || r.Stored() != 1 {
			t.Errorf("%s: %+v, %v", host, r, err)
		}
	}
}

func TestCloseEndsSearches(t *testing.T) {
	t.Parallel()
	conn, _ := bind(t, "udp4", "127.0.0.1")
	s := serve(t, ServerConfig{IPv4: Socket{Conn: conn, Own: true}})
	over := make(chan Results, 1)
	s.Start(Search{Kind: GetPeers, Target: hashOf(1)}, func(r Results) { over <- r })
	s.Close()
	if r := <-over; !errors.Is(r.Err(), ErrClosed) {
		t.Errorf("%+v", r)
	}
	if _, err := s.Search(t.Context(), Search{Kind: GetPeers, Target: hashOf(1)}); !errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
	s.AddNode(addrOf(1))
	s.AddHosts([]string{"127.0.0.1:5"})
	s.Deliver([]byte("d"), addrOf(1))
	s.Stats()
	s.Close()
}

func TestSearchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	conn, _ := bind(t, "udp4", "127.0.0.1")
	s := serve(t, ServerConfig{IPv4: Socket{Conn: conn, Own: true}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Search(ctx, Search{Kind: GetPeers, Target: hashOf(1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestHostsAreResolved(t *testing.T) {
	t.Parallel()
	all, addrs := crowd(t, 2)
	asked := make(chan string, 10)
	conn, _ := bind(t, "udp4", "127.0.0.1")
	s := serve(t, ServerConfig{
		IPv4:      Socket{Conn: conn, Own: true},
		Bootstrap: []string{"bad", "bad:0", "bad:99999", "nobody.invalid:5", fmt.Sprintf("boot.invalid:%d", addrs[0].Port())},
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			asked <- host
			if host == "boot.invalid" {
				return []netip.Addr{addrs[0].Addr()}, nil
			}
			return nil, errors.New("no such host")
		},
	})
	ctx := within(t, time.Minute)
	if r, err := s.Search(ctx, Search{Kind: FindNode, Target: hashOf(1)}); err != nil || len(r.IPv4.Closest) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := []string{<-asked, <-asked}; !slices.Contains(got, "boot.invalid") || !slices.Contains(got, "nobody.invalid") {
		t.Errorf("resolved %v", got)
	}
	_ = all
}

func TestServersNeedASocket(t *testing.T) {
	t.Parallel()
	if _, err := NewServer(ServerConfig{}); err == nil {
		t.Error("a server without a socket")
	}
}
