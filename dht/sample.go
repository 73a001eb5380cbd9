package dht

import (
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

const (
	maxSampled     = 4096 // nodes whose interval is remembered
	longestSample  = 21600 * time.Second
	maxSampleReply = 256 // info-hashes of one reply that count
)

// Samples is what a node tells of the torrents that it keeps peers of (BEP 51).
type Samples struct {
	From     contact.Node
	Hashes   []byte        // 20 bytes each; valid during the call only
	Num      int64         // that it keeps; 0 if it does not say
	Interval time.Duration // in which it does not want to be asked again
}

// sampled are the nodes that gave samples, and until when they are not to be
// asked for others. The oldest is forgotten for a new one.
type sampled struct {
	until map[netip.AddrPort]time.Time
	order []netip.AddrPort // a ring
	next  int
}

func (s *sampled) has(addr netip.AddrPort, now time.Time) bool { return now.Before(s.until[addr]) }

func (s *sampled) add(addr netip.AddrPort, until time.Time) {
	if s.until == nil {
		s.until = map[netip.AddrPort]time.Time{}
	}
	if _, known := s.until[addr]; !known {
		if len(s.order) < maxSampled {
			s.order = append(s.order, addr)
		} else {
			delete(s.until, s.order[s.next])
			s.order[s.next] = addr
			s.next = (s.next + 1) % maxSampled
		}
	}
	s.until[addr] = until
}

// readSamples takes the samples of a reply.
func (n *Node) readSamples(s *search, t *transaction, m *krpc.Message, now time.Time) {
	if m.Has&krpc.HasSamples == 0 {
		return
	}
	interval := time.Duration(0)
	if m.Has&krpc.HasInterval != 0 && m.Interval > 0 {
		interval = time.Duration(min(m.Interval, int64(longestSample/time.Second))) * time.Second
	}
	n.sampled.add(t.to.Addr, now.Add(interval))
	if s.Samples != nil {
		const size = contact.Bits / 8
		s.Samples(Samples{
			From: contact.Node{ID: m.ID, Addr: t.to.Addr}, Hashes: m.Samples[:min(len(m.Samples)/size, maxSampleReply)*size],
			Num: max(0, m.Num), Interval: interval,
		})
	}
}

// plainer asks a node that does not know BEP 51 for nodes only. It reports
// whether that was of use.
func (n *Node) plainer(t *transaction, code int, now time.Time) bool {
	if t.search.Kind != Sample || t.search.over || t.plain || code != krpc.CodeMethod {
		return false
	}
	m := &n.scratch.out
	n.query(m, krpc.FindNode)
	m.SetTarget(t.search.Target)
	return n.askAs(t.search, m, &transaction{to: t.to, purpose: forSearch, search: t.search, plain: true}, now)
}
