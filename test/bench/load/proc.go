package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"btd/test/bench/gauge"
)

// usage is what a process has used.
type usage struct {
	at       time.Time
	cpu      float64 // s, user and system, all threads
	switches int64   // of threads, voluntary or not
}

func usageOf(pid int) (usage, error) {
	u := usage{at: time.Now()}
	var err error
	if u.cpu, err = gauge.CPU(pid); err != nil {
		return u, err
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range threads {
		kinds := gauge.Numbers(path)
		u.switches += kinds["voluntary_ctxt_switches"] + kinds["nonvoluntary_ctxt_switches"]
	}
	return u, err
}

// since is the CPU in percent of one core and the context switches a second.
func (u usage) since(before usage) (percent, switches float64) {
	s := u.at.Sub(before.at).Seconds()
	return (u.cpu - before.cpu) / s * 100, float64(u.switches-before.switches) / s
}

// memory is the resident memory of a process, all of it and what no file
// stands behind, and the most it ever was, in MiB.
func memory(pid int) (rss, anon, peak float64) {
	m := gauge.Status(pid)
	return float64(m["VmRSS"]) / 1024, float64(m["RssAnon"]) / 1024, float64(m["VmHWM"]) / 1024
}

// spans are latencies.
type spans []time.Duration

// ms is the q-quantile in milliseconds (nearest rank), NaN-free: 0 of none.
func (s spans) ms(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return float64(sorted[min(max(at, 0), len(sorted)-1)].Microseconds()) / 1000
}
