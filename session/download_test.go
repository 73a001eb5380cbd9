package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"btd/piece"
)

// TestRequestsByTheWay: a peer that is near has few requests, however fast it is,
// and one that is far away as many as it takes, whatever queue stands before it.
func TestRequestsByTheWay(t *testing.T) {
	g, err := piece.NewGeometry(64*piece.BlockSize, 64*piece.BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		way   time.Duration
		takes int // requests, as the peer says
		want  int
	}{
		{"on this machine", time.Millisecond / 5, 2000, nearDepth},
		{"in this building, and it takes few", time.Millisecond, 300, 300},
		{"far away", 20 * time.Millisecond, 5000, maxDepth},
		{"far away, and it takes few", 200 * time.Millisecond, 300, 300},
		{"one that does not say", 200 * time.Millisecond, 0, defaultReqQ},
	} {
		const rate = 50_000 // blocks a second
		x := &torrent{geo: g, pick: piece.NewPicker(g, rand.New(rand.NewPCG(1, 1))), now: time.Unix(1000, 0)}
		p := &peer{has: x.pick.Join()}
		p.ext.ReqQ = c.takes
		p.down.slowStart, p.down.depth = true, firstDepth
		p.down.flow.Asked(x.now)
		for n := range rate {
			x.now = x.now.Add(time.Second / rate)
			late := time.Duration(0)
			if n > 10 {
				late = time.Second
			}
			p.down.flow.Arrived(x.now, x.now.Add(-c.way-late))
			x.grow(p)
		}
		if n := p.down.depth; n != c.want {
			t.Errorf("%s: %d requests, want %d", c.name, n, c.want)
		}
		p.down.meter.rate, p.down.meter.last = rate*piece.BlockSize, rate*piece.BlockSize
		x.tickDown(p)
		if n := p.down.depth; n != c.want {
			t.Errorf("%s: %d requests after a second, want %d", c.name, n, c.want)
		}
	}
}
