package session

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/dht"
	"btd/metainfo"
	"btd/storage/resume"
)

// itemsDHT answers looks at items with what a test wants, and searches for
// peers with one address.
type itemsDHT struct {
	fakeDHT
	item *dht.Item // guarded by mu
	bad  int
	put  []*dht.Item // what was stored
	peer netip.AddrPort
	slow chan struct{} // what looks at items wait for, unless nil
}

func (f *itemsDHT) set(i *dht.Item, bad int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.item, f.bad = i, bad
}

func (f *itemsDHT) last() *dht.Item {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.put) == 0 {
		return nil
	}
	return f.put[len(f.put)-1]
}

func (f *itemsDHT) Start(q dht.Search, done func(dht.Results)) func() {
	f.mu.Lock()
	item, bad := f.item, f.bad
	f.mu.Unlock()
	go func() {
		r := &dht.Result{Item: item, Bad: bad}
		if q.Kind == dht.Get && f.slow != nil {
			<-f.slow
		}
		switch {
		case q.Kind == dht.GetPeers && f.peer.IsValid():
			q.Peers([]netip.AddrPort{f.peer})
		case q.Kind == dht.Get:
			if put := q.Put(item); put != nil {
				r.Stored = 8
				f.mu.Lock()
				f.put = append(f.put, put)
				f.mu.Unlock()
			}
			if item == nil {
				r.Err = dht.ErrNotFound
			}
		}
		done(dht.Results{IPv4: r})
	}()
	return func() {}
}

func withItems(f *itemsDHT) func(*Config) {
	return func(cfg *Config) { cfg.DHT = DHTConfig{On: true, fake: f} }
}

// TestAKilledSwitchGoesOn begins in every state that a crash can leave behind.
func TestAKilledSwitchGoesOn(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 1 << 20, "b": 300_000})
	two := one.version(t, "content", func(dir string) {
		scribble(t, filepath.Join(dir, "b"), 5)
		scribble(t, filepath.Join(dir, "b"), 320_000) // it is longer as well
	})
	seed := seedOf(t, two, func(cfg *Config) { cfg.NoPEX = true }) // what is fetched is counted, and from one peer nothing comes twice
	p := newSigner(3, "")
	first, second := p.item(t, 1, one), p.item(t, 2, two)
	for name, killed := range map[string]func(t *testing.T, db *resume.DB, rec resume.Record) error{
		"when the version is known": func(*testing.T, *resume.DB, resume.Record) error { return nil },
		"when its link was added": func(t *testing.T, db *resume.DB, rec resume.Record) error {
			rec.Magnet = two.link()
			return db.Add(rec, nil)
		},
		"when its metadata is here": func(_ *testing.T, db *resume.DB, rec resume.Record) error { return db.Add(rec, two.file) },
		"when the old one was stopped": func(_ *testing.T, db *resume.DB, rec resume.Record) error {
			return errors.Join(db.Add(rec, two.file), stopIn(db, one))
		},
		"when the old one was removed": func(_ *testing.T, db *resume.DB, rec resume.Record) error {
			return errors.Join(db.Add(rec, two.file), db.Remove(one.meta.Hash))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, dir := t.TempDir(), t.TempDir()
			fake := &itemsDHT{peer: seed.Addr()}
			fake.set(second, 0)
			edit := func(cfg *Config) { withItems(fake)(cfg); cfg.StateDir, cfg.Dir = state, dir }
			s := open(t, edit)
			copyOf(t, one, dir)
			add(t, s, one, AddOptions{})
			await(t, s, one, "completion", complete)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := resume.Open(filepath.Join(state, "resume.db"), nil)
			if err != nil {
				t.Fatal(err)
			}
			next := resume.Record{
				Hash: two.meta.Hash, Name: two.meta.Name, Dir: dir, Queue: 99, Added: time.Now(),
				Size: two.meta.Total, Wanted: two.meta.Total, Pieces: two.meta.Pieces(), PieceLength: two.meta.PieceLength,
			}
			removed := name == "when the old one was removed"
			err = errors.Join(killed(t, db, next), db.PutFollow(resume.Follow{
				Item: itemOf(second), Link: p.link(), Dir: dir, Added: time.Now(),
				Current: resume.Version{Hash: one.meta.Hash.Wire(), Seq: 1, Owned: true},
				Next:    resume.Version{Hash: two.meta.Hash.Wire(), Seq: 2, Owned: true, Placed: removed},
			}), db.Close())
			if err != nil {
				t.Fatal(err)
			}
			s = open(t, edit)
			v := switched(t, s, p, 2, two)
			two.same(t, dir)
			if want := one.differing(two); v.Downloaded != want || kept(s, one) {
				t.Errorf("fetched %d bytes, %d are in pieces that changed; the old one is kept: %v", v.Downloaded, want, kept(s, one))
			}
			// What was taken cannot be taken back.
			fake.set(first, 0)
			if f := lookNow(t, s, p); f.Current.Seq != 2 || f.Refused == 0 {
				t.Errorf("after an old item: %+v", f)
			}
			if i := fake.last(); i == nil || i.Seq != 2 {
				t.Errorf("stored again: %+v", i)
			}
		})
	}
}

func stopIn(db *resume.DB, c content) (err error) {
	_ = db.Each(func(rec resume.Record, e error) bool {
		if rec.Hash == c.meta.Hash {
			rec.Stopped = true
			err = errors.Join(e, db.Update(rec))
		}
		return true
	})
	return err
}

// copyOf puts the files of c into dir.
func copyOf(t *testing.T, c content, dir string) {
	t.Helper()
	v := c.version(t, c.meta.Name, func(string) {})
	if err := os.CopyFS(dir, os.DirFS(v.dir)); err != nil {
		t.Fatal(err)
	}
}

func TestForgedAndOldItemsAreRefused(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 100_000})
	two := one.version(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "a"), 5) })
	seed := seedOf(t, one, nil)
	p, stranger := newSigner(3, "salt"), newSigner(4, "salt")
	fake := &itemsDHT{peer: seed.Addr()}
	state := t.TempDir()
	edit := func(cfg *Config) { withItems(fake)(cfg); cfg.StateDir = state }
	s := open(t, edit)
	startFollowing(t, s, p, FollowOptions{})
	if v := lookNow(t, s, p); v.Current != (Version{}) || v.Problem != "" {
		t.Errorf("before anything is published: %+v", v)
	}
	fake.set(p.item(t, 5, one), 0)
	lookNow(t, s, p)
	switched(t, s, p, 5, one)
	forged := p.item(t, 6, two)
	forged.Sig = append([]byte(nil), forged.Sig...)
	forged.Sig[3] ^= 1
	other, err := dht.SignItem(p.key, p.salt, 8, []byte("5:hello"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := dht.NewItem([]byte("d2:ih20:01234567890123456789e"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		item         *dht.Item
		bad, refused int64
	}{
		"a bad signature": {forged, 1, 0}, "a stranger's": {stranger.item(t, 6, two), 1, 0}, "one without a key": {plain, 1, 0},
		"an older one": {p.item(t, 4, two), 0, 1}, "another of the same number": {p.item(t, 5, two), 0, 1},
		"one that names no torrent": {other, 0, 1},
	} {
		before := lookNowQuiet(t, s, p, fake)
		fake.set(c.item, 0)
		v := lookNow(t, s, p)
		if v.Bad-before.Bad != c.bad || v.Refused-before.Refused != c.refused || v.Current.Seq != 5 || v.Next != (Version{}) {
			t.Errorf("%s: %+v, before %+v", name, v, before)
		}
		if i := fake.last(); i.Seq < 5 {
			t.Errorf("%s: stored again: version %d", name, i.Seq)
		}
	}
	fake.set(nil, 3) // so many replies had a bad signature
	before := s.Follows()[0]
	if v := lookNow(t, s, p); v.Bad != before.Bad+3 {
		t.Errorf("%+v, before %+v", v, before)
	}
	if kept(s, two) {
		t.Error("a refused version was added")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fake.set(p.item(t, 4, two), 0) // the number is remembered
	s = open(t, edit)
	if v := lookNow(t, s, p); v.Current.Seq != 5 || v.Refused == 0 || kept(s, two) {
		t.Errorf("after a restart: %+v", v)
	}
}

// lookNowQuiet looks while nothing is found.
func lookNowQuiet(t *testing.T, s *Session, p signer, fake *itemsDHT) Followed {
	t.Helper()
	fake.set(nil, 0)
	return lookNow(t, s, p)
}

// TestALookIsWaitedForDuringAnother asks while the first look is under way,
// which then finds something and would be the last for an hour.
func TestALookIsWaitedForDuringAnother(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 100_000})
	p := newSigner(3, "")
	fake := &itemsDHT{slow: make(chan struct{})}
	fake.set(p.item(t, 1, one), 0)
	s := open(t, withItems(fake))
	x := func() (begun, wanted int) {
		s.follower.mu.Lock()
		defer s.follower.mu.Unlock()
		e := s.follower.follows[p.target()]
		return e.begun, e.wanted
	}
	startFollowing(t, s, p, FollowOptions{})
	until(t, "look", func() bool { begun, _ := x(); return begun == 1 })
	looked := make(chan error, 1)
	go func() {
		_, err := s.LookNow(t.Context(), p.target())
		looked <- err
	}()
	until(t, "second look", func() bool { _, wanted := x(); return wanted == 2 })
	close(fake.slow)
	select {
	case err := <-looked:
		if begun, _ := x(); err != nil || begun != 2 {
			t.Errorf("after %d looks: %v", begun, err)
		}
	case <-time.After(patience):
		t.Fatal("the second look never came")
	}
}

func TestATorrentOfAUserIsLeftAlone(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 300_000})
	two := one.version(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "a"), 5) })
	seed := seedOf(t, two, nil)
	p := newSigner(3, "")
	fake := &itemsDHT{peer: seed.Addr()}
	s := open(t, withItems(fake))
	copyOf(t, one, s.cfg.Dir)
	add(t, s, one, AddOptions{}) // before anything is followed
	await(t, s, one, "completion", complete)
	fake.set(p.item(t, 1, one), 0)
	startFollowing(t, s, p, FollowOptions{})
	switched(t, s, p, 1, one)
	fake.set(p.item(t, 2, two), 0)
	lookNow(t, s, p)
	v := switched(t, s, p, 2, two)
	one.same(t, s.cfg.Dir)
	two.same(t, filepath.Join(s.cfg.Dir, "version-2"))
	if !kept(s, one) || v.Downloaded != one.differing(two) {
		t.Errorf("kept: %v; fetched %d bytes", kept(s, one), v.Downloaded)
	}
}

// TestNamesDoNotLeadToFilesOfTheUser has a publisher choose names of files that
// are there already.
func TestNamesDoNotLeadToFilesOfTheUser(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 100_000, "b": 50_000})
	two := one.version(t, "content", func(dir string) {
		if err := os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "diary")); err != nil {
			t.Error(err)
		}
	})
	single := makeContent(t, 32<<10, map[string]int{"": 70_000})
	for name, c := range map[string]struct {
		first, next content
		theirs      string
		dirs        [2]string
	}{
		"the first version":         {one, two, "content/a", [2]string{"version-1", "version-2"}},
		"within the old one's":      {one, two, "content/diary", [2]string{"", "version-2"}},
		"where a directory is":      {one, single, "", [2]string{"", "version-2"}},
		"none, of the right length": {one, two, "", [2]string{"", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := open(t, nil)
			add(t, seed, c.first, AddOptions{Dir: c.first.dir})
			add(t, seed, c.next, AddOptions{Dir: c.next.dir})
			p := newSigner(3, "")
			fake := &itemsDHT{peer: seed.Addr()}
			s := open(t, withItems(fake))
			path := filepath.Join(s.cfg.Dir, c.theirs)
			if c.theirs != "" {
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("dear diary"), 0o644)); err != nil {
					t.Fatal(err)
				}
			} else if c.next.meta.Hash == two.meta.Hash {
				copyOf(t, one, s.cfg.Dir) // the data is here, as when a key is followed once more
			}
			for i, v := range []content{c.first, c.next} {
				fake.set(p.item(t, int64(i+1), v), 0)
				if i == 0 {
					startFollowing(t, s, p, FollowOptions{})
				}
				lookNow(t, s, p)
				got := switched(t, s, p, int64(i+1), v)
				v.same(t, filepath.Join(s.cfg.Dir, c.dirs[i]))
				if c.theirs == "" && c.next.meta.Hash == two.meta.Hash && got.Downloaded != 0 {
					t.Errorf("version %d: fetched %d bytes of what was here", i+1, got.Downloaded)
				}
			}
			if got, err := os.ReadFile(path); c.theirs != "" && string(got) != "dear diary" {
				t.Errorf("the user's file is %q, %v", got[:min(len(got), 20)], err)
			}
		})
	}
}

func TestFollowingEnds(t *testing.T) {
	t.Parallel()
	one := makeContent(t, 32<<10, map[string]int{"a": 300_000})
	two := one.version(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "a"), 5) })
	seed := seedOf(t, one, nil)
	p := newSigner(3, "")
	fake := &itemsDHT{peer: seed.Addr()}
	state := t.TempDir()
	edit := func(cfg *Config) { withItems(fake)(cfg); cfg.StateDir = state }
	s := open(t, edit)
	fake.set(p.item(t, 1, one), 0)
	startFollowing(t, s, p, FollowOptions{})
	switched(t, s, p, 1, one)
	fake.set(p.item(t, 2, two), 0) // nobody has it
	lookNow(t, s, p)
	until(t, "next version", func() bool { return kept(s, two) })
	if err := s.Unfollow(t.Context(), p.target()); err != nil {
		t.Fatal(err)
	}
	if len(s.Follows()) != 0 || kept(s, two) || !kept(s, one) {
		t.Errorf("follows %+v, next kept %v, current kept %v", s.Follows(), kept(s, two), kept(s, one))
	}
	if err := s.Unfollow(t.Context(), p.target()); !errors.Is(err, ErrMissing) {
		t.Errorf("again: %v", err)
	}
	if _, err := s.LookNow(t.Context(), p.target()); !errors.Is(err, ErrMissing) {
		t.Errorf("a look: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = open(t, edit); len(s.Follows()) != 0 || kept(s, two) {
		t.Errorf("after a restart: %+v", s.Follows())
	}
}

func TestWhatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	p := newSigner(3, "")
	off := open(t, nil)
	if _, _, err := off.Follow(t.Context(), p.link(), FollowOptions{}); !errors.Is(err, ErrNoDHT) {
		t.Errorf("without the DHT: %v", err)
	}
	s := open(t, withItems(&itemsDHT{}))
	plain := (&metainfo.Magnet{Hash: metainfo.V1([20]byte{1})}).String()
	for name, link := range map[string]string{
		"no link": "x", "no key": plain, "for a local network": p.link() + "&x.scope=lan",
		"with a secret": (&metainfo.Magnet{Key: p.public(), Secret: metainfo.Secret(bytesOf(5, len(metainfo.Secret{})))}).String(),
	} {
		if _, _, err := s.Follow(t.Context(), link, FollowOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := s.Follow(t.Context(), p.link(), FollowOptions{Dir: "x"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a relative directory: %v", err)
	}
	startFollowing(t, s, p, FollowOptions{})
	yes := true
	v, existed, err := s.Follow(t.Context(), p.link(), FollowOptions{KeepOld: &yes})
	if err != nil || !existed || !v.KeepOld || v.Dir != s.cfg.Dir || v.Name != "the feed" || len(s.Follows()) != 1 {
		t.Errorf("again: %+v, %v, %v", v, existed, err)
	}
}
