package session

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func indexOf(t *testing.T, s *Session, c content, suffix string) int {
	t.Helper()
	files, err := s.Files(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Path, suffix) {
			return f.Index
		}
	}
	t.Fatalf("no file %s", suffix)
	return -1
}

func TestSkippedFiles(t *testing.T) {
	c := makeContent(t, 256<<10, map[string]int{"a": 300000, "b": 500000, "c": 700001})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	b := indexOf(t, seed, c, "/b")
	add(t, leech, c, AddOptions{Peers: addrs(seed), Only: []int{b}})
	v := await(t, leech, c, "the one file", complete)
	c.same(t, leech.cfg.Dir, "content/b")
	if v.Wanted != 500000 {
		t.Errorf("wanted %d bytes, want 500000", v.Wanted)
	}
	// Wanting the rest takes the edges from the parts file.
	if err := leech.SetPriorities(t.Context(), c.meta.Hash, map[int]Priority{0: Normal, 1: Normal, 2: High}); err != nil {
		t.Fatal(err)
	}
	if err := leech.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "everything", func(v Torrent) bool { return complete(v) && v.Wanted == v.Size })
	c.same(t, leech.cfg.Dir)
	leech = reopen(t, leech)
	await(t, leech, c, "everything after a restart", func(v Torrent) bool { return complete(v) && v.Wanted == v.Size })
}

func TestExistingDataIsUsed(t *testing.T) {
	c := makeContent(t, 64<<10, odd)
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	dst := filepath.Join(leech.cfg.Dir, "content", "b")
	if err := os.MkdirAll(dst, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(c.dir, "content", "b", "c.bin"))
	if err != nil {
		t.Fatal(err)
	}
	copy(b[1<<20:], "not as it should be")
	if err := os.WriteFile(filepath.Join(dst, "c.bin"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	if v.Downloaded > 2<<20 {
		t.Errorf("downloaded %d bytes although most of the data was there", v.Downloaded)
	}
}

func TestSymlinkInTheDownloadDirectory(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"sub/x": 200000})
	seed := seedOf(t, c, nil)
	outside := t.TempDir()
	leech := open(t, nil)
	if err := os.MkdirAll(filepath.Join(leech.cfg.Dir, "content"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(leech.cfg.Dir, "content", "sub")); err != nil {
		t.Skip("no symlinks here:", err)
	}
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, "sub") {
		t.Errorf("the error does not name the link: %q", v.Error)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) > 0 {
		t.Errorf("something was written through the link: %v %v", list, err)
	}
	// Once the link is gone, the download goes on by itself.
	if err := os.Remove(filepath.Join(leech.cfg.Dir, "content", "sub")); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
}

func TestVanishedDirectory(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"x": 4 << 20})
	seed := seedOf(t, c, func(cfg *Config) { cfg.Limits.Up = 1 << 20 })
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	await(t, leech, c, "some data", func(v Torrent) bool { return v.Have > 1<<20 })
	away := leech.cfg.Dir + ".away"
	if err := os.Rename(leech.cfg.Dir, away); err != nil {
		t.Fatal(err)
	}
	// Renaming does not disturb open files; the next file or a restart does.
	if err := leech.Verify(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	v := await(t, leech, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, leech.cfg.Dir) {
		t.Errorf("the error does not name the directory: %q", v.Error)
	}
	if _, err := os.Stat(leech.cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that had vanished was made anew: %v", err)
	}
	if err := os.Rename(away, leech.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	seed.SetSessionLimits(t.Context(), Limits{})
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
}

func TestRemoveWithData(t *testing.T) {
	c := makeContent(t, 64<<10, odd)
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	await(t, leech, c, "completion", complete)
	mine := filepath.Join(leech.cfg.Dir, "content", "mine.txt")
	if err := os.WriteFile(mine, []byte("the user's own"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := leech.Remove(t.Context(), c.meta.Hash, true); err != nil {
		t.Fatal(err)
	}
	if _, err := leech.Torrent(c.meta.Hash); !errors.Is(err, ErrNotFound) {
		t.Errorf("the torrent is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(leech.cfg.Dir, "content", "a.bin")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of the torrent is still there: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("a file that is not the torrent's is gone: %v", err)
	}
}

func TestBrokenTorrentChangesNothing(t *testing.T) {
	s := open(t, nil)
	for _, in := range []string{"", "garbage", "d4:infod4:name1:x12:piece lengthi16384e6:pieces0:ee"} {
		if _, _, err := s.Add(t.Context(), []byte(in), AddOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("adding %q: %v, want ErrInvalid", in, err)
		}
	}
	if n := len(s.Torrents()); n != 0 {
		t.Errorf("%d torrents after broken ones", n)
	}
	if list, err := os.ReadDir(s.cfg.Dir); err != nil || len(list) > 0 {
		t.Errorf("something is on disk: %v %v", list, err)
	}
}
