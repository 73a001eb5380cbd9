package session

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/metainfo"
	"btd/storage/resume"
)

// counting is a tracker that knows some torrents, and what it was asked for.
type counting struct {
	*fakeTracker
	mu      sync.Mutex
	knows   map[[20]byte]bool
	scrapes [][]string // the hashes of each, in order
}

func newCounting(t *testing.T, knows ...[20]byte) *counting {
	t.Helper()
	c := &counting{knows: map[[20]byte]bool{}}
	for _, h := range knows {
		c.knows[h] = true
	}
	c.fakeTracker = newFakeTracker(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.URL.Path != "/scrape" {
			fmt.Fprint(w, answerPeers(""))
			return
		}
		hashes := slices.Sorted(slices.Values(r.URL.Query()["info_hash"]))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.scrapes = append(c.scrapes, hashes)
		var files strings.Builder
		for _, h := range hashes {
			if c.knows[[20]byte([]byte(h))] {
				fmt.Fprintf(&files, "20:%sd8:completei5e10:downloadedi50e10:incompletei7ee", h)
			}
		}
		fmt.Fprintf(w, "d5:filesd%see", files.String())
	})
	return c
}

// taken is the scrapes since the last call.
func (c *counting) taken() (all [][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, c.scrapes = c.scrapes, nil
	return all
}

// TestScrape: what is stopped or queued is asked for, together and each half an
// hour; what is announced is not.
func TestScrape(t *testing.T) {
	secret := newSecret(t)
	var all [4]content
	for i := range all {
		all[i] = makeContent(t, 16<<10, map[string]int{"": 50_000 + i})
	}
	active, queued, stopped, hidden := all[0], all[1], all[2], all[3]
	wire := func(c content) [20]byte { return c.meta.Hash.Wire() }
	mask := secret.Mask(hidden.meta.Hash).Wire()
	first := newCounting(t, wire(active), wire(queued), mask)
	second := newCounting(t, wire(stopped))
	s := open(t, func(cfg *Config) { cfg.ActiveDownloads = 1 })
	for i, c := range all {
		m := *c.meta
		m.Trackers = [][]string{{first.url}, {"http://127.0.0.1:1/cannot-be-scraped"}, {second.url}}
		all[i].file = m.Bytes()
		o := AddOptions{Dir: t.TempDir(), Stopped: i > 1}
		if i == 3 {
			o.Secret = secret
		}
		add(t, s, all[i], o)
		if i == 0 {
			await(t, s, active, "its place", func(v Torrent) bool { return v.State == StateDownloading })
			first.await(t, "started", 1)
		}
	}
	await(t, s, queued, "the queue", func(v Torrent) bool { return v.State == StateQueued })
	asked := func(hashes ...[20]byte) []string {
		var out []string
		for _, h := range hashes {
			out = append(out, string(h[:]))
		}
		return slices.Sorted(slices.Values(out))
	}
	known := func(c content, want bool) {
		t.Helper()
		v, err := s.Torrent(c.meta.Hash)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Swarm == (SwarmCounts{5, 7, 50}); got != want {
			t.Errorf("%v, %s: swarm %+v, to be known: %v", c.meta.Hash, v.State, v.Swarm, want)
		}
	}
	now := time.Now()
	round := func(after time.Duration, one, two []string) {
		t.Helper()
		s.scraper.round(t.Context(), now.Add(after))
		for i, want := range [][]string{one, two} {
			var all [][]string
			if want != nil {
				all = [][]string{want}
			}
			if got := []*counting{first, second}[i].taken(); !slices.EqualFunc(got, all, slices.Equal) {
				t.Errorf("after %v tracker %d was asked for %x, want %x", after, i, got, all)
			}
		}
	}
	round(0, asked(wire(queued), wire(stopped), mask), nil)
	for c, want := range map[*content]bool{&active: false, &queued: true, &stopped: false, &hidden: true} {
		known(*c, want)
	}
	round(scrapeEvery-time.Second, nil, nil)
	round(scrapeEvery, asked(wire(queued), mask), asked(wire(stopped))) // the one that did not know it is not asked again
	known(stopped, true)
	if err := s.Remove(t.Context(), queued.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	round(2*scrapeEvery, asked(mask), asked(wire(stopped)))
	if n := len(s.scraper.known); n != 2 {
		t.Errorf("%d torrents are remembered, want 2", n)
	}
	if err := s.Stop(t.Context(), stopped.meta.Hash); err != nil { // what is known outlives a look at it
		t.Fatal(err)
	}
	known(stopped, true)
}

// What is asked for at a time is bounded, and nobody waits for ever.
func TestScrapesAreBounded(t *testing.T) {
	s := &Session{}
	s.reg.init()
	enter := func(n int, urls ...string) *entry {
		var h [20]byte
		copy(h[:], fmt.Sprint(n))
		e := newEntry(resume.Record{Hash: metainfo.V1(h), Stopped: true, Trackers: [][]string{urls}})
		if !s.reg.add(e) {
			t.Fatal("two torrents of one hash")
		}
		return e
	}
	for i := range 200 {
		enter(i, "udp://same.example:1")
	}
	for i := range 40 {
		enter(1000+i, fmt.Sprintf("http://%d.example/announce", i))
	}
	none := enter(2000, "http://x.example/")
	c := &scraper{s: s}
	seen := map[*entry]int{}
	now := time.Unix(1_700_000_000, 0)
	for i, want := range []int{16, 16, 11, 0} { // 3 of the same and 40 others
		all := c.due(now)
		if len(all) != want {
			t.Errorf("look %d: %d inquiries, want %d", i, len(all), want)
		}
		for _, q := range all {
			if len(q.entries) == 0 || len(q.entries) > scrapeTogether {
				t.Errorf("%d torrents of %s together", len(q.entries), q.url)
			}
			for _, e := range q.entries {
				seen[e]++
				if e.rec.Trackers[0][0] != q.url {
					t.Errorf("%s is asked for what %s tracks", q.url, e.rec.Trackers[0][0])
				}
			}
		}
	}
	if len(seen) != 240 || seen[none] != 0 {
		t.Errorf("%d torrents were asked for, want 240", len(seen))
	}
	for e, n := range seen {
		if n != 1 {
			t.Errorf("%s was asked for %d times", e.rec.Trackers[0][0], n)
		}
	}
	if all := c.due(now.Add(scrapeEvery - time.Second)); len(all) != 0 {
		t.Errorf("%d inquiries before half an hour is over", len(all))
	}
	if all := c.due(now.Add(scrapeEvery)); len(all) != scrapeMost {
		t.Errorf("%d inquiries after half an hour, want %d", len(all), scrapeMost)
	}
}
