package session

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"btd/dht"
	"btd/metainfo"
	"btd/peerwire"
)

// makePrivate sets the private flag of c, which gets another info-hash.
func makePrivate(t *testing.T, c content) content {
	t.Helper()
	if c.meta.Private {
		return c
	}
	raw := bytes.TrimSuffix(c.meta.Raw, []byte("e"))
	raw = append(raw, "7:privatei1ee"...)
	info, err := metainfo.ParseInfo(raw)
	if err != nil {
		t.Fatal(err)
	}
	c.file = (&metainfo.Metainfo{Info: *info, Raw: raw, Trackers: c.meta.Trackers}).Bytes()
	if c.meta, err = metainfo.Parse(c.file); err != nil || !c.meta.Private {
		t.Fatalf("private %v, %v", c.meta.Private, err)
	}
	return c
}

// TestPeersAreHeardOf has a leecher that knows another, which knows the seed.
func TestPeersAreHeardOf(t *testing.T) {
	t.Parallel()
	for _, private := range []bool{false, true} {
		c := makeContent(t, 64<<10, map[string]int{"": 8 << 20})
		if private {
			c = makePrivate(t, c)
		}
		// So slow that nobody is ever through.
		seed := seedOf(t, c, func(cfg *Config) { cfg.Limits.Up, cfg.SuperSeeding = 1<<10, SuperOff })
		between := open(t, nil)
		add(t, between, c, AddOptions{Peers: addrs(seed)})
		await(t, between, c, "a connection", func(v Torrent) bool { return v.Peers >= 1 })
		last := open(t, nil)
		add(t, last, c, AddOptions{Peers: addrs(between)})
		await(t, last, c, "a connection", func(v Torrent) bool { return v.Peers >= 1 })
		if private {
			// Long after the first message would have come.
			dead := time.Now().Add(5 * time.Second)
			for time.Now().Before(dead) {
				if v := await(t, last, c, "a picture", func(Torrent) bool { return true }); v.PeersKnown > 1 {
					t.Fatalf("a private torrent heard of peers: %+v", v)
				}
				time.Sleep(50 * time.Millisecond)
			}
			continue
		}
		// The seed and the last one both hear of each other; one is the first
		// to dial.
		await(t, last, c, "the seed", func(v Torrent) bool { return v.Seeds == 1 })
		until(t, "one that says that it heard of the other", func() (heard bool) {
			for s, other := range map[*Session]*Session{seed: last, last: seed} {
				peers, err := s.Peers(c.meta.Hash)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range peers {
					heard = heard || p.Source == FromPEX
					if p.Source == FromPEX && p.Addr != other.Addr() {
						t.Fatalf("%v is known from %q", p.Addr, p.Source)
					}
				}
			}
			return heard
		})
	}
}

// dialExt is dialRaw for a peer that speaks extensions, and returns our
// extension handshake.
func dialExt(t *testing.T, s *Session, c content, id string, mine peerwire.ExtHandshake) (*rawPeer, peerwire.ExtHandshake) {
	t.Helper()
	r := dialRaw(t, s, c, id, rawReserved{fast: true, extended: true})
	r.send(peerwire.AppendExtended(peerwire.AppendHaveNone(nil), 0, mine.Append(nil)))
	var h peerwire.ExtHandshake
	if err := h.Parse(r.until(peerwire.Extended).Payload); err != nil {
		t.Fatal(err)
	}
	return r, h
}

func TestHostilePEX(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	r, h := dialExt(t, s, c, "hostile", peerwire.ExtHandshake{M: peerwire.ExtIDs{peerwire.ExtPEX: 1}})
	var m peerwire.PEX
	for n := range 200 {
		m.Added = append(m.Added, peerwire.PEXPeer{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, 0, byte(n + 1)}), 9)})
	}
	r.send(peerwire.AppendExtended(nil, h.M[peerwire.ExtPEX], m.Append(nil)))
	await(t, s, c, "50 of 200 addresses", func(v Torrent) bool { return v.PeersKnown == 50 })
	var many []byte // sent at once: some of it is too much
	for range 40 {
		many = peerwire.AppendExtended(many, h.M[peerwire.ExtPEX], (&peerwire.PEX{}).Append(nil))
	}
	r.send(many)
	r.untilClosed()
	awaitCounter(t, s, "pex_too_often", 20)
	bad, h := dialExt(t, s, c, "broken!", peerwire.ExtHandshake{})
	bad.send(peerwire.AppendExtended(nil, h.M[peerwire.ExtPEX], []byte("d5:added5:12345e")))
	bad.untilClosed()
}

func TestPrivateTorrentsHaveNoPEX(t *testing.T) {
	t.Parallel()
	c := makePrivate(t, makeContent(t, 64<<10, map[string]int{"": 1 << 20}))
	s := seedOf(t, c, nil)
	r, h := dialExt(t, s, c, "private", peerwire.ExtHandshake{M: peerwire.ExtIDs{peerwire.ExtPEX: 1}})
	if h.M[peerwire.ExtPEX] != 0 || h.M[peerwire.ExtMetadata] == 0 || h.MetadataSize != len(c.meta.Raw) {
		t.Errorf("extension handshake %+v", h)
	}
	m := peerwire.PEX{Added: []peerwire.PEXPeer{{Addr: netip.MustParseAddrPort("127.0.0.9:9")}}}
	r.send(peerwire.AppendExtended(nil, ourExtensions[peerwire.ExtPEX], m.Append(nil)))
	r.unchoked() // whatever came before was handled
	if v, _ := s.Torrent(c.meta.Hash); v.PeersKnown != 0 {
		t.Errorf("%d addresses are known", v.PeersKnown)
	}
}

// TestMagnetOfAPrivateTorrent hears of a peer before it knows better.
func TestMagnetOfAPrivateTorrent(t *testing.T) {
	t.Parallel()
	c := makePrivate(t, manyFiles(t))
	hold := make(chan struct{})
	var once sync.Once
	f := serveMeta(t, "127.0.0.1", c.meta.Hash.Wire(), c.meta.Raw, func(conn net.Conn, ext byte, m *peerwire.Metadata) {
		once.Do(func() {
			pex := peerwire.PEX{Added: []peerwire.PEXPeer{{Addr: netip.MustParseAddrPort("127.0.0.9:9")}, {Addr: netip.MustParseAddrPort("127.0.0.1:1")}}}
			_, _ = conn.Write(peerwire.AppendExtended(nil, ourExtensions[peerwire.ExtPEX], pex.Append(nil)))
		})
		<-hold
		sendMeta(conn, ext, m)
	})
	s := open(t, nil)
	addMagnet(t, s, c.link(), AddOptions{Peers: []netip.AddrPort{f.addr}})
	await(t, s, c, "what was heard of", func(v Torrent) bool { return v.PeersKnown == 3 })
	close(hold)
	// A dial that is under way is forgotten once it is over.
	v := await(t, s, c, "the metadata, and one peer", func(v Torrent) bool { return v.State == StateDownloading && v.PeersKnown <= 1 })
	if !v.Private || v.PeersKnown != 1 {
		t.Errorf("private %v, %d peers known", v.Private, v.PeersKnown)
	}
}

func TestMetadataIsServed(t *testing.T) {
	t.Parallel()
	c := manyFiles(t)
	s := seedOf(t, c, nil)
	pieces := peerwire.MetadataPieces(len(c.meta.Raw))
	r := func() *rawPeer {
		// dialRaw reads the one file of its torrent, which this has not.
		single := c
		single.dir = t.TempDir()
		if err := os.WriteFile(filepath.Join(single.dir, "content"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		r, h := dialExt(t, s, single, "curious", peerwire.ExtHandshake{M: peerwire.ExtIDs{peerwire.ExtMetadata: 9}})
		if h.MetadataSize != len(c.meta.Raw) || h.M[peerwire.ExtMetadata] == 0 {
			t.Fatalf("extension handshake %+v", h)
		}
		return r
	}()
	ask := func(n int) {
		m := peerwire.Metadata{Type: peerwire.MetadataRequest, Piece: n}
		r.send(peerwire.AppendExtended(nil, ourExtensions[peerwire.ExtMetadata], m.Append(nil)))
	}
	answer := func() (m peerwire.Metadata) {
		for {
			msg := r.until(peerwire.Extended)
			if msg.Ext != 9 {
				continue
			}
			if err := m.Parse(msg.Payload); err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	var got []byte
	for n := range pieces {
		ask(n)
		m := answer()
		if m.Type != peerwire.MetadataData || m.Piece != n || m.Total != len(c.meta.Raw) {
			t.Fatalf("piece %d: type %d, piece %d of %d bytes", n, m.Type, m.Piece, m.Total)
		}
		got = append(got, m.Data...)
	}
	if !bytes.Equal(got, c.meta.Raw) {
		t.Error("what was served is not the info dictionary")
	}
	ask(pieces)
	if m := answer(); m.Type != peerwire.MetadataReject || m.Piece != pieces {
		t.Errorf("of a piece that is none: %+v", m)
	}
	// All at once, again and again: in the end it is enough.
	for range 5 {
		for n := range pieces {
			ask(n)
		}
	}
	served := pieces
	for range 5 * pieces {
		if m := answer(); m.Type == peerwire.MetadataData {
			served++
		}
	}
	if served != maxMetaTimes*pieces {
		t.Errorf("%d pieces were served, want %d", served, maxMetaTimes*pieces)
	}
}

// fakeDHT writes down what it is told.
type fakeDHT struct {
	node
	mu    sync.Mutex
	nodes []netip.AddrPort
}

func (f *fakeDHT) Start(_ dht.Search, done func(dht.Results)) func() {
	go done(dht.Results{IPv4: &dht.Result{}})
	return func() {}
}
func (f *fakeDHT) AddHosts([]string)          {}
func (f *fakeDHT) Stats() dht.ServerStats     { return dht.ServerStats{} }
func (f *fakeDHT) State() (ipv4, ipv6 []byte) { return nil, nil }
func (f *fakeDHT) Close() error               { return nil }

func (f *fakeDHT) AddNode(a netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = append(f.nodes, a)
}

func (f *fakeDHT) told() []netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes
}

func TestNodesAreExchanged(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"public", "private", "lan"} {
		c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
		o := AddOptions{Dir: c.dir}
		switch kind {
		case "private":
			c = makePrivate(t, c)
		case "lan":
			o.Scope = metainfo.ScopeLAN
		}
		public := kind == "public"
		fake := &fakeDHT{}
		s := open(t, func(cfg *Config) { cfg.DHT = DHTConfig{On: true, fake: fake} })
		add(t, s, c, o)
		await(t, s, c, "seeding", complete)
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		h := peerwire.Handshake{InfoHash: c.meta.Hash.Wire(), PeerID: [20]byte{7}}
		h.SetDHT()
		h.SetFast()
		r := &rawPeer{Conn: conn, t: t}
		r.send(h.Append(nil))
		r.deadline(patience)
		theirs, err := peerwire.ReadHandshake(conn)
		if err != nil || theirs.DHT() != public {
			t.Fatalf("%s: handshake %+v, %v", kind, theirs, err)
		}
		r.send(peerwire.AppendPort(peerwire.AppendPort(peerwire.AppendPort(peerwire.AppendHaveNone(nil), 0), 1234), 1235))
		r.send(peerwire.AppendInterested(nil))
		var port []uint32
		for {
			m, err := r.next()
			if err != nil {
				t.Fatal(err)
			}
			if m.ID == peerwire.Port {
				port = append(port, m.Index)
			}
			if m.ID == peerwire.Unchoke {
				break
			}
		}
		told := fake.told()
		if !public && (len(port) > 0 || len(told) > 0) {
			t.Errorf("%s: ports %v were sent, nodes %v taken", kind, port, told)
		}
		if public && (len(port) != 1 || port[0] != uint32(s.Addr().Port()) || len(told) != 1 || told[0] != netip.MustParseAddrPort("127.0.0.1:1234")) {
			t.Errorf("ports %v were sent, nodes %v taken", port, told)
		}
	}
}

// lateServer is a peer that shakes hands when it is let, and tells whether the
// other side then ended the connection.
func lateServer(t *testing.T, hash [20]byte, dialled, let chan struct{}) (addr netip.AddrPort, ended chan bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ended = make(chan bool, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := peerwire.ReadHandshake(c); err != nil {
			return
		}
		close(dialled)
		<-let
		h := peerwire.Handshake{InfoHash: hash, PeerID: [20]byte{9}}
		h.SetFast()
		_, _ = c.Write(h.Append(nil))
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
		ended <- err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), ended
}

// TestPrivateMagnetDropsDialsUnderWay dials a peer that another one told of, and
// hears that the torrent is private before the handshake is over.
func TestPrivateMagnetDropsDialsUnderWay(t *testing.T) {
	t.Parallel()
	c := makePrivate(t, manyFiles(t))
	dialled, let := make(chan struct{}), make(chan struct{})
	late, ended := lateServer(t, c.meta.Hash.Wire(), dialled, let)
	var once sync.Once
	f := serveMeta(t, "127.0.0.1", c.meta.Hash.Wire(), c.meta.Raw, func(conn net.Conn, ext byte, m *peerwire.Metadata) {
		once.Do(func() {
			pex := peerwire.PEX{Added: []peerwire.PEXPeer{{Addr: late}}}
			_, _ = conn.Write(peerwire.AppendExtended(nil, ourExtensions[peerwire.ExtPEX], pex.Append(nil)))
		})
		<-dialled
		sendMeta(conn, ext, m)
	})
	s := open(t, nil)
	addMagnet(t, s, c.link(), AddOptions{Peers: []netip.AddrPort{f.addr}})
	await(t, s, c, "the metadata", func(v Torrent) bool { return v.State == StateDownloading })
	close(let)
	if !<-ended {
		t.Error("a peer that another one told of is connected to a private torrent")
	}
	await(t, s, c, "the end of the dial", func(v Torrent) bool { return v.PeersKnown == 1 })
}

// TestPeersHeardOfAreNotRemembered restarts while the metadata is missing: the
// next run could not tell where the addresses came from.
func TestPeersHeardOfAreNotRemembered(t *testing.T) {
	t.Parallel()
	c := makePrivate(t, manyFiles(t))
	hash := c.meta.Hash.Wire()
	named := serveMeta(t, "127.0.0.1", hash, c.meta.Raw, func(net.Conn, byte, *peerwire.Metadata) {})
	var once sync.Once
	f := serveMeta(t, "127.0.0.1", hash, c.meta.Raw, func(conn net.Conn, _ byte, _ *peerwire.Metadata) {
		once.Do(func() {
			pex := peerwire.PEX{Added: []peerwire.PEXPeer{{Addr: named.addr}}}
			_, _ = conn.Write(peerwire.AppendExtended(nil, ourExtensions[peerwire.ExtPEX], pex.Append(nil)))
		})
	})
	state := t.TempDir()
	edit := func(cfg *Config) { cfg.StateDir = state }
	s := open(t, edit)
	addMagnet(t, s, c.link(), AddOptions{Peers: []netip.AddrPort{f.addr}})
	await(t, s, c, "both peers", func(v Torrent) bool { return v.Peers == 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := open(t, edit).db.Get(peersKey(c.meta.Hash))
	if err != nil {
		t.Fatal(err)
	}
	if got := parseAddrs(b); len(got) != 1 || got[0] != f.addr {
		t.Errorf("%v are remembered, want %v", got, f.addr)
	}
}
