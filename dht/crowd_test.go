package dht

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"btd/dht/krpc"
)

// town is many servers on loopback addresses of their own, where the system
// has them.
type town struct {
	t       *testing.T
	rng     *rand.Rand
	servers []*Server
	addrs   []netip.AddrPort
	dead    map[int]bool
}

func newTown(t *testing.T, count int) *town {
	w := &town{t: t, rng: rand.New(rand.NewPCG(8, 9)), dead: map[int]bool{}}
	for i := range count {
		host := netip.AddrFrom4([4]byte{127, 1, byte(i / 200), byte(i%200 + 1)})
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
		if err != nil {
			conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		}
		if err != nil {
			t.Fatal(err)
		}
		w.addrs = append(w.addrs, conn.LocalAddr().(*net.UDPAddr).AddrPort())
		w.servers = append(w.servers, serve(t, ServerConfig{
			IPv4: Socket{Conn: conn, Own: true}, Bootstrap: []string{w.addrs[0].String()},
		}))
	}
	return w
}

// settle waits until everybody knows enough others.
func (w *town) settle(ctx context.Context, enough int) {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		least := len(w.servers)
		for i, s := range w.servers {
			if !w.dead[i] {
				least = min(least, s.Stats().IPv4.Nodes)
			}
		}
		if least >= enough {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("somebody still knows only %d others", least)
		}
	}
}

// living is one of those that live.
func (w *town) living() int {
	for {
		if i := w.rng.IntN(len(w.servers)); !w.dead[i] {
			return i
		}
	}
}

// holders is how many of the living hold a peer of a torrent.
func (w *town) holders(hash krpc.ID) (n int) {
	for i, s := range w.servers {
		if w.dead[i] {
			continue
		}
		s.loops[0].call(func(now time.Time) {
			if _, peers := s.loops[0].node.peers.AppendValues(nil, hash, 1, false, now, s.loops[0].node.rng); peers > 0 {
				n++
			}
		})
	}
	return n
}

// TestThreeHundredServers has two in five of all sockets close without a word,
// and everybody still find what somebody alive holds.
func TestThreeHundredServers(t *testing.T) {
	t.Parallel()
	count := 300
	if testing.Short() {
		count = 60
	}
	w := newTown(t, count)
	ctx := within(t, 3*time.Minute)
	w.settle(ctx, count*2/5)
	const torrents = 40
	for i := range torrents {
		s := w.servers[w.living()]
		r, err := s.Search(ctx, Search{Kind: GetPeers, Target: hashOf(uint64(i)), Announce: true, Port: uint16(1000 + i)})
		if err != nil || r.Stored() < 6 {
			t.Errorf("announce: %v, %+v", err, r.IPv4)
		}
	}
	first, missed := w.lookups(ctx, torrents)
	t.Logf("all alive: first peer after %v at the median, %v at the longest", first[len(first)/2], first[len(first)-1])
	if missed > 0 {
		t.Errorf("all alive: %d of %d lookups found nobody", missed, torrents)
	}
	var wg sync.WaitGroup
	for len(w.dead) < count*2/5 {
		i := 1 + w.rng.IntN(count-1)
		if !w.dead[i] {
			w.dead[i] = true
			wg.Go(func() { w.servers[i].Close() })
		}
	}
	wg.Wait()
	first, missed = w.lookups(ctx, torrents)
	t.Logf("two in five dead: first peer after %v at the median, %v at the longest", first[len(first)/2], first[len(first)-1])
	if missed > 0 {
		t.Errorf("two in five dead: %d of %d lookups found nobody", missed, torrents)
	}
}

// lookups searches for each torrent from somewhere. Those that nobody alive
// holds are left out.
func (w *town) lookups(ctx context.Context, torrents int) (first []time.Duration, missed int) {
	w.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range torrents {
		hash, from := hashOf(uint64(i)), w.living()
		held := w.holders(hash)
		if held == 0 {
			continue
		}
		wg.Go(func() {
			began, after := time.Now(), time.Duration(0)
			var found []netip.AddrPort
			r, err := w.servers[from].Search(ctx, Search{Kind: GetPeers, Target: hash, Peers: func(p []netip.AddrPort) {
				if len(found) == 0 {
					after = time.Since(began)
				}
				found = append(found, p...)
			}})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || !slices.ContainsFunc(found, func(a netip.AddrPort) bool { return a.Port() == uint16(1000+i) }) {
				missed++
				w.t.Logf("%d of the living hold it: %v, %v, %+v", held, found, err, r.IPv4)
				return
			}
			first = append(first, after)
		})
	}
	wg.Wait()
	if len(first) == 0 {
		w.t.Fatal(fmt.Errorf("none of %d lookups found anything", torrents))
	}
	slices.Sort(first)
	return first, missed
}
