package session

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"btd/storage/resume"
)

// TestAVersionDoesNotCutFilesOfAnotherTorrent has a publisher name a file of a
// torrent that is here already, first as long as it is and then shorter.
func TestAVersionDoesNotCutFilesOfAnotherTorrent(t *testing.T) {
	t.Parallel()
	theirs := makeContent(t, 32<<10, map[string]int{"a": 300_000, "b": 100_000})
	one := theirs.version(t, "content", func(dir string) {
		scribbleAll(t, filepath.Join(dir, "a"), 300_000)
		scribbleAll(t, filepath.Join(dir, "b"), 100_000)
	})
	two := one.version(t, "content", func(dir string) { scribbleAll(t, filepath.Join(dir, "a"), 10) })
	seed := seedOf(t, one, nil)
	add(t, seed, two, AddOptions{Dir: two.dir})
	p := newSigner(3, "")
	fake := &itemsDHT{peer: seed.Addr()}
	s := open(t, withItems(fake))
	copyOf(t, theirs, s.cfg.Dir)
	add(t, s, theirs, AddOptions{})
	await(t, s, theirs, "completion", complete)
	for i, v := range []content{one, two} {
		fake.set(p.item(t, int64(i+1), v), 0)
		if i == 0 {
			startFollowing(t, s, p, FollowOptions{})
		}
		lookNow(t, s, p)
		until(t, "switch", func() bool { return s.Follows()[0].Current.Seq == int64(i+1) })
	}
	theirs.same(t, s.cfg.Dir)
}

// scribbleAll makes a file n bytes of something else.
func scribbleAll(t *testing.T, path string, n int) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, n), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTheOldVersionGoesOnWithoutTheNext takes the next version back when the
// old one was stopped for it already.
func TestTheOldVersionGoesOnWithoutTheNext(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 300_000})
	two := one.version(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "a"), 5) })
	p := newSigner(3, "")
	for name, how := range map[string]struct {
		halted bool
		end    func(s *Session, fake *itemsDHT) error
	}{
		"nobody follows any more": {true, func(s *Session, _ *itemsDHT) error { return s.Unfollow(t.Context(), p.target()) }},
		"the publisher goes back": {true, func(s *Session, fake *itemsDHT) error {
			fake.set(p.item(t, 3, one), 0)
			_, err := s.LookNow(t.Context(), p.target())
			return err
		}},
		"the user stopped it": {false, func(s *Session, _ *itemsDHT) error { return s.Unfollow(t.Context(), p.target()) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, dir := t.TempDir(), t.TempDir()
			fake := &itemsDHT{}
			fake.set(p.item(t, 2, two), 0)
			edit := func(cfg *Config) { withItems(fake)(cfg); cfg.StateDir, cfg.Dir = state, dir }
			copyOf(t, one, dir)
			s := open(t, edit)
			add(t, s, one, AddOptions{})
			await(t, s, one, "completion", complete)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := resume.Open(filepath.Join(state, "resume.db"), nil)
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(stopIn(db, one), db.PutFollow(resume.Follow{
				Item: itemOf(p.item(t, 2, two)), Link: p.link(), Dir: dir, Added: time.Now(),
				Current: resume.Version{Hash: one.meta.Hash.Wire(), Seq: 1, Owned: true},
				Next:    resume.Version{Hash: two.meta.Hash.Wire(), Seq: 2, Owned: true, Halted: how.halted},
			}), db.Close())
			if err != nil {
				t.Fatal(err)
			}
			s = open(t, edit)
			until(t, "next version", func() bool { return kept(s, two) })
			if err := how.end(s, fake); err != nil {
				t.Fatal(err)
			}
			until(t, "end of the next version", func() bool { return !kept(s, two) })
			v, err := s.Torrent(one.meta.Hash)
			if err != nil || (v.State == StateStopped) == how.halted {
				t.Errorf("the old version is %s, %v", v.State, err)
			}
		})
	}
}

// TestChoicesAreCarriedOver: what was skipped or preferred by its path is so in
// the next version, whatever the directory is called; what is new is not.
func TestChoicesAreCarriedOver(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 1 << 20, "b": 300_000, "sub/c": 500_000})
	two := one.version(t, "content", func(dir string) {
		scribble(t, filepath.Join(dir, "a"), 500_000)
		scribble(t, filepath.Join(dir, "b"), 100_000)
		if err := os.Truncate(filepath.Join(dir, "b"), 200_000); err != nil { // what is skipped is not cut either
			t.Error(err)
		}
		scribbleAll(t, filepath.Join(dir, "z"), 50_000)
	})
	three := two.version(t, "content-3", func(dir string) { scribble(t, filepath.Join(dir, "sub/c"), 200_000) })
	seed := seedOf(t, one, nil)
	for _, v := range []content{two, three} {
		add(t, seed, v, AddOptions{Dir: v.dir})
		await(t, seed, v, "seeding", complete)
	}
	p := newSigner(3, "")
	fake := &itemsDHT{peer: seed.Addr()}
	s := open(t, withItems(fake))
	fake.set(p.item(t, 1, one), 0)
	startFollowing(t, s, p, FollowOptions{})
	lookNow(t, s, p)
	switched(t, s, p, 1, one)
	err := s.SetPriorities(t.Context(), one.meta.Hash, map[int]Priority{indexOf(t, s, one, "/a"): High, indexOf(t, s, one, "/b"): Skip})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Priority{"a": High, "b": Skip, "sub/c": Normal, "z": Normal}
	for i, v := range []content{two, three} {
		fake.set(p.item(t, int64(i+2), v), 0)
		lookNow(t, s, p)
		got := switched(t, s, p, int64(i+2), v)
		if got.Wanted != got.Size-200_000 {
			t.Errorf("version %d: %d of %d bytes are wanted", i+2, got.Wanted, got.Size)
		}
		files, err := s.Files(v.meta.Hash)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := strings.TrimPrefix(f.Path, v.meta.Name+"/")
			if f.Priority != want[name] {
				t.Errorf("version %d: %s has priority %d, want %d", i+2, name, f.Priority, want[name])
			}
		}
	}
	same := func(v content, file, of string) bool {
		got, err := os.ReadFile(filepath.Join(s.cfg.Dir, file))
		want, werr := os.ReadFile(filepath.Join(v.dir, of))
		return err == nil && werr == nil && bytes.Equal(got, want)
	}
	if !same(one, "content/b", "content/b") || !same(two, "content/z", "content/z") {
		t.Error("version 2 has fetched or cut what is skipped, or not fetched what is new")
	}
	for _, file := range []string{"a", "sub/c", "z"} {
		if !same(three, "content-3/"+file, "content-3/"+file) {
			t.Errorf("%s is not that of version 3", file)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.cfg.Dir, "content-3/b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is skipped was copied for version 3: %v", err)
	}
}

// What a user has chosen of the next version already is left alone.
func TestChoicesOfTheNextVersionStay(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 40_000, "b": 50_000})
	s := open(t, nil)
	add(t, s, one, AddOptions{Stopped: true, Only: []int{1}})
	e := s.byWire(one.meta.Hash.Wire())
	if err := s.follower.carry(t.Context(), one.meta, []uint8{uint8(High), uint8(Skip)}, one.meta, e); err != nil {
		t.Fatal(err)
	}
	if r, _ := e.record(); !slices.Equal(r.Priorities, []uint8{uint8(Skip), uint8(Normal)}) {
		t.Errorf("priorities %v", r.Priorities)
	}
}

// Whoever gave the metadata of a version hears of the pieces that were here
// already: it may lack them, or be a seed that shows each piece to one peer only.
func TestPeersHearOfWhatWasTakenOver(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 1 << 20, "b": 300_000})
	two := one.version(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "b"), 5) })
	had := int64(two.meta.Pieces() - 1)
	from := serveMeta(t, "127.0.0.1", two.meta.Hash.Wire(), two.meta.Raw, sendMeta)
	p := newSigner(3, "")
	fake := &itemsDHT{peer: from.addr}
	s := open(t, withItems(fake))
	copyOf(t, one, s.cfg.Dir)
	add(t, s, one, AddOptions{})
	await(t, s, one, "completion", complete)
	fake.set(p.item(t, 1, one), 0)
	startFollowing(t, s, p, FollowOptions{})
	lookNow(t, s, p)
	until(t, "first version", func() bool { return s.Follows()[0].Current.Seq == 1 })
	fake.set(p.item(t, 2, two), 0)
	lookNow(t, s, p)
	until(t, "news of what was taken over", func() bool { return from.haves.Load() >= had })
	await(t, s, two, "the pieces", func(v Torrent) bool { return int64(v.PiecesHave) == had })
	if n := from.haves.Load(); n != had {
		t.Errorf("told of %d pieces, %d are here", n, had)
	}
}
