package dht

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/lookup"
	"btd/dht/store"
	"btd/dht/table"
)

const (
	maxPacketIn = 8192            // bytes; what is longer was made to hurt
	sweepEvery  = 5 * time.Minute // stored peers and items
	maxNodes    = 64              // of one reply that are looked at
)

// Node is a node of one address family. It is for one goroutine at a time.
// Callbacks may call its methods, except HandlePacket and Tick.
type Node struct {
	cfg   Config
	rng   *rand.Rand
	self  krpc.ID
	table *table.Table
	rtt   lookup.RTT

	peers  *store.Peers
	items  *store.Items
	tokens *store.Tokens
	limits *store.Limits

	pending  transactions
	pace     pace
	searches searches
	sampled  sampled
	boot     bootstrap
	votes    votes

	version []byte

	due     time.Time // when Tick has something to do
	upkeep  time.Time // when the table wants to be asked
	swept   time.Time
	greeted time.Time
	stats   Stats

	scratch scratch
}

// scratch is memory that is used again for each packet.
type scratch struct {
	in, out  krpc.Message
	packet   []byte
	nodes    []byte
	foreign  []byte
	values   []byte
	token    []byte
	text     []byte
	id       [4]byte
	near     []contact.Node
	named    []contact.Node
	found    []lookup.Found
	known    []table.Known
	queries  []lookup.Query
	peers    []netip.AddrPort
	seedBits store.Filter
	peerBits store.Filter
}

// New makes a node. It does nothing before Tick or HandlePacket is called.
func New(cfg Config, now time.Time) *Node {
	n := &Node{cfg: cfg, rng: cfg.Rand, self: cfg.ID, due: now, upkeep: now, swept: now}
	saved, ok := decodeState(cfg.State, cfg.IPv6)
	if n.self.IsZero() && ok {
		n.self = saved.id
	}
	if n.self.IsZero() {
		n.self = n.randomID()
	}
	cfg.Table.IPv6 = cfg.IPv6
	n.table = table.New(cfg.Table, n.self, n.rng, now)
	n.table.Restore(saved.nodes, now)
	n.peers = store.NewPeers(cfg.Peers, cfg.IPv6, n.self, now)
	n.items = store.NewItems(cfg.Items, n.self)
	n.tokens = store.NewTokens(now, n.rng)
	n.limits = store.NewLimits(cfg.Limits, now, n.rng)
	if cfg.Version != "" {
		n.version = []byte(cfg.Version)
	}
	n.pending.byID = make(map[uint32]*transaction)
	n.searches.memory = lookup.NewMemory(maxCached, cfg.IPv6, n.rng)
	return n
}

func (n *Node) randomID() (id krpc.ID) {
	var b [24]byte
	for i := 0; i < len(b); i += 8 {
		binary.NativeEndian.PutUint64(b[i:], n.rng.Uint64())
	}
	id.SetBytes(b[:20])
	return id
}

// ID is our id. It changes when our address turns out to be another one (BEP
// 42).
func (n *Node) ID() krpc.ID { return n.self }

// rehome takes another id.
func (n *Node) rehome(id krpc.ID, now time.Time) {
	n.self = id
	n.table.Rehome(id, now)
	n.peers.SetSelf(id)
	n.items.SetSelf(id)
	n.wakeUpkeep(now)
}

// Tick does what is due and tells when to call it again. Calling it early
// costs nothing. Call it after each batch of packets and other calls, too,
// since these may make something due earlier.
func (n *Node) Tick(now time.Time) (next time.Time) {
	if now.Before(n.due) {
		return n.due
	}
	n.tokens.Rotate(now, n.rng)
	n.expire(now)
	if now.Sub(n.swept) >= sweepEvery {
		n.swept = now
		n.peers.Expire(now)
		n.items.Expire(now)
		n.searches.memory.Expire(now)
	}
	n.runSearches(now)
	n.runBootstrap(now)
	n.runUpkeep(now)
	n.due = n.swept.Add(sweepEvery)
	n.dueAt(n.upkeep)
	n.dueAt(n.boot.next)
	n.dueAt(n.pending.next())
	n.dueAt(n.searches.next())
	if !n.due.After(now) {
		n.due = now.Add(time.Millisecond)
	}
	return n.due
}

// dueAt makes sure that Tick does something at a time, if that is not zero.
func (n *Node) dueAt(at time.Time) {
	if !at.IsZero() && at.Before(n.due) {
		n.due = at
	}
}

func (n *Node) wakeUpkeep(now time.Time) {
	n.upkeep = now
	n.dueAt(now)
}

// runUpkeep sends what the table wants to know.
func (n *Node) runUpkeep(now time.Time) {
	for range 16 {
		if now.Before(n.upkeep) {
			return
		}
		var a table.Action
		a, n.upkeep = n.table.Upkeep(now)
		m := &n.scratch.out
		switch a.Kind {
		case table.None:
			return
		case table.Ping:
			n.query(m, krpc.Ping)
			n.ask(m, &transaction{to: a.Node, purpose: forTable}, now)
		case table.FindNode:
			n.findNode(a.Node, a.Target, false, now)
		case table.Search:
			n.begin(&search{Search: Search{Kind: FindNode, Target: a.Target}, inner: true}, now)
		}
	}
	n.upkeep = now.Add(100 * time.Millisecond)
}

// ping asks an address whether a node is there.
func (n *Node) ping(addr netip.AddrPort, now time.Time) bool {
	m := &n.scratch.out
	n.query(m, krpc.Ping)
	return n.ask(m, &transaction{to: contact.Node{Addr: addr}, purpose: forTable}, now)
}

// findNode asks one node for others, on behalf of the table; for those of both
// families if both.
func (n *Node) findNode(to contact.Node, target krpc.ID, both bool, now time.Time) bool {
	m := &n.scratch.out
	n.query(m, krpc.FindNode)
	m.SetTarget(target)
	if both {
		n.wantBoth(m)
	}
	return n.ask(m, &transaction{to: to, purpose: forTable, named: true}, now)
}

// AddNode asks a node that we were told of, for instance by its PORT message
// (BEP 5); it gets into the table if it answers.
func (n *Node) AddNode(addr netip.AddrPort, now time.Time) bool {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !n.reachable(addr) || n.table.Has(addr) {
		return false
	}
	return n.ping(addr, now)
}

// reachable tells whether a packet could go to an address at all.
func (n *Node) reachable(addr netip.AddrPort) bool {
	return addr.Addr().Is4() != n.cfg.IPv6 && contact.ScopeOf(addr) != contact.Unusable &&
		(n.cfg.Refuse == nil || !n.cfg.Refuse(addr))
}

// HandlePacket takes a packet. It does not keep b. Tick is to be called
// afterwards.
func (n *Node) HandlePacket(b []byte, from netip.AddrPort, now time.Time) {
	n.stats.PacketsIn++
	n.stats.BytesIn += int64(len(b))
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if !n.reachable(from) {
		n.stats.Unreachable++
		return
	}
	m := &n.scratch.in
	fault := krpc.FaultSize
	if len(b) <= maxPacketIn {
		fault = m.Decode(b)
	} else {
		m.T, m.Kind = nil, 0
	}
	if fault != krpc.None {
		n.stats.Faults[fault]++
	}
	switch m.Kind {
	case krpc.Query:
		n.handleQuery(m, fault, from, now)
	case krpc.Reply, krpc.Error:
		n.handleReply(m, fault, from, now)
	}
}
