package dht

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/table"
)

const (
	maxInbox     = 256 << 10 // bytes of packets that wait for the loop
	maxSuggested = 32        // nodes that the other family's loop may suggest at once
	pictureEvery = time.Minute
)

// loop is the owner of one node: only run touches it.
type loop struct {
	server  *Server
	ipv6    bool
	conn    Conn
	own     *own // nil if the socket is shared
	foreign func(b []byte, from netip.AddrPort) (answer []byte, took bool)
	state   []byte
	node    *Node
	other   *loop // of the other family; nil if there is none
	started time.Time

	mu     sync.Mutex
	inbox  inbox
	closed bool
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when run is over

	hungry     atomic.Bool // it knows few nodes
	lonely     atomic.Bool // it knows none
	calm       atomic.Bool // see Node.Calm
	suggested  atomic.Int32
	picture    atomic.Pointer[[]contact.Node] // for the other loop
	pictured   time.Time
	dropped    atomic.Int64
	readErrors atomic.Int64
}

// inbox is what waits for the loop: packets back to back, and calls.
type inbox struct {
	bytes   []byte
	packets []parcel
	calls   []func(now time.Time)
}

type parcel struct {
	end  int // in bytes; it begins where the one before ends
	from netip.AddrPort
}

func (in *inbox) reset() {
	in.bytes, in.packets = in.bytes[:0], in.packets[:0]
	clear(in.calls)
	in.calls = in.calls[:0]
}

func newLoop(s *Server, socket Socket, ipv6 bool) (*loop, error) {
	l := &loop{
		server: s, ipv6: ipv6, conn: socket.Conn, state: socket.State, foreign: socket.Other,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.hungry.Store(true)
	l.lonely.Store(true)
	if socket.Own {
		conn, ok := socket.Conn.(*net.UDPConn)
		if !ok {
			return nil, errors.New("dht: only a *net.UDPConn can be read from")
		}
		quiet, err := newQuiet(conn, ipv6)
		if err != nil {
			return nil, err
		}
		l.own = &own{conn: conn, quiet: quiet}
		if quiet != nil {
			again := *quiet
			l.own.answers = &again
		}
	}
	return l, nil
}

func (l *loop) makeNode(now time.Time) error {
	rng, err := newRand()
	if err != nil {
		return err
	}
	cfg := l.server.cfg
	node := Config{
		IPv6: l.ipv6, ReadOnly: cfg.ReadOnly, Rand: rng, State: l.state, Version: cfg.Version, Refuse: cfg.Refuse,
		Table: cfg.Table, Peers: cfg.Peers, Items: cfg.Items, Limits: cfg.Limits,
		Send: func(b []byte, to netip.AddrPort) error {
			if l.own != nil && l.own.quiet != nil {
				return l.own.quiet.send(b, to)
			}
			_, err := l.conn.WriteToUDPAddrPort(b, to)
			return err
		},
	}
	if node.Limits.Alone == nil && l.ipv6 {
		node.Limits.Alone = (&beside{list: net.InterfaceAddrs}).has
	}
	if l.other != nil {
		node.Foreign, node.ForeignNear = l.other.suggest, l.other.near
	}
	l.node, l.started = New(node, now), now
	return nil
}

// run owns the node until ctx is done.
func (l *loop) run(ctx context.Context) {
	defer close(l.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var in inbox
	for {
		select {
		case <-ctx.Done():
			l.end()
			return
		case <-timer.C:
		case <-l.wake:
		}
		l.mu.Lock()
		in, l.inbox = l.inbox, in
		l.mu.Unlock()
		now := time.Now()
		begin := 0
		for _, p := range in.packets {
			l.node.HandlePacket(in.bytes[begin:p.end], p.from, now)
			begin = p.end
		}
		for _, f := range in.calls {
			f(now)
		}
		in.reset()
		pause := l.node.Tick(now).Sub(now)
		calm := l.own != nil && l.own.quiet != nil && l.node.Calm() && !l.hungry.Load()
		if l.calm.Store(calm); calm {
			pause = max(pause, 2*gathering) // the reader calls before, if there is anything
		}
		timer.Reset(pause)
		l.show(now)
	}
}

// end tells all callers that it is over.
func (l *loop) end() {
	l.mu.Lock()
	l.closed = true
	in := l.inbox
	l.inbox = inbox{}
	l.mu.Unlock()
	now := time.Now()
	for _, f := range in.calls {
		f(now)
	}
	l.node.abort(now)
}

// show publishes what the other loop and the resolver look at.
func (l *loop) show(now time.Time) {
	known := l.node.table.Len()
	l.hungry.Store(known < fewNodes)
	l.lonely.Store(known == 0)
	if l.other == nil || now.Sub(l.pictured) < pictureEvery && known >= table.K {
		return
	}
	l.pictured = now
	saved := l.node.table.Save()
	nodes := make([]contact.Node, len(saved))
	for i, s := range saved {
		nodes[i] = s.Node
	}
	l.picture.Store(&nodes)
}

// poke wakes run. The caller holds mu.
func (l *loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// packet puts a packet into the inbox, unless that is full.
func (l *loop) packet(b []byte, from netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := &l.inbox
	if l.closed || len(in.bytes)+len(b) > maxInbox {
		l.dropped.Add(1)
		return false
	}
	in.bytes = append(in.bytes, b...)
	in.packets = append(in.packets, parcel{len(in.bytes), from})
	l.poke()
	return true
}

// post makes run call f. It returns false if run is over.
func (l *loop) post(f func(now time.Time)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.inbox.calls = append(l.inbox.calls, f)
	l.poke()
	return true
}

// call runs f in the loop, or here once the loop is over, and waits for it. It
// must not be called from callbacks.
func (l *loop) call(f func(now time.Time)) {
	over := make(chan struct{})
	if l.post(func(now time.Time) { f(now); close(over) }) {
		<-over
		return
	}
	<-l.done
	l.mu.Lock() // concurrent callers after the end
	defer l.mu.Unlock()
	f(time.Now())
}

// suggest tells this loop of a node that the other one heard of.
func (l *loop) suggest(addr netip.AddrPort) {
	if !l.hungry.Load() || l.suggested.Load() >= maxSuggested {
		return
	}
	l.suggested.Add(1)
	if !l.post(func(now time.Time) {
		l.suggested.Add(-1)
		l.node.AddNode(addr, now)
	}) {
		l.suggested.Add(-1)
	}
}

// near appends nodes of this loop that are close to a target, for replies of
// the other one. What it knows may be a minute old.
func (l *loop) near(target krpc.ID, compact []byte) []byte {
	picture := l.picture.Load()
	if picture == nil {
		return compact
	}
	var best [table.K]contact.Node
	var dist [table.K]contact.Key
	key, n := contact.KeyOf(target), 0
	for _, c := range *picture {
		d := contact.KeyOf(c.ID).Xor(key)
		if n == len(best) {
			if !d.Less(dist[n-1]) {
				continue
			}
		} else {
			n++
		}
		at := n - 1
		for ; at > 0 && d.Less(dist[at-1]); at-- {
			best[at], dist[at] = best[at-1], dist[at-1]
		}
		best[at], dist[at] = c, d
	}
	for _, c := range best[:n] {
		compact = krpc.AppendNode(compact, c.ID, c.Addr)
	}
	return compact
}
