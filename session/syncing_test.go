package session

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/piece"
	"btd/storage"
)

// claims is what the resume database says is stored.
func claims(t *testing.T, s *Session, c content) *piece.Bitfield {
	t.Helper()
	have, err := s.db.Pieces(c.meta.Hash, c.meta.Pieces())
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// syncNow makes a round of the persister, in which everything is due. Of what the
// persister itself is writing at that moment, the rest has its turn afterwards.
func syncNow(t *testing.T, s *Session) {
	t.Helper()
	until(t, "end of the round", func() bool { return !s.persist.writePieces(true) })
	roundOver(s)
}

// roundOver waits for the writes that are under way. The persister's WaitGroup is
// not for others: they would wait while it counts up from nothing.
func roundOver(s *Session) {
	for _, e := range s.entries() {
		func() {
			e.flushing.Lock()
			defer e.flushing.Unlock()
		}()
	}
}

func more(n int64) func(Torrent) bool { return func(v Torrent) bool { return v.Have >= n } }

// TestClaimsWaitForTheirSync: finished pieces are claimed when they are due,
// and at a stop.
func TestClaimsWaitForTheirSync(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"x": 6 << 20, "y": 2 << 20})
	seed := rationedSeed(t, c)
	leech := open(t, func(cfg *Config) { cfg.SyncEvery = time.Hour })
	add(t, leech, c, AddOptions{Peers: addrsOf(seed.fakeSeed)})
	seed.give(80) // 20 pieces
	await(t, leech, c, "some pieces", more(1<<20))
	if !leech.persist.writePieces(false) {
		t.Error("nothing waits to be recorded")
	}
	roundOver(leech)
	if n := claims(t, leech, c).Count(); n != 0 {
		t.Errorf("%d pieces are claimed before they are due", n)
	}
	syncNow(t, leech)
	first := claims(t, leech, c).Count()
	if first < 16 {
		t.Errorf("%d pieces are claimed, want the 16 that there were", first)
	}
	seed.give(160)
	had := await(t, leech, c, "some more", more(3<<20)).PiecesHave
	leech = reopen(t, leech)
	if n := claims(t, leech, c).Count(); n < had {
		t.Errorf("%d pieces are claimed after a stop, there were %d", n, had)
	}
}

// TestManyBytesAreNotWaitedFor: a torrent with much to claim is synced before
// its time.
func TestManyBytesAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 8 << 20})
	seed := rationedSeed(t, c)
	leech := open(t, func(cfg *Config) { cfg.SyncEvery, cfg.SyncBytes = time.Hour, 1<<20 })
	add(t, leech, c, AddOptions{Peers: addrsOf(seed.fakeSeed)})
	seed.give(100) // 25 pieces; the end never comes
	await(t, leech, c, "claims", func(Torrent) bool { return claims(t, leech, c).Count() >= 16 })
}

func TestDueBySlowness(t *testing.T) {
	s := &Session{cfg: Config{}.withDefaults()}
	p := newPersister(s)
	now := time.Now()
	for _, x := range []struct {
		name  string
		bytes int64
		rate  time.Duration // that a sync of 100 MiB took
		since time.Duration
		want  bool
	}{
		{"new", 1 << 20, 0, time.Second, false},
		{"old", 1 << 20, 0, 10 * time.Second, true},
		{"much", 4 << 30, 0, time.Second, true},
		{"less", 3 << 30, 0, time.Second, false},
		{"more than a slow disk writes in 2 s", 60 << 20, 4 * time.Second, time.Second, true},
		{"less than that", 40 << 20, 4 * time.Second, time.Second, false},
		{"a fast disk", 60 << 20, time.Second / 10, time.Second, false},
		{"a very slow disk", 17 << 20, time.Minute, time.Second, true},
		{"a few pieces on it", 15 << 20, time.Minute, time.Second, false},
	} {
		e := &entry{}
		if x.rate > 0 {
			e.log.synced(100<<20, x.rate)
		}
		e.log.add(0, x.bytes)
		if got := p.due(e, waiting{since: now.Add(-x.since)}, now); got != x.want {
			t.Errorf("%s: due is %t", x.name, got)
		}
	}
	if !p.due(&entry{}, waiting{}, now) {
		t.Error("what failed is not tried again at once")
	}
}

// TestLateSyncThatFails: what was claimed stays claimed, what came since is
// claimed only after it was verified, and the user is told meanwhile.
func TestLateSyncThatFails(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only where a file that lost its name is noticed")
	}
	c := makeContent(t, 64<<10, map[string]int{"x": 6 << 20, "y": 2 << 20})
	seed := rationedSeed(t, c)
	leech := open(t, func(cfg *Config) { cfg.SyncEvery = time.Hour })
	add(t, leech, c, AddOptions{Peers: addrsOf(seed.fakeSeed)})
	seed.give(80) // 20 pieces
	await(t, leech, c, "some pieces", more(1<<20))
	syncNow(t, leech)
	first := claims(t, leech, c)
	if first.Count() < 16 {
		t.Fatalf("%d pieces are claimed, want 16", first.Count())
	}
	seed.give(160)
	await(t, leech, c, "some more", more(3<<20))

	path := filepath.Join(leech.cfg.Dir, "content", "x")
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	syncNow(t, leech)
	v := await(t, leech, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if v.Error == "" {
		t.Error("the error is not told")
	}
	if n := leech.Stats().ResumeFailures; n == 0 {
		t.Errorf("the failure is not counted: %+v", leech.Stats())
	}
	syncNow(t, leech) // nothing of it may be claimed now
	now := claims(t, leech, c)
	for i := range c.meta.Pieces() {
		i := piece.Index(i)
		if first.Has(i) != now.Has(i) {
			t.Errorf("piece %d: claimed before %t, after a sync that failed %t", i, first.Has(i), now.Has(i))
		}
	}
	back := filepath.Join(t.TempDir(), "x") // it is there as a whole or not at all
	if err := os.WriteFile(back, was, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(back, path); err != nil {
		t.Fatal(err)
	}
	seed.give(1000)
	v = await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	// What the file held is found again by hashing.
	if v.Downloaded > v.Size+2<<20 {
		t.Errorf("downloaded %d bytes for %d", v.Downloaded, v.Size)
	}
	leech = reopen(t, leech)
	if n := claims(t, leech, c).Count(); n != c.meta.Pieces() {
		t.Errorf("%d of %d pieces are claimed at the end", n, c.meta.Pieces())
	}
}

// TestStopAfterASyncThatFailed: a stop in the error state claims nothing that
// is in doubt, and the next start finds it by hashing.
func TestStopAfterASyncThatFailed(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only where a file that lost its name is noticed")
	}
	c := makeContent(t, 64<<10, map[string]int{"": 6 << 20})
	seed := rationedSeed(t, c)
	leech := open(t, func(cfg *Config) { cfg.SyncEvery = time.Hour })
	add(t, leech, c, AddOptions{Peers: addrsOf(seed.fakeSeed)})
	seed.give(160) // 40 pieces
	await(t, leech, c, "some pieces", more(2<<20))
	path := filepath.Join(leech.cfg.Dir, "content")
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	syncNow(t, leech)
	await(t, leech, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if err := leech.Close(); err != nil {
		t.Fatal(err)
	}
	seed.l.Close()   // what is there after the start comes from the disk alone
	was[100] ^= 0xff // one piece is bad
	if err := os.WriteFile(path, was, 0o644); err != nil {
		t.Fatal(err)
	}
	leech = open(t, func(cfg *Config) { cfg.StateDir, cfg.Dir = leech.cfg.StateDir, leech.cfg.Dir })
	if n := claims(t, leech, c).Count(); n != 0 {
		t.Errorf("%d pieces are claimed that were never synced", n)
	}
	v := await(t, leech, c, "the check", func(v Torrent) bool { return v.State == StateDownloading })
	if v.Have < 1<<20 {
		t.Errorf("%d bytes were found again, there were 2 MiB", v.Have)
	}
	if err := leech.AddPeers(t.Context(), c.meta.Hash, addrs(seedOf(t, c, nil))); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
}

// TestPendingFilesAreThoseOfThisLoop: what an earlier loop left to be tried
// again does not sync its closed files in place of ours.
func TestPendingFilesAreThoseOfThisLoop(t *testing.T) {
	p := newPersister(&Session{})
	e, old, now := &entry{}, &storage.Torrent{}, &storage.Torrent{}
	p.putBack(e, waiting{files: old})
	p.touch(e, now)
	if w := p.pending[e]; w.files != now || !w.since.IsZero() {
		t.Errorf("pending: the earlier files %t, since %v; want the present ones, at once", w.files == old, w.since)
	}
}
