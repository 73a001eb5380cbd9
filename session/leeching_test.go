package session

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/peerwire"
	"btd/piece"
)

// acceptRaw is a peer that s dials for c, driven by the test.
func acceptRaw(t *testing.T, s *Session, c content, can rawReserved) *rawPeer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := s.AddPeers(t.Context(), c.meta.Hash, []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}); err != nil {
		t.Fatal(err)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &rawPeer{Conn: conn, t: t, piece: c.meta.PieceLength}
	if r.data, err = os.ReadFile(filepath.Join(c.dir, "content")); err != nil {
		t.Fatal(err)
	}
	r.deadline(patience)
	h, err := peerwire.ReadHandshake(conn)
	if err != nil || !h.Fast() || !h.Extended() || h.DHT() {
		t.Fatalf("handshake %+v, %v", h, err)
	}
	h.Reserved = [8]byte{}
	if can.fast {
		h.SetFast()
	}
	if can.extended {
		h.SetExtended()
	}
	copy(h.PeerID[:], fmt.Sprintf("-RA0001-%012d", l.Addr().(*net.TCPAddr).Port))
	r.send(h.Append(nil))
	return r
}

// give answers a request.
func (r *rawPeer) give(m peerwire.Message) {
	r.t.Helper()
	at := int64(m.Index)*r.piece + int64(m.Begin)
	r.send(peerwire.AppendPiece(nil, m.Index, m.Begin, r.data[at:at+int64(m.Length)]))
}

// serveUntil answers requests until ok says so of a message.
func (r *rawPeer) serveUntil(what string, ok func(peerwire.Message) bool) {
	r.t.Helper()
	r.deadline(patience)
	for range 100000 {
		m, err := r.next()
		if err != nil {
			r.t.Fatalf("waiting for %s: %v", what, err)
		}
		if m.ID == peerwire.Request {
			r.give(m)
		}
		if ok(m) {
			return
		}
	}
}

func started(t *testing.T, c content) *Session {
	t.Helper()
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	return s
}

// TestHavesAndInterest: every piece is announced, and interest ends with the
// last.
func TestHavesAndInterest(t *testing.T) {
	c := makeContent(t, 32<<10, map[string]int{"": 20*32<<10 + 5})
	s := started(t, c)
	p := acceptRaw(t, s, c, fastPeer)
	if m := p.until(peerwire.HaveNone); m.Length != 0 {
		t.Errorf("%+v", m)
	}
	p.send(peerwire.AppendUnchoke(peerwire.AppendHaveAll(nil)))
	p.until(peerwire.Interested)
	haves := map[uint32]int{}
	p.serveUntil("the end of interest", func(m peerwire.Message) bool {
		if m.ID == peerwire.Have {
			haves[m.Index]++
		}
		return m.ID == peerwire.NotInterested
	})
	for len(haves) < c.meta.Pieces() {
		haves[p.until(peerwire.Have).Index]++
	}
	for i, n := range haves {
		if n != 1 {
			t.Errorf("piece %d was announced %d times", i, n)
		}
	}
	await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
}

// TestChokedPlainly: without the fast extension a choke drops all requests;
// they are made again after the unchoke.
func TestChokedPlainly(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := started(t, c)
	p := acceptRaw(t, s, c, plainPeer)
	all := piece.NewBitfield(16)
	all.Fill()
	p.send(peerwire.AppendUnchoke(peerwire.AppendBitfield(nil, all.Bytes())))
	for range 3 {
		p.give(p.until(peerwire.Request))
		p.until(peerwire.Request)
		p.send(peerwire.AppendUnchoke(peerwire.AppendChoke(nil)))
	}
	p.serveUntil("the end of interest", func(m peerwire.Message) bool { return m.ID == peerwire.NotInterested })
	await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
}

// TestAllowedFastIsUsed: while it is choked, the session asks for allowed
// pieces only.
func TestAllowedFastIsUsed(t *testing.T) {
	c := makeContent(t, 32<<10, map[string]int{"": 20 * 32 << 10})
	s := started(t, c)
	p := acceptRaw(t, s, c, fastPeer)
	out := peerwire.AppendHaveAll(nil)
	for _, i := range []piece.Index{3, 17, 99 /* out of range */} {
		out = peerwire.AppendAllowedFast(out, i)
	}
	p.send(out)
	got := map[uint32]bool{}
	p.serveUntil("two pieces", func(m peerwire.Message) bool {
		if m.ID == peerwire.Request && m.Index != 3 && m.Index != 17 {
			t.Errorf("piece %d was requested while choked", m.Index)
		}
		if m.ID == peerwire.Have {
			got[m.Index] = true
		}
		return len(got) == 2
	})
	p.send(peerwire.AppendUnchoke(nil))
	p.serveUntil("the end of interest", func(m peerwire.Message) bool { return m.ID == peerwire.NotInterested })
	await(t, s, c, "completion", complete)
}

// TestRejectsAreNotAsked again at once, and do no harm.
func TestRejectsAreNotAsked(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 4 << 20})
	s := started(t, c)
	p := acceptRaw(t, s, c, fastPeer)
	p.send(peerwire.AppendUnchoke(peerwire.AppendHaveAll(nil)))
	end := time.Now().Add(3 * time.Second)
	asked := 0
	for time.Now().Before(end) {
		m := p.until(peerwire.Request)
		asked++
		p.send(peerwire.AppendReject(nil, piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length}))
	}
	if asked > 500 {
		t.Errorf("asked %d times in 3 s for what was always rejected", asked)
	}
	p.serveUntil("the end of interest", func(m peerwire.Message) bool { return m.ID == peerwire.NotInterested })
	v := await(t, s, c, "completion", complete)
	if v.Downloaded != v.Size {
		t.Errorf("downloaded %d bytes of %d", v.Downloaded, v.Size)
	}
	c.same(t, s.cfg.Dir)
}

// TestUnrequestedBlocks are thrown away.
func TestUnrequestedBlocks(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := started(t, c)
	p := acceptRaw(t, s, c, fastPeer)
	wrong := make([]byte, piece.BlockSize)
	var out, haves []byte
	for i := range uint32(16) {
		out = peerwire.AppendPiece(out, i, 0, wrong)
	}
	for i := range piece.Index(15) {
		haves = peerwire.AppendHave(haves, i)
	}
	end := func(m peerwire.Message) bool { return m.ID == peerwire.NotInterested }
	p.send(out) // before it even says what it has
	p.send(peerwire.AppendUnchoke(haves))
	p.serveUntil("the end of interest", end)
	// Somebody else has the last piece: one who has all would be left at the end.
	q := acceptRaw(t, s, c, fastPeer)
	q.send(peerwire.AppendUnchoke(peerwire.AppendHave(nil, 15)))
	q.serveUntil("the end of interest in the last piece", end)
	p.send(out) // nor when all is here
	v := await(t, s, c, "completion", complete)
	if v.Corrupt != 0 || v.Downloaded > v.Size {
		t.Errorf("downloaded %d bytes of %d, %d corrupt", v.Downloaded, v.Size, v.Corrupt)
	}
	awaitCounter(t, s, "unrequested_blocks", 32)
	c.same(t, s.cfg.Dir)
}

// TestDontHave: a piece that a peer no longer has is not asked of it (BEP 54).
func TestDontHave(t *testing.T) {
	c := makeContent(t, 32<<10, map[string]int{"": 10 * 32 << 10})
	s := started(t, c)
	p := acceptRaw(t, s, c, rawReserved{fast: true, extended: true})
	var ext peerwire.ExtHandshake
	if err := ext.Parse(p.until(peerwire.Extended).Payload); err != nil || ext.M[peerwire.ExtDontHave] == 0 || ext.UploadOnly {
		t.Fatalf("extension handshake %+v, %v", ext, err)
	}
	out := peerwire.AppendDontHave(peerwire.AppendHaveAll(nil), ext.M[peerwire.ExtDontHave], 4)
	p.send(peerwire.AppendUnchoke(out))
	p.serveUntil("nine pieces", func(m peerwire.Message) bool {
		if m.ID == peerwire.Request && m.Index == 4 {
			t.Error("the piece that is gone was requested")
		}
		return m.ID == peerwire.NotInterested
	})
	p.send(peerwire.AppendHave(nil, 4))
	p.until(peerwire.Interested)
	p.serveUntil("the last piece", func(m peerwire.Message) bool { return m.ID == peerwire.NotInterested })
	await(t, s, c, "completion", complete)
}

// TestCancelledThenRejected: a reject is the answer to a cancel, and no reason
// to leave the peer alone for a while.
func TestCancelledThenRejected(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 64 << 10})
	s := started(t, c)
	a, b := dialRaw(t, s, c, "a", fastPeer), dialRaw(t, s, c, "b", fastPeer)
	a.send(peerwire.AppendUnchoke(peerwire.AppendHaveAll(nil)))
	var asked []peerwire.Message
	for range 4 {
		asked = append(asked, a.until(peerwire.Request))
	}
	b.send(peerwire.AppendUnchoke(peerwire.AppendHaveAll(nil)))
	twice := b.until(peerwire.Request)
	for _, m := range asked {
		if m.Begin == twice.Begin {
			a.give(m)
		}
	}
	m := b.until(peerwire.Cancel)
	out := peerwire.AppendReject(nil, piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length})
	b.send(peerwire.AppendChoke(out))
	var paused bool
	until(t, "choke", func() (choked bool) {
		inLoop(t, s, c, func(t *torrent) {
			for _, p := range t.peers.all {
				if p.hs.PeerID[8] == 'b' {
					choked, paused = p.down.choked, !p.down.pause.IsZero()
				}
			}
		})
		return choked
	})
	if paused {
		t.Error("a peer that answered a cancel is not asked for a while")
	}
}

// TestRejectedWhileChoked: a peer that gives no more of its allowed-fast set is not
// asked for that piece, and is asked at once when it unchokes us.
func TestRejectedWhileChoked(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 64 << 10})
	s := started(t, c)
	a := dialRaw(t, s, c, "a", fastPeer)
	a.send(peerwire.AppendAllowedFast(peerwire.AppendHaveAll(nil), 0))
	for range 4 {
		m := a.until(peerwire.Request)
		a.send(peerwire.AppendReject(nil, piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length}))
	}
	until(t, "the rejects", func() (taken bool) {
		inLoop(t, s, c, func(t *torrent) {
			d := &t.peers.all[0].down
			taken = len(d.allowed) == 0 && len(d.reqs) == 0
		})
		return taken
	})
	inLoop(t, s, c, func(loop *torrent) {
		if !loop.peers.all[0].down.pause.IsZero() {
			t.Error("a choked peer that rejects is not asked for a while after it unchokes us")
		}
	})
	a.send(peerwire.AppendUnchoke(nil))
	a.until(peerwire.Request)
}

// TestSeedsPartOnceBothKnow: the other side hears that we are complete before we
// leave it, however long it was connected.
func TestSeedsPartOnceBothKnow(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 64 << 10})
	s := started(t, c)
	p := acceptRaw(t, s, c, fastPeer)
	inLoop(t, s, c, func(t *torrent) { t.clock.tick = t.now.Add(time.Hour) }) // the test ticks
	p.send(peerwire.AppendUnchoke(peerwire.AppendHaveAll(nil)))
	p.serveUntil("the end of interest", func(m peerwire.Message) bool { return m.ID == peerwire.NotInterested })
	inLoop(t, s, c, func(loop *torrent) {
		p := loop.peers.all[0]
		p.joined = loop.now.Add(-time.Hour)
		for _, want := range []struct {
			after  time.Duration
			closed bool
		}{{0, false}, {uselessAfter, false}, {1, true}} {
			loop.now = loop.now.Add(want.after)
			if loop.tickPeers(); p.closed != want.closed {
				t.Errorf("%v later: closed is %t", want.after, p.closed)
			}
		}
	})
	p.untilClosed()
}
