package dht

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// network delivers packets between nodes in virtual time.
type network struct {
	t      testing.TB
	now    time.Time
	nodes  map[netip.AddrPort]*Node
	silent map[netip.AddrPort]bool // sends, but gets nothing
	delay  func(from, to netip.AddrPort) time.Duration
	lose   func(b []byte, from, to netip.AddrPort) bool
	tap    func(b []byte, from, to netip.AddrPort)
	queue  flights
	order  int
	next   map[netip.AddrPort]time.Time // when Tick is to be called
}

type flight struct {
	at       time.Time
	order    int
	b        []byte // nil: call Tick
	from, to netip.AddrPort
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	if !f[i].at.Equal(f[j].at) {
		return f[i].at.Before(f[j].at)
	}
	return f[i].order < f[j].order
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

func newNetwork(t testing.TB) *network {
	return &network{
		t: t, now: start, nodes: map[netip.AddrPort]*Node{}, silent: map[netip.AddrPort]bool{},
		delay: func(_, _ netip.AddrPort) time.Duration { return 20 * time.Millisecond },
		next:  map[netip.AddrPort]time.Time{},
	}
}

func chacha(seed uint64) *rand.Rand {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[:], seed)
	return rand.New(rand.NewChaCha8(b))
}

// addrOf is the n-th global address, each in a network of its own.
func addrOf(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{81, byte(n >> 8), byte(n), 9}), 6881)
}

func addr6Of(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x2a, 1, 4: byte(n >> 8), 5: byte(n), 15: 1}), 6881)
}

func (w *network) add(addr netip.AddrPort, cfg Config) *Node {
	cfg.IPv6 = !addr.Addr().Is4()
	if cfg.Rand == nil {
		cfg.Rand = chacha(uint64(len(w.nodes)) + 1)
	}
	cfg.Send = func(b []byte, to netip.AddrPort) error { return w.send(b, addr, to) }
	n := New(cfg, w.now)
	w.nodes[addr] = n
	w.poke(addr)
	return n
}

func (w *network) send(b []byte, from, to netip.AddrPort) error {
	if to.Port() == 1 {
		return errors.New("no route")
	}
	if w.tap != nil {
		w.tap(b, from, to)
	}
	if w.lose != nil && w.lose(b, from, to) {
		return nil
	}
	w.order++
	heap.Push(&w.queue, flight{w.now.Add(w.delay(from, to)), w.order, append([]byte{}, b...), from, to})
	return nil
}

// run lets time pass until done says so, at most for d. It reports whether
// done did.
func (w *network) run(d time.Duration, done func() bool) bool {
	w.t.Helper()
	end := w.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 20_000_000 {
			w.t.Fatal("the network never comes to rest")
		}
		if done != nil && done() {
			return true
		}
		if len(w.queue) == 0 || w.queue[0].at.After(end) {
			w.now = end
			return false
		}
		f := heap.Pop(&w.queue).(flight)
		if f.at.After(w.now) {
			w.now = f.at
		}
		n := w.nodes[f.to]
		if n == nil || (f.b != nil && w.silent[f.to]) {
			continue
		}
		if f.b != nil {
			n.HandlePacket(f.b, f.from, w.now)
		}
		next := n.Tick(w.now)
		if !next.After(w.now) {
			w.t.Fatalf("Tick at %v wants to be called at %v", w.now, next)
		}
		if planned := w.next[f.to]; !planned.After(w.now) || next.Before(planned) {
			w.wake(f.to, next)
		}
	}
}

// wake calls a node's Tick at a time.
func (w *network) wake(addr netip.AddrPort, at time.Time) {
	w.next[addr] = at
	w.order++
	heap.Push(&w.queue, flight{at: at, order: w.order, to: addr})
}

// poke calls a node's Tick now.
func (w *network) poke(addr netip.AddrPort) { w.wake(addr, w.now) }

// start begins a search; the next Tick is at once.
func (w *network) start(at netip.AddrPort, s Search) {
	w.t.Helper()
	if _, err := w.nodes[at].Start(s, w.now); err != nil {
		w.t.Fatal(err)
	}
	w.poke(at)
}

// search runs a search to its end.
func (w *network) search(at netip.AddrPort, s Search) (r Result) {
	w.t.Helper()
	over := false
	s.Done = func(got Result) { r, over = got, true }
	w.start(at, s)
	if !w.run(2*time.Minute, func() bool { return over }) {
		w.t.Fatalf("the search for %v is not over after 2 minutes", s.Target)
	}
	return r
}

// grow makes count nodes that know the first one, and lets them settle.
func grow(t testing.TB, count int, at func(int) netip.AddrPort) *network {
	t.Helper()
	w := newNetwork(t)
	for i := range count {
		id := contact.MakeSecure(hashOf(uint64(i)+5000), at(i).Addr())
		w.add(at(i), Config{Version: "BD01", ID: id}).SetBootstrap([]netip.AddrPort{at(0)}, w.now)
	}
	w.run(2*time.Minute, nil)
	return w
}

func hashOf(n uint64) krpc.ID {
	rng := chacha(n + 1000)
	var b [24]byte
	for i := 0; i < 24; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	var id krpc.ID
	id.SetBytes(b[:20])
	return id
}
