package session

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"btd/piece"
)

// endgameOf is a loop without sockets that is in the endgame: a and b have
// everything, each sent a block a millisecond, and the last eight are all
// requested from a.
func endgameOf(t *testing.T) (x *torrent, a, b *peer, rest []piece.Block) {
	t.Helper()
	g, err := piece.NewGeometry(64*piece.BlockSize, 64*piece.BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	x = &torrent{geo: g, pick: piece.NewPicker(g, rand.New(rand.NewPCG(1, 1))), now: time.Unix(1000, 0)}
	x.peers.init()
	for range 2 {
		p := &peer{has: x.pick.Join()}
		p.down.interested = true
		full := piece.NewBitfield(1)
		full.Fill()
		x.pick.PeerBitfield(p.has, full)
		p.down.flow.Asked(x.now)
		x.peers.all = append(x.peers.all, p)
		x.peers.byPicker[p.has] = p
	}
	a, b = x.peers.all[0], x.peers.all[1]
	for range 28 {
		for _, p := range x.peers.all {
			l := x.pick.Pick(p.has, 1, nil)
			p.down.flow.Arrived(x.now.Add(time.Millisecond), x.now)
			x.pick.Received(p.has, l[0])
		}
		x.now = x.now.Add(time.Millisecond)
	}
	rest = x.pick.Pick(a.has, 8, nil)
	a.down.live, x.clock.block = len(rest), x.now
	if len(rest) != 8 || !x.pick.Endgame() {
		t.Fatalf("the rest is %v", rest)
	}
	return x, a, b, rest
}

// TestLateBlocksAreAskedOfAnother: blocks that are on their way are left
// alone, and asked of an idle peer once the other fell silent.
func TestLateBlocksAreAskedOfAnother(t *testing.T) {
	x, _, b, rest := endgameOf(t)
	began := x.now
	x.duplicate(b, 16)
	if len(x.peers.picked) != 0 || !b.down.idle || !x.clock.idlers {
		t.Fatalf("%v asked twice at once, idle %v", x.peers.picked, b.down.idle)
	}
	looks := 0
	for ; len(x.peers.picked) == 0 && looks < 100; looks++ {
		before := x.clock.lookAt
		if wait := before.Sub(x.now); wait < lookEvery || wait > lookAtMost {
			t.Fatalf("the next look is in %s", wait)
		}
		x.lookLate() // too early
		if b.down.hungry {
			t.Fatal("looked before it was time")
		}
		x.now = before
		x.lookLate()
		if !b.down.hungry || b.down.idle {
			t.Fatal("no look when it was time")
		}
		b.down.hungry = false
		x.duplicate(b, 16)
	}
	if silence := x.now.Sub(began); silence < 20*time.Millisecond || silence > 100*time.Millisecond {
		t.Errorf("asked again after %s of silence", silence)
	}
	n := len(x.peers.picked)
	if n == 0 || !slices.Equal(x.peers.picked, rest[len(rest)-n:]) {
		t.Errorf("asked again: %v, want the end of %v", x.peers.picked, rest)
	}
}

// TestFairDepth: what is left is divided by rate, and not handed out at once.
func TestFairDepth(t *testing.T) {
	x, a, b, _ := endgameOf(t)
	if n := x.fairDepth(a); n != maxDepth {
		t.Errorf("depth %d while the pipelines are unknown", n)
	}
	x.peers.depth = 32
	if n := x.fairDepth(a); n < 12 || n > 16 {
		t.Errorf("depth %d with 8 blocks left and nothing asked of another, want half of them and some", n)
	}
	b.down.live = 1
	if n, m := x.fairDepth(a), x.fairDepth(b); n != m || n < 8 || n > 12 {
		t.Errorf("depths %d and %d with 8 blocks left, want a quarter of them and some", n, m)
	}
	a.down.flow, b.down.flow = piece.Flow{}, piece.Flow{}
	if n := x.fairDepth(a); n != 4+fairSpare {
		t.Errorf("depth %d while no rate is known, want half of 8 blocks and %d", n, fairSpare)
	}
}
