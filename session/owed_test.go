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

// TestCancelsThatAreNotAnswered: some clients with the fast extension drop what
// is cancelled without a word. They are asked for the rest all the same.
func TestCancelsThatAreNotAnswered(t *testing.T) {
	t.Parallel()
	byHand(t, func(x *torrent, p *peer) {
		p.down.slowStart, p.down.depth = false, maxOwed+1
		owed := askedNow(t, x, p)
		if len(owed) != maxOwed+1 {
			t.Errorf("%d requests", len(owed))
			return
		}
		for _, b := range owed { // another peer is faster
			_, others := x.pick.Received(nil, b)
			for _, o := range others {
				x.cancelAt(o, b)
			}
		}
		if l := askedNow(t, x, p); len(l) > 0 {
			t.Errorf("%d more requests to a peer that owes %d answers", len(l), len(owed))
		}
		for range 61 {
			tickAfter(x, p, time.Second)
		}
		askedAgain(t, x, p, owed)
		if p.down.snubbed {
			t.Error("a peer that owes nothing is snubbed")
		}
	})
}

// TestLostRequests: a peer that never answered very many requests, and is still
// there, is asked for more after some minutes.
func TestLostRequests(t *testing.T) {
	t.Parallel()
	byHand(t, func(x *torrent, p *peer) {
		p.down.slowStart, p.down.depth = false, maxOwed+1
		owed := askedNow(t, x, p)
		for range int(snubAfter/time.Second) + 1 {
			tickAfter(x, p, time.Second)
		}
		if l := askedNow(t, x, p); len(l) > 0 || !p.down.snubbed {
			t.Errorf("snubbed is %v, %d more requests to a peer that owes %d answers", p.down.snubbed, len(l), len(owed))
		}
		for range int(lostAfter/time.Second) + 1 {
			tickAfter(x, p, time.Second)
		}
		askedAgain(t, x, p, owed)
	})
}

// TestLongQueue: a peer that has become slow may send all that it was asked for,
// however long that takes, as long as it sends.
func TestLongQueue(t *testing.T) {
	t.Parallel()
	byHand(t, func(x *torrent, p *peer) {
		p.down.slowStart, p.down.depth, p.ext.ReqQ = false, 400, 400
		queue := askedNow(t, x, p)
		if len(queue) != 400 {
			t.Errorf("asked for %d blocks", len(queue))
		}
		for _, b := range queue {
			tickAfter(x, p, time.Second)
			askedNow(t, x, p)
			if deliver(t, x, p, b); p.down.bad > 0 || p.down.late > 0 {
				t.Errorf("a block that was asked for is unwelcome: %d, %d", p.down.bad, p.down.late)
				return
			}
		}
	})
}

// TestPassedOver: a request that the peer did not answer though it sent what it
// was asked for later is forgotten sooner.
func TestPassedOver(t *testing.T) {
	t.Parallel()
	byHand(t, func(x *torrent, p *peer) {
		queue, began := askedNow(t, x, p), x.now
		lost := queue[0]
		noted := func() bool {
			at := findRequest(p.down.reqs, lost)
			return at >= 0 && p.down.reqs[at].at.Equal(began)
		}
		again := 0
		for n := range 2*int(requestLives/time.Second) + 4 {
			if n == 2*int(requestLives/time.Second)-2 && !noted() {
				t.Error("it is forgotten at once")
			}
			tickAfter(x, p, time.Second)
			for _, b := range askedNow(t, x, p) {
				if b == lost {
					again++
				}
				queue = append(queue, b)
			}
			for len(queue) > 0 && queue[0] == lost {
				queue = queue[1:]
			}
			if len(queue) > 0 {
				deliver(t, x, p, queue[0])
				queue = queue[1:]
			}
		}
		if noted() || again == 0 {
			t.Errorf("it is noted: %v; asked for again %d times", noted(), again)
		}
	})
}

// askedAgain checks that p is asked for blocks, and that those which it owed for
// long may come late without harm.
func askedAgain(t *testing.T, x *torrent, p *peer, owed []piece.Block) {
	t.Helper()
	l := askedNow(t, x, p)
	if len(l) == 0 || len(p.down.reqs) != len(l) {
		t.Errorf("%d requests, %d are noted", len(l), len(p.down.reqs))
	}
	if n := p.wire.credit.Load(); n != int64(len(l)+maxLate) {
		t.Errorf("the reader may take %d blocks, want %d and %d late ones", n, len(l), maxLate)
	}
	for _, b := range owed[:maxLate] {
		if findRequest(p.down.reqs, b) < 0 {
			deliver(t, x, p, b)
		}
	}
	if p.down.bad != 0 {
		t.Errorf("%d late blocks are held against the peer", p.down.bad)
	}
}
