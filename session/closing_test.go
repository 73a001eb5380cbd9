package session

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openBelow lists the open files of this process below dir.
func openBelow(t *testing.T, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil // no such list on this system
	}
	for _, e := range list {
		if path, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(path, dir) {
			out = append(out, path)
		}
	}
	return out
}

// lasting counts the goroutines, without those that stores start when they need
// them and keep from then on.
func lasting() (n int) {
	for _, g := range goroutines() {
		if !strings.Contains(g, "btd/storage.(*Store).work(") {
			n++
		}
	}
	return n
}

// settled waits until at most n goroutines are left.
func settled(t *testing.T, n int) {
	t.Helper()
	if !patient(func() bool { return lasting() <= n }) {
		t.Errorf("%d goroutines, there were %d before\n%s", lasting(), n, strings.Join(goroutines(), "\n\n"))
	}
}

// tooLong is more than anything takes that does not wait for a peer, a tracker
// or the end of a check.
const tooLong = 30 * time.Second

func TestRemoveWhileDownloading(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 6 << 20, "b": 6 << 20})
	// Nobody has the second file, so that the download does not end.
	seed := open(t, func(cfg *Config) { cfg.Limits.Up = 8 << 20 })
	copyOf(t, c, seed.cfg.Dir)
	scribbleAll(t, filepath.Join(seed.cfg.Dir, "content", "b"), 6<<20)
	add(t, seed, c, AddOptions{})
	await(t, seed, c, "one file", func(v Torrent) bool { return v.State == StateDownloading && v.PiecesHave == 96 })
	leech := open(t, nil)
	before := 0
	for round, data := range []bool{true, false, true} {
		add(t, leech, c, AddOptions{Peers: addrs(seed)})
		await(t, leech, c, "some data", func(v Torrent) bool { return v.Have > 1<<20 && v.Peers > 0 })
		began := time.Now()
		if err := leech.Remove(t.Context(), c.meta.Hash, data); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > tooLong {
			t.Errorf("removing took %s", took)
		}
		if list := openBelow(t, leech.cfg.Dir); len(list) > 0 {
			t.Errorf("open files after the removal: %v", list)
		}
		_, err := os.Stat(filepath.Join(leech.cfg.Dir, "content"))
		if data != os.IsNotExist(err) {
			t.Errorf("removed with data=%t: %v", data, err)
		}
		if list, err := os.ReadDir(leech.cfg.Dir); data && (err != nil || len(list) > 0) {
			t.Errorf("left on disk: %v, %v", list, err)
		}
		await(t, seed, c, "the end of the connection", func(v Torrent) bool { return v.Peers == 0 })
		if round == 0 {
			time.Sleep(100 * time.Millisecond)
			before = lasting()
		}
		settled(t, before+2) // a torrent that leaks leaves its loop, a reader and a writer; a janitor comes and goes
		if n := leech.Stats(); n.MemoryLeased != 0 || n.Peers != 0 || len(n.Torrents) != 0 {
			t.Errorf("after the removal: %+v", n)
		}
	}
}

// TestCloseLeavesNothing: no goroutine and no file outlives a session.
func TestCloseLeavesNothing(t *testing.T) {
	url, _ := startTracker(t)
	c := makeContent(t, 64<<10, map[string]int{"a": 3 << 20}, url)
	seed := seedOf(t, c, nil)
	await(t, seed, c, "seeding", complete)
	// The tracker's connections and the seed's goroutines come and go.
	if err := seed.Close(); err != nil {
		t.Fatal(err)
	}
	settledAt := func() int {
		time.Sleep(50 * time.Millisecond)
		return lasting()
	}
	before := settledAt()
	a := seedOf(t, c, nil)
	b := open(t, func(cfg *Config) { cfg.Limits.Down = 2 << 20 })
	add(t, b, c, AddOptions{Peers: addrs(a)})
	await(t, b, c, "some data", func(v Torrent) bool { return v.Have > 500000 })
	for _, s := range []*Session{b, a} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, dir := range []string{a.cfg.StateDir, b.cfg.StateDir, b.cfg.Dir, c.dir} {
		if list := openBelow(t, dir); len(list) > 0 {
			t.Errorf("open files: %v", list)
		}
	}
	settled(t, before)
}

// TestCloseDuringChecks closes at various moments of a check; later sessions
// carry on and find everything.
func TestCloseDuringChecks(t *testing.T) {
	c := makeContent(t, 256<<10, map[string]int{"a": 20 << 20, "b": 12<<20 + 9})
	s := open(t, nil)
	add(t, s, c, AddOptions{Dir: c.dir})
	for i := range 6 {
		time.Sleep(time.Duration(i) * 3 * time.Millisecond)
		began := time.Now()
		s = reopen(t, s)
		if took := time.Since(began); took > tooLong {
			t.Errorf("closing during a check and opening took %s", took)
		}
	}
	v := await(t, s, c, "the end of the check", complete)
	if v.PiecesHave != v.Pieces || v.Downloaded != 0 {
		t.Errorf("%+v", v)
	}
}

// TestInterruptedCheckGoesOn ends a torrent at the moment when its loop hears
// that the check was cancelled: the next session hashes what is left.
func TestInterruptedCheckGoesOn(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20})
	s := open(t, func(cfg *Config) { cfg.ActiveChecks = 1 })
	s.checks <- struct{}{} // no check gets its turn
	add(t, s, c, AddOptions{Dir: c.dir})
	await(t, s, c, "the check", func(v Torrent) bool { return v.State == StateChecking })
	e := s.byWire(c.meta.Hash.Wire())
	loop := e.running()
	inLoop(t, s, c, func(t *torrent) {
		t.stop()
		(&checked{c: t.disk.check, end: true, err: context.Canceled}).apply(t)
	})
	<-loop.done
	s = reopen(t, s)
	if v := await(t, s, c, "the check to go on", complete); v.PiecesHave != v.Pieces {
		t.Errorf("%d of %d pieces", v.PiecesHave, v.Pieces)
	}
}

// TestCloseDuringDownloads closes a downloading session again and again.
func TestCloseDuringDownloads(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 128<<10, map[string]int{"a": 9 << 20, "b/c": 5<<20 + 1})
	seed := seedOf(t, c, func(cfg *Config) { cfg.Limits.Up = 6 << 20 })
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrs(seed)})
	var have int64
	for i := range 4 {
		was := await(t, s, c, "progress", func(v Torrent) bool { return v.Have > have+1<<20 || complete(v) })
		time.Sleep(time.Duration(i) * 7 * time.Millisecond)
		began := time.Now()
		s = reopen(t, s)
		if took := time.Since(began); took > tooLong {
			t.Errorf("closing during a download and opening took %s", took)
		}
		v := await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading || complete(v) })
		if v.Have < was.Have {
			t.Errorf("%d bytes after a restart, %d before", v.Have, was.Have)
		}
		have = v.Have
		if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
			t.Fatal(err)
		}
	}
	v := await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
	// Each restart may lose the pieces that were begun.
	if v.Downloaded > v.Size+4*2<<20 {
		t.Errorf("downloaded %d bytes of %d", v.Downloaded, v.Size)
	}
}

// TestAddAgain merges the trackers, also of a torrent that is stopped, and
// tells the peers.
func TestAddAgain(t *testing.T) {
	f, g := newFakeTracker(t, say(answerPeers(""))), newFakeTracker(t, say(answerPeers("")))
	sizes := map[string]int{"": 500000}
	c := makeContent(t, 64<<10, sizes, f.url)
	again := makeContent(t, 64<<10, sizes, f.url, g.url)
	private := makeContent(t, 64<<10, sizes)
	if c.meta.Hash != again.meta.Hash || c.meta.Hash != private.meta.Hash {
		t.Fatal("the torrents differ")
	}
	seed := seedOf(t, private, nil)
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	f.await(t, "started", 1)
	v, existed, err := s.Add(t.Context(), again.file, AddOptions{Peers: addrs(seed), Stopped: true, Dir: t.TempDir()})
	if err != nil || !existed {
		t.Fatalf("existed is %t, %v", existed, err)
	}
	if v.Dir != s.cfg.Dir || v.Options.Stopped {
		t.Errorf("adding again changed the torrent: %+v", v)
	}
	await(t, s, c, "completion", complete)
	if n := len(s.Torrents()); n != 1 {
		t.Errorf("%d torrents", n)
	}
	urls := func(s *Session) (out []string) {
		list, err := s.Trackers(c.meta.Hash)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			out = append(out, v.URL)
		}
		return out
	}
	if got := urls(s); len(got) != 2 || !contains(got, f.url) || !contains(got, g.url) {
		t.Errorf("trackers %v", got)
	}
	// They are there after a restart.
	s = reopen(t, s)
	await(t, s, c, "seeding", complete)
	if got := urls(s); len(got) != 2 || !contains(got, f.url) || !contains(got, g.url) {
		t.Errorf("trackers after a restart: %v", got)
	}
	// Adding again with none changes nothing.
	if _, existed, err := s.Add(t.Context(), private.file, AddOptions{}); err != nil || !existed {
		t.Errorf("existed is %t, %v", existed, err)
	}
	if got := urls(s); len(got) != 2 {
		t.Errorf("trackers %v", got)
	}
	// To a stopped torrent as well.
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	third := makeContent(t, 64<<10, sizes, "http://127.0.0.1:1/announce")
	if _, existed, err := s.Add(t.Context(), third.file, AddOptions{}); err != nil || !existed {
		t.Errorf("existed is %t, %v", existed, err)
	}
	if got := urls(s); len(got) != 3 {
		t.Errorf("trackers %v", got)
	}
}

// TestAddAtTheSameTime: one torrent from many sides is one torrent.
func TestAddAtTheSameTime(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 500000})
	seed := seedOf(t, c, nil)
	s := open(t, nil)
	results := make(chan bool, 8)
	for range cap(results) {
		go func() {
			_, existed, err := s.Add(t.Context(), c.file, AddOptions{Peers: addrs(seed)})
			if err != nil {
				t.Errorf("adding: %v", err)
			}
			results <- existed
		}()
	}
	fresh := 0
	for range cap(results) {
		if !<-results {
			fresh++
		}
	}
	if fresh != 1 || len(s.Torrents()) != 1 {
		t.Errorf("%d torrents, %d of them new", len(s.Torrents()), fresh)
	}
	await(t, s, c, "completion", complete)
	s = reopen(t, s)
	await(t, s, c, "seeding", complete)
	if n := len(s.Torrents()); n != 1 {
		t.Errorf("%d torrents after a restart", n)
	}
}

// TestPictureOfAnIdleTorrent: a torrent that seeds a part of its files shows
// the same after a restart, although no loop runs for it.
func TestPictureOfAnIdleTorrent(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"a": 300000, "b": 500000, "c": 700001})
	seed := seedOf(t, c, nil)
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrs(seed), Only: []int{indexOf(t, seed, c, "/b")}})
	before := await(t, s, c, "the one file", complete)
	s = reopen(t, s)
	after := await(t, s, c, "seeding", complete)
	if after.Wanted != before.Wanted || after.HaveWanted != before.HaveWanted || after.Size != before.Size ||
		after.Have != before.Have || after.PiecesHave != before.PiecesHave ||
		after.PieceLength != before.PieceLength || after.Single != before.Single {
		t.Errorf("before the restart %+v, afterwards %+v", before, after)
	}
}
