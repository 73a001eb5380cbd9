package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"btd/metainfo"
	"btd/metainfo/create"
	"btd/tracker/server"
)

// content is a made-up torrent and the files it describes.
type content struct {
	dir  string // holds the files, complete
	file []byte // the .torrent
	meta *metainfo.Metainfo
}

// makeContent writes files of random bytes below a new directory. A single
// file named "" makes a single-file torrent. Every test has its own bytes: who
// still dials a port that another test listens at by now finds no torrent there.
func makeContent(t *testing.T, pieceLength int64, sizes map[string]int, trackers ...string) content {
	t.Helper()
	c := content{dir: t.TempDir()}
	random := rand.NewChaCha8(sha256.Sum256([]byte(t.Name())))
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		path := filepath.Join(c.dir, "content", filepath.FromSlash(name))
		if name == "" {
			path = filepath.Join(c.dir, "content")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, sizes[name])
		random.Read(b)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := create.Options{PieceLength: pieceLength}
	for _, u := range trackers {
		o.Trackers = append(o.Trackers, []string{u})
	}
	var err error
	if c.file, err = create.Torrent(t.Context(), os.DirFS(c.dir), "content", o); err != nil {
		t.Fatal(err)
	}
	if c.meta, err = metainfo.Parse(c.file); err != nil {
		t.Fatal(err)
	}
	return c
}

// same fails the test unless dir holds the content, file by file; only says
// which files are expected, nil means all.
func (c content) same(t *testing.T, dir string, only ...string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(c.dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		want, err := os.ReadFile(filepath.Join(c.dir, path))
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(dir, path))
		if only != nil && !contains(only, path) {
			if err == nil {
				t.Errorf("%s exists, but was skipped", path)
			}
			return nil
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes (%v), not equal to the original of %d", path, len(got), err, len(want))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// open starts a session for the length of the test.
func open(t *testing.T, edit func(*Config)) *Session {
	t.Helper()
	cfg := Config{
		StateDir: t.TempDir(), Dir: t.TempDir(), Listen: "127.0.0.1:0", Version: "0.0.1",
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),

		pauses: pauses{
			closeTimeout: patience,  // a disk may be busy with something else
			scrapeLook:   time.Hour, // fake trackers count what they are asked
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the session: %v", err)
		}
	})
	return s
}

// add adds c and fails the test if that fails.
func add(t *testing.T, s *Session, c content, o AddOptions) Torrent {
	t.Helper()
	v, _, err := s.Add(t.Context(), c.file, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// seedOf is a session that seeds c from where it was made.
func seedOf(t *testing.T, c content, edit func(*Config)) *Session {
	t.Helper()
	s := open(t, edit)
	add(t, s, c, AddOptions{Dir: c.dir})
	await(t, s, c, "seeding", complete)
	return s
}

// startTracker serves a tracker on loopback and returns its announce URL.
func startTracker(t *testing.T) (string, *server.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := server.New(server.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return "http://" + l.Addr().String() + "/announce", srv
}

func addrs(s ...*Session) (out []netip.AddrPort) {
	for _, x := range s {
		out = append(out, x.Addr())
	}
	return out
}

var odd = map[string]int{"a.bin": 1<<20 + 17, "b/c.bin": 3<<20 - 5, "b/empty": 0, "b/one": 1, "d.bin": 16384}

func TestDownloadFromOneSeed(t *testing.T) {
	for _, pieceLength := range []int64{16 << 10, 64 << 10, 1 << 20} {
		c := makeContent(t, pieceLength, odd)
		seed := seedOf(t, c, nil)
		leech := open(t, nil)
		add(t, leech, c, AddOptions{Peers: addrs(seed)})
		v := await(t, leech, c, "completion", complete)
		c.same(t, leech.cfg.Dir)
		if v.Downloaded < v.Size || v.Downloaded > v.Size+256<<10 {
			t.Errorf("downloaded %d bytes of %d", v.Downloaded, v.Size)
		}
	}
}

func TestSwarmOverTracker(t *testing.T) {
	url, _ := startTracker(t)
	c := makeContent(t, 64<<10, map[string]int{"": 12<<20 + 1}, url)
	seedOf(t, c, nil)
	var all []*Session
	for range 3 {
		s := open(t, nil)
		add(t, s, c, AddOptions{})
		all = append(all, s)
	}
	for _, s := range all {
		await(t, s, c, "completion", complete)
		c.same(t, s.cfg.Dir)
	}
}
