package session

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"btd/metainfo"
	"btd/peerwire"
)

// manyFiles is content whose metadata has several pieces.
func manyFiles(t *testing.T, trackers ...string) content {
	t.Helper()
	files := map[string]int{}
	for i := range 400 {
		files[fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 100))] = 700 + i
	}
	c := makeContent(t, 16<<10, files, trackers...)
	if n := peerwire.MetadataPieces(len(c.meta.Raw)); n < 3 {
		t.Fatalf("metadata of %d pieces", n)
	}
	return c
}

// link is the magnet link of c.
func (c content) link(more ...string) string {
	h, _ := c.meta.Hash.V1()
	return strings.Join(append([]string{(&metainfo.Magnet{Hash: metainfo.V1(h)}).String()}, more...), "&")
}

func addMagnet(t *testing.T, s *Session, link string, o AddOptions) Torrent {
	t.Helper()
	v, existed, err := s.AddMagnet(t.Context(), link, o)
	if err != nil || existed {
		t.Fatalf("adding %s: existed %v, %v", link, existed, err)
	}
	return v
}

func TestMagnetOverTracker(t *testing.T) {
	t.Parallel()
	url, _ := startTracker(t)
	c := manyFiles(t, url)
	seedOf(t, c, nil)
	state := t.TempDir()
	dir := t.TempDir()
	edit := func(cfg *Config) { cfg.StateDir, cfg.Dir = state, dir }
	leech := open(t, edit)
	v := addMagnet(t, leech, c.link("dn=a+name", "tr="+url), AddOptions{})
	if v.Name != "a name" || v.Waiting == nil || v.Size != 0 {
		t.Errorf("added: %+v", v)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, dir)
	if v := await(t, leech, c, "a picture", complete); v.Waiting != nil || v.Name != "content" || v.Pieces != c.meta.Pieces() {
		t.Errorf("complete: %+v", v)
	}
	if err := leech.Close(); err != nil {
		t.Fatal(err)
	}
	// The metadata is stored: nobody is asked for it again.
	again := open(t, edit)
	v, err := again.Torrent(c.meta.Hash)
	if err != nil || v.Waiting != nil || v.State != StateSeeding {
		t.Errorf("after a restart: %+v, %v", v, err)
	}
	m, err := again.metainfo(again.byWire(c.meta.Hash.Wire()))
	if err != nil || m.Hash != c.meta.Hash || len(m.Trackers) != 1 {
		t.Errorf("stored: %+v, %v", m, err)
	}
}

func TestMagnetNamesItsPeer(t *testing.T) {
	t.Parallel()
	c := manyFiles(t)
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	addMagnet(t, leech, c.link("x.pe="+seed.Addr().String()), AddOptions{})
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	// The leecher has the metadata now and gives it to the next one.
	third := open(t, nil)
	addMagnet(t, third, c.link(fmt.Sprintf("x.pe=localhost:%d", leech.Addr().Port())), AddOptions{})
	await(t, third, c, "completion", complete)
}

// TestPeersStayOnceTheMetadataIsHere connects once, and no more.
func TestPeersStayOnceTheMetadataIsHere(t *testing.T) {
	t.Parallel()
	c := manyFiles(t)
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	addMagnet(t, leech, c.link(), AddOptions{Peers: addrs(seed), Limits: Limits{Down: 4 << 10}}) // so that it does not end soon
	await(t, leech, c, "a download", func(v Torrent) bool { return v.State == StateDownloading && v.HaveWanted > 0 })
	peers, err := leech.Peers(c.meta.Hash)
	if err != nil || len(peers) != 1 || peers[0].Source != FromUser || peers[0].Progress != 1 {
		t.Fatalf("peers %+v, %v", peers, err)
	}
	inLoop(t, leech, c, func(t2 *torrent) {
		if t2.peers.nextID != 1 {
			t.Errorf("%d connections were made", t2.peers.nextID)
		}
	})
}

func TestMagnetSelectsFiles(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, map[string]int{"a": 100_000, "b": 50_000, "c": 70_000})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	addMagnet(t, leech, c.link("so=1,7-9"), AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "completion", complete)
	if v.Wanted != 50_000 {
		t.Errorf("%d bytes are wanted", v.Wanted)
	}
	c.same(t, leech.cfg.Dir, "content/b")
	// The link once more, with another file: that is wanted as well (BEP 53).
	if _, existed, err := leech.AddMagnet(t.Context(), c.link("so=2"), AddOptions{Peers: addrs(seed)}); err != nil || !existed {
		t.Fatalf("again: %v, %v", existed, err)
	}
	await(t, leech, c, "more", func(v Torrent) bool { return complete(v) && v.Wanted == 120_000 })
	c.same(t, leech.cfg.Dir, "content/b", "content/c")
}

// TestMagnetWaitsOverARestart has nobody to ask at first.
func TestMagnetWaitsOverARestart(t *testing.T) {
	t.Parallel()
	c := manyFiles(t)
	seed := seedOf(t, c, nil)
	state := t.TempDir()
	edit := func(cfg *Config) { cfg.StateDir = state }
	s := open(t, edit)
	dead := deadTracker(t)
	addMagnet(t, s, c.link("tr="+dead, "so=0-99"), AddOptions{Sequential: true})
	await(t, s, c, "the wait", func(v Torrent) bool { return v.State == StateMetadata })
	for what, err := range map[string]error{
		"verify": s.Verify(t.Context(), c.meta.Hash), "priorities": s.SetPriorities(t.Context(), c.meta.Hash, map[int]Priority{0: High}),
	} {
		if !errors.Is(err, errNoMetadata) {
			t.Errorf("%s: %v", what, err)
		}
	}
	files, err := s.Files(c.meta.Hash)
	have, _, perr := s.Pieces(c.meta.Hash)
	if err != nil || perr != nil || len(files) != 0 || have.Len() != 0 {
		t.Errorf("files %v, %v; pieces %v, %v", files, err, have, perr)
	}
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.Torrent(c.meta.Hash); v.State != StateStopped || v.Waiting == nil {
		t.Errorf("stopped: %+v", v)
	}
	if err := s.Start(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, edit)
	await(t, s, c, "the wait", func(v Torrent) bool { return v.State == StateMetadata && v.Waiting != nil && v.Options.Sequential })
	if v := trackerOf(t, s, c, dead); v.Tier != 0 {
		t.Errorf("tracker %+v", v)
	}
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	v := await(t, s, c, "completion", complete)
	if v.Wanted >= v.Size || v.Waiting != nil {
		t.Errorf("complete: %+v", v)
	}
}

func TestTorrentFileEndsTheWait(t *testing.T) {
	t.Parallel()
	c := manyFiles(t)
	seed := seedOf(t, c, nil)
	for _, stopped := range []bool{false, true} {
		s := open(t, nil)
		addMagnet(t, s, c.link(), AddOptions{Stopped: stopped})
		if !stopped {
			await(t, s, c, "the wait", func(v Torrent) bool { return v.State == StateMetadata })
		}
		v, existed, err := s.Add(t.Context(), c.file, AddOptions{Peers: addrs(seed)})
		if err != nil || !existed {
			t.Fatalf("%+v, %v, %v", v, existed, err)
		}
		if stopped {
			if v.Waiting != nil || v.Size == 0 || v.State != StateStopped {
				t.Errorf("stopped: %+v", v)
			}
			if err := s.Start(t.Context(), c.meta.Hash); err != nil {
				t.Fatal(err)
			}
		}
		await(t, s, c, "completion", complete)
		c.same(t, s.cfg.Dir)
	}
}

func TestMagnetOfAKnownTorrent(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, map[string]int{"": 50_000}, "http://one.invalid/announce")
	s := seedOf(t, c, nil)
	v, existed, err := s.AddMagnet(t.Context(), c.link("tr=http://two.invalid/announce", "tr=http://one.invalid/announce"), AddOptions{})
	if err != nil || !existed || v.State != StateSeeding {
		t.Fatalf("%+v, %v, %v", v, existed, err)
	}
	trackers, err := s.Trackers(c.meta.Hash)
	if err != nil || len(trackers) != 2 || trackers[1].Tier != 1 {
		t.Errorf("trackers %+v, %v", trackers, err)
	}
}

func TestMagnetsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for link, want := range map[string]error{
		"magnet:?dn=x": ErrInvalid,
		"magnet:?xt=urn:btmh:1220" + strings.Repeat("ab", 32): metainfo.ErrUnsupported,
		"magnet:?xs=urn:btpk:" + strings.Repeat("ab", 32):     ErrInvalid,
	} {
		if _, _, err := s.AddMagnet(t.Context(), link, AddOptions{}); !errors.Is(err, want) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %v", link, err, want)
		}
	}
	link := "magnet:?xt=urn:btih:" + strings.Repeat("ab", 20)
	if _, _, err := s.AddMagnet(t.Context(), link, AddOptions{Dir: "x"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("relative directory: %v", err)
	}
	if got := len(s.Torrents()); got != 0 {
		t.Errorf("%d torrents", got)
	}
	// Removing one that waits is nothing special, with its data or without.
	addMagnet(t, s, link, AddOptions{})
	if err := s.Remove(t.Context(), metainfo.V1([20]byte(bytesOf(0xab, 20))), true); err != nil {
		t.Error(err)
	}
}

func bytesOf(b byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

// metaServer is a peer that gives metadata as it likes.
type metaServer struct {
	addr   netip.AddrPort
	served atomic.Int64
	closed atomic.Int64 // connections that the other side has ended
	haves  atomic.Int64 // pieces that it was told of
}

// serveMeta listens at host and answers every request for metadata with a
// piece of raw.
func serveMeta(t *testing.T, host string, hash [20]byte, raw []byte, answer func(c net.Conn, ext byte, m *peerwire.Metadata)) *metaServer {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Skipf("listening on %s: %v", host, err)
	}
	t.Cleanup(func() { l.Close() })
	f := &metaServer{addr: l.Addr().(*net.TCPAddr).AddrPort()}
	go func() {
		for n := range 1000 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f.serve(c, hash, raw, byte(n), answer)
				f.closed.Add(1)
			}()
		}
	}()
	return f
}

func (f *metaServer) serve(c net.Conn, hash [20]byte, raw []byte, id byte, answer func(net.Conn, byte, *peerwire.Metadata)) {
	if _, err := peerwire.ReadHandshake(c); err != nil {
		return
	}
	h := peerwire.Handshake{InfoHash: hash, PeerID: sha1.Sum([]byte(f.addr.String() + string(id)))}
	h.SetFast()
	h.SetExtended()
	b := h.Append(nil)
	x := peerwire.ExtHandshake{M: peerwire.ExtIDs{peerwire.ExtMetadata: 3}, MetadataSize: len(raw)}
	b = peerwire.AppendExtended(peerwire.AppendHaveNone(b), 0, x.Append(nil))
	if _, err := c.Write(b); err != nil {
		return
	}
	for range 100000 {
		head := make([]byte, 4)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, int(head[2])<<8|int(head[3]))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		var msg peerwire.Message
		var m peerwire.Metadata
		_, err := peerwire.Decode(append(head, body...), &msg)
		if err == nil && msg.ID == peerwire.Have {
			f.haves.Add(1)
		}
		if err != nil || msg.ID != peerwire.Extended || msg.Ext != 3 ||
			m.Parse(msg.Payload) != nil || m.Type != peerwire.MetadataRequest {
			continue
		}
		f.served.Add(1)
		at := m.Piece * peerwire.MetadataPiece
		m = peerwire.Metadata{Type: peerwire.MetadataData, Piece: m.Piece, Total: len(raw), Data: raw[at : at+peerwire.MetadataPieceLen(len(raw), m.Piece)]}
		answer(c, ourExtensions[peerwire.ExtMetadata], &m)
	}
}

func sendMeta(c net.Conn, ext byte, m *peerwire.Metadata) {
	_, _ = c.Write(peerwire.AppendExtended(nil, ext, m.Append(nil)))
}

// TestLiarsCannotKeepAMagnetWaiting has an honest seed between a peer that
// claims another size, one that sends wrong pieces, and one that rejects.
func TestLiarsCannotKeepAMagnetWaiting(t *testing.T) {
	t.Parallel()
	c := manyFiles(t)
	seed := seedOf(t, c, nil)
	wrong := append([]byte(nil), c.meta.Raw...)
	for i := range wrong {
		wrong[i] ^= 0x55
	}
	hash := c.meta.Hash.Wire()
	liars := []*metaServer{
		serveMeta(t, "127.0.0.2", hash, append(wrong, 'x'), sendMeta),
		serveMeta(t, "127.0.0.3", hash, wrong, sendMeta),
		serveMeta(t, "127.0.0.4", hash, c.meta.Raw, func(conn net.Conn, ext byte, m *peerwire.Metadata) {
			sendMeta(conn, ext, &peerwire.Metadata{Type: peerwire.MetadataReject, Piece: m.Piece})
		}),
		serveMeta(t, "127.0.0.5", hash, c.meta.Raw, func(net.Conn, byte, *peerwire.Metadata) {}),
	}
	s := open(t, nil)
	var peers []netip.AddrPort
	for _, f := range liars {
		peers = append(peers, f.addr)
	}
	addMagnet(t, s, c.link(), AddOptions{Peers: peers})
	// First the liars alone: nothing comes of it, and the one that sent all
	// of a wrong dictionary is banned.
	awaitCounter(t, s, "peers_banned", 2)
	if v, _ := s.Torrent(c.meta.Hash); v.State != StateMetadata {
		t.Fatalf("with liars alone: %+v", v)
	}
	for i, f := range liars {
		until(t, fmt.Sprintf("question to peer %d", i), func() bool { return f.served.Load() > 0 })
	}
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
}

// TestMetadataThatIsOfNoUse has the right hash, and names a file outside of
// the download directory.
func TestMetadataThatIsOfNoUse(t *testing.T) {
	t.Parallel()
	raw := []byte("d6:lengthi5e4:name2:..12:piece lengthi16384e6:pieces20:" + strings.Repeat("x", 20) + "e")
	hash := sha1.Sum(raw)
	f := serveMeta(t, "127.0.0.1", hash, raw, sendMeta)
	s := open(t, nil)
	addMagnet(t, s, "magnet:?xt=urn:btih:"+fmt.Sprintf("%x", hash), AddOptions{Peers: []netip.AddrPort{f.addr}})
	c := content{meta: &metainfo.Metainfo{}}
	c.meta.Hash = metainfo.V1(hash)
	await(t, s, c, "the error", func(v Torrent) bool { return v.State == StateError && strings.Contains(v.Error, "..") })
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, "..", "x")); err == nil {
		t.Error("something was written")
	}
	e := s.byWire(hash)
	for range 100 { // as a tracker or the DHT would
		s.found(e, []netip.AddrPort{f.addr}, FromDHT)
	}
	until(t, "end of the events", func() bool { return e.running().in.len() == 0 })
	if err := s.Remove(t.Context(), metainfo.V1(hash), true); err != nil {
		t.Error(err)
	}
}

// TestMagnetOfAHybrid goes by the v1 hash, whatever the metadata adds.
func TestMagnetOfAHybrid(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, map[string]int{"": 40_000})
	raw := strings.Replace(string(c.meta.Raw), "d6:length", "d9:file treede6:length", 1)
	raw = strings.Replace(raw, "4:name", "12:meta versioni2e4:name", 1)
	info, err := metainfo.ParseInfo([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := info.Hash.V2(); !ok {
		t.Fatal("it is no hybrid")
	}
	c.file = (&metainfo.Metainfo{Info: *info, Raw: []byte(raw)}).Bytes()
	if c.meta, err = metainfo.Parse(c.file); err != nil {
		t.Fatal(err)
	}
	seed := seedOf(t, c, nil)
	for name, hash := range map[string]metainfo.Hash{
		"both": c.meta.Hash, "v1": metainfo.V1(c.meta.Hash.Wire()), "other v2": c.meta.Hash.WithV2([32]byte{1}),
	} {
		state := t.TempDir()
		edit := func(cfg *Config) { cfg.StateDir = state }
		s := open(t, edit)
		addMagnet(t, s, (&metainfo.Magnet{Hash: hash}).String(), AddOptions{Peers: addrs(seed)})
		if name == "other v2" {
			v := await(t, s, c, "the error", failed)
			if !strings.Contains(v.Error, "different torrents") {
				t.Errorf("%s: %s", name, v.Error)
			}
			continue
		}
		await(t, s, c, "completion", complete)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, edit)
		await(t, s, c, "completion after a restart", complete)
		if err := s.Remove(t.Context(), c.meta.Hash, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func failed(v Torrent) bool { return v.State == StateError }

func TestLinksAreJoined(t *testing.T) {
	link := func(more string) *metainfo.Magnet {
		m, err := metainfo.ParseMagnet("magnet:?xt=urn:btih:" + strings.Repeat("ab", 20) + more)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, c := range []struct{ old, more, want string }{
		{"&so=1,3", "&so=2", "&so=1-3"},
		{"", "&so=2", ""},
		{"&so=2", "", "&so=2"},
		{"&x.pe=1.2.3.4:5&ws=http://w/", "&x.pe=h:6&x.pe=1.2.3.4:5&ws=http://w/", "&x.pe=1.2.3.4:5&x.pe=h:6&ws=http://w/"},
	} {
		if got, want := joinLinks(link(c.old), link(c.more)).String(), link(c.want).String(); got != want {
			t.Errorf("%q and %q: %s, want %s", c.old, c.more, got, want)
		}
	}
}

// TestPrivateTorrentFileBringsItsTrackers adds the file of a private torrent
// whose link had no tracker.
func TestPrivateTorrentFileBringsItsTrackers(t *testing.T) {
	t.Parallel()
	c := makePrivate(t, makeContent(t, 16<<10, map[string]int{"": 50_000}, "http://one.invalid/announce"))
	s := open(t, nil)
	addMagnet(t, s, c.link(), AddOptions{})
	await(t, s, c, "the wait", func(v Torrent) bool { return v.State == StateMetadata })
	if _, existed, err := s.Add(t.Context(), c.file, AddOptions{}); err != nil || !existed {
		t.Fatalf("existed %v, %v", existed, err)
	}
	await(t, s, c, "the end of the wait", func(v Torrent) bool { return v.State == StateDownloading && v.Private })
	if got, err := s.Trackers(c.meta.Hash); err != nil || len(got) != 1 {
		t.Errorf("trackers %+v, %v", got, err)
	}
}

// TestLinksAreReadBack has links that become longer than is read when they are
// written in the usual form.
func TestLinksAreReadBack(t *testing.T) {
	t.Parallel()
	link := "magnet:?xt=urn:btih:" + strings.Repeat("ab", 20)
	for i := range 100 {
		link += fmt.Sprintf("&tr=http://%d.invalid/%s&ws=http://%d.invalid/%s", i, strings.Repeat("/", 250), i, strings.Repeat("/", 250))
	}
	m, err := metainfo.ParseMagnet(link)
	if err != nil || len(m.Trackers) == 0 || len(m.WebSeeds) == 0 || len(m.String()) <= metainfo.MaxMagnet {
		t.Fatalf("%d trackers, %d web seeds, %v", len(m.Trackers), len(m.WebSeeds), err)
	}
	back, err := metainfo.ParseMagnet(stored(m))
	if err != nil || len(back.WebSeeds) == 0 {
		t.Fatalf("what is recorded is not read back: %v", err)
	}
	s := open(t, nil)
	addMagnet(t, s, link, AddOptions{})
	c := content{meta: &metainfo.Metainfo{}}
	c.meta.Hash = m.Hash
	await(t, s, c, "the wait", func(v Torrent) bool { return v.State == StateMetadata })
}

// TestDialsEndWhileTheDiskIsFull has connections come that nothing can be done
// with.
func TestDialsEndWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	c := manyFiles(t)
	addMagnet(t, s, c.link(), AddOptions{Stopped: true})
	e := s.byWire(c.meta.Hash.Wire())
	to := newTorrent(s, e)
	link, err := metainfo.ParseMagnet(c.link())
	if err != nil {
		t.Fatal(err)
	}
	to.beginCollect(link)
	a := netip.MustParseAddrPort("127.0.0.9:9")
	to.learn([]netip.AddrPort{a}, FromUser)
	if _, ok, _ := to.book.Next(time.Now(), netip.AddrPort{}); !ok {
		t.Fatal("nothing to dial")
	}
	to.peers.dialling++
	near, far := net.Pipe()
	defer far.Close()
	to.in.post(&joined{conn: &conn{Conn: near, release: func() {}}, addr: a, dialed: true})
	now := time.Now()
	to.turnAway()
	if to.peers.dialling != 0 {
		t.Errorf("%d dials are under way", to.peers.dialling)
	}
	if _, ok, wait := to.book.Next(now, netip.AddrPort{}); ok || wait > time.Hour {
		t.Errorf("the address is dialled again in %v", wait)
	}
	to.stop()
	to.s.announcer.stop(e)
}
