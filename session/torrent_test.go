package session

import (
	"net"
	"testing"
	"time"

	"btd/peerwire"
)

// TestWhoComesAtTheLastMomentStays has a peer join, and a check begin, in the
// very batch after which a seed without peers would have gone to sleep.
func TestWhoComesAtTheLastMomentStays(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	e := s.byWire(c.meta.Hash.Wire())
	// tired runs f in a loop that has had nothing to do for long, and waits until
	// the loop has looked whether that is over.
	tired := func(f func(t *torrent)) *torrent {
		var loop *torrent
		if !s.deliver(e, call(func(l *torrent) {
			l.clock.idleAt = l.now.Add(-2 * idleAfter)
			f(l)
			loop = l
		})) {
			t.Fatal("the torrent does not run")
		}
		until(t, "next look", func() bool { return s.look(e, func(*torrent) {}) && loop != nil })
		return loop
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	first := tired(func(l *torrent) {
		j := &joined{conn: &conn{Conn: theirs, release: func() {}}, addr: outside, source: FromIncoming}
		j.hs.InfoHash, j.hs.PeerID = c.meta.Hash.Wire(), [20]byte{1}
		j.hs.SetFast()
		l.join(j)
	})
	if err := ours.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := &rawPeer{Conn: ours, t: t, piece: c.meta.PieceLength}
	r.until(peerwire.HaveAll)
	if v := await(t, s, c, "the peer", func(v Torrent) bool { return v.Peers == 1 }); v.State != StateSeeding {
		t.Errorf("%+v", v)
	}
	second := tired(func(l *torrent) { l.startCheck(allPieces(l.geo.Pieces())) })
	if first != second {
		t.Error("the loop ended although somebody had come")
	}
	await(t, s, c, "the end of the check", complete)
}

// TestLookAgainForMemory: a torrent whose requests wait for block memory looks
// again soon, since nobody tells it when another torrent gives some back.
func TestLookAgainForMemory(t *testing.T) {
	x := &torrent{now: time.Unix(1000, 0)}
	next := x.now.Add(time.Second)
	if at := x.lookAgain(next); at != next {
		t.Errorf("looks again after %s with nothing to look for", at.Sub(x.now))
	}
	x.clock.starved = true
	if d := x.lookAgain(next).Sub(x.now); d != starvedFor {
		t.Errorf("looks for memory after %s", d)
	}
	x.clock.idlers, x.clock.lookAt = true, x.now.Add(starvedFor/2)
	if at := x.lookAgain(next); at != x.clock.lookAt {
		t.Errorf("looks for late blocks after %s", at.Sub(x.now))
	}
	if at := x.lookAgain(x.now); at != x.now {
		t.Errorf("does what is due after %s", at.Sub(x.now))
	}
}
