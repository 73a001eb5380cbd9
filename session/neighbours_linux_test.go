package session

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"btd/metainfo"
)

// inLAN makes a session discover its neighbours over loopback, which may not
// multicast on other systems, apart from those of other tests.
func inLAN(t *testing.T) func(*Config) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	// It keeps the port from everybody but those who share ports.
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	port := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return func(cfg *Config) { cfg.LSD = LSDConfig{On: true, Port: port} }
}

// TestMulticastAloneJoinsASwarm has no tracker, no DHT and no address.
func TestMulticastAloneJoinsASwarm(t *testing.T) {
	t.Parallel()
	with := inLAN(t)
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 12345})
	seed := open(t, with)
	add(t, seed, c, AddOptions{Dir: c.dir, Scope: metainfo.ScopeLAN})
	var all []*Session
	for range 2 {
		s := open(t, with)
		addMagnet(t, s, c.link("x.scope=lan"), AddOptions{})
		all = append(all, s)
	}
	for _, s := range all { // there is no other way to find each other
		await(t, s, c, "completion", complete)
		c.same(t, s.cfg.Dir)
	}
	if st := seed.Stats().LSD; !strings.HasPrefix(st, "on lo: 1 torrents, ") {
		t.Errorf("status %q", st)
	}
	if st := open(t, nil).Stats().LSD; st != "" {
		t.Errorf("status of who has it off: %q", st)
	}
}

// TestNeighboursHearTheMask has a swarm with a secret meet by multicast.
func TestNeighboursHearTheMask(t *testing.T) {
	t.Parallel()
	with := inLAN(t)
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	secret := newSecret(t)
	seed, leech := open(t, with), open(t, with)
	add(t, seed, c, AddOptions{Dir: c.dir, Scope: metainfo.ScopeLAN, Secret: secret})
	addMagnet(t, leech, c.link("x.scope=lan")+"#"+secret.String(), AddOptions{})
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	mask := secret.Mask(c.meta.Hash).Wire()
	for _, s := range []*Session{seed, leech} {
		s.near.mu.Lock()
		if len(s.near.items) != 1 || s.near.items[mask] == nil {
			t.Errorf("%d torrents are announced, by its mask %v", len(s.near.items), s.near.items[mask] != nil)
		}
		s.near.mu.Unlock()
	}
}

// TestPrivateTorrentsAreNotAnnouncedToNeighbours begins with a link that does
// not say so.
func TestPrivateTorrentsAreNotAnnouncedToNeighbours(t *testing.T) {
	t.Parallel()
	with := inLAN(t)
	for _, scope := range []metainfo.Scope{metainfo.ScopeInternet, metainfo.ScopeLAN} {
		c := makePrivate(t, makeContent(t, 64<<10, map[string]int{"": 1 << 20}))
		s := open(t, with)
		add(t, s, c, AddOptions{Dir: c.dir, Scope: scope})
		await(t, s, c, "seeding", complete)
		e := s.byWire(c.meta.Hash.Wire())
		until(t, "announce to trackers", func() bool { return s.announcer.knows(e) })
		if s.near.service.Status().Torrents != 0 {
			t.Errorf("a private torrent of scope %v: %v", scope, s.near.status())
		}
		s.near.found(c.meta.Hash.Wire(), netip.MustParseAddrPort("127.0.0.9:9"), true)

		leech := open(t, with)
		addMagnet(t, leech, c.link(), AddOptions{Scope: scope, Peers: addrs(s)})
		until(t, "listening", func() bool { return leech.near.service.Status().Torrents == 1 || metadataHere(leech, c) })
		await(t, leech, c, "metadata", func(Torrent) bool { return metadataHere(leech, c) })
		until(t, "end of it", func() bool { return leech.near.service.Status().Torrents == 0 })
		if scope == metainfo.ScopeInternet && leech.near.service.Status().Announces > 0 {
			t.Error("a private torrent was announced when only its link was known")
		}
		if v := await(t, s, c, "a picture", complete); v.PeersKnown > 1 { // the leech may have been dialled
			t.Errorf("%d peers are known to a private torrent", v.PeersKnown)
		}
	}
}

func metadataHere(s *Session, c content) bool {
	v, err := s.Torrent(c.meta.Hash)
	return err == nil && v.Waiting == nil
}

func TestWhenNeighboursAreTold(t *testing.T) {
	t.Parallel()
	s := open(t, inLAN(t))
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	torrents := func() int { return s.near.service.Status().Torrents }
	add(t, s, c, AddOptions{Dir: c.dir})
	until(t, "start", func() bool { return torrents() == 1 })
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	if torrents() != 0 {
		t.Error("a stopped torrent is announced")
	}
	s.announcer.start(s.byWire(c.meta.Hash.Wire())) // somebody looked before the stop, and acts after it
	if torrents() != 0 {
		t.Error("a stopped torrent is announced by who did not know")
	}
	s.near.learned(s.byWire(c.meta.Hash.Wire()))
	if torrents() != 0 {
		t.Error("news of a stopped torrent start it")
	}
	if err := s.Start(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	until(t, "start", func() bool { return torrents() == 1 })
	if err := s.Remove(t.Context(), c.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	if torrents() != 0 {
		t.Error("a torrent that was removed is announced")
	}
}

// TestASleepingSeedIsWokenOnce hears the same neighbour again and again.
func TestASleepingSeedIsWokenOnce(t *testing.T) {
	t.Parallel()
	s := open(t, inLAN(t))
	c := makeContent(t, 64<<10, map[string]int{"": 100 << 10})
	add(t, s, c, AddOptions{Dir: c.dir})
	await(t, s, c, "seeding", complete)
	h := c.meta.Hash.Wire()
	e := s.byWire(h)
	until(t, "start", func() bool { return s.announcer.knows(e) && e.running() == nil })
	peer := netip.MustParseAddrPort("127.0.0.9:9")
	s.near.found(h, peer, false)
	if e.running() != nil {
		t.Error("a neighbour of old wakes a seed")
	}
	s.near.found(h, peer, true)
	if e.running() == nil {
		t.Error("a new neighbour does not wake a seed")
	}
	await(t, s, c, "the neighbour", func(v Torrent) bool { return v.PeersKnown == 1 })
	now, woken := time.Now().Add(time.Hour), 0
	for range 1000 {
		if s.near.mayWake(now) {
			woken++
		}
	}
	if woken != wakeBurst || !s.near.mayWake(now.Add(time.Second)) || s.near.mayWake(now.Add(time.Second)) {
		t.Errorf("of 1,000 seeds %d may be woken at once", woken)
	}
}
