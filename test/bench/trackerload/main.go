//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"btd/test/bench/gauge"
)

// options are the flags.
type options struct {
	btd, opentracker string
	clients          string
	into             string
	work             string
	reps             int
	time             time.Duration // of each measurement
	load             load
}

// load is who announces what.
type load struct {
	torrents, peers, sources int
	want                     int // numwant
	window                   int // announces under way over UDP, for each worker
	workers                  int // of UDP
	conns                    int // of HTTP
}

func main() {
	var o options
	flag.StringVar(&o.btd, "btd", "btd", "the daemon's `binary`")
	flag.StringVar(&o.opentracker, "opentracker", "opentracker", "opentracker's `binary`")
	flag.StringVar(&o.clients, "clients", "btd,opentracker", "which trackers, in turn")
	flag.StringVar(&o.into, "into", "", "append the results to this JSON `file`")
	flag.StringVar(&o.work, "work", os.TempDir(), "`directory` for the trackers' state")
	flag.IntVar(&o.reps, "reps", 3, "repetitions")
	flag.DurationVar(&o.time, "time", 5*time.Second, "how long each measurement takes")
	flag.IntVar(&o.load.torrents, "torrents", 100_000, "torrents")
	flag.IntVar(&o.load.peers, "peers", 1_000_000, "peers, of all torrents")
	flag.IntVar(&o.load.sources, "sources", 4096, "addresses that announce, at most 65,536")
	flag.IntVar(&o.load.want, "numwant", 50, "addresses that are asked for")
	flag.IntVar(&o.load.window, "window", 256, "announces under way over UDP, of each worker")
	flag.IntVar(&o.load.workers, "workers", 2, "sockets that announce over UDP")
	flag.IntVar(&o.load.conns, "conns", 32, "connections at a time over HTTP")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "trackerload:", err)
		os.Exit(1)
	}
}

// result is one run as report.py reads it. A run that failed has "error".
type result = gauge.Run

func run(o *options) error {
	var all []result
	var problems []error
	for rep := range o.reps {
		order := strings.Split(o.clients, ",")
		if rep%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			began := time.Now()
			r := result{"client": name, "at": began.UTC().Format(time.RFC3339), "torrents": o.load.torrents, "peers": o.load.peers}
			if err := measure(o, name, r); err != nil {
				r["error"] = err.Error()
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
			r["took_s"] = time.Since(began).Seconds()
			text, _ := json.Marshal(r)
			fmt.Println(string(text))
			all = append(all, r)
		}
	}
	return errors.Join(append(problems, gauge.Append(o.into, all...))...)
}

// measure starts a tracker and puts all loads on it.
func measure(o *options, name string, r result) error {
	dir, err := os.MkdirTemp(o.work, "trackerload")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t, err := start(o, name, dir)
	if err != nil {
		return err
	}
	defer t.stop()
	r["version"] = t.version
	r["empty_rss_mib"], _ = t.rss()
	l := &o.load
	filled, err := l.udp(t.port, 0)
	if err != nil {
		return fmt.Errorf("telling it of all peers: %w", err)
	}
	r["fill_per_s"] = filled.rate
	r["rss_mib"], err = t.rss()
	if err != nil {
		return err
	}
	if err := t.held(r); err != nil {
		return err
	}
	for _, one := range []struct {
		key string
		put func() (rate, error)
	}{
		{"udp", func() (rate, error) { return l.udp(t.port, o.time) }},
		{"http", func() (rate, error) { return l.http(t.port, o.time, false) }},
		{"keep", func() (rate, error) { return l.http(t.port, o.time, true) }},
	} {
		key := one.key
		if key == "keep" && name == "opentracker" {
			continue // it closes after every answer
		}
		before, _ := t.cpu()
		got, err := one.put()
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		after, _ := t.cpu()
		r[key+"_per_s"], r[key+"_lost"], r[key+"_peers"] = got.rate, got.lost, got.peers
		r[key+"_us"] = (after - before) / float64(max(1, got.n)) * 1e6
	}
	r["peak_rss_mib"], err = t.peak()
	return err
}
