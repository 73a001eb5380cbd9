//go:build interop && linux

package interop

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestDrivers lets the programs of other people download from each other,
// without btd: when this fails, the harness or the machine is at fault.
func TestDrivers(t *testing.T) {
	if os.Getenv("INTEROP_DRIVERS") == "" {
		t.Log("not run: it tests the harness itself; INTEROP_DRIVERS=1 runs it")
		return
	}
	needNetwork(t)
	for i, seed := range kinds {
		leech := kinds[(i+1)%len(kinds)]
		for _, tracker := range []string{httpTracker, udpTracker, httpTracker6} {
			if tracker == httpTracker6 && seed.noIPv6+leech.noIPv6 != "" {
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
					tor := makeTorrent(t, l.dir, "odd things", oddFiles, 64<<10, 1, tracker)
					ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
					defer cancel()
					l.startTracker(ctx, tracker, tor)
					l.transfer(ctx, tor, m, seed, leech)
				})
			}
		}
	}
}
