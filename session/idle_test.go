package session

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"btd/peerwire"
)

// TestIdleSeeds: complete torrents without peers have no goroutine. An
// incoming handshake and an address from a tracker bring them back.
func TestIdleSeeds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := newFakeTracker(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			fmt.Fprint(w, answerPeers(""))
			return
		}
		fmt.Fprint(w, answerPeers("", l.Addr().(*net.TCPAddr).AddrPort()))
	})
	called := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	told := makeContent(t, 64<<10, map[string]int{"": 1<<20 + 1}, f.url)
	s := open(t, nil)
	var loops []*torrent
	for _, c := range []content{called, told} {
		add(t, s, c, AddOptions{Dir: c.dir})
		await(t, s, c, "seeding", complete)
		if loop := s.byWire(c.meta.Hash.Wire()).running(); loop != nil {
			loops = append(loops, loop)
		}
	}
	for _, c := range []content{called, told} {
		until(t, "end of the loop", func() bool { return s.byWire(c.meta.Hash.Wire()).running() == nil })
		await(t, s, c, "seeding", complete)
	}
	for _, loop := range loops {
		<-loop.done
		left := "" // they say that they are through before they are
		if !patient(func() bool { left = goroutineOf(fmt.Sprintf("%p", loop)); return left == "" }) {
			t.Errorf("a goroutine is left:\n%s", left)
		}
	}
	if n := s.Stats().OpenFiles; n != 0 {
		t.Errorf("%d files are open", n)
	}

	p := dialRaw(t, s, called, "caller", fastPeer).unchoked()
	p.send(peerwire.AppendRequest(nil, rawBlock(15, 3)))
	p.until(peerwire.Piece) // its data is compared by the peer

	if err := s.Reannounce(t.Context(), told.meta.Hash); err != nil {
		t.Fatal(err)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("nobody calls the address that the tracker gave: %v", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if h, err := peerwire.ReadHandshake(conn); err != nil || h.InfoHash != told.meta.Hash.Wire() {
		t.Errorf("handshake %+v, %v", h, err)
	}
	if from, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err != nil || from.Addr() != s.Addr().Addr() {
		t.Errorf("called from %v, %v; want the address that it listens on", from, err)
	}
}

// goroutineOf is the stack of a goroutine that has arg among its arguments.
func goroutineOf(arg string) string {
	for _, g := range goroutines() {
		if strings.Contains(g, arg) {
			return g
		}
	}
	return ""
}
