package session

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"btd/metainfo"
	"btd/storage/resume"
)

func numbered(n int, place int64) *entry {
	var h [20]byte
	binary.BigEndian.PutUint64(h[:], uint64(n))
	return newEntry(resume.Record{Hash: metainfo.V1(h), Queue: place, Complete: true, Stopped: true})
}

// TestRegistryKeepsTheOrder compares the registry with a sorted list, at
// random. Lists that were handed out stay as they are.
func TestRegistryKeepsTheOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r registry
	r.init()
	var model []*entry
	for i := range 5 {
		model = append(model, numbered(i, int64(10-i)))
	}
	r.load(slices.Clone(model))
	slices.SortFunc(model, byPlace)
	for n := 100; n < 2100; n++ {
		old := r.list()
		was := slices.Clone(old)
		switch k := rng.IntN(10); {
		case k < 5:
			e := numbered(n, 0)
			if !r.add(e) || r.add(e) {
				t.Fatal("adding goes wrong")
			}
			model = append(model, e)
		case k < 6: // a place from elsewhere, that is free
			e := numbered(n, rng.Int64N(4000)+1)
			if !slices.ContainsFunc(model, func(x *entry) bool { return x.place == e.place }) && r.add(e) {
				model = append(model, e)
				slices.SortFunc(model, byPlace)
			}
		case len(model) > 0:
			i := rng.IntN(len(model))
			r.remove(model[i])
			r.remove(model[i])
			model = slices.Delete(model, i, i+1)
		}
		if !slices.Equal(old, was) {
			t.Fatal("a list that was handed out changed")
		}
		if got := r.list(); !slices.Equal(got, model) || r.len() != len(model) {
			t.Fatalf("step %d: %d entries, want %d in order", n, len(got), len(model))
		}
	}
}

// TestFirstAnnouncesHaveTurns: a few at once, the others at an even pace;
// downloads do not wait behind seeds.
func TestFirstAnnouncesHaveTurns(t *testing.T) {
	s := open(t, func(cfg *Config) { cfg.AnnounceRate = 10 })
	a := newAnnouncer(s)
	now := time.Now()
	for i := range 100 {
		want := time.Duration(max(0, i+1-startBurst)) * 100 * time.Millisecond
		if got := a.turn(&a.seeds, now); got != want {
			t.Fatalf("announce %d waits %v, want %v", i, got, want)
		}
	}
	if got := a.turn(&a.lacking, now); got != 0 {
		t.Errorf("a download waits %v", got)
	}
	if got := a.turn(&a.seeds, now.Add(time.Hour)); got != 0 {
		t.Errorf("an hour later one waits %v", got)
	}
}

// BenchmarkRound is what an add costs the queue with 100,000 torrents.
func BenchmarkRound(b *testing.B) {
	s := &Session{cfg: Config{}.withDefaults()}
	s.reg.init()
	var all []*entry
	for i := range 100_000 {
		all = append(all, numbered(i, int64(i+1)))
	}
	s.reg.load(all)
	q := newQueue(s)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		q.touch(all[i%len(all)])
		q.round()
	}
}

// BenchmarkTorrents pictures 10,000 torrents.
func BenchmarkTorrents(b *testing.B) {
	s := &Session{}
	s.reg.init()
	for i := range 10_000 {
		s.reg.add(numbered(i, int64(i+1)))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Torrents()
	}
}
