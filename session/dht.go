package session

import (
	"net/netip"

	"btd/peerwire"
)

// DHT is what a session needs of a DHT node (BEP 5). Its methods return at
// once, and may be called from any goroutine.
type DHT interface {
	// Port is the UDP port of the node, which peers are told; 0 if there is
	// none.
	Port() uint16
	// AddNode tells of a node that may be at an address: a peer said so.
	AddNode(addr netip.AddrPort)
}

// dhtPort is the port of our DHT node, 0 without one.
func (s *Session) dhtPort() uint16 {
	if s.cfg.DHT == nil {
		return 0
	}
	return s.cfg.DHT.Port()
}

// onPort hands the DHT a peer's node.
func (t *torrent) onPort(p *peer, m *peerwire.Message) {
	if t.s.cfg.DHT == nil || m.Index == 0 || m.Index > 0xffff || t.private() || p.node {
		return
	}
	p.node = true // one for each connection
	t.s.cfg.DHT.AddNode(netip.AddrPortFrom(p.addr.Addr(), uint16(m.Index)))
}

// tellPort tells a peer that knows the DHT of our node.
func (t *torrent) tellPort(p *peer) {
	if port := t.s.dhtPort(); port != 0 && p.hs.DHT() && !t.private() {
		p.wire.ctl = peerwire.AppendPort(p.wire.ctl, port)
	}
}
