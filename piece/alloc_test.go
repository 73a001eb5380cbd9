package piece

import (
	"testing"
	"time"
)

// Once the picker has seen its usual load, nothing on the block path
// allocates.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	p, peers, r := crowdOf(t, 10_000, 100, 4*BlockSize)
	dst := make([]Block, 0, 100)
	round := func() {
		pr := peers[r.IntN(len(peers))]
		dst = p.Pick(pr, 20, dst[:0])
		for k, b := range dst {
			if k == 7 {
				p.Dropped(pr, b)
				continue
			}
			p.Received(pr, b)
		}
		for _, b := range dst {
			if o := p.lookup(b.Piece); o != nil && o.free+o.requested == 0 {
				p.Passed(b.Piece)
				p.Lost(b.Piece)
			}
		}
		p.DroppedAll(pr)
		p.PeerHas(peers[r.IntN(len(peers))], Index(r.IntN(10_000)))
		p.Interesting(pr)
	}
	for range 5000 {
		round()
	}
	if n := testing.AllocsPerRun(2000, round); n > 0 {
		t.Errorf("%v allocations a round", n)
	}
}

// Endgame, where requests are duplicated and cancelled.
func TestEndgameDoesNotAllocate(t *testing.T) {
	d, _ := last(t, 9)
	dst := make([]Block, 0, 100)
	var asker *Peer
	pace := func(pr *Peer) Pace {
		if pr == asker {
			return Pace{}
		}
		return Pace{Delay: time.Hour}
	}
	round := func() {
		for _, asker = range d.peers {
			dst = d.p.Duplicate(asker, 9, pace, dst[:0])
		}
		for _, b := range dst {
			d.p.Received(d.peers[8], b)
		}
		d.p.Lost(0)
		d.p.Pick(d.peers[0], 4, dst[:0])
	}
	round()
	if n := testing.AllocsPerRun(200, round); n > 0 {
		t.Errorf("%v allocations a round", n)
	}
}
