package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"btd/piece"
)

// TestRequestsByTheWay: a peer that answers at once has few requests, however
// fast it is, and one that is far away as many as are needed to keep it busy.
func TestRequestsByTheWay(t *testing.T) {
	g, err := piece.NewGeometry(64*piece.BlockSize, 64*piece.BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		way   time.Duration
		rate  int // blocks a second
		takes int // requests, as the peer says
		want  int // at most
		least int
	}{
		{"on this machine", time.Millisecond / 5, 50_000, 2000, nearDepth, nearDepth},
		{"a slow peer far away", 300 * time.Millisecond, 100, 2000, nearDepth, nearDepth},
		{"a fast peer far away", 200 * time.Millisecond, 1000, 2000, 820, 780},
		{"a very fast peer far away", 200 * time.Millisecond, 8000, 5000, maxDepth, maxDepth},
		{"one that takes few", 200 * time.Millisecond, 8000, 300, 300, 300},
		{"one that does not say", 200 * time.Millisecond, 8000, 0, defaultReqQ, defaultReqQ},
	} {
		x := &torrent{geo: g, pick: piece.NewPicker(g, rand.New(rand.NewPCG(1, 1))), now: time.Unix(1000, 0)}
		p := &peer{has: x.pick.Join()}
		p.ext.ReqQ = c.takes
		p.down.slowStart, p.down.depth = true, firstDepth
		p.down.flow.Asked(x.now)
		for n := range 4 * c.rate { // a queue stands before it, so that most blocks take much longer
			x.now = x.now.Add(time.Second / time.Duration(c.rate))
			late := time.Duration(0)
			if n > 10 {
				late = time.Second
			}
			p.down.flow.Arrived(x.now, x.now.Add(-c.way-late))
			x.grow(p)
		}
		if n := p.down.depth; n > c.want || n < c.least {
			t.Errorf("%s: %d requests, want %d to %d", c.name, n, c.least, c.want)
		}
		p.down.meter.rate, p.down.meter.last = float64(c.rate*piece.BlockSize), float64(c.rate*piece.BlockSize)
		x.tickDown(p)
		if n := p.down.depth; n > c.want {
			t.Errorf("%s: %d requests after a second, want no more than %d", c.name, n, c.want)
		}
	}
}
