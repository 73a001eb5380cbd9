package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// TestPeersByNameAreLookedForUntilTheyAreFound has no name server at first.
func TestPeersByNameAreLookedForUntilTheyAreFound(t *testing.T) {
	t.Parallel()
	c := manyFiles(t)
	seed := seedOf(t, c, nil)
	var calls atomic.Int32
	s := open(t, func(cfg *Config) {
		cfg.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
			switch n := calls.Add(1); {
			case host != "peer.example":
				return nil, fmt.Errorf("looked up %q", host)
			case n == 1:
				return nil, errors.New("no name server answers")
			case n == 2:
				return nil, nil
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
	})
	addMagnet(t, s, c.link(fmt.Sprintf("x.pe=peer.example:%d", seed.Addr().Port())), AddOptions{})
	await(t, s, c, "a loop", func(v Torrent) bool { return v.State != StateQueued })
	until(t, "third look-up", func() bool {
		inLoop(t, s, c, func(t *torrent) {
			for _, n := range t.peers.names {
				n.next = time.Time{} // as if the wait were over
			}
		})
		return calls.Load() >= 3
	})
	await(t, s, c, "completion", complete)
	left := 0
	inLoop(t, s, c, func(t *torrent) { left = len(t.peers.names) })
	if got := calls.Load(); got != 3 || left != 0 {
		t.Errorf("%d look-ups, and %d names are still looked for", got, left)
	}
}

func TestLookUpsGrowRare(t *testing.T) {
	t.Parallel()
	to := &torrent{now: time.Unix(1000, 0)}
	n := to.named("peer.example", 1)
	want := 2 * time.Second
	for range 20 {
		n.asked = true
		to.resolved(n, nil)
		if got := n.next.Sub(to.now); got != want || n.asked {
			t.Fatalf("the next look-up in %v, want %v", got, want)
		}
		to.tickNames() // before its time: nothing is started
		want = min(2*want, 10*time.Minute)
	}
	if n.asked {
		t.Error("it is looked up too early")
	}
	for port := range uint16(1000) {
		to.named("peer.example", port)
	}
	if got := len(to.peers.names); got != maxNamed || to.named("peer.example", 1) != n {
		t.Errorf("%d names are looked for", got)
	}
}
