package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const ticks = 100 // a second, in /proc/PID/stat on every Linux that Go runs on

// usage is what a process has used.
type usage struct {
	at       time.Time
	cpu      float64 // s, user and system, all threads
	switches int64   // of threads, voluntary or not
}

func usageOf(pid int) (usage, error) {
	u := usage{at: time.Now()}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	for _, field := range f[11:13] {
		n, _ := strconv.ParseFloat(string(field), 64)
		u.cpu += n / ticks
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range threads {
		kinds := numbers(path)
		u.switches += kinds["voluntary_ctxt_switches"] + kinds["nonvoluntary_ctxt_switches"]
	}
	return u, err
}

// since is the CPU in percent of one core and the context switches a second.
func (u usage) since(before usage) (percent, switches float64) {
	s := u.at.Sub(before.at).Seconds()
	return (u.cpu - before.cpu) / s * 100, float64(u.switches-before.switches) / s
}

// numbers reads lines such as "VmRSS:  123 kB".
func numbers(path string) map[string]int64 {
	out := map[string]int64{}
	b, _ := os.ReadFile(path)
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		if f := bytes.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseInt(string(f[0]), 10, 64); err == nil {
				out[string(name)] = n
			}
		}
	}
	return out
}

// memory is the resident memory of a process, all of it and what no file
// stands behind, and the most it ever was, in MiB.
func memory(pid int) (rss, anon, peak float64) {
	m := numbers(fmt.Sprintf("/proc/%d/status", pid))
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
