package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"btd/api/client"
)

const bystanders = 100 // idle torrents beside the two that are moved

// apiRow sends requests at a fixed rate, whatever the answers do, while the
// daemon seeds one torrent and downloads another at full speed. A latency is
// counted from the moment that the request was due.
func apiRow(ctx context.Context, o *options) (result, error) {
	r := result{"rate": o.rate, "load_s": o.idle.Seconds(), "torrents": bystanders + 2}
	w, err := startWatch(o.interval)
	if err != nil {
		return r, err
	}
	defer w.close()
	w.begin()
	d, err := startDaemon(ctx, o)
	if err != nil {
		return r, err
	}
	defer d.stop()
	data := filepath.Join(o.scratch, "d")
	idle, err := many(ctx, data, w.url, bystanders, false)
	if err != nil {
		return r, err
	}
	for _, t := range idle {
		if _, err := d.api.Add(ctx, client.AddRequest{Torrent: t.raw, Dir: data}); err != nil {
			return r, err
		}
	}
	x, err := startTraffic(ctx, o, d, data)
	if err != nil {
		return r, err
	}
	defer x.stop()
	if err := pause(ctx, 2*time.Second); err != nil {
		return r, err
	}
	say("transfers alone")
	if err := x.rates(ctx, o.idle/2, r, "alone"); err != nil {
		return r, err
	}
	say("transfers and %d requests a second for %v", o.rate, o.idle)
	g := generator{d: d, x: x, idle: idle}
	var sent sync.WaitGroup
	sent.Go(func() { g.run(ctx, o.rate, o.idle) })
	err = x.rates(ctx, o.idle, r, "loaded")
	sent.Wait()
	g.report(r)
	return r, errors.Join(err, x.failed())
}

// generator sends the requests.
type generator struct {
	d    *daemon
	x    *traffic
	idle []*torrent

	mu   sync.Mutex
	took map[string]spans
	lag  spans // of ourselves: from due to sent
	bad  map[string]int
}

func (g *generator) run(ctx context.Context, rate int, total time.Duration) {
	g.took, g.bad = map[string]spans{}, map[string]int{}
	var sent sync.WaitGroup
	began := time.Now()
	step := time.Second / time.Duration(rate)
	for i := range int(total / step) {
		due := began.Add(time.Duration(i) * step)
		if pause(ctx, time.Until(due)) != nil {
			break
		}
		sent.Go(func() { g.send(ctx, i, due) })
	}
	sent.Wait()
}

// send makes request number i: of ten, two lists of all torrents, three
// single torrents, two lists of peers, two times the session's numbers, and
// one change of a limit.
func (g *generator) send(ctx context.Context, i int, due time.Time) {
	id := hex.EncodeToString(g.idle[i%len(g.idle)].hash[:])
	kind, method, path, body := "ls", http.MethodGet, client.ListPath(), ""
	switch i % 10 {
	case 1, 4, 7:
		kind, path = "torrent", "/v1/torrents/"+id
		if i%20 < 10 {
			path = "/v1/torrents/" + g.x.seeded
		}
	case 2, 6:
		kind, path = "peers", client.PeersPath(g.x.seeded)
	case 3, 8:
		kind, path = "stats", client.StatsPath
	case 9:
		kind, method, path = "limit", http.MethodPatch, "/v1/torrents/"+id
		body = fmt.Sprintf(`{"limits":{"up":%d}}`, 1<<20+i)
	}
	sent := time.Now()
	_, err := g.d.send(ctx, method, path, body)
	took := time.Since(due)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.bad[err.Error()]++
		return
	}
	g.took[kind] = append(g.took[kind], took)
	g.lag = append(g.lag, sent.Sub(due))
}

func (g *generator) report(r result) {
	var all spans
	for kind, s := range g.took {
		all = append(all, s...)
		r[kind+"_p50_ms"], r[kind+"_p999_ms"] = s.ms(0.5), s.ms(0.999)
	}
	r["answered"], r["failed"] = len(all), 0
	for what, n := range g.bad {
		r["failed"] = r["failed"].(int) + n
		say("%d times: %s", n, what)
	}
	r["p50_ms"], r["p99_ms"], r["p999_ms"], r["max_ms"] = all.ms(0.5), all.ms(0.99), all.ms(0.999), all.ms(1)
	r["lag_p50_ms"], r["lag_p999_ms"] = g.lag.ms(0.5), g.lag.ms(0.999)
}
