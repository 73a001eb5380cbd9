package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// slack is how late an announce may be beyond what the client adds by
// chance, and how early by the time it is under way.
const slack = 3 * time.Second

// watch is a tracker that knows when each torrent has to announce next.
//
// Torrents that have been idle for long announce evenly spread over the
// interval. So that this is so from the beginning, the answer to a first
// announce states a random part of the interval.
type watch struct {
	url      string
	interval time.Duration
	srv      *http.Server

	mu    sync.Mutex
	peers string // compact, for those who lack data
	seen  map[string]*heard
	count tally
}

// heard is what is known of one torrent.
type heard struct {
	epoch    int // start of the daemon, from 1
	last     time.Time
	interval time.Duration
}

// tally counts announces of one start of the daemon.
type tally struct {
	epoch    int
	began    time.Time
	started  int // torrents that said so
	again    int // more than once
	periodic int
	early    int // before the minimum interval
	late     int // later than interval, chance and slack
	stopped  int
	worst    time.Duration // the latest one beyond its interval
}

func startWatch(interval time.Duration) (*watch, error) {
	ln, err := net.Listen("tcp", tracked+":0")
	if err != nil {
		return nil, err
	}
	w := &watch{url: "http://" + ln.Addr().String() + "/announce", interval: interval, seen: map[string]*heard{}}
	w.srv = &http.Server{Handler: w, ReadHeaderTimeout: 10 * time.Second}
	go w.srv.Serve(ln)
	return w, nil
}

func (w *watch) close() { w.srv.Close() }

// begin says that the daemon is about to start.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count = tally{epoch: w.count.epoch + 1, began: time.Now()}
}

// added says that the daemon has been given all torrents: from now on their
// first announces are due.
func (w *watch) added() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count.began = time.Now()
}

// chance is what the client may add to an interval at random, so that not all
// announce at once: a 32nd, at most a minute.
func chance(interval time.Duration) time.Duration { return min(interval/32, time.Minute) }

func (w *watch) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/announce") {
		http.Error(rw, "no", http.StatusBadRequest)
		return
	}
	peers := ""
	if q.Get("left") != "0" {
		peers = w.givenTo()
	}
	next := w.note(q.Get("info_hash"), q.Get("event"), time.Now())
	s := int(next / time.Second)
	fmt.Fprintf(rw, "d8:completei1e10:incompletei0e8:intervali%de12:min intervali%de5:peers%d:%se", s, s, len(peers), peers)
}

func (w *watch) givenTo() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peers
}

// note takes an announce in and returns the interval to answer with.
func (w *watch) note(hash, event string, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.seen[hash]
	if h == nil {
		h = &heard{}
		w.seen[hash] = h
	}
	c := &w.count
	since, asked := now.Sub(h.last), h.interval
	first := h.epoch != c.epoch
	h.epoch, h.last, h.interval = c.epoch, now, w.interval
	switch {
	case event == "stopped":
		c.stopped++
		h.epoch = 0
	case first && event == "started":
		c.started++
		least := min(time.Minute, w.interval)
		h.interval = (least + rand.N(w.interval-least+1)).Truncate(time.Second)
	case event == "started":
		c.again++
	default:
		c.periodic++
		c.worst = max(c.worst, since-asked)
		if since < asked-time.Second {
			c.early++
		}
		if since > asked+chance(asked)+slack {
			c.late++
		}
	}
	return h.interval
}

// counts is the tally so far, and how many torrents are overdue now.
func (w *watch) counts(now time.Time) (c tally, overdue int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.seen {
		if h.epoch == w.count.epoch && now.Sub(h.last) > h.interval+chance(h.interval)+slack {
			overdue++
		}
	}
	return w.count, overdue
}

// allStarted waits until n torrents have made their first announce, but not
// for longer than limit.
func (w *watch) allStarted(ctx context.Context, n int, limit time.Duration) (all bool, err error) {
	for end := time.Now().Add(limit); ; {
		if c, _ := w.counts(time.Now()); c.started >= n {
			return true, nil
		}
		if time.Now().After(end) {
			return false, nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return false, err
		}
	}
}
