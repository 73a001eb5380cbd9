package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"btd/api/client"
)

// idleRow adds n torrents whose data is there, restarts the daemon, watches
// it idle, and then makes sure that it still does its work.
func idleRow(ctx context.Context, o *options) (result, error) {
	r := result{"torrents": o.n, "idle_s": o.idle.Seconds(), "interval_s": o.interval.Seconds()}
	w, err := startWatch(o.interval)
	if err != nil {
		return r, err
	}
	defer w.close()
	if o.nodes > 0 {
		say("starting %d nodes of a DHT", o.nodes)
		boot, stop, err := startNodes(ctx, o)
		if err != nil {
			return r, err
		}
		defer stop()
		o.boot, r["dht_nodes"] = boot, o.nodes
	}
	say("making %d torrents", o.n)
	data := filepath.Join(o.scratch, "d")
	all, err := many(ctx, data, w.url, o.n, true)
	if err != nil {
		return r, fmt.Errorf("make torrents: %w", err)
	}
	if err := addAll(ctx, o, w, all, data, r); err != nil {
		return r, err
	}
	say("starting again")
	w.begin()
	began := time.Now()
	d, err := startDaemon(ctx, o)
	if err != nil {
		return r, err
	}
	defer d.stop()
	r["restart_api_s"] = d.up.Seconds()
	if err := d.seeding(ctx, o.n, 5*time.Minute); err != nil {
		return r, err
	}
	r["restart_all_seeding_s"] = time.Since(began).Seconds()
	u, err := usageOf(d.pid())
	if err != nil {
		return r, err
	}
	r["restart_cpu_s"] = u.cpu
	if _, err := w.allStarted(ctx, o.n, o.wait); err != nil {
		return r, err
	}
	if err := observe(ctx, o, d, r); err != nil {
		return r, err
	}
	if err := list(ctx, o, d, r); err != nil {
		return r, err
	}
	probe(o, d, all, r)
	announced(o, w, r, "", min(paced(o.n), 15*time.Minute))
	r["stop_idle_s"] = d.stop().Seconds()
	return r, nil
}

// addAll is the daemon's first life.
func addAll(ctx context.Context, o *options, w *watch, all []*torrent, data string, r result) error {
	w.begin()
	d, err := startDaemon(ctx, o)
	if err != nil {
		return err
	}
	defer d.stop()
	say("adding")
	began := time.Now()
	api := make([]*client.Client, o.workers)
	for i := range api {
		if api[i], err = client.New(client.Config{Address: d.sock}); err != nil {
			return err
		}
		defer api[i].Close()
	}
	var done atomic.Int64
	err = parallel(ctx, o.workers, len(all), func(worker, i int) error {
		_, err := api[worker].Add(ctx, client.AddRequest{Torrent: all[i].raw, Dir: data})
		if n := done.Add(1); n%20_000 == 0 {
			say("added %d after %.1f s", n, time.Since(began).Seconds())
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add: %w", err)
	}
	r["add_s"] = time.Since(began).Seconds()
	w.added()
	if err := d.seeding(ctx, o.n, 20*time.Minute); err != nil {
		return err
	}
	r["add_to_seeding_s"] = time.Since(began).Seconds()
	u, err := usageOf(d.pid())
	if err != nil {
		return err
	}
	r["add_cpu_s"] = u.cpu
	r["rss_after_add_mib"], _, r["rss_peak_add_mib"] = memory(d.pid())
	if _, err := w.allStarted(ctx, o.n, o.wait); err != nil {
		return err
	}
	announced(o, w, r, "add_", paced(o.n))
	r["stop_s"] = d.stop().Seconds()
	c, _ := w.counts(time.Now())
	r["add_stopped"] = c.stopped
	return nil
}

// observe measures the idle daemon.
func observe(ctx context.Context, o *options, d *daemon, r result) error {
	say("idle for %v", o.settle+o.idle)
	if err := pause(ctx, o.settle); err != nil {
		return err
	}
	was, err := d.api.DHTStats(ctx)
	if err != nil {
		return err
	}
	before, err := usageOf(d.pid())
	if err != nil {
		return err
	}
	if err := pause(ctx, o.idle); err != nil {
		return err
	}
	after, err := usageOf(d.pid())
	if err != nil {
		return err
	}
	if err := overDHT(ctx, o, d, was, r); err != nil {
		return err
	}
	r["idle_cpu_pct"], r["switches_per_s"] = after.since(before)
	r["rss_mib"], r["anon_mib"], r["rss_peak_mib"] = memory(d.pid())
	return nil
}

// list asks for all torrents again and again.
func list(ctx context.Context, o *options, d *daemon, r result) error {
	say("listing %d times", o.lists)
	var took spans
	for range o.lists {
		began := time.Now()
		n, err := d.get(ctx, client.ListPath())
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		took = append(took, time.Since(began))
		r["ls_bytes"] = n
	}
	r["ls_n"], r["ls_p50_ms"], r["ls_p99_ms"], r["ls_max_ms"] = len(took), took.ms(0.5), took.ms(0.99), took.ms(1)
	r["rss_after_ls_mib"], _, _ = memory(d.pid())
	return nil
}

// probe has torrents picked at random serve a block each.
func probe(o *options, d *daemon, all []*torrent, r result) {
	var took spans
	bad := 0
	for _, i := range rand.Perm(len(all))[:min(o.probes, len(all))] {
		t, err := fetch(d.addr, all[i], 5*time.Second)
		if err != nil {
			say("torrent %d: %v", i, err)
			bad++
			continue
		}
		took = append(took, t)
	}
	r["serve_n"], r["serve_failed"], r["serve_p50_ms"], r["serve_max_ms"] = len(took), bad, took.ms(0.5), took.ms(1)
}

// paced is how long btd takes for the first announces of n torrents, so that
// there is no storm: a second for every fifty. After a start it takes no more
// than a quarter of an hour in all.
func paced(n int) time.Duration { return time.Duration(n/50) * time.Second }

// announced tells whether the tracker has heard all that it should have.
func announced(o *options, w *watch, r result, prefix string, spread time.Duration) {
	now := time.Now()
	c, overdue := w.counts(now)
	want := firstDue(o.n, spread, now.Sub(c.began))
	r[prefix+"started"], r[prefix+"started_due"] = c.started, want
	r[prefix+"started_again"], r[prefix+"periodic"] = c.again, c.periodic
	r[prefix+"early"], r[prefix+"late"], r[prefix+"overdue"] = c.early, c.late, overdue
	r[prefix+"worst_late_s"] = c.worst.Seconds()
	r[prefix+"announces_ok"] = c.started >= want && c.again+c.early+c.late+overdue == 0
}

// firstDue is how many of n torrents must have announced at a time after the
// start of the daemon, if their turns are spread evenly or by chance over a
// time. Five standard deviations are allowed for chance.
func firstDue(n int, spread, age time.Duration) int {
	if age -= slack; age >= spread {
		return n
	}
	share, all := max(0, age.Seconds())/spread.Seconds(), float64(n)
	return int(max(0, all*share-5*math.Sqrt(all*share*(1-share))))
}

// overDHT tells what went over the DHT since was, which was a moment before the
// time that is observed.
func overDHT(ctx context.Context, o *options, d *daemon, was client.DHTStats, r result) error {
	is, err := d.api.DHTStats(ctx)
	if err != nil {
		return err
	}
	r["dht_known"] = is.Nodes
	if was.IPv4 == nil || is.IPv4 == nil {
		return nil
	}
	s := o.idle.Seconds()
	out := int64(0)
	for method, n := range is.IPv4.QueriesOut {
		out += n - was.IPv4.QueriesOut[method]
	}
	in := int64(0)
	for method, n := range is.IPv4.QueriesIn {
		in += n - was.IPv4.QueriesIn[method]
	}
	r["dht_searches_per_s"] = float64(is.IPv4.Searches-was.IPv4.Searches) / s
	r["dht_queries_per_s"] = float64(out) / s
	r["dht_served_per_s"] = float64(in) / s
	r["dht_lost_per_s"] = float64(is.IPv4.TimedOut-was.IPv4.TimedOut) / s
	return nil
}
