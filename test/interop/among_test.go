//go:build interop && linux

package interop

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestDrivers lets the programs of other people download from each other,
// without btd: when this fails, the harness or the machine is at fault.
func TestDrivers(t *testing.T) {
	if os.Getenv("INTEROP_DRIVERS") == "" {
		t.Skip("it tests the harness itself; INTEROP_DRIVERS=1 runs it")
	}
	needNetwork(t)
	for i, seed := range kinds {
		leech := kinds[(i+1)%len(kinds)]
		for _, tracker := range []string{httpTracker, udpTracker, httpTracker6, udpTracker6} {
			if seed.cannot(tracker)+leech.cannot(tracker) != "" {
				continue
			}
			for _, m := range []meeting{{tracker, false}, {tracker, true}} {
				name := trackerName(tracker) + " " + seed.name + " to " + leech.name
				if m.leechFirst {
					name += ", leecher first"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					l := newLab(t)
					tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1, tracker)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					l.startTracker(ctx, tracker, tor)
					l.transfer(ctx, tor, m, seed, leech)
				})
			}
		}
	}
}

// TestSeeder holds our own small seed against a real leecher, without btd.
func TestSeeder(t *testing.T) {
	if os.Getenv("INTEROP_DRIVERS") == "" {
		t.Skip("it tests the harness itself; INTEROP_DRIVERS=1 runs it")
	}
	needNetwork(t)
	l := newLab(t)
	tor := makeTorrent(t, l.Dir, "odd things", oddFiles, 64<<10, 1, httpTracker)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l.startOpentracker(ctx, tor)
	s := newSeeder(l.Host("seeder"), tor, "-SE0000-")
	s.rate = 10 << 20
	l.Must(s.listen())
	l.Must(s.announce(ctx, httpTracker))
	leech := newLibtorrent(l.Host("libtorrent"))
	l.Must(leech.start(ctx))
	dest := filepath.Join(l.Dir, "downloads")
	l.Must(leech.leech(ctx, tor, dest))
	l.Must(waitDone(ctx, leech, tor, "libtorrent downloads from our seed"))
	if err := tor.compare(dest, false); err != nil {
		t.Error(err)
	}
	ok, err := welcome(ctx, l.Hub, peerAddr(leech.(*libtorrent).host, false), tor.hash)
	if err != nil || !ok {
		t.Errorf("a stranger is not welcome at libtorrent (%v)", err)
	}
	t.Logf("%d blocks", len(s.log(0)))
}
