//go:build interop && linux

package interop

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDrivers lets the programs of other people download from each other,
// without btd: when this fails, the harness or the machine is at fault.
func TestDrivers(t *testing.T) {
	if os.Getenv("INTEROP_DRIVERS") == "" {
		t.Skip("tests the harness itself; INTEROP_DRIVERS=1 runs it")
	}
	needNetwork(t)
	for _, tracker := range []string{httpTracker, udpTracker, httpTracker6} {
		for i, seed := range kinds {
			leech := kinds[(i+1)%len(kinds)]
			for _, first := range []string{"seed", "leech"} {
				if tracker == httpTracker6 && seed.noIPv6+leech.noIPv6 != "" {
					continue
				}
				t.Run(trackerName(tracker)+" "+seed.name+" to "+leech.name+" "+first+" first", func(t *testing.T) {
					t.Parallel()
					l := newLab(t)
					tor := makeTorrent(t, l.dir, "odd things", oddFiles, 64<<10, 1, tracker)
					ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
					defer cancel()
					l.startTracker(ctx, tracker, tor)
					l.transfer(ctx, tor, tracker, seed, leech, first == "seed")
				})
			}
		}
	}
}

// transfer lets one client seed and another download, and compares.
func (l *lab) transfer(ctx context.Context, tor *torrent, tracker string, seed, leech kind, seedFirst bool) {
	l.t.Helper()
	need(l.t, append(seed.programs, leech.programs...)...)
	s, d := seed.make(l.host(seed.name)), leech.make(l.host(leech.name))
	dest := filepath.Join(l.dir, "downloads")
	l.must(os.MkdirAll(dest, 0o755))
	l.must(s.start(ctx))
	l.must(d.start(ctx))
	began := time.Now()
	if seedFirst {
		l.must(s.seed(ctx, tor, tor.source))
		l.waitSwarm(ctx, tracker, tor, 1, 0)
		l.must(d.leech(ctx, tor, dest))
	} else {
		l.must(d.leech(ctx, tor, dest))
		l.waitSwarm(ctx, tracker, tor, 0, 1)
		l.must(s.seed(ctx, tor, tor.source))
	}
	l.must(waitDone(ctx, d, tor, leech.name+" downloads from "+seed.name))
	took := time.Since(began)
	l.must(d.stop(ctx))
	if err := tor.compare(dest, leech.noEmpty != ""); err != nil {
		l.t.Errorf("%s downloaded from %s: %v", leech.name, seed.name, err)
	}
	l.t.Logf("%s to %s: %.1f MiB in %.1f s", seed.name, leech.name, float64(tor.size)/(1<<20), took.Seconds())
}
