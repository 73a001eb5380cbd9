package session

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"btd/peerwire"
	"btd/piece"
)

var (
	fastPeer  = rawReserved{fast: true}
	plainPeer = rawReserved{}
)

// TestCancel takes back most of what was asked for while the rate limit holds
// it back: it is rejected, and the rest is served.
func TestCancel(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 256<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, func(cfg *Config) { cfg.Limits.Up = 64 << 10 })
	p := dialRaw(t, s, c, "cancel", fastPeer).unchoked()
	var asked []piece.Block
	for i := range piece.Index(2) {
		for n := range uint32(16) {
			asked = append(asked, rawBlock(i, n))
		}
	}
	out := requestAll(asked)
	for _, b := range asked[6:] {
		out = peerwire.AppendCancel(out, b)
	}
	p.send(out)
	served, rejected := p.answers(asked)
	for i, b := range asked {
		if served[b]+rejected[b] != 1 {
			t.Errorf("%v: served %d times, rejected %d times", b, served[b], rejected[b])
		}
		if i < 6 && served[b] != 1 {
			t.Errorf("%v was not cancelled, but rejected", b)
		}
	}
	if len(rejected) < 20 {
		t.Errorf("%d of 26 cancelled requests were rejected", len(rejected))
	}
	// What was cancelled can be asked for again.
	p.send(peerwire.AppendRequest(nil, asked[20]))
	if m := p.until(peerwire.Piece); m.Index != 1 || m.Begin != asked[20].Begin {
		t.Errorf("served %d at %d of piece %d", m.Length, m.Begin, m.Index)
	}
}

// TestCancelBehindASlowReader cancels what waits for a full socket.
func TestCancelBehindASlowReader(t *testing.T) {
	c := makeContent(t, 1<<20, map[string]int{"": 16 << 20})
	s := seedOf(t, c, nil)
	p := dialRaw(t, s, c, "slow", fastPeer).unchoked()
	if err := p.Conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	var asked []piece.Block
	for i := range piece.Index(16) {
		for n := range uint32(64) {
			asked = append(asked, rawBlock(i, n))
		}
	}
	p.send(requestAll(asked))
	p.until(peerwire.Piece) // the first block; the rest fills the socket
	var out []byte
	for k, b := range asked[1:] {
		if k%2 == 0 {
			out = peerwire.AppendCancel(out, b)
		}
	}
	p.send(out)
	served, rejected := p.answers(asked[1:])
	for _, b := range asked[1:] {
		if served[b]+rejected[b] != 1 {
			t.Errorf("%v: served %d times, rejected %d times", b, served[b], rejected[b])
		}
	}
	if len(rejected) == 0 {
		t.Error("no cancel was honoured")
	}
	p.send(peerwire.AppendRequest(nil, asked[0]))
	p.until(peerwire.Piece)
}

// TestCancelOfSmallRequests: each of them counts for a block while it waits, and
// no longer once it is taken back.
func TestCancelOfSmallRequests(t *testing.T) {
	c := makeContent(t, 1<<20, map[string]int{"": 4 << 20})
	s := seedOf(t, c, nil)
	p := pipeRaw(t, s, c).unchoked()
	awaitPeer := func(what string, runs, flying int) {
		t.Helper()
		until(t, what, func() (ok bool) {
			inLoop(t, s, c, func(t *torrent) {
				up, o := &t.peers.all[0].up, t.peers.all[0].wire.out
				o.mu.Lock()
				defer o.mu.Unlock()
				ok = len(up.queue) == 0 && len(o.runs)-o.head == runs && up.flying == flying
			})
			return ok
		})
	}
	p.send(peerwire.AppendRequest(nil, rawBlock(3, 0))) // which nobody reads for now
	awaitPeer("block to be on its way", 0, kib16)
	const lots, size = 3, 40 // more than maxFlying together
	for range lots {
		var ask []piece.Block
		var cancel []byte
		for n := range uint32(size) {
			b := piece.Block{Piece: piece.Index(n % 3), Begin: n * 2 << 10, Length: 1 << 10}
			ask, cancel = append(ask, b), peerwire.AppendCancel(cancel, b)
		}
		p.send(requestAll(ask))
		awaitPeer("requests to wait for the writer", size, (1+size)*kib16)
		p.send(cancel)
		awaitPeer("requests to be gone", 0, kib16)
	}
	if m := p.until(peerwire.Piece); m.Index != 3 || m.Begin != 0 {
		t.Errorf("served %d of piece %d", m.Begin, m.Index)
	}
	p.send(peerwire.AppendRequest(nil, rawBlock(3, 1)))
	for rejected := 0; ; rejected++ {
		m, err := p.next()
		if err != nil {
			t.Fatalf("after %d rejects: %v", rejected, err)
		}
		if m.ID == peerwire.Piece {
			if rejected != lots*size || m.Index != 3 || m.Begin != kib16 {
				t.Errorf("after %d rejects %d of piece %d is served", rejected, m.Begin, m.Index)
			}
			break
		}
		if m.ID != peerwire.Reject {
			t.Fatalf("got %v", m.ID)
		}
	}
	awaitPeer("end", 0, 0)
}

func TestLongRequests(t *testing.T) {
	c := makeContent(t, 512<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	p := dialRaw(t, s, c, "long", fastPeer).unchoked()
	for _, b := range []piece.Block{
		{Piece: 0, Begin: 0, Length: 128 << 10},
		{Piece: 1, Begin: 512<<10 - 100000, Length: 100000},
		{Piece: 1, Begin: 12345, Length: 1},
		{Piece: 0, Begin: 7, Length: 17 << 10},
	} {
		p.send(peerwire.AppendRequest(nil, b))
		if m := p.until(peerwire.Piece); m.Index != uint32(b.Piece) || m.Begin != b.Begin || m.Length != b.Length {
			t.Errorf("asked for %v, got %d at %d of piece %d", b, m.Length, m.Begin, m.Index)
		}
	}
	for _, b := range []piece.Block{
		{Piece: 0, Begin: 0, Length: 128<<10 + 1},
		{Piece: 1, Begin: 512<<10 - 10, Length: 11},
		{Piece: 2, Begin: 0, Length: 1},
		{Piece: 0, Begin: 0, Length: 0},
		{Piece: 0, Begin: 1<<32 - 1, Length: 2},
	} {
		p := dialRaw(t, s, c, "toolong", fastPeer).unchoked()
		p.send(peerwire.AppendRequest(nil, b))
		p.untilClosed()
	}
	awaitCounter(t, s, "peer_protocol_errors", 5)
}

func TestChokedPeerGetsItsAllowedSet(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"": 40 * 16 << 10})
	s := seedOf(t, c, func(cfg *Config) { cfg.SuperSeeding = SuperOff })
	p := dialRaw(t, s, c, "choked", fastPeer)
	var allowed []uint32
	for range allowedSet {
		allowed = append(allowed, p.until(peerwire.AllowedFast).Index)
	}
	slices.Sort(allowed)
	want := peerwire.FastSet(netip.MustParseAddr("127.0.0.1"), c.meta.Hash.Wire(), 40, allowedSet)
	slices.Sort(want)
	if !slices.Equal(allowed, want) {
		t.Errorf("allowed %v, want %v", allowed, want)
	}
	var asked []piece.Block
	for i := range uint32(40) {
		asked = append(asked, rawBlock(piece.Index(i), 0))
	}
	p.send(requestAll(asked))
	served, rejected := p.answers(asked)
	for _, b := range asked {
		mine := slices.Contains(allowed, uint32(b.Piece))
		if mine && served[b] != 1 || !mine && rejected[b] != 1 {
			t.Errorf("piece %d, allowed is %t: served %d times, rejected %d times", b.Piece, mine, served[b], rejected[b])
		}
	}
	set, others := allowedBlocks(c, 40)
	// Over and over: it is not sent more than twice.
	for round := 2; round <= 5; round++ {
		p.send(requestAll(set))
		served, rejected := p.answers(set)
		if round <= allowedCopies && len(served) != len(set) || round > allowedCopies && len(rejected) != len(set) {
			t.Errorf("asked %d times: %d served, %d rejected", round, len(served), len(rejected))
		}
	}
	// Nor is it to who has one of its pieces, or enough of others.
	p = dialRaw(t, s, c, "has one", fastPeer)
	p.send(append(peerwire.AppendHave(nil, set[0].Piece), requestAll(set)...))
	if served, rejected := p.answers(set); rejected[set[0]] != 1 || len(served) != len(set)-1 {
		t.Errorf("to a peer with piece %d: served %v, rejected %v", set[0].Piece, served, rejected)
	}
	p = dialRaw(t, s, c, "has enough", fastPeer)
	for n := range allowedSet + 1 {
		p.send(peerwire.AppendHave(nil, others[n].Piece))
		if n+1 < allowedSet {
			continue
		}
		p.send(requestAll(set))
		served, rejected := p.answers(set)
		if n+1 == allowedSet && len(served) != len(set) || n+1 > allowedSet && len(rejected) != len(set) {
			t.Errorf("to a peer with %d pieces: %d served, %d rejected", n+1, len(served), len(rejected))
		}
	}
}

// allowedBlocks are the first blocks of the pieces that a peer on loopback is
// allowed while choked, and of the others.
func allowedBlocks(c content, pieces int) (set, others []piece.Block) {
	fast := peerwire.FastSet(netip.MustParseAddr("127.0.0.1"), c.meta.Hash.Wire(), pieces, allowedSet)
	for i := range uint32(pieces) {
		if b := rawBlock(piece.Index(i), 0); slices.Contains(fast, i) {
			set = append(set, b)
		} else {
			others = append(others, b)
		}
	}
	return set, others
}

// TestChokeLeavesTheAllowedSet: a choke ends all requests of a peer but those
// that it may make while choked.
func TestChokeLeavesTheAllowedSet(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"": 40 * 16 << 10})
	s := seedOf(t, c, nil)
	limit := func(up int64) {
		t.Helper()
		if err := s.SetLimits(t.Context(), c.meta.Hash, Limits{Up: up}); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	p := dialRaw(t, s, c, "choked", fastPeer).unchoked()
	set, others := allowedBlocks(c, 40)
	thrice := slices.Concat(set, set, set)
	p.send(peerwire.AppendNotInterested(requestAll(slices.Concat(thrice, others))))
	// Of three requests for a block one is rejected, or was served before.
	served, rejected := p.answers(slices.Concat(set, others))
	for _, b := range slices.Concat(set, others) {
		if served[b]+rejected[b] != 1 {
			t.Errorf("%v: served %d times, rejected %d times", b, served[b], rejected[b])
		}
	}
	limit(0)
	for range allowedCopies {
		if served, _ := p.answers(set); len(served) != len(set) {
			t.Errorf("after the choke %d of the set of %d are served", len(served), len(set))
		}
	}
	p.send(requestAll(set))
	if _, rejected := p.answers(set); len(rejected) != len(set) {
		t.Errorf("%d of %d are rejected at last", len(rejected), len(set))
	}
}

// TestChokedPlainPeer: without the fast extension requests of a choked peer
// are passed over in silence.
func TestChokedPlainPeer(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"": 40 * 16 << 10})
	s := seedOf(t, c, nil)
	p := dialRaw(t, s, c, "plain", plainPeer)
	if m, err := p.next(); err != nil || m.ID != peerwire.Bitfield || len(m.Payload) != 5 {
		t.Errorf("the first message is %v, %v; want a bitfield", m.ID, err)
	}
	var out []byte
	for i := range piece.Index(30) {
		out = peerwire.AppendRequest(out, rawBlock(i, 0))
	}
	p.send(append(peerwire.AppendKeepAlive(nil), out...))
	p.unchoked()
	p.send(peerwire.AppendKeepAlive(peerwire.AppendRequest(nil, rawBlock(33, 0))))
	m, err := p.next()
	if err != nil || m.ID != peerwire.Piece || m.Index != 33 {
		t.Errorf("got %v of piece %d, %v; want the one piece asked for after the unchoke", m.ID, m.Index, err)
	}
}

// TestRequestsBeyondOurQueue asks for more than our extension handshake says
// that we take.
func TestRequestsBeyondOurQueue(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"": 100 * 16 << 10})
	s := seedOf(t, c, func(cfg *Config) { cfg.Limits.Up = 1 })
	p := dialRaw(t, s, c, "greedy", rawReserved{fast: true, extended: true})
	var ext peerwire.ExtHandshake
	if err := ext.Parse(p.until(peerwire.Extended).Payload); err != nil || ext.ReqQ < 250 {
		t.Fatalf("extension handshake %+v, %v", ext, err)
	}
	if ext.Version != "btd 0.0.1" || ext.Port != s.Addr().Port() || ext.YourIP != netip.MustParseAddr("127.0.0.1") || !ext.UploadOnly {
		t.Errorf("extension handshake %+v", ext)
	}
	p.unchoked()
	const more = 3000
	var out []byte
	for n := range ext.ReqQ + more {
		out = peerwire.AppendRequest(out, rawBlock(piece.Index(n%100), 0))
	}
	p.send(out)
	// At least what goes beyond twice our queue is rejected.
	p.deadline(patience)
	for n := 0; n < more-ext.ReqQ; {
		m, err := p.next()
		if err != nil {
			t.Fatalf("after %d rejects: %v", n, err)
		}
		if m.ID == peerwire.Reject {
			n++
		}
	}
	var list []Peer
	inLoop(t, s, c, func(t *torrent) { list = t.peerViews() })
	if len(list) != 1 || list[0].RequestsToUs < ext.ReqQ || list[0].RequestsToUs > 2*ext.ReqQ {
		t.Errorf("peers %+v; want one with at least %d requests kept", list, ext.ReqQ)
	}
}

// TestLaterBitfields: some programs send them in place of many haves; the last
// counts.
func TestLaterBitfields(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	p := dialRaw(t, s, c, "more", fastPeer)
	for _, x := range []struct {
		send []byte
		want float64
	}{
		{peerwire.AppendBitfield(nil, []byte{0x40, 0}), 1. / 16},
		{peerwire.AppendBitfield(nil, []byte{0xf0, 0}), 4. / 16},
		{peerwire.AppendHave(nil, 15), 5. / 16},
		{peerwire.AppendHaveAll(nil), 1},
		{peerwire.AppendBitfield(nil, []byte{0xf0, 0x0f}), 8. / 16},
		{peerwire.AppendHaveNone(nil), 0},
	} {
		p.send(x.send)
		var list []Peer
		if !patient(func() bool {
			var err error
			if list, err = s.Peers(c.meta.Hash); err != nil || len(list) > 1 {
				t.Fatalf("peers %v, %v", list, err)
			}
			return len(list) == 1 && list[0].Progress == x.want
		}) {
			t.Fatalf("after %x the peers are %+v, want one that has %v of all", x.send, list, x.want)
		}
	}
	for name, bad := range map[string][]byte{
		"bits beyond the end": peerwire.AppendBitfield(nil, []byte{0, 0, 1}),
		"one byte short":      peerwire.AppendBitfield(nil, []byte{0}),
	} {
		p := dialRaw(t, s, c, name, fastPeer)
		p.send(append(peerwire.AppendBitfield(nil, []byte{0x40, 0}), bad...))
		p.untilClosed()
	}
	p = dialRaw(t, s, c, "not fast", plainPeer)
	p.send(peerwire.AppendHaveNone(nil))
	p.untilClosed()
	awaitCounter(t, s, "peer_protocol_errors", 3)
}

// TestSeedThatLosesPieces: each time that a seed loses its first piece, what it
// has is looked at as a whole. There is a limit to that, as there is to bitfields;
// to what else it loses there is none.
func TestSeedThatLosesPieces(t *testing.T) {
	t.Parallel()
	const n = 1 << 16
	c := makeContent(t, 1, map[string]int{"": n})
	s := started(t, c)
	both := rawReserved{fast: true, extended: true}
	honest := dialRaw(t, s, c, "honest", both)
	var ext peerwire.ExtHandshake
	if err := ext.Parse(honest.until(peerwire.Extended).Payload); err != nil || ext.M[peerwire.ExtDontHave] == 0 {
		t.Fatalf("extension handshake %+v, %v", ext, err)
	}
	gone := func(b []byte, i piece.Index) []byte {
		return peerwire.AppendDontHave(b, ext.M[peerwire.ExtDontHave], i)
	}
	b := peerwire.AppendHaveAll(nil)
	for i := range piece.Index(1000) {
		b = gone(b, i)
	}
	for i := range piece.Index(1000) {
		b = peerwire.AppendHave(b, i)
	}
	honest.send(gone(b, 5))

	cheat := dialRaw(t, s, c, "cheat", both)
	b = peerwire.AppendHaveAll(nil)
	for range 5000 {
		b = peerwire.AppendHave(gone(b, 0), 0)
	}
	cheat.Write(b) // fails if it is cut off before the end
	cheat.untilClosed()
	awaitCounter(t, s, "peer_protocol_errors", 1)
	until(t, "news of the honest one", func() bool {
		list, err := s.Peers(c.meta.Hash)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 1 && list[0].Progress == float64(n-1)/n
	})
}

// forwarder passes connections on to an address, so that a session does not
// see where they end.
func forwarder(t *testing.T, to netip.AddrPort) (at netip.AddrPort, conns *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns = new(atomic.Int32)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			out, err := net.Dial("tcp", to.String())
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.Copy(in, out); in.Close() }()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), conns
}

func TestConnectionToOurselves(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := open(t, nil)
	at, conns := forwarder(t, s.Addr())
	add(t, s, c, AddOptions{Peers: []netip.AddrPort{at}})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	until(t, "end of the address", func() bool {
		known := -1
		inLoop(t, s, c, func(t *torrent) { known = t.book.Len() })
		return conns.Load() > 0 && known == 0
	})
	if list, err := s.Peers(c.meta.Hash); err != nil || len(list) != 0 {
		t.Errorf("connected to %+v, %v", list, err)
	}
	if conns.Load() != 1 {
		t.Errorf("connected to ourselves %d times", conns.Load())
	}
}

// TestSamePeerTwice: of two connections from the same peer id the first stays.
func TestSamePeerTwice(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	first := dialRaw(t, s, c, "twin", fastPeer).unchoked()
	dialRaw(t, s, c, "twin", fastPeer).untilClosed()
	first.send(peerwire.AppendRequest(nil, rawBlock(1, 1)))
	first.until(peerwire.Piece)
}
