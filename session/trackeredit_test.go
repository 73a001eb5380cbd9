package session

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// urlsOf is the trackers of c by URL, as users see them.
func urlsOf(t *testing.T, s *Session, c content) (urls []string) {
	list, err := s.Trackers(c.meta.Hash)
	if err != nil {
		t.Error(err)
	}
	for _, v := range list {
		urls = append(urls, v.URL)
	}
	return urls
}

// inTime ends the process with all stacks if wg is not through: a session of
// which a part is stuck cannot be closed, so that the test itself could not end.
func inTime(t *testing.T, what string, wg *sync.WaitGroup) {
	t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		wg.Wait()
	}()
	through := func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	if !patient(through) {
		stacks := make([]byte, 1<<20)
		go panic(fmt.Sprintf("%s are stuck:\n%s", what, stacks[:runtime.Stack(stacks, true)]))
		<-over
	}
}

// TestTrackersChangeWhileATorrentStartsAndStops takes the locks of a torrent and
// of those that look for its peers from all sides. What somebody has added or
// removed is so from then on, whatever happens to the torrent meanwhile.
func TestTrackersChangeWhileATorrentStartsAndStops(t *testing.T) {
	t.Parallel()
	const rounds = 25 // each edit is a commit to the disk
	dead := deadTracker(t)
	c := makeContent(t, 64<<10, map[string]int{"": 1000}, dead)
	s := open(t, withItems(&itemsDHT{}))
	add(t, s, c, AddOptions{})
	hash, ctx := c.meta.Hash, t.Context()
	e := s.byWire(hash.Wire())
	over := make(chan struct{})
	var edits, others sync.WaitGroup
	for who := range 3 {
		edits.Go(func() {
			for n := range rounds {
				url := fmt.Sprintf("%s?%d-%d", dead, who, n)
				if err := s.AddTrackers(ctx, hash, 1, []string{url}); err != nil {
					t.Error(err)
				}
				if now := urlsOf(t, s, c); !slices.Contains(now, url) {
					t.Errorf("%s was added: %v", url, now)
				}
				if err := s.RemoveTrackers(ctx, hash, []string{url}); err != nil {
					t.Error(err)
				}
				if now := urlsOf(t, s, c); slices.Contains(now, url) {
					t.Errorf("%s was removed: %v", url, now)
				}
			}
		})
	}
	meanwhile := func(f func()) {
		others.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					f()
				}
			}
		})
	}
	meanwhile(func() {
		if err := s.Stop(ctx, hash); err != nil {
			t.Error(err)
		}
		if err := s.Start(ctx, hash); err != nil {
			t.Error(err)
		}
	})
	meanwhile(func() {
		s.announcer.start(e)
		s.announcer.stop(e)
		runtime.Gosched() // the others have a turn
	})
	for range 2 {
		meanwhile(func() {
			s.announcer.swarm(e)
			runtime.Gosched()
		})
	}
	inTime(t, "changes", &edits)
	close(over)
	inTime(t, "those beside them", &others)
	if now := urlsOf(t, s, c); !slices.Equal(now, []string{dead}) {
		t.Errorf("in the end: %v", now)
	}
	s.announcer.stop(e)
	until(t, "announce", func() bool { s.announcer.start(e); return s.announcer.knows(e) })
	if now := urlsOf(t, s, c); !slices.Equal(now, []string{dead}) {
		t.Errorf("announced in the end: %v", now)
	}
}

// TestTrackersAreAnnouncedInTheirTiers changes those of a torrent that runs, and
// compares with what the next start makes of them.
func TestTrackersAreAnnouncedInTheirTiers(t *testing.T) {
	t.Parallel()
	dead := deadTracker(t)
	at := func(n int) string { return fmt.Sprintf("%s?%d", dead, n) }
	c := makeContent(t, 64<<10, map[string]int{"": 1000}, at(0), at(1), at(2))
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	hash, ctx := c.meta.Hash, t.Context()
	until(t, "start", func() bool { return s.announcer.knows(s.byWire(hash.Wire())) })
	for _, err := range []error{
		s.RemoveTrackers(ctx, hash, []string{at(0)}),
		s.AddTrackers(ctx, hash, 0, []string{at(3)}),        // beside 1
		s.AddTrackers(ctx, hash, 2, []string{at(4), at(5)}), // behind 2
		s.AddTrackers(ctx, hash, 2, []string{at(6)}),        // beside them
		s.AddTrackers(ctx, hash, 9, []string{at(7)}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := [][]string{{at(1), at(3)}, {at(2)}, {at(4), at(5), at(6)}, {at(7)}}
	check := func(when string) {
		t.Helper()
		list, err := s.Trackers(hash)
		if err != nil {
			t.Fatal(err)
		}
		var tiers [][]string
		last := -1
		for _, v := range list {
			if v.Tier != last {
				tiers, last = append(tiers, nil), v.Tier
			}
			tiers[len(tiers)-1] = append(tiers[len(tiers)-1], v.URL)
		}
		if !slices.EqualFunc(tiers, want, func(a, b []string) bool { slices.Sort(a); return slices.Equal(a, b) }) {
			t.Errorf("%s: %v, want %v", when, tiers, want)
		}
	}
	check("at once")
	s = reopen(t, s)
	until(t, "next start", func() bool { return s.announcer.knows(s.byWire(hash.Wire())) })
	check("at the next start")
}

// TestRemovedTrackersStayAway: a torrent whose trackers were all removed has
// none, whatever the file says that it was added with.
func TestRemovedTrackersStayAway(t *testing.T) {
	t.Parallel()
	f := newFakeTracker(t, say(answerPeers("")))
	c := makeContent(t, 64<<10, map[string]int{"": 1000}, f.url)
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	f.await(t, "started", 1)
	answered(t, s, c, f, 1)
	hash, ctx := c.meta.Hash, t.Context()
	if err := s.RemoveTrackers(ctx, hash, []string{f.url}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "stopped", 1)
	none := func(when string) {
		t.Helper()
		until(t, "start "+when, func() bool { return s.announcer.knows(s.byWire(hash.Wire())) })
		if now := urlsOf(t, s, c); len(now) != 0 {
			t.Errorf("%s: %v", when, now)
		}
	}
	if err := s.Stop(ctx, hash); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx, hash); err != nil {
		t.Fatal(err)
	}
	none("after a stop")
	s = reopen(t, s)
	none("after a restart")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if f.count("started") != 1 || f.count("stopped") != 1 {
		t.Errorf("the tracker was told %v", f.all())
	}
}
