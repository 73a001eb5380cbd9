package session

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"btd/peerwire"
	"btd/piece"
)

// fakeSeed is a peer that serves a single-file torrent from memory. It lies
// where the test wants it to.
type fakeSeed struct {
	l      net.Listener
	c      content
	data   []byte
	lie    func(index, begin uint32) bool // nil means never
	has    func(i piece.Index) bool       // nil means all
	waits  chan struct{}                  // closed once it may answer requests; nil means at once
	conns  atomic.Int32                   // connections whose handshake was complete
	served atomic.Int64                   // bytes
}

// newFakeSeed listens on an address of its own, so that it can be banned by
// address.
func newFakeSeed(t *testing.T, c content, ip string) *fakeSeed {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Skipf("no address %s on this machine: %v", ip, err)
	}
	data, err := os.ReadFile(filepath.Join(c.dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSeed{l: l, c: c, data: data}
	t.Cleanup(func() { l.Close() })
	return f
}

func (f *fakeSeed) addr() netip.AddrPort { return f.l.Addr().(*net.TCPAddr).AddrPort() }

func addrsOf(f ...*fakeSeed) (out []netip.AddrPort) {
	for _, x := range f {
		out = append(out, x.addr())
	}
	return out
}

func (f *fakeSeed) run() {
	for {
		conn, err := f.l.Accept()
		if err != nil {
			return
		}
		go f.serve(conn)
	}
}

func (f *fakeSeed) serve(conn net.Conn) {
	defer conn.Close()
	h, err := peerwire.ReadHandshake(conn)
	if err != nil {
		return
	}
	f.conns.Add(1)
	h.Reserved = [8]byte{}
	h.SetFast()
	copy(h.PeerID[:], "-FK0001-"+f.addr().String())
	bits := piece.NewBitfield(f.c.meta.Pieces())
	for i := range f.c.meta.Pieces() {
		if f.has == nil || f.has(piece.Index(i)) {
			bits.Set(piece.Index(i))
		}
	}
	w := peerwire.NewWriter(conn)
	w.Encoded(h.Append(nil))
	w.Bitfield(bits.Bytes())
	w.Unchoke()
	if _, err := w.Flush(time.Now().Add(patience)); err != nil {
		return
	}
	r := peerwire.NewReader(conn, peerwire.ReaderConfig{
		Alloc: func() *piece.Buffer { return new(piece.Buffer) }, Free: func(*piece.Buffer) {},
	})
	defer r.Release()
	var m peerwire.Message
	for r.Next(&m) == nil {
		if m.ID != peerwire.Request {
			continue
		}
		if f.waits != nil {
			<-f.waits
		}
		off := int64(m.Index)*f.c.meta.PieceLength + int64(m.Begin)
		block := append([]byte(nil), f.data[off:off+int64(m.Length)]...)
		if f.lie != nil && f.lie(m.Index, m.Begin) {
			block[7] ^= 0x55
		}
		w.Piece(m.Index, m.Begin, block)
		if _, err := w.Flush(time.Now().Add(patience)); err != nil {
			return
		}
		f.served.Add(int64(len(block)))
	}
}

// TestLiarAmongHonestPeers lets a liar and an honest peer share every piece:
// pieces are large and both are slow to be picked apart.
func TestLiarAmongHonestPeers(t *testing.T) {
	c := makeContent(t, 1<<20, map[string]int{"": 6 << 20})
	liar := newFakeSeed(t, c, "127.0.0.66")
	honest := newFakeSeed(t, c, "127.0.0.67")
	// The liar spoils one block of every fourth that it is asked for. The other
	// one says nothing before that has happened.
	lied := make(chan struct{})
	tell := sync.OnceFunc(func() { close(lied) })
	t.Cleanup(tell)
	liar.lie = func(_, begin uint32) bool {
		lie := begin/piece.BlockSize%4 == 1
		if lie {
			tell()
		}
		return lie
	}
	honest.waits = lied
	go liar.run()
	go honest.run()
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: []netip.AddrPort{liar.addr(), honest.addr()}})
	v := await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
	if v.Corrupt == 0 || liar.served.Load() == 0 {
		t.Fatalf("the liar was not heard: %d bytes corrupt, %d served", v.Corrupt, liar.served.Load())
	}
	banned := map[string]bool{}
	until(t, "end of all suspicion", func() (over bool) {
		inLoop(t, s, c, func(t *torrent) {
			banned["liar"] = t.book.Banned(liar.addr().Addr())
			banned["honest"] = t.book.Banned(honest.addr().Addr())
			over = len(t.blame.failed) == 0
		})
		return over
	})
	if !banned["liar"] || banned["honest"] {
		t.Errorf("banned: %v, want only the liar", banned)
	}
	if n := s.Stats().Counters["peers_banned"]; n != 1 {
		t.Errorf("%d peers were banned, want 1", n)
	}
}

func TestNonsenseClosesTheConnection(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	for name, bytes := range map[string][]byte{
		"not a handshake":    []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"unknown torrent":    handshakeOf([20]byte{9}, nil),
		"oversized message":  handshakeOf(c.meta.Hash.Wire(), []byte{0x7f, 0xff, 0xff, 0xff, 20}),
		"request too long":   handshakeOf(c.meta.Hash.Wire(), []byte{0, 0, 0, 13, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0}),
		"have out of range":  handshakeOf(c.meta.Hash.Wire(), []byte{0, 0, 0, 5, 4, 0xff, 0, 0, 0}),
		"bitfield too short": handshakeOf(c.meta.Hash.Wire(), []byte{0, 0, 0, 2, 5, 0xff}),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(bytes); err != nil {
				t.Fatal(err)
			}
			conn.SetReadDeadline(time.Now().Add(patience))
			b := make([]byte, 4096)
			for {
				if _, err := conn.Read(b); err != nil {
					if ne, ok := err.(net.Error); ok && ne.Timeout() {
						t.Fatal("the connection is still open")
					}
					return
				}
			}
		})
	}
	if v := await(t, s, c, "seeding", complete); v.Error != "" {
		t.Errorf("the torrent has a problem: %s", v.Error)
	}
	awaitCounter(t, s, "handshakes_malformed", 1)
	awaitCounter(t, s, "handshakes_unknown_torrent", 1)
	awaitCounter(t, s, "peer_protocol_errors", 4)
}

func handshakeOf(hash [20]byte, rest []byte) []byte {
	h := peerwire.Handshake{InfoHash: hash, PeerID: [20]byte{'-', 'X', 'X'}}
	h.SetFast()
	return append(h.Append(nil), rest...)
}
