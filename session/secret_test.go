package session

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/metainfo"
	"btd/peerwire"
	"btd/peerwire/secure"
)

func newSecret(t *testing.T) metainfo.Secret {
	t.Helper()
	s, err := metainfo.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// logged is a log that a test can read.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// keep has a session write its log here.
func (l *logged) keep(cfg *Config) {
	cfg.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// await waits until the log has a line with all of the words.
func (l *logged) await(t *testing.T, words ...string) {
	t.Helper()
	seen := patient(func() bool {
		for line := range strings.Lines(l.String()) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
		return false
	})
	if !seen {
		t.Fatalf("no line with %q in the log:\n%s", words, l.String())
	}
}

// closedSeed is a session that seeds c to those who hold the secret.
func closedSeed(t *testing.T, c content, secret metainfo.Secret, edit func(*Config)) *Session {
	t.Helper()
	s := open(t, edit)
	add(t, s, c, AddOptions{Dir: c.dir, Secret: secret})
	await(t, s, c, "seeding", complete)
	return s
}

// tap forwards connections to a session and records all that goes by.
type tap struct {
	addr netip.AddrPort
	mu   sync.Mutex
	seen bytes.Buffer
}

func newTap(t *testing.T, to *Session) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().(*net.TCPAddr).AddrPort()}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to.Addr().String())
			if err != nil {
				a.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
				wg.Go(func() {
					io.Copy(io.MultiWriter(p, way[0]), way[1]) // nothing arrives before it is recorded
					a.Close()
					b.Close()
				})
			}
		}
	})
	return p
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.Write(b)
}

// shows lists what of c can be seen on the wire.
func (p *tap) shows(t *testing.T, c content, secret metainfo.Secret) (found []string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	hash, mask := c.meta.Hash.Wire(), secret.Mask(c.meta.Hash).Wire()
	look := map[string][]byte{
		"info-hash": hash[:], "info-hash in hex": []byte(hex.EncodeToString(hash[:])), "mask": mask[:],
		"protocol": []byte("BitTorrent protocol"), "metainfo": []byte("6:pieces"), "secret": secret[:], "text of the secret": []byte(secret.String()),
	}
	for _, f := range c.meta.Files {
		look["name "+f.Path] = []byte(filepath.Base(f.Path))
		data, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(f.Path)))
		if err != nil {
			t.Fatal(err)
		}
		look["payload of "+f.Path] = data[len(data)/2:][:16]
	}
	for what, b := range look {
		if bytes.Contains(p.seen.Bytes(), b) {
			found = append(found, what)
		}
	}
	if p.seen.Len() < int(c.meta.Total) {
		t.Errorf("only %d bytes went by", p.seen.Len())
	}
	slices.Sort(found)
	return found
}

var telling = map[string]int{"name-to-look-for.bin": 300_000, "sub/other-name.bin": 200_000}

func TestClosedSwarmOnTheWire(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	secret := newSecret(t)
	seed := closedSeed(t, c, secret, nil)
	wire := newTap(t, seed)
	leech := open(t, nil)
	v := addMagnet(t, leech, c.link()+"#"+secret.String(), AddOptions{Peers: []netip.AddrPort{wire.addr}})
	if !v.Options.Secret {
		t.Error("the torrent does not show that it has a secret")
	}
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	if found := wire.shows(t, c, secret); len(found) > 0 {
		t.Errorf("the wire shows %q", found)
	}

	// The same in the open, to see that the tap sees.
	open2 := seedOf(t, c, nil)
	wire = newTap(t, open2)
	plain := open(t, nil)
	add(t, plain, c, AddOptions{Peers: []netip.AddrPort{wire.addr}})
	await(t, plain, c, "completion", complete)
	if found := wire.shows(t, c, secret); !slices.Contains(found, "info-hash") || !slices.Contains(found, "protocol") || len(found) < 4 {
		t.Errorf("of a plain torrent the tap sees %q only", found)
	}
}

func TestClosedSwarmKeepsStrangersOut(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	secret := newSecret(t)
	var log, wrongLog logged
	seed := closedSeed(t, c, secret, log.keep)

	none := open(t, nil)
	add(t, none, c, AddOptions{Peers: addrs(seed)})
	log.await(t, "peer refused", "did not prove the secret", c.meta.Hash.String(), "peer=127.0.0.1")

	var again logged // every address has one line a minute
	second := closedSeed(t, c, secret, again.keep)
	wrong := open(t, wrongLog.keep)
	add(t, wrong, c, AddOptions{Peers: addrs(second), Secret: newSecret(t)})
	wrongLog.await(t, "did not prove the swarm's secret", second.Addr().String())
	again.await(t, "peer refused", "encrypted handshake", c.meta.Hash.String())

	other := open(t, nil)
	addMagnet(t, other, c.link(), AddOptions{Peers: addrs(seed)})
	member := open(t, nil)
	add(t, member, c, AddOptions{Peers: addrs(seed), Secret: secret})
	await(t, member, c, "completion", complete)
	for name, s := range map[string]*Session{"without": none, "with another": wrong, "with a link without": other} {
		v, err := s.Torrent(c.meta.Hash)
		if err != nil || v.Downloaded != 0 || v.HaveWanted != 0 || v.Peers != 0 || v.Waiting != nil && v.Waiting.Size != 0 {
			t.Errorf("%s a secret somebody has %+v, %v", name, v, err)
		}
	}
	for _, s := range []*Session{seed, second} {
		if n := s.Stats().Counters["secret_not_proved"]; n < 1 {
			t.Errorf("%d refusals were counted", n)
		}
	}
	for _, text := range []string{log.String(), again.String(), wrongLog.String()} {
		if strings.Contains(text, secret.String()) || strings.Contains(text, hex.EncodeToString(secret[:])) {
			t.Error("the log shows the secret")
		}
	}
}

// hearing is what a prober gets for what it says, up to the end of the
// connection.
func hearing(t *testing.T, s *Session, said []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(said); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
	return hex.EncodeToString(got)
}

// TestProberLearnsNothing asks a session for what it has and for what it has
// not, and one that has nothing for the same.
func TestProberLearnsNothing(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	secret := newSecret(t)
	with, without := closedSeed(t, c, secret, nil), open(t, nil)
	hello := func(hash metainfo.Hash) []byte {
		h := peerwire.Handshake{InfoHash: hash.Wire(), PeerID: [20]byte{1}}
		h.SetExtended()
		return h.Append(nil)
	}
	for name, said := range map[string][]byte{
		"its hash":     hello(c.meta.Hash),
		"its mask":     hello(secret.Mask(c.meta.Hash)),
		"another hash": hello(metainfo.V1([20]byte{9})),
		"nonsense":     []byte("GET / HTTP/1.1\r\n\r\n"),
		"no TLS":       append([]byte{secure.FirstByte, 3, 1, 0, 200}, make([]byte, 200)...),
	} {
		if a, b := hearing(t, with, said), hearing(t, without, said); a != b || name != "no TLS" && a != "" {
			t.Errorf("%s: a daemon with the swarm says %q, one without %q", name, a, b)
		}
	}
	// Who holds no secret, or another, gets as far with both.
	for name, s := range map[string]*Session{"with": with, "without": without} {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := without.vault.end.Connect(conn, newSecret(t)); !errors.Is(err, secure.ErrProof) || !errors.Is(err, io.EOF) {
			t.Errorf("%s the swarm: %v", name, err)
		}
		conn.Close()
	}
}

// TestSecretOpensItsOwn asks, as a member of one closed swarm, for others.
func TestSecretOpensItsOwn(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	plain, foreign := makeContent(t, 16<<10, map[string]int{"": 50_000}), makeContent(t, 16<<10, map[string]int{"x": 60_000})
	secret := newSecret(t)
	s := closedSeed(t, c, secret, nil)
	add(t, s, plain, AddOptions{Dir: plain.dir})
	add(t, s, foreign, AddOptions{Dir: foreign.dir, Secret: newSecret(t)})
	for _, other := range []content{plain, foreign} {
		await(t, s, other, "seeding", complete)
	}
	ask := func(c content) ([]byte, error) {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		channel, err := s.vault.end.Connect(conn, secret)
		if err != nil {
			t.Fatal(err)
		}
		h := peerwire.Handshake{InfoHash: c.meta.Hash.Wire(), PeerID: [20]byte{1}}
		channel.Write(h.Append(nil))
		b := make([]byte, peerwire.HandshakeLen)
		n, err := io.ReadFull(channel, b)
		return b[:n], err
	}
	for name, other := range map[string]content{"an open torrent": plain, "that of another swarm": foreign} {
		if got, err := ask(other); len(got) > 0 || err == nil {
			t.Errorf("for %s it gets %x, %v", name, got, err)
		}
	}
	if _, err := ask(c); err != nil {
		t.Errorf("for its own: %v", err)
	}
}

// TestTrackersSeeTheMask looks at what a tracker and the DHT are told.
func TestTrackersSeeTheMask(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	secret := newSecret(t)
	seed := closedSeed(t, c, secret, nil)
	tracker := newFakeTracker(t, say(answerPeers("", seed.Addr())))
	boot, addr := bootNode(t)
	s := open(t, joins(addr))
	addMagnet(t, s, c.link("tr="+tracker.url)+"#"+secret.String(), AddOptions{})
	await(t, s, c, "completion", complete)
	tracker.await(t, "completed", 1)
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	tracker.await(t, "stopped", 1)
	mask := secret.Mask(c.meta.Hash).Wire()
	if got, err := s.AnnouncedHash(c.meta.Hash); err != nil || got != mask {
		t.Errorf("announced as %x, %v", got, err)
	}
	for _, a := range tracker.all() {
		left := a.Get("left")
		if a.Get("info_hash") != string(mask[:]) || left != "0" && left != "16384" || a.Get("uploaded") != "0" || a.Get("downloaded") != "0" || a.Get("corrupt") > "0" {
			t.Errorf("the tracker is told %v", a.Values)
		}
	}
	if st := s.DHTStats(); st.Torrents != 0 || boot.Stats().IPv4.Torrents != 0 {
		t.Errorf("%d torrents are in the DHT", st.Torrents)
	}
	if _, err := s.DHTLookup(t.Context(), c.meta.Hash.Wire(), nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("the DHT is asked for it: %v", err)
	}
	if _, err := s.TorrentFile(c.meta.Hash.Wire()); !errors.Is(err, ErrNotFound) {
		t.Errorf("its file is given away: %v", err)
	}
}

// TestMembersHearOfEachOther has a member that knows another, which knows the
// seed: peers are told of inside the swarm, and dialled as members.
func TestMembersHearOfEachOther(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 8 << 20})
	secret := newSecret(t)
	// So slow that nobody is ever through.
	seed := closedSeed(t, c, secret, func(cfg *Config) { cfg.Limits.Up, cfg.SuperSeeding = 1<<10, SuperOff })
	between := open(t, nil)
	add(t, between, c, AddOptions{Peers: addrs(seed), Secret: secret})
	await(t, between, c, "a connection", func(v Torrent) bool { return v.Peers >= 1 })
	last := open(t, nil)
	add(t, last, c, AddOptions{Peers: addrs(between), Secret: secret})
	await(t, last, c, "the seed", func(v Torrent) bool { return v.Seeds == 1 })
	for name, s := range map[string]*Session{"seed": seed, "last": last} {
		if n := s.Stats().Counters["secret_not_proved"]; n > 0 {
			t.Errorf("the %s met %d who are no members", name, n)
		}
	}
}

func TestSecretIsKept(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	secret := newSecret(t)
	seed := closedSeed(t, c, secret, nil)
	state, dir := t.TempDir(), t.TempDir()
	edit := func(cfg *Config) { cfg.StateDir, cfg.Dir = state, dir }
	closing := func(s *Session) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, edit)
	addMagnet(t, s, c.link()+"#"+secret.String(), AddOptions{}) // it finds nobody
	if st, err := os.Stat(filepath.Join(state, "resume.db")); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("the database has mode %v, %v", st.Mode(), err)
	}
	if rec, _ := s.byWire(c.meta.Hash.Wire()).record(); strings.Contains(rec.Magnet, "#") {
		t.Error("the link is kept with the secret in it")
	}
	closing(s)

	s = open(t, edit) // while the metadata is missing
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "completion", complete)
	closing(s)

	s = open(t, edit) // as a seed
	if got, err := s.Secret(c.meta.Hash); err != nil || got != secret {
		t.Fatalf("after a restart the secret is another: %v", err)
	}
	last := open(t, nil)
	add(t, last, c, AddOptions{Secret: secret, Peers: addrs(s)})
	await(t, last, c, "completion", complete)
	closing(s)

	spoil(t, state, "torrent", c.meta.Hash)
	s = open(t, edit) // the record is damaged
	if got, err := s.Secret(c.meta.Hash); err != nil || got != secret {
		t.Errorf("with a damaged record the torrent is open to all: %v", err)
	}
	v := await(t, s, c, "a check", complete)
	if !v.Options.Secret {
		t.Error("it does not show that it has a secret")
	}
	if err := s.Remove(t.Context(), c.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	if got, err := s.keptSecret(c.meta.Hash); err != nil || !got.IsZero() || s.vault.end.Ring.Len() != 0 {
		t.Errorf("the secret of a removed torrent is still there: %v, %d", err, s.vault.end.Ring.Len())
	}
}

// TestSecretThatCannotBeRead has both places of the secret damaged.
func TestSecretThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	tracker := newCounting(t)
	m := *c.meta
	m.Trackers = [][]string{{tracker.url}}
	c.file = m.Bytes()
	state := t.TempDir()
	edit := func(cfg *Config) { cfg.StateDir = state }
	s := open(t, edit)
	add(t, s, c, AddOptions{Dir: c.dir, Secret: newSecret(t)})
	await(t, s, c, "seeding", complete)
	if err := s.db.Put(secretKey(c.meta.Hash), []byte("short")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, state, "torrent", c.meta.Hash)
	var log logged
	s = open(t, func(cfg *Config) { edit(cfg); log.keep(cfg) })
	if v, err := s.Torrent(c.meta.Hash); err != nil || v.State != StateStopped {
		t.Errorf("it runs: %+v, %v", v.State, err)
	}
	log.await(t, "secret cannot be read", c.meta.Hash.String())

	// Its info-hash says what it is: no tracker may see it, even once the record is whole again.
	look := func(when string) {
		t.Helper()
		s.scraper.round(t.Context(), time.Now().Add(scrapeEvery))
		if got := tracker.taken(); len(got) > 0 {
			t.Errorf("%s a tracker was asked for %x", when, got)
		}
	}
	look("with a damaged record")
	if err := s.SetOptions(t.Context(), c.meta.Hash, OptionsPatch{Sequential: new(true)}); err != nil { // written anew
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, edit)
	look("with a record that was written anew")
}

func TestAddingAgainWithASecret(t *testing.T) {
	t.Parallel()
	c, plain := makeContent(t, 16<<10, telling), makeContent(t, 16<<10, map[string]int{"": 50_000})
	secret, other := newSecret(t), newSecret(t)
	s := open(t, nil)
	add(t, s, c, AddOptions{Dir: c.dir, Secret: secret})
	add(t, s, plain, AddOptions{Dir: plain.dir})
	for _, tt := range []struct {
		c    content
		s    metainfo.Secret
		want string
	}{
		{c, secret, ""},
		{c, metainfo.Secret{}, ""},
		{c, other, "another secret"},
		{plain, secret, "without a secret"},
		{plain, metainfo.Secret{}, ""},
	} {
		_, existed, err := s.Add(t.Context(), tt.c.file, AddOptions{Secret: tt.s})
		link := tt.c.link()
		if !tt.s.IsZero() {
			link += "#" + tt.s.String()
		}
		_, existed2, err2 := s.AddMagnet(t.Context(), link, AddOptions{})
		for _, err := range []error{err, err2} {
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: got %v, want %q", tt.c.meta.Hash, err, tt.want)
			}
		}
		if !existed || !existed2 {
			t.Error("it is not said that it is here")
		}
	}
	if _, _, err := s.AddMagnet(t.Context(), c.link()+"#"+secret.String(), AddOptions{Secret: other}); !errors.Is(err, ErrInvalid) {
		t.Errorf("two secrets: %v", err)
	}
	if _, _, err := s.AddMagnet(t.Context(), "magnet:?xt=urn:btih:"+strings.Repeat("0a", 20)+"&xs=urn:btpk:"+strings.Repeat("ab", 32), AddOptions{Secret: other}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "names a key") {
		t.Errorf("a key and a secret: %v", err)
	}
	if got, _ := s.Secret(c.meta.Hash); got != secret {
		t.Error("the secret was replaced")
	}
	if got, _ := s.Secret(plain.meta.Hash); !got.IsZero() {
		t.Error("the open torrent has a secret")
	}
}

func TestRefusalsAreFew(t *testing.T) {
	var r refusals
	now, lines := time.Unix(1e9, 0), 0
	for i := range 10000 {
		if r.worth(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now) {
			lines++
		}
	}
	if lines != refusalMost || len(r.seen) > refusalMost {
		t.Errorf("%d lines, %d addresses kept", lines, len(r.seen))
	}
	one := netip.MustParseAddr("192.0.2.1")
	now = now.Add(refusalEvery)
	if !r.worth(one, now) || r.worth(one, now.Add(time.Second)) || !r.worth(one, now.Add(refusalEvery)) {
		t.Error("an address has not one line a minute")
	}
}

// TestManyStrangersFromOneAddress has somebody try until he is sent away
// before anything is computed for him, which others do not feel.
func TestManyStrangersFromOneAddress(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, telling)
	secret := newSecret(t)
	s := closedSeed(t, c, secret, nil)
	refused := func() int64 { return s.Stats().Counters["secret_handshakes_refused"] }
	for i := 0; refused() == 0; i++ {
		if i == 2000 {
			t.Fatal("2,000 tries are answered")
		}
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		conn.Write([]byte{secure.FirstByte, 3, 1, 0xff, 0xff}) // no record is that long: it costs us as little as can be
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	plain := makeContent(t, 16<<10, map[string]int{"": 50_000})
	add(t, s, plain, AddOptions{Dir: plain.dir})
	await(t, s, plain, "seeding", complete)
	leech := open(t, nil)
	add(t, leech, plain, AddOptions{Peers: addrs(s)})
	await(t, leech, plain, "completion", complete)
	if runtime.GOOS == "linux" { // where all of 127/8 is ours
		member := open(t, func(cfg *Config) { cfg.Listen = "127.0.0.2:0" })
		add(t, member, c, AddOptions{Peers: addrs(s), Secret: secret})
		await(t, member, c, "completion", complete)
	}
}

// A torrent that is removed by two at the same moment takes its secret from no
// other that has the same.
func TestRemovedTwice(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	s := open(t, nil)
	a, b := makeContent(t, 16<<10, map[string]int{"a": 50_000}), makeContent(t, 16<<10, map[string]int{"b": 60_000})
	add(t, s, a, AddOptions{Secret: secret, Stopped: true})
	add(t, s, b, AddOptions{Secret: secret, Stopped: true})
	e, err := s.find(a.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	first, second := s.remove(t.Context(), e, false), s.remove(t.Context(), e, false)
	if first != nil || !errors.Is(second, ErrNotFound) {
		t.Errorf("removing: %v, again: %v", first, second)
	}
	if n := s.vault.end.Ring.Len(); n != 1 {
		t.Errorf("%d secrets are held, want that of the other torrent", n)
	}
}
