package dht

import (
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/store"
	"btd/dht/table"
)

// Sizes of replies, bytes.
const (
	maxReply4 = 1200
	maxReply6 = 1024 // BEP 32, "Maximum packet size"
	maxGet    = 1400 // a get with a value
	overhead  = 160  // of a reply, at most, beside its transaction id and its large fields
	maxValues = 100
)

const (
	fewNodes   = 32
	greetEvery = 50 * time.Millisecond
)

// handleQuery answers a query.
func (n *Node) handleQuery(m *krpc.Message, fault krpc.Fault, from netip.AddrPort, now time.Time) {
	if fault == krpc.None {
		n.stats.Queries[m.Method].In++
	}
	if fault == krpc.None && m.ID == n.self {
		n.ourOwn(m, from, now)
		return
	}
	if n.cfg.ReadOnly {
		return // BEP 43
	}
	switch n.limits.Query(from, now) {
	case store.Serve:
	case store.NoBudget:
		n.stats.NoBudget++
		return
	default:
		n.stats.TooFast++
		return
	}
	out := &n.scratch.out
	switch {
	case fault != krpc.None:
		if m.T == nil {
			return
		}
		n.error(out, m, krpc.CodeProtocol, fault.String())
	default:
		if !m.ReadOnly {
			n.table.Seen(m.ID, from, now)
		}
		out.SetReply(m.T, n.self)
		out.IP = from
		if code, text := n.serve(m, out, from, now); code != 0 {
			n.error(out, m, code, text)
		}
	}
	out.IP = from
	if n.send(out, from) {
		n.stats.Answers++
		n.limits.Sent(from, len(n.scratch.packet), now)
	}
	if fault == krpc.None && !m.ReadOnly {
		n.greet(m.ID, from, now)
	}
}

// greet asks back who asks us while we know few, so that a fresh network
// forms at once: only who has answered is named to others. It also asks who
// seems to have another id than the one that we name.
func (n *Node) greet(id krpc.ID, from netip.AddrPort, now time.Time) {
	if now.Sub(n.greeted) < greetEvery {
		return
	}
	if !n.table.Renamed(id, from) && (n.table.Len() >= fewNodes || n.table.Has(from)) {
		return
	}
	n.greeted = now
	n.ping(from, now)
}

// ourOwn takes a query with our own id: one of ours that came back to us, if
// its transaction id is right, or else from somebody who takes our name.
func (n *Node) ourOwn(m *krpc.Message, from netip.AddrPort, now time.Time) {
	t := n.pending.match(m.T, from)
	if t == nil {
		return
	}
	n.pending.end(t)
	n.boot.met(from)
	if t.purpose == forSearch {
		delete(t.search.byAddr, from)
		if !t.search.over {
			t.search.look.OnError(from, now)
			n.drive(t.search, now)
		}
	}
}

func (n *Node) error(out, m *krpc.Message, code int, text string) {
	n.stats.Refusals++
	n.scratch.text = append(n.scratch.text[:0], text...)
	out.SetError(m.T, code, n.scratch.text)
}

// serve fills in a reply, or says with which error to refuse.
func (n *Node) serve(m, out *krpc.Message, from netip.AddrPort, now time.Time) (code int, text string) {
	switch m.Method {
	case krpc.Ping:
	case krpc.FindNode:
		n.addNodes(m, out, m.Target, table.K, true)
	case krpc.GetPeers:
		n.serveGetPeers(m, out, from, now)
	case krpc.AnnouncePeer:
		return n.serveAnnounce(m, from, now)
	case krpc.Get:
		n.serveGet(m, out, from, now)
	case krpc.Put:
		return n.servePut(m, from, now)
	case krpc.SampleInfohashes:
		hashes, num, interval := n.peers.Samples(now, n.rng)
		out.SetSamples(hashes, int64(num), int64(interval))
		n.addNodes(m, out, m.Target, table.K, !n.cfg.IPv6)
	default:
		// A method of the future that has a target is a search as well (BEP
		// 51, "Forward Compatibility").
		switch {
		case m.Has&krpc.HasTarget != 0:
			n.addNodes(m, out, m.Target, table.K, true)
		case m.Has&krpc.HasInfoHash != 0:
			n.addNodes(m, out, m.InfoHash, table.K, true)
		default:
			return krpc.CodeMethod, "method unknown"
		}
	}
	return 0, ""
}

// stranger reports whether a reply goes to somebody who is in no local network:
// he is told nothing of those that others here are in.
func stranger(out *krpc.Message) bool { return contact.ScopeOf(out.IP) == contact.Global }

// addNodes adds up to count nodes close to target, of the families that are
// wanted: ours if nothing is said (BEP 32), or if there is no room for both.
func (n *Node) addNodes(m, out *krpc.Message, target krpc.ID, count int, both bool) {
	own, other := krpc.WantNodes, krpc.WantNodes6
	if n.cfg.IPv6 {
		own, other = other, own
	}
	want := m.Want
	if m.Has&krpc.HasWant == 0 || want == 0 || (want == own|other && !both) {
		want = own
	}
	set := func(w krpc.Want, compact []byte) {
		if w == krpc.WantNodes {
			out.SetNodes(compact)
		} else {
			out.SetNodes6(compact)
		}
	}
	if want&own != 0 {
		if stranger(out) {
			n.scratch.near = n.table.ClosestPublic(target, count, n.scratch.near[:0])
		} else {
			n.scratch.near = n.table.Closest(target, count, n.scratch.near[:0])
		}
		n.scratch.nodes = n.scratch.nodes[:0]
		for _, c := range n.scratch.near {
			n.scratch.nodes = krpc.AppendNode(n.scratch.nodes, c.ID, c.Addr)
		}
		set(own, n.scratch.nodes)
	}
	if want&other != 0 && n.cfg.ForeignNear != nil {
		n.scratch.foreign = n.cfg.ForeignNear(target, n.scratch.foreign[:0])
		if stranger(out) {
			n.scratch.foreign = publicOf(n.scratch.foreign, !n.cfg.IPv6)
		}
		set(other, n.scratch.foreign)
	}
}

// publicOf takes the nodes of local networks out of compact ones.
func publicOf(compact []byte, ipv6 bool) []byte {
	nodes := krpc.Nodes4(compact)
	if ipv6 {
		nodes = krpc.Nodes6(compact)
	}
	kept := compact[:0]
	for id, addr := range nodes {
		if contact.ScopeOf(addr) == contact.Global {
			kept = krpc.AppendNode(kept, id, addr)
		}
	}
	return kept
}

// room is how many bytes of a reply are left.
func (n *Node) room(out *krpc.Message, limit int) int {
	used := overhead + len(out.T) + len(out.Nodes) + len(out.Nodes6) + len(out.BFsd) + len(out.BFpe) +
		len(out.V) + len(out.K) + len(out.Sig)
	return limit - used
}

func (n *Node) maxReply() int {
	if n.cfg.IPv6 {
		return maxReply6
	}
	return maxReply4
}

func (n *Node) addToken(out *krpc.Message, from netip.AddrPort) {
	n.scratch.token = n.tokens.Append(n.scratch.token[:0], from.Addr())
	out.SetToken(n.scratch.token)
}

func (n *Node) serveGetPeers(m, out *krpc.Message, from netip.AddrPort, now time.Time) {
	n.addToken(out, from)
	s, nodes, scraped, without := &n.scratch, table.K, false, store.Without(0)
	if stranger(out) {
		without = store.Locals
	}
	if m.Scrape {
		// Filters are large: there is no room for both families, nor, over
		// IPv6, for all of ours (BEP 33).
		if s.seedBits, s.peerBits, scraped = n.peers.Filters(m.InfoHash, without, now); scraped {
			out.SetFilters(s.seedBits[:], s.peerBits[:])
			if n.cfg.IPv6 {
				nodes = table.K / 2
			}
		}
	}
	n.addNodes(m, out, m.InfoHash, nodes, !scraped)
	stride := len("6:") + krpc.PeerSize
	if n.cfg.IPv6 {
		stride = len("18:") + krpc.Peer6Size
	}
	count := min(maxValues, n.room(out, n.maxReply())/stride)
	if count <= 0 {
		return
	}
	if m.NoSeed {
		without |= store.Seeds
	}
	if s.values, count = n.peers.AppendValues(s.values[:0], m.InfoHash, count, without, now, n.rng); count > 0 {
		out.SetValues(s.values)
	}
}

func (n *Node) serveAnnounce(m *krpc.Message, from netip.AddrPort, now time.Time) (code int, text string) {
	if !n.tokens.Check(m.Token, from.Addr()) {
		n.stats.BadTokens++
		return krpc.CodeProtocol, "bad token"
	}
	if m.ImpliedPort {
		m.Port = from.Port()
	}
	if !n.peers.Announce(m.InfoHash, netip.AddrPortFrom(from.Addr(), m.Port), m.Seed, now) {
		return krpc.CodeServer, "no room"
	}
	return 0, ""
}

func (n *Node) serveGet(m, out *krpc.Message, from netip.AddrPort, now time.Time) {
	n.addToken(out, from)
	limit := n.maxReply()
	if i := n.items.Get(m.Target, now); i != nil {
		limit = maxGet
		if i.Mutable() {
			out.SetSeq(i.Seq)
		}
		if !i.Mutable() || m.Has&krpc.HasSeq == 0 || i.Seq > m.Seq {
			out.SetV(i.V)
			if i.Mutable() {
				out.SetKey(i.K, i.Sig)
			}
		}
	}
	size := krpc.NodeSize
	if n.cfg.IPv6 {
		size = krpc.Node6Size
	}
	room := n.room(out, limit)
	n.addNodes(m, out, m.Target, max(0, min(table.K, room/size)), room >= table.K*(krpc.NodeSize+krpc.Node6Size))
}

func (n *Node) servePut(m *krpc.Message, from netip.AddrPort, now time.Time) (code int, text string) {
	if !n.tokens.Check(m.Token, from.Addr()) {
		n.stats.BadTokens++
		return krpc.CodeProtocol, "bad token"
	}
	switch code = n.items.Put(&m.Body, from.Addr(), now); code {
	case 0:
	case krpc.CodeProtocol:
		text = "value or sequence number is malformed"
	case krpc.CodeServer:
		text = "no room"
	case krpc.CodeValueSize:
		text = "message (v field) too big"
	case krpc.CodeSignature:
		n.stats.BadSignatures++
		text = "invalid signature"
	case krpc.CodeSaltSize:
		text = "salt (salt field) too big"
	case krpc.CodeCAS:
		text = "the CAS hash mismatched, re-read value and try again"
	case krpc.CodeSequence:
		text = "sequence number less than current"
	}
	return code, text
}
