package dht

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"btd/dht/krpc"
)

// TestPacketsGatherWhileNobodyWaits has a server that searches for nobody in
// particular, then for somebody who waits, then not at all.
func TestPacketsGatherWhileNobodyWaits(t *testing.T) {
	t.Parallel()
	all, addrs := crowd(t, 39)
	conn, addr := bind(t, "udp4", "127.0.0.1")
	s := serve(t, ServerConfig{
		IPv4: Socket{Conn: conn, Own: true, Other: func(b []byte, _ netip.AddrPort) ([]byte, bool) {
			return []byte("no"), string(b) == "A"
		}},
		Bootstrap: []string{addrs[0].String()},
	})
	l := s.loops[0]
	if l.own.quiet == nil {
		t.Skip("this system has no way to let packets gather")
	}
	ctx := within(t, 3*time.Minute)
	until := func(what string, f func() bool) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !f() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatal(what)
			}
		}
	}
	until("it knows too few others", func() bool { return s.Stats().IPv4.Nodes >= fewNodes })
	watched := func() bool {
		l.own.mu.Lock()
		defer l.own.mu.Unlock()
		return l.own.conn != nil
	}
	hash := func(i int) krpc.ID { return hashOf(uint64(i)) }

	var stored, one, over atomic.Int64 // one is how many took the announce of hash(1)
	stop := make(chan struct{})
	var start func(i int)
	start = func(i int) { // one after another
		s.Start(Search{Kind: GetPeers, Target: hash(i % 100), Announce: true, Port: 1234, Calm: true}, func(r Results) {
			stored.Add(int64(r.Stored()))
			if i%100 == 1 {
				one.Add(int64(r.Stored()))
			}
			select {
			case <-stop:
				over.Add(1)
			default:
				start(i + 1)
			}
		})
	}
	start(0)
	start(50)
	until("packets do not gather", func() bool { return !watched() })
	until("nothing is stored while packets gather", func() bool { return stored.Load() > 50 && one.Load() > 0 })
	stranger, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	until("a packet that is none of the DHT's is not answered", func() bool {
		if _, err := stranger.Write([]byte("A")); err != nil {
			t.Fatal(err)
		}
		if err := stranger.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		var b [100]byte
		n, err := stranger.Read(b[:])
		return err == nil && string(b[:n]) == "no"
	})
	var found []netip.AddrPort
	r, err := s.Search(ctx, Search{Kind: GetPeers, Target: hash(1), Peers: func(p []netip.AddrPort) { found = append(found, p...) }})
	if err != nil || !slices.ContainsFunc(found, func(a netip.AddrPort) bool { return a.Port() == 1234 }) {
		t.Errorf("found %v: %+v, %v", found, r.IPv4, err)
	}
	close(stop)
	until("the calm searches do not end", func() bool { return over.Load() == 2 })
	other := all[3]
	until("it is not heard of again", func() bool { // a packet from outside ends the last gathering, or comes after it
		_, err := other.Search(ctx, Search{Kind: FindNode, Target: id160(t, s)})
		return err == nil && watched()
	})
	if st := s.Stats(); st.ReadErrors != 0 || st.IPv4.SendErrors != 0 {
		t.Errorf("%d errors while reading, %d while sending", st.ReadErrors, st.IPv4.SendErrors)
	}
}
