package session

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"btd/dht"
	"btd/metainfo"
	"btd/session/dhtpace"
	"btd/storage/resume"
)

func TestPublishingGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	c := makeContent(t, 32<<10, map[string]int{"a": 100_000})
	p := newSigner(9, "news")
	state := t.TempDir()
	s := open(t, func(cfg *Config) { joins(addr)(cfg); cfg.StateDir = state })
	add(t, s, c, AddOptions{Dir: c.dir})
	v := p.publish(t, s, 4, c)
	if v.Name != "content" || v.Hash != c.meta.Hash || v.Seq != 4 || v.Stopped || v.Target != p.target() || v.Problem != "" {
		t.Errorf("%+v", v)
	}
	if n := boot.Stats().IPv4.Items; n != 1 {
		t.Fatalf("%d items are stored", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit := func(cfg *Config) { joins(addr)(cfg); cfg.StateDir = state }
	s = open(t, edit)
	until(t, "item stored again", func() bool { l := s.Publications(); return len(l) == 1 && l[0].Stored > 0 && !l[0].Looked.IsZero() })
	if i, err := s.DHTGet(t.Context(), p.target(), p.salt); err != nil || i.Seq != 4 {
		t.Errorf("%+v, %v", i, err)
	}
	if err := s.Unpublish(t.Context(), p.target()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, edit)
	if l := s.Publications(); len(l) != 1 || !l[0].Stopped || l[0].Seq != 4 || s.follower.pace.Len() != 0 {
		t.Errorf("after the end: %+v", l)
	}
	if err := s.Unpublish(t.Context(), [20]byte{5}); !errors.Is(err, ErrMissing) {
		t.Errorf("ending what there is not: %v", err)
	}
	// The next version begins it again.
	p.publish(t, s, 5, c)
	if l := s.Publications(); len(l) != 1 || l[0].Stopped || l[0].Seq != 5 {
		t.Errorf("begun again: %+v", l)
	}
}

func (p signer) try(t *testing.T, s *Session, i *dht.Item) (Published, error) {
	t.Helper()
	return s.Publish(t.Context(), DHTItem{V: i.V, K: i.K, Sig: i.Sig, Salt: i.Salt, Seq: i.Seq})
}

func TestOldVersionsAreNotPublished(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 32<<10, map[string]int{"a": 100_000})
	d := makeContent(t, 32<<10, map[string]int{"b": 100_000})
	p := newSigner(9, "")
	fake := &itemsDHT{}
	s := open(t, withItems(fake))
	p.publish(t, s, 4, c)
	for name, i := range map[string]*dht.Item{
		"older": p.item(t, 3, c), "the same number": p.item(t, 4, d),
	} {
		if v, err := p.try(t, s, i); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	if v, err := p.try(t, s, p.item(t, 4, c)); err != nil || v.Stored == 0 {
		t.Errorf("the same once more: %+v, %v", v, err)
	}
	// The owner published elsewhere meanwhile: that one is kept alive.
	fake.set(p.item(t, 9, d), 0)
	if v, err := p.try(t, s, p.item(t, 6, c)); !errors.Is(err, ErrNewer) {
		t.Errorf("behind the DHT: %+v, %v", v, err)
	}
	until(t, "newer one", func() bool { l := s.Publications(); return l[0].Seq == 9 && l[0].Hash == d.meta.Hash })
	fake.set(p.item(t, 10, d), 0)
	if v, err := p.try(t, s, p.item(t, 10, c)); !errors.Is(err, ErrNewer) || v.Problem == "" {
		t.Errorf("another of the same number: %+v, %v", v, err)
	}
	fake.set(nil, 0)
	if v, err := p.try(t, s, p.item(t, 11, c)); err != nil || v.Problem != "" {
		t.Errorf("the next one: %+v, %v", v, err)
	}
}

// stall keeps everything from being recorded until the returned function is
// called, or the test ends.
func stall(t *testing.T, s *Session, c content) (goOn func()) {
	t.Helper()
	rec, _ := s.byWire(c.meta.Hash.Wire()).record()
	begun, gate := make(chan struct{}), make(chan struct{})
	s.db.UpdateAsync(rec, func(err error) { // by the only goroutine that writes
		if err != nil {
			t.Error(err)
		}
		close(begun)
		<-gate
	})
	<-begun
	goOn = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(goOn)
	return goOn
}

// TestANewerItemIsNotedBesideOthers has users publish, or end it, and the DHT
// tell of a version after that, while a newer item that was found is recorded.
func TestANewerItemIsNotedBesideOthers(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 32<<10, map[string]int{"a": 100_000})
	p := newSigner(9, "")
	fake := &itemsDHT{}
	s := open(t, withItems(fake))
	f := s.follower
	add(t, s, c, AddOptions{Dir: c.dir, Stopped: true})
	recorded := func() resume.Publication {
		t.Helper()
		all, bad, err := s.db.Publications()
		if err != nil || len(bad) > 0 || len(all) != 1 {
			t.Fatalf("%d publications are recorded, %v, %v", len(all), bad, err)
		}
		return all[0]
	}
	for round := range int64(15) {
		seq := 10 * (round + 1)
		fake.set(nil, 0)
		p.publish(t, s, seq, c)
		x := f.find(f.pubs, p.target())
		goOn := stall(t, s, c)
		fake.set(p.item(t, seq+1, c), 0)
		if err := f.await(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		until(t, "item that is being recorded", func() bool { return len(x.busy) > 0 })
		result := make(chan error, 1)
		beside := func(do func() error) { // comes while the item is on its way to the disk
			go func() { result <- do() }()
			until(t, "other one", func() bool {
				if f.admin.TryLock() {
					f.admin.Unlock()
					return false
				}
				return true
			})
			goOn()
			if err := <-result; err != nil {
				t.Fatal(err)
			}
		}
		want, stopped := seq+2, false
		switch round % 3 {
		case 0:
			beside(func() error { _, err := p.try(t, s, p.item(t, seq+2, c)); return err })
		case 1:
			want, stopped = seq+1, true
			beside(func() error { return s.Unpublish(t.Context(), p.target()) })
		default:
			fake.set(p.item(t, seq+2, c), 0)
			if err := f.await(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			goOn()
			until(t, "newest one", func() bool { return recorded().Seq == want && s.Publications()[0].Seq == want })
		}
		if v, rec := s.Publications()[0], recorded(); v.Seq != want || v.Stopped != stopped || rec.Seq != want || rec.Stopped != stopped {
			t.Errorf("version %d, stopped %v; recorded: %d, stopped %v; want %d, %v", v.Seq, v.Stopped, rec.Seq, rec.Stopped, want, stopped)
		}
	}
}

func TestWhatCannotBePublished(t *testing.T) {
	t.Parallel()
	p := newSigner(9, "")
	secret := makePrivate(t, makeContent(t, 32<<10, map[string]int{"a": 100_000}))
	s := open(t, withItems(&itemsDHT{}))
	add(t, s, secret, AddOptions{Dir: secret.dir})
	word, err := dht.SignItem(p.key, nil, 1, []byte("5:hello"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := dht.NewItem([]byte("d2:ih20:01234567890123456789e"))
	if err != nil {
		t.Fatal(err)
	}
	forged := *p.item(t, 1, secret)
	forged.Seq = 2
	lan := makeContent(t, 32<<10, map[string]int{"lan": 50_000})
	add(t, s, lan, AddOptions{Dir: lan.dir, Scope: metainfo.ScopeLAN})
	for name, i := range map[string]*dht.Item{
		"a word": word, "without a key": plain, "forged": &forged, "private": p.item(t, 1, secret),
		"of a local network": p.item(t, 1, lan),
	} {
		if v, err := p.try(t, s, i); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	off := open(t, nil)
	if _, err := p.try(t, off, p.item(t, 1, secret)); !errors.Is(err, ErrNoDHT) {
		t.Errorf("without the DHT: %v", err)
	}
	if len(s.Publications()) != 0 {
		t.Errorf("%+v", s.Publications())
	}
}

// TestItemsAreKeptAliveEachHour goes through a day in virtual time.
func TestItemsAreKeptAliveEachHour(t *testing.T) {
	t.Parallel()
	pace := dhtpace.New[string](followPace(), rand.New(rand.NewPCG(1, 2)))
	now := time.Unix(1_700_000_000, 0)
	end := now.Add(24 * time.Hour)
	pace.Add("found", dhtpace.Steady, now)
	pace.Add("searched", dhtpace.Hungry, now)
	looks := map[string]int{}
	early := 0
	for start := now; now.Before(end); {
		it, wait := pace.Next(now)
		if it == nil {
			now = wait
			continue
		}
		if looks[it.Value]++; it.Value == "searched" && now.Sub(start) < 5*time.Minute {
			early++
		}
		found := 0
		if it.Value == "found" {
			found = 1
		}
		pace.Done(it, dhtpace.Over, 50, found, now)
	}
	if n := looks["found"]; n < 24 || n > 28 {
		t.Errorf("%d looks in a day at what is there", n)
	}
	if n := looks["searched"]; early < 4 || n < 28 || n > 40 {
		t.Errorf("%d looks at what is not there, %d of them in the first minutes", n, early)
	}
}
