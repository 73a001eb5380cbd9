package session

import (
	"testing"
	"time"

	"btd/peerwire"
	"btd/piece"
)

// byHand gives f the loop of a download, and a peer that has everything and whose
// messages are the test's to make. The clock stands unless f moves it.
func byHand(t *testing.T, f func(x *torrent, p *peer)) {
	t.Helper()
	c := makeContent(t, 8<<20, map[string]int{"": 8 << 20})
	s := started(t, c)
	r := dialRaw(t, s, c, "slow", fastPeer)
	r.send(peerwire.AppendHaveAll(nil))
	r.until(peerwire.Interested)
	inLoop(t, s, c, func(x *torrent) {
		if len(x.peers.all) != 1 {
			t.Errorf("%d peers", len(x.peers.all))
			return
		}
		p := x.peers.all[0]
		if err := x.handle(p, &peerwire.Message{ID: peerwire.Unchoke}); err != nil {
			t.Error(err)
			return
		}
		f(x, p)
	})
}

// tickAfter moves the clock on, and does what is due once a second.
func tickAfter(x *torrent, p *peer, d time.Duration) {
	x.now = x.now.Add(d)
	p.wire.lastRecv = x.now
	x.tickPeers()
}

// askedNow has p asked for what it may be asked for, and takes the requests off
// its output.
func askedNow(t *testing.T, x *torrent, p *peer) (l []piece.Block) {
	t.Helper()
	x.feed(p)
	for b := p.wire.ctl; len(b) > 0; {
		var m peerwire.Message
		n, err := peerwire.Decode(b, &m)
		if err != nil {
			t.Error(err)
			break
		}
		if m.ID == peerwire.Request {
			l = append(l, piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length})
		}
		b = b[n:]
	}
	p.wire.ctl = p.wire.ctl[:0]
	return l
}

// deliver has b come from p.
func deliver(t *testing.T, x *torrent, p *peer, b piece.Block) {
	t.Helper()
	p.wire.credit.Add(-1)
	m := peerwire.Message{ID: peerwire.Piece, Index: uint32(b.Piece), Begin: b.Begin, Length: b.Length, Buf: x.s.store.Alloc()}
	if err := x.handle(p, &m); err != nil {
		t.Error(err)
	}
}

// TestSlowPeerSendsNothingTwice: a peer that sends less than a block a second has
// few requests before long, and is not asked again for what it is yet to send.
func TestSlowPeerSendsNothingTwice(t *testing.T) {
	t.Parallel()
	for name, rate := range map[string]float64{
		"one kilobyte a second": 1000, "five": 5000, "ten": 10_000, "thirteen": 13_000,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			byHand(t, func(x *torrent, p *peer) { trickle(t, x, p, rate) })
		})
	}
}

// trickle has p send 240 blocks in the order they were asked for, at rate bytes a
// second.
func trickle(t *testing.T, x *torrent, p *peer, rate float64) {
	t.Helper()
	const blocks, step = 240, 100 * time.Millisecond
	var queue []piece.Block
	came := map[piece.Block]bool{}
	twice, deepest, sent := 0, 0, 0.0
	for n := 1; len(came) < blocks && n < 200_000; n++ {
		if n%10 == 0 {
			tickAfter(x, p, step)
		} else {
			x.now = x.now.Add(step)
		}
		queue = append(queue, askedNow(t, x, p)...)
		deepest = max(deepest, p.down.depth)
		if len(queue) == 0 {
			continue
		}
		if sent += rate * step.Seconds(); sent >= piece.BlockSize {
			sent -= piece.BlockSize
			if came[queue[0]] {
				twice++
			}
			came[queue[0]] = true
			deliver(t, x, p, queue[0])
			queue = queue[1:]
		}
	}
	if len(came) < blocks || twice > blocks/30 {
		t.Errorf("%d blocks came, %d of them twice, want %d and next to none", len(came), twice, blocks)
	}
	if p.down.slowStart || deepest > 25 || p.down.depth > 4 {
		t.Errorf("up to %d requests, %d at the end; slow start %v", deepest, p.down.depth, p.down.slowStart)
	}
}
