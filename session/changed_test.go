package session

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// overwrite changes bytes of a file in place, as an editor would, and gives it
// a time that it has not had.
func overwrite(t *testing.T, name string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	touch(t, name)
}

// touch gives a file a time that it has not had: the clock of a file system may
// stand still for some milliseconds.
func touch(t *testing.T, name string) {
	t.Helper()
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, fi.ModTime().Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func quick(c *Config) { c.changeEvery = 200 * time.Millisecond }

// recorded waits until a seed's files are on record: from then on a change is
// noticed.
func recorded(t *testing.T, s *Session, c content) {
	t.Helper()
	e, err := s.find(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "record of the files", func() bool {
		run := e.running()
		return run == nil || run.ready.Load() && run.disk.files.Sealed() != nil
	})
}

// TestFileChangedWhileShared: what was changed is not sent, the daemon says
// which file it was, serves what is left and writes nothing over the change,
// although another seed has what it was. Once the file is as it was, all is
// well again.
func TestFileChangedWhileShared(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 1 << 20})
	other := c
	other.dir = t.TempDir()
	if err := os.CopyFS(other.dir, os.DirFS(c.dir)); err != nil {
		t.Fatal(err)
	}
	seed := seedOf(t, c, quick)
	recorded(t, seed, c)
	name := filepath.Join(c.dir, "content", "a")
	was := read(t, name)
	overwrite(t, name, 500_000, []byte("changed by somebody"))
	changed := read(t, name)

	first := open(t, nil)
	add(t, first, c, AddOptions{Peers: addrs(seed)})
	v := await(t, seed, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, "content/a has changed since the content was verified: 1 of 32 pieces") || v.PiecesHave != 31 {
		t.Errorf("%d pieces, error %q", v.PiecesHave, v.Error)
	}
	leech := open(t, nil) // the first waits before it comes back
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	await(t, leech, c, "all but the changed piece", func(v Torrent) bool { return v.PiecesHave == 31 })
	for _, s := range []*Session{first, leech} {
		if v, err := s.Torrent(c.meta.Hash); err != nil || v.Corrupt != 0 {
			t.Errorf("%d corrupt bytes were sent, %v", v.Corrupt, err)
		}
	}

	// A seed that has what the file was.
	whole := seedOf(t, other, nil)
	for _, s := range []*Session{seed, leech} {
		if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(whole)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, leech, c, "completion from the other seed", complete)
	if v, err := seed.Torrent(c.meta.Hash); err != nil || v.State != StateError || v.Downloaded != 0 {
		t.Errorf("the seed is %s and has downloaded %d bytes, %v", v.State, v.Downloaded, err)
	}
	if !bytes.Equal(read(t, name), changed) {
		t.Error("the changed file was written to")
	}

	// A restart forgets neither.
	seed = reopen(t, seed, quick)
	v = await(t, seed, c, "the error after a restart", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, "content/a has changed") {
		t.Errorf("after a restart: %q", v.Error)
	}
	if err := os.WriteFile(name, was, 0o644); err != nil {
		t.Fatal(err)
	}
	touch(t, name)
	v = await(t, seed, c, "seeding again", func(v Torrent) bool { return v.State == StateSeeding })
	if v.Error != "" || v.Downloaded != 0 {
		t.Errorf("error %q, %d bytes downloaded", v.Error, v.Downloaded)
	}
	e, err := seed.find(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "end of the note", func() bool { return !e.hold.noted.Load() })
}

// TestVerifyFetchesWhatWasChanged: the user says so, and the original is
// fetched over the change.
func TestVerifyFetchesWhatWasChanged(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 1 << 20})
	mine := c
	mine.dir = t.TempDir()
	if err := os.CopyFS(mine.dir, os.DirFS(c.dir)); err != nil {
		t.Fatal(err)
	}
	seed, whole := seedOf(t, mine, quick), seedOf(t, c, nil)
	recorded(t, seed, c)
	overwrite(t, filepath.Join(mine.dir, "content", "b"), 0, []byte("changed by somebody"))
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	await(t, seed, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if err := seed.Verify(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, seed, c, "the end of the error", func(v Torrent) bool { return v.State == StateDownloading })
	if err := seed.AddPeers(t.Context(), c.meta.Hash, addrs(whole)); err != nil {
		t.Fatal(err)
	}
	await(t, seed, c, "completion", complete)
	c.same(t, mine.dir)
	e, err := seed.find(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "end of the note", func() bool { return !e.hold.noted.Load() })
}

// TestFileTouchedWhileShared: a new time alone costs a look, and no piece.
func TestFileTouchedWhileShared(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 1 << 20})
	seed := seedOf(t, c, quick)
	recorded(t, seed, c)
	touch(t, filepath.Join(c.dir, "content", "a"))
	f, err := os.OpenFile(filepath.Join(c.dir, "content", "b"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more at the end"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	add(t, open(t, nil), c, AddOptions{Peers: addrs(seed)})
	e, err := seed.find(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "record of the files as they are now", func() bool {
		run := e.running()
		if run == nil || !run.ready.Load() {
			return false
		}
		changed, now, err := run.disk.files.Changed()
		return err == nil && now != nil && len(changed) == 0
	})
	leech := open(t, nil) // the first waits before it comes back
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "completion", complete)
	if v.Corrupt != 0 {
		t.Errorf("%d corrupt bytes", v.Corrupt)
	}
	v = await(t, seed, c, "seeding", func(v Torrent) bool { return v.State == StateSeeding })
	if v.Error != "" || v.PiecesHave != v.Pieces {
		t.Errorf("%d of %d pieces, error %q", v.PiecesHave, v.Pieces, v.Error)
	}
}

// TestFileThatChangesAllTheTime: it is not hashed each time, and the others are
// served meanwhile. Once it is left alone, it is served as well.
func TestFileThatChangesAllTheTime(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"log": 1 << 20, "other": 1 << 20})
	// So long it may take to touch the file again, or to ask for it again.
	seed := seedOf(t, c, func(c *Config) { c.changeEvery, c.Limits.Up = 8*time.Second, 512<<10 })
	recorded(t, seed, c)
	name := filepath.Join(c.dir, "content", "log")
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	restless := func(v Torrent) bool {
		touch(t, name)
		if err := seed.AddPeers(t.Context(), c.meta.Hash, addrs(leech)); err != nil {
			t.Fatal(err)
		}
		return v.State == StateError && strings.Contains(v.Error, "content/log has changed again soon after") && v.PiecesHave == 16
	}
	await(t, seed, c, "the file to be set aside", restless)
	// Who was cut off waits before coming back, unless told; others are served at once.
	second, third := open(t, nil), open(t, nil)
	add(t, second, c, AddOptions{Peers: addrs(seed)})
	await(t, second, c, "the other file", func(v Torrent) bool {
		touch(t, name)
		if err := second.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
			t.Fatal(err)
		}
		return v.PiecesHave >= 16
	})
	await(t, seed, c, "seeding", func(v Torrent) bool { return v.State == StateSeeding && v.Error == "" })
	add(t, third, c, AddOptions{Peers: addrs(seed)})
	if v := await(t, third, c, "completion", complete); v.Corrupt != 0 {
		t.Errorf("%d corrupt bytes", v.Corrupt)
	}
}

// TestChangesThatAreNotThere: where names and open files are told of
// differently, nobody would ever be served.
func TestChangesThatAreNotThere(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20})
	seed := seedOf(t, c, quick)
	recorded(t, seed, c)
	inLoop(t, seed, c, func(run *torrent) {
		for i := range mostVain {
			if run.disk.files.Sealed() == nil {
				t.Errorf("no seal any more after %d times", i)
			}
			run.disk.changes.found = true
			run.looked(nil, run.disk.files.Sealed(), nil)
			if !run.disk.readable() || run.disk.stuck() {
				t.Error("nobody is served")
			}
		}
		if run.disk.files.Sealed() != nil {
			t.Error("the file system is still asked")
		}
	})
}

// TestFileReplacedWhileIdle: a torrent that has no loop is looked at when it
// wakes.
func TestFileReplacedWhileIdle(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 1 << 20})
	whole := t.TempDir()
	if err := os.CopyFS(whole, os.DirFS(c.dir)); err != nil {
		t.Fatal(err)
	}
	seed := seedOf(t, c, quick)
	e, err := seed.find(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "torrent to be idle", func() bool { return e.running() == nil })
	name := filepath.Join(c.dir, "content", "a")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	mine := bytes.Repeat([]byte("something else "), 70_000)
	if err := os.WriteFile(name, mine, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, time.Unix(1e9, 0)); err != nil { // as cp -p would
		t.Fatal(err)
	}
	other := c
	other.dir = whole
	if err := seed.AddPeers(t.Context(), c.meta.Hash, addrs(seedOf(t, other, nil))); err != nil {
		t.Fatal(err)
	}
	v := await(t, seed, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, "content/a has changed") || v.PiecesHave != 16 || v.Downloaded != 0 {
		t.Errorf("%d pieces, %d bytes downloaded, error %q", v.PiecesHave, v.Downloaded, v.Error)
	}
	if !bytes.Equal(read(t, name), mine) {
		t.Error("the file was written over")
	}
}

// TestFileChangedOnceHashed changes a file when it was hashed and is not on
// record yet.
func TestFileChangedOnceHashed(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 1 << 20})
	seed := seedOf(t, c, quick)
	overwrite(t, filepath.Join(c.dir, "content", "a"), 500_000, []byte("changed by somebody"))
	recorded(t, seed, c)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "all but the changed piece", func(v Torrent) bool { return v.PiecesHave == 31 })
	if v.Corrupt != 0 {
		t.Errorf("%d corrupt bytes were sent", v.Corrupt)
	}
	await(t, seed, c, "the error", func(v Torrent) bool { return v.State == StateError && v.PiecesHave == 31 })
}

// TestUnfinishedFileTouched: a file that lacks pieces and is given another time
// has not lost any; the rest is fetched as before.
func TestUnfinishedFileTouched(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 1 << 20})
	state, dir := t.TempDir(), t.TempDir()
	edit := func(cfg *Config) { quick(cfg); cfg.StateDir, cfg.Dir = state, dir }
	copyOf(t, c, dir)
	name := filepath.Join(dir, "content", "a")
	scribble(t, name, 500_000)
	half := open(t, edit)
	add(t, half, c, AddOptions{})
	await(t, half, c, "what is there", func(v Torrent) bool { return v.PiecesHave == 31 })
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	half = open(t, edit)
	await(t, half, c, "what is there", func(v Torrent) bool { return v.State == StateDownloading && v.PiecesHave == 31 })
	touch(t, name)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(half)})
	await(t, leech, c, "all but one piece", func(v Torrent) bool { return v.PiecesHave == 31 })
	whole := seedOf(t, c, nil)
	if err := half.AddPeers(t.Context(), c.meta.Hash, addrs(whole)); err != nil {
		t.Fatal(err)
	}
	await(t, half, c, "completion", complete)
	c.same(t, dir)
}
