package session

import (
	"context"
	"slices"
	"sync"
	"time"

	"btd/tracker"
)

const (
	scrapeLook     = time.Minute      // between two looks at what is to be scraped
	scrapeEvery    = 30 * time.Minute // each torrent, at most
	scrapeTogether = 74               // torrents of one tracker asked for together: what a packet holds (BEP 15)
	scrapeMost     = 16               // such inquiries after one look
	scrapeWeigh    = 5_000            // torrents that are looked at for these, however many are due
	scrapeAtOnce   = 4
	scrapePatience = 2 * time.Minute // for one inquiry, waiting for a turn at the host included
)

// scraper asks trackers for the size of the swarms of torrents that are not
// announced, since they are stopped or wait for a place (BEP 48): whether it
// pays to start them is shown without taking part.
//
// One tracker of a torrent is asked at a time. Where it does not know the
// torrent, or does not answer, the next one is asked half an hour later.
type scraper struct {
	s *Session

	mu    sync.Mutex
	known map[*entry]scraped // those that were asked for, within scrapeEvery
}

// scraped is one torrent's part of the scraper.
type scraped struct {
	next time.Time // not before
	turn int       // which of its trackers
}

// inquiry is what is asked of one tracker together.
type inquiry struct {
	url     string
	entries []*entry
}

// run asks for what is due until ctx ends.
func (c *scraper) run(ctx context.Context) {
	ticker := time.NewTicker(c.s.cfg.scrapeLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.round(ctx, time.Now())
		}
	}
}

// round asks for what is due and waits for the answers.
func (c *scraper) round(ctx context.Context, now time.Time) {
	var asked sync.WaitGroup
	room := make(chan struct{}, scrapeAtOnce)
	for _, b := range c.due(now) {
		room <- struct{}{}
		asked.Go(func() {
			defer func() { <-room }()
			c.ask(ctx, b)
		})
	}
	asked.Wait()
}

// due is what is to be asked for now, those that have waited longest first.
func (c *scraper) due(now time.Time) []*inquiry {
	c.mu.Lock()
	defer c.mu.Unlock()
	var waiting []*entry
	known := make(map[*entry]scraped, len(c.known)) // without what was removed
	for _, e := range c.s.entries() {
		was, ok := c.known[e]
		rests := len(e.unannounced()) > 0
		if ok && (rests || now.Before(was.next)) {
			known[e] = was
		}
		if rests && !now.Before(was.next) {
			waiting = append(waiting, e)
		}
	}
	c.known = known
	slices.SortStableFunc(waiting, func(a, b *entry) int { return known[a].next.Compare(known[b].next) })
	var all []*inquiry
	open := map[string]*inquiry{} // those with room, by URL
	for _, e := range waiting[:min(len(waiting), scrapeWeigh)] {
		was, urls := known[e], scrapeable(e.unannounced())
		if len(urls) > 0 {
			url := urls[was.turn%len(urls)]
			b := open[url]
			if b == nil || len(b.entries) == scrapeTogether {
				if len(all) == scrapeMost {
					continue // in the next round
				}
				b = &inquiry{url: url}
				open[url], all = b, append(all, b)
			}
			b.entries = append(b.entries, e)
		}
		was.next = now.Add(scrapeEvery)
		known[e] = was
	}
	return all
}

// unannounced is the trackers of a torrent that is stopped or waits for a
// place; none of another.
func (e *entry) unannounced() [][]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run != nil || e.removed || e.fresh || !e.rec.Stopped && !e.queued {
		return nil
	}
	return e.rec.Trackers
}

func scrapeable(tiers [][]string) (urls []string) {
	for _, tier := range tiers {
		for _, u := range tier {
			if tracker.CanScrape(u) {
				urls = append(urls, u)
			}
		}
	}
	return urls
}

// ask asks one tracker and shows what it says.
func (c *scraper) ask(ctx context.Context, b *inquiry) {
	ctx, cancel := context.WithTimeout(ctx, scrapePatience)
	defer cancel()
	var hashes [][20]byte
	var asked []*entry
	for _, e := range b.entries {
		if !c.s.secretLost(e) {
			hashes, asked = append(hashes, e.announcedHash()), append(asked, e)
		}
	}
	if len(asked) == 0 {
		return
	}
	results, err := c.s.trackers.Scrape(ctx, b.url, hashes)
	if err != nil {
		c.s.log.Debug("scrape", "tracker", b.url, "torrents", len(hashes), "err", err)
	}
	for i, e := range asked {
		if i < len(results) && results[i].Seeds >= 0 {
			e.setSwarm(SwarmCounts(results[i]))
		} else {
			c.skip(e)
		}
	}
}

// skip has another tracker asked for e the next time.
func (c *scraper) skip(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.known[e]; ok {
		was.turn++
		c.known[e] = was
	}
}
