//go:build lan && linux

package lan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"btd/test/netns"
)

// The bars of a swarm on shaped links.
const (
	mostAgain  = 0.15 // payload that the first host sends more than once, of the content
	mostEach   = 2    // or, in MiB, for each host that joins: what it asks for before the others have anything
	mostTime   = 1.5  // until the last is through, of the content over the link's speed
	mostSecret = 2.0  // the same with a secret
	mostCPU    = 20.0 // processor time of all daemons for a byte that somebody gets, of what plain TCP and SHA-1 take here
	leastLink  = 0.85 // of its speed, that a link has to give to plain TCP while all others are in use
)

// mebibytes is how much content a swarm on links of full speed has.
const mebibytes = 256

// verdict is what a run says of the bars.
type verdict struct {
	said string // the figures
	slow bool   // or the first host sent too much
	busy string // how far the machine was the limit; "" if it was not
}

// measure runs a whole swarm once.
func measure(t *testing.T, mbit int, most float64, share ...string) verdict {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSwarm(ctx, t, mbit, mebibytes<<20, share...)
	speed := bytesPerSecond(s.link)
	plain, err := netns.Ring(ctx, s.hosts(), s.size/8)
	s.Must(err)
	if !netns.HasNetem() {
		t.Logf("this kernel has no netem: the links have no delay of %v, only that of the queues before them", s.link.Delay)
	}
	if plain.Rate < leastLink*speed {
		return verdict{slow: true, busy: fmt.Sprintf("plain TCP through all links of %d Mbit/s at once gives %.0f Mbit/s", mbit, plain.Rate*8/1e6)}
	}
	used, watch := s.cpu(), netns.StartWatch()
	took, failed := s.join(ctx, s.others)
	idle, lost := watch.End()
	used = s.cpu() - used
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	s.check(s.others)
	sent, mostSent := s.sent(ctx), 1+max(mostAgain, joiners*mostEach<<20/float64(s.size))
	factor := took.Seconds() * speed / float64(s.size)
	work := used / float64(s.size) / joiners / plain.CPU
	said := fmt.Sprintf("%d MiB to %d hosts over links of %d Mbit/s (plain TCP through all at once: %.0f Mbit/s, round trip %.1f ms): the last is through after %.2f s, %.2f x content / link speed; "+
		"the first host sent %.2f x the content; CPU %.1f s, %.1f x plain TCP and SHA-1; the processors were idle for %.0f %% of the time",
		s.size>>20, joiners, mbit, plain.Rate*8/1e6, plain.Trip.Seconds()*1000, took.Seconds(), factor, sent, used, work, idle*100)
	why := busy(idle, lost, took)
	if sent > mostSent && (why == "" || mbit <= slowest) { // else that, too, is asserted with slower links
		t.Errorf("the first host sent %.3f x the content, at most %.2f are allowed", sent, mostSent)
	}
	if work > mostCPU && mbit == fullSpeed && os.Getenv("LAN_RACE") == "" { // with less content it is other work that counts
		t.Errorf("the daemons used %.1f times the processor time of plain TCP and SHA-1, at most %.0f are allowed", work, mostCPU)
	}
	return verdict{said, factor > most || sent > mostSent, why}
}

// busy says how far the machine was the limit of something that took so long,
// "" if it was not.
func busy(idle float64, lost, took time.Duration) string {
	load, _ := os.ReadFile("/proc/loadavg")
	switch {
	case lost > took/20:
		return fmt.Sprintf("we were kept from the processors for %v", lost.Round(time.Millisecond))
	case idle < 0.2:
		return fmt.Sprintf("the processors were idle for %.0f %% of the time (load %.14s)", idle*100, load)
	}
	return ""
}

// within asserts a time. Where the machine was the limit, and not the links,
// that says nothing: then the same is asserted for links of half the speed, and
// half the content. Else there is one second try at the same speed.
func within(t *testing.T, most float64, share ...string) {
	t.Helper()
	again := false
	for mbit := speed; ; {
		var v verdict
		name := fmt.Sprintf("%d Mbit/s", mbit)
		if again {
			name += ", once more"
		}
		t.Run(name, func(t *testing.T) { v = measure(t, mbit, most, share...) })
		t.Log(v.said)
		switch {
		case t.Failed() || !v.slow:
			return
		case v.busy != "" && mbit > slowest:
			t.Logf("it took more than %.1f x content / link speed, or the first host sent too much, but %s: once more with links of half the speed", most, v.busy)
			mbit /= 2
			again = false
		case v.busy != "":
			t.Errorf("this machine is too slow for links of %d Mbit/s: %s", mbit, v.busy)
			return
		case again:
			t.Errorf("it took more than %.1f x content / link speed twice, and the machine was not busy", most)
			return
		default:
			t.Logf("it took more than %.1f x content / link speed: once more", most)
			again = true
		}
	}
}

// TestSwarm has one host share and eight join, with nothing typed but the two
// commands.
func TestSwarm(t *testing.T) { within(t, mostTime) }

// TestSecretSwarm is TestSwarm with a secret.
func TestSecretSwarm(t *testing.T) { within(t, mostSecret, "--secret") }
