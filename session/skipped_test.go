package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// edited changes a file of c as a user might while the daemon is off: its
// size stays.
func (c content) edited(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, "content", name)
	scribble(t, path, 500)
	// Before the next start, or it counts as changed while it was shared.
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// TestEditIsFoundBesideAPartsFile: reading from a torrent with a parts file must
// not make it one that was being written, whose claims are trusted.
func TestEditIsFoundBesideAPartsFile(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 300000, "b": 100000})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	a := []int{indexOf(t, seed, c, "/a")}
	add(t, leech, c, AddOptions{Peers: addrs(seed), Only: a})
	await(t, leech, c, "the one file", complete)

	leech = reopen(t, leech)
	reader := open(t, nil)
	add(t, reader, c, AddOptions{Peers: addrs(leech), Only: a})
	await(t, reader, c, "the same file", complete)
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}

	before := await(t, leech, c, "seeding", complete).Downloaded
	if err := leech.Close(); err != nil {
		t.Fatal(err)
	}
	c.edited(t, leech.cfg.Dir, "a")
	leech = reopen(t, leech)
	if err := leech.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "repair", func(v Torrent) bool { return complete(v) && v.Downloaded > before })
	c.same(t, leech.cfg.Dir, "content/a")
}

// TestEditIsFoundAfterTheChoiceChanged: a file came out of the parts file
// without a piece being fetched.
func TestEditIsFoundAfterTheChoiceChanged(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 300000, "b": 1000, "c": 300000})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	b := indexOf(t, seed, c, "/b")
	add(t, leech, c, AddOptions{Peers: addrs(seed), Only: []int{indexOf(t, seed, c, "/a"), indexOf(t, seed, c, "/c")}})
	await(t, leech, c, "the two files", complete)
	leech = reopen(t, leech)
	inLoop(t, leech, c, func(*torrent) {}) // it runs, and all files are as the database says
	if err := leech.SetPriorities(t.Context(), c.meta.Hash, map[int]Priority{b: Normal}); err != nil {
		t.Fatal(err)
	}
	before := await(t, leech, c, "all files", func(v Torrent) bool { return complete(v) && v.Wanted == v.Size }).Downloaded
	until(t, "file", func() bool {
		fi, err := os.Stat(filepath.Join(leech.cfg.Dir, "content", "b"))
		return err == nil && fi.Size() == 1000
	})
	if err := leech.Close(); err != nil {
		t.Fatal(err)
	}
	c.same(t, leech.cfg.Dir)
	c.edited(t, leech.cfg.Dir, "b")
	leech = reopen(t, leech)
	if err := leech.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "repair", func(v Torrent) bool { return complete(v) && v.Downloaded > before })
	c.same(t, leech.cfg.Dir)
}

// TestObstacleWhereAFileBecomesWanted: what could not come out of the parts file
// does so when the cause is gone, without a restart.
func TestObstacleWhereAFileBecomesWanted(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 300000, "b": 1000, "c": 300000})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed), Only: []int{indexOf(t, seed, c, "/a"), indexOf(t, seed, c, "/c")}})
	await(t, leech, c, "the two files", complete)
	path := filepath.Join(leech.cfg.Dir, "content", "b")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	b := indexOf(t, seed, c, "/b")
	if err := leech.SetPriorities(t.Context(), c.meta.Hash, map[int]Priority{b: Normal}); err != nil {
		t.Fatal(err)
	}
	v := await(t, leech, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, path) {
		t.Errorf("the error does not name %s: %q", path, v.Error)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	v = await(t, leech, c, "all files", func(v Torrent) bool { return complete(v) && v.Wanted == v.Size })
	c.same(t, leech.cfg.Dir)
	if v.Error != "" {
		t.Errorf("the error stays: %q", v.Error)
	}
}

// TestSkippedFileThatIsDeleted: a seed goes on with its other files, and fetches
// what they share with the one that is gone.
func TestSkippedFileThatIsDeleted(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 300_000, "b": 300_000})
	s := open(t, nil)
	copyOf(t, c, s.cfg.Dir)
	add(t, s, c, AddOptions{})
	await(t, s, c, "the whole content", complete)
	a, b := indexOf(t, s, c, "/a"), indexOf(t, s, c, "/b")
	prefer(t, s, c, map[int]Priority{b: Skip})
	reader := open(t, nil)
	add(t, reader, c, AddOptions{Peers: addrs(s), Only: []int{a}})
	await(t, reader, c, "the one file", complete)
	path := filepath.Join(s.cfg.Dir, "content", "b")
	inLoop(t, s, c, func(x *torrent) {
		x.disk.files.Release()
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})

	late := open(t, nil)
	add(t, late, c, AddOptions{Peers: addrs(s), Only: []int{a}})
	await(t, s, c, "the loss of what was in the file", func(v Torrent) bool { return v.State == StateDownloading && v.Error == "" })
	give(t, s, c, seedOf(t, c, nil))
	await(t, s, c, "the shared piece", complete)
	give(t, late, c, s)
	await(t, late, c, "the one file of a seed without the other", complete)
	c.same(t, late.cfg.Dir, "content/a")
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%v, want the file that is skipped not to be made again", err)
	}
}
