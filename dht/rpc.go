package dht

import (
	"encoding/binary"
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

const (
	timeout    = 4 * time.Second // from a query to giving it up
	maxPending = 4096            // queries under way
)

// purpose is what a query was sent for.
type purpose uint8

const (
	forTable  purpose = iota // table upkeep, bootstrap, nodes we were told of
	forSearch                // a hop of a search
	forWrite                 // announce_peer or put at the end of one
)

// transaction is a query under way.
type transaction struct {
	id      uint32
	to      contact.Node // as it was asked; a zero id if that was not known
	sent    time.Time
	purpose purpose
	named   bool // the table wants to hear of the nodes in the reply
	plain   bool // the node did not know the method that it was asked by at first
	over    bool // answered, or not of interest any more
	search  *search
	write   int          // which of the search's writes
	twin    *transaction // the same query, sent before this one
}

// transactions are the queries under way, by their ids and by age.
type transactions struct {
	byID map[uint32]*transaction
	fifo []*transaction // oldest first; those that are over are skipped
}

// next is when the oldest one is given up; zero if there is none.
func (p *transactions) next() time.Time {
	for len(p.fifo) > 0 && p.fifo[0].over {
		p.fifo[0] = nil
		p.fifo = p.fifo[1:]
	}
	if len(p.fifo) == 0 {
		p.fifo = nil
		return time.Time{}
	}
	return p.fifo[0].sent.Add(timeout)
}

// match is the transaction with an id that was sent to an address; nil if
// there is none.
func (p *transactions) match(id []byte, from netip.AddrPort) *transaction {
	if len(id) != 4 {
		return nil
	}
	t := p.byID[binary.BigEndian.Uint32(id)]
	if t == nil || t.to.Addr != from {
		return nil
	}
	return t
}

func (p *transactions) end(t *transaction) {
	if !t.over {
		t.over = true
		delete(p.byID, t.id)
	}
}

// query begins a query; the transaction id is set by ask.
func (n *Node) query(m *krpc.Message, method krpc.Method) {
	m.SetQuery(nil, method, n.self)
	m.ReadOnly = n.cfg.ReadOnly
}

// wantBoth asks for nodes of both families, where there is use for them.
func (n *Node) wantBoth(m *krpc.Message) {
	if n.cfg.Foreign != nil {
		m.SetWant(krpc.WantNodes | krpc.WantNodes6)
	}
}

// ask sends a query. It returns false if it could not be sent.
func (n *Node) ask(m *krpc.Message, t *transaction, now time.Time) bool {
	if len(n.pending.byID) >= maxPending || !n.reachable(t.to.Addr) {
		return false
	}
	for {
		t.id = n.rng.Uint32()
		if _, taken := n.pending.byID[t.id]; !taken {
			break
		}
	}
	binary.BigEndian.PutUint32(n.scratch.id[:], t.id)
	m.T = n.scratch.id[:]
	t.sent = now
	if !n.send(m, t.to.Addr) {
		return false
	}
	n.pace.asked(t.to.Addr, now)
	n.stats.Queries[m.Method].Out++
	n.pending.byID[t.id] = t
	n.pending.fifo = append(n.pending.fifo, t)
	n.dueAt(now.Add(timeout))
	return true
}

// send encodes a message and sends it.
func (n *Node) send(m *krpc.Message, to netip.AddrPort) bool {
	m.Version = n.version
	n.scratch.packet = m.Append(n.scratch.packet[:0])
	if err := n.cfg.Send(n.scratch.packet, to); err != nil {
		n.stats.SendErrors++
		return false
	}
	n.stats.PacketsOut++
	n.stats.BytesOut += int64(len(n.scratch.packet))
	n.stats.Largest = max(n.stats.Largest, len(n.scratch.packet))
	return true
}

// expire gives up queries that are too old.
func (n *Node) expire(now time.Time) {
	for {
		next := n.pending.next()
		if next.IsZero() || now.Before(next) {
			return
		}
		t := n.pending.fifo[0]
		n.pending.end(t)
		n.stats.TimedOut++
		if t.search != nil {
			if t.search.byAddr[t.to.Addr] != t {
				continue // it was asked again since
			}
			delete(t.search.byAddr, t.to.Addr)
		}
		n.table.TimedOut(t.to.Addr, now)
	}
}

// handleReply takes a reply or an error.
func (n *Node) handleReply(m *krpc.Message, fault krpc.Fault, from netip.AddrPort, now time.Time) {
	t := n.pending.match(m.T, from)
	if t == nil {
		n.stats.Unmatched++
		return
	}
	n.pending.end(t)
	if t.search != nil {
		for same := t.search.byAddr[from]; same != nil; same = same.twin {
			n.pending.end(same)
		}
		delete(t.search.byAddr, from)
	}
	rtt := max(now.Sub(t.sent), 1)
	if fault == krpc.None && m.Kind == krpc.Reply && m.ID == n.self {
		fault = krpc.FaultID // what comes back from ourselves is a query: see ourOwn
	}
	if fault != krpc.None || m.Kind == krpc.Error {
		n.failed(t, m, fault, now)
		return
	}
	n.stats.Replies++
	was := n.table.Len()
	asked := t.to
	if asked.ID != m.ID && contact.Secure(m.ID, from.Addr()) {
		// It came back with a new id, as BEP 42 wants when an address changes,
		// or it is of a LAN: that alone is no lie.
		asked.ID = krpc.ID{}
	}
	n.table.Answered(asked, m.ID, rtt, now)
	if was == 0 && n.table.Len() > 0 {
		n.wakeUpkeep(now)
	}
	n.vote(m.IP.Addr(), from, now)
	n.readForeign(m, from)
	switch t.purpose {
	case forTable:
		if t.named {
			n.table.Named(from, n.readNodes(m), now)
		}
	case forSearch:
		n.searchReply(t, m, rtt, now)
	case forWrite:
		n.writeReply(t, 0, now)
	}
}

// failed is a query that was answered with an error, or with something that
// cannot be read.
func (n *Node) failed(t *transaction, m *krpc.Message, fault krpc.Fault, now time.Time) {
	n.stats.Errors++
	code := 0
	if fault == krpc.None {
		code = m.Code
	}
	switch t.purpose {
	case forWrite:
		n.writeReply(t, max(code, krpc.CodeGeneric), now)
		return
	case forSearch:
		if n.plainer(t, code, now) {
			return
		}
		if !t.search.over {
			t.search.look.OnError(t.to.Addr, now)
			n.drive(t.search, now)
		}
	}
	n.table.TimedOut(t.to.Addr, now) // who cannot answer this is of no use
}

// readNodes are the nodes of our family in a reply, up to a bound.
func (n *Node) readNodes(m *krpc.Message) []contact.Node {
	named := n.scratch.named[:0]
	nodes := krpc.Nodes4(m.Nodes)
	if n.cfg.IPv6 {
		nodes = krpc.Nodes6(m.Nodes6)
	}
	for id, addr := range nodes {
		if len(named) == maxNodes {
			break
		}
		named = append(named, contact.Node{ID: id, Addr: addr})
	}
	n.scratch.named = named
	return named
}

// readForeign hands on nodes of the other family (BEP 32).
func (n *Node) readForeign(m *krpc.Message, from netip.AddrPort) {
	if n.cfg.Foreign == nil {
		return
	}
	nodes := krpc.Nodes6(m.Nodes6)
	if n.cfg.IPv6 {
		nodes = krpc.Nodes4(m.Nodes)
	}
	count := 0
	for _, addr := range nodes {
		scope := contact.ScopeOf(addr)
		if scope == contact.Unusable || (scope == contact.Local && contact.ScopeOf(from) != contact.Local) {
			continue
		}
		n.cfg.Foreign(addr)
		if count++; count == 8 {
			break
		}
	}
}
