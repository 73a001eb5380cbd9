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
