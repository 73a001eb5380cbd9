package session

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"btd/dht"
	"btd/metainfo"
	"btd/metainfo/create"
	"btd/session/follow"
)

// signer signs versions.
type signer struct {
	key  ed25519.PrivateKey
	salt []byte
}

func newSigner(n byte, salt string) signer {
	p := signer{key: ed25519.NewKeyFromSeed(bytesOf(n, 32))}
	if salt != "" {
		p.salt = []byte(salt)
	}
	return p
}

func (p signer) public() []byte { return p.key.Public().(ed25519.PublicKey) }

func (p signer) link() string {
	return (&metainfo.Magnet{Key: p.public(), Salt: p.salt, Name: "the feed"}).String()
}

func (p signer) target() [20]byte {
	at, err := DHTTarget(p.public(), p.salt)
	if err != nil {
		panic(err)
	}
	return at
}

// item is version seq, which is c.
func (p signer) item(t *testing.T, seq int64, c content) *dht.Item {
	t.Helper()
	i, err := dht.SignItem(p.key, p.salt, seq, follow.AppendValue(nil, c.meta.Hash.Wire()))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// publish publishes version seq, again until a node says in time that it has it.
func (p signer) publish(t *testing.T, s *Session, seq int64, c content) (v Published) {
	t.Helper()
	i := p.item(t, seq, c)
	until(t, "node that takes the version", func() bool {
		var err error
		if v, err = s.Publish(t.Context(), DHTItem{V: i.V, K: i.K, Sig: i.Sig, Salt: i.Salt, Seq: i.Seq}); err != nil {
			t.Fatalf("publishing version %d: %+v, %v", seq, v, err)
		}
		return v.Stored > 0
	})
	return v
}

// version is c with another name, or with other files.
func (c content) version(t *testing.T, name string, edit func(dir string)) content {
	t.Helper()
	v := content{dir: t.TempDir()}
	from := c.meta.Name
	if err := os.CopyFS(filepath.Join(v.dir, name), os.DirFS(filepath.Join(c.dir, from))); err != nil {
		t.Fatal(err)
	}
	edit(filepath.Join(v.dir, name))
	var err error
	if v.file, err = create.Torrent(t.Context(), os.DirFS(v.dir), name, create.Options{PieceLength: c.meta.PieceLength}); err != nil {
		t.Fatal(err)
	}
	if v.meta, err = metainfo.Parse(v.file); err != nil {
		t.Fatal(err)
	}
	return v
}

// scribble changes bytes of a file.
func scribble(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("scribble"), at); err != nil {
		t.Fatal(err)
	}
}

// differing counts the bytes of pieces that v has and c has not in their place.
func (c content) differing(v content) (n int64) {
	for i := range v.meta.Pieces() {
		at := i * 20
		if at+20 > len(c.meta.Sums) || !bytes.Equal(c.meta.Sums[at:at+20], v.meta.Sums[at:at+20]) {
			n += min(v.meta.PieceLength, v.meta.Total-int64(i)*v.meta.PieceLength)
		}
	}
	return n
}

// switched waits until s has switched to version seq, which is c, and has all
// of it.
func switched(t *testing.T, s *Session, p signer, seq int64, c content) Torrent {
	t.Helper()
	look := func() Followed {
		for _, v := range s.Follows() {
			if v.Target == p.target() {
				return v
			}
		}
		t.Fatal("it is not followed")
		return Followed{}
	}
	until(t, "new version", func() bool { v := look(); return v.Current.Seq == seq && v.Current.Hash.Wire() == c.meta.Hash.Wire() })
	if v := look(); v.Next != (Version{}) {
		t.Errorf("after the switch: %+v", v)
	}
	return await(t, s, c, "completion", complete)
}

// lookNow asks the DHT, which may have to find its nodes first.
func lookNow(t *testing.T, s *Session, p signer) (v Followed) {
	t.Helper()
	v, err := s.LookNow(t.Context(), p.target())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// lookUntil looks until version seq is found, which is in the DHT: its nodes may
// answer too late.
func lookUntil(t *testing.T, s *Session, p signer, seq int64) {
	t.Helper()
	until(t, "look that finds the version", func() bool {
		v := lookNow(t, s, p)
		return v.Current.Seq == seq || v.Next.Seq == seq
	})
}

func startFollowing(t *testing.T, s *Session, p signer, o FollowOptions) {
	t.Helper()
	if v, existed, err := s.Follow(t.Context(), p.link(), o); err != nil || existed || v.Name != "the feed" || v.Target != p.target() {
		t.Fatalf("following: %+v, existed %v, %v", v, existed, err)
	}
}

// kept tells whether there still is a torrent.
func kept(s *Session, c content) bool {
	_, err := s.Torrent(c.meta.Hash)
	return err == nil
}

// feed is a publisher's session, a DHT, and two versions of a few files.
type feed struct {
	signer
	boot     string
	from     *Session
	one, two content
}

func newFeed(t *testing.T, name string, edit func(dir string)) feed {
	t.Helper()
	_, addr := bootNode(t)
	x := feed{signer: newSigner(7, "news"), boot: addr}
	x.one = makeContent(t, 32<<10, map[string]int{"a": 1 << 20, "b": 300_000, "sub/c": 500_000})
	x.two = x.one.version(t, name, edit)
	x.from = seedOf(t, x.one, joins(addr))
	x.publish(t, x.from, 1, x.one)
	return x
}

// first has s follow, and waits for the first version.
func (x feed) first(t *testing.T, s *Session, o FollowOptions) {
	t.Helper()
	startFollowing(t, s, x.signer, o)
	lookUntil(t, s, x.signer, 1)
	switched(t, s, x.signer, 1, x.one)
}

// second publishes the second version, and waits until s has it.
func (x feed) second(t *testing.T, s *Session) Torrent {
	t.Helper()
	add(t, x.from, x.two, AddOptions{Dir: x.two.dir})
	await(t, x.from, x.two, "seeding", complete)
	x.publish(t, x.from, 2, x.two)
	lookUntil(t, s, x.signer, 2)
	return switched(t, s, x.signer, 2, x.two)
}

func TestAFollowerFetchesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	x := newFeed(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "a"), 500_000) })
	s := open(t, joins(x.boot))
	x.first(t, s, FollowOptions{})
	x.one.same(t, s.cfg.Dir)
	v := x.second(t, s)
	x.two.same(t, s.cfg.Dir)
	want := x.one.differing(x.two)
	if want != 32<<10 || v.Downloaded != want {
		t.Errorf("fetched %d bytes, %d are in pieces that changed", v.Downloaded, want)
	}
	if v.Dir != s.cfg.Dir || kept(s, x.one) {
		t.Errorf("in %s; the old version is kept: %v", v.Dir, kept(s, x.one))
	}
}

func TestAFollowerKeepsOldVersions(t *testing.T) {
	t.Parallel()
	x := newFeed(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "sub/c"), 1) })
	s := open(t, joins(x.boot))
	yes := true
	x.first(t, s, FollowOptions{KeepOld: &yes})
	v := x.second(t, s)
	x.one.same(t, filepath.Join(s.cfg.Dir, "version-1"))
	x.two.same(t, filepath.Join(s.cfg.Dir, "version-2"))
	if want := x.one.differing(x.two); v.Downloaded != want || !kept(s, x.one) {
		t.Errorf("fetched %d bytes, %d are in pieces that changed; the old one is kept: %v", v.Downloaded, want, kept(s, x.one))
	}
	await(t, s, x.one, "seeding of the old version", complete)
}

func TestAVersionOfAnotherNameTakesFilesOver(t *testing.T) {
	t.Parallel()
	x := newFeed(t, "content-2", func(dir string) {
		if err := os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "renamed")); err != nil {
			t.Error(err)
		}
	})
	s := open(t, joins(x.boot))
	x.first(t, s, FollowOptions{})
	v := x.second(t, s)
	x.two.same(t, s.cfg.Dir)
	if v.Downloaded != 0 || kept(s, x.one) {
		t.Errorf("fetched %d bytes of what was here; the old one is kept: %v", v.Downloaded, kept(s, x.one))
	}
	x.one.same(t, s.cfg.Dir) // nobody said that its files are to go
}

func TestAShorterFileIsCut(t *testing.T) {
	t.Parallel()
	x := newFeed(t, "content", func(dir string) {
		if err := errors.Join(os.Truncate(filepath.Join(dir, "sub/c"), 100_000), os.Remove(filepath.Join(dir, "b"))); err != nil {
			t.Error(err)
		}
	})
	s := open(t, joins(x.boot))
	x.first(t, s, FollowOptions{})
	x.second(t, s)
	x.two.same(t, s.cfg.Dir)
	had, err := os.ReadFile(filepath.Join(s.cfg.Dir, "content/b")) // nobody said that it is to go
	if want, werr := os.ReadFile(filepath.Join(x.one.dir, "content/b")); err != nil || werr != nil || !bytes.Equal(had, want) {
		t.Errorf("what only the old version had: %d bytes, %v, %v", len(had), err, werr)
	}
}

// TestAVersionThatNobodyHas leaves the one in use alone, over a restart too.
func TestAVersionThatNobodyHas(t *testing.T) {
	t.Parallel()
	x := newFeed(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "a"), 0) })
	lost := x.one.version(t, "content", func(dir string) { scribble(t, filepath.Join(dir, "b"), 0) })
	state, dir := t.TempDir(), t.TempDir()
	edit := func(cfg *Config) { joins(x.boot)(cfg); cfg.StateDir, cfg.Dir = state, dir }
	s := open(t, edit)
	x.first(t, s, FollowOptions{})
	x.publish(t, x.from, 2, lost)
	lookUntil(t, s, x.signer, 2)
	waits := func() {
		until(t, "wait for the next version", func() bool {
			v, err := s.Torrent(lost.meta.Hash)
			f := s.Follows()[0]
			return err == nil && v.State == StateMetadata && f.Next.Seq == 2 && f.Current.Seq == 1
		})
		await(t, s, x.one, "seeding", complete)
	}
	waits()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, edit)
	waits()
	x.one.same(t, dir)
	add(t, x.from, x.two, AddOptions{Dir: x.two.dir})
	x.publish(t, x.from, 3, x.two)
	lookUntil(t, s, x.signer, 3)
	switched(t, s, x.signer, 3, x.two)
	if kept(s, lost) || kept(s, x.one) {
		t.Errorf("the lost version is kept: %v; the old one: %v", kept(s, lost), kept(s, x.one))
	}
}
