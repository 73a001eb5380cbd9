package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"btd/dht"
	"btd/peerwire"
)

// DHTConfig says whether and how a session takes part in the DHT (BEP 5). The
// zero value does not.
type DHTConfig struct {
	On        bool     // run a node on the UDP port of the same number as Listen
	Bootstrap []string // host:port of nodes to begin with; nil means none
	ReadOnly  bool     // ask, but do not answer (BEP 43)

	// Isolated is for a network of one's own: of nodes that peers or torrents
	// tell of, only those in local networks are taken.
	Isolated bool

	fake node // of a test
}

// node is what a session needs of the DHT. A *dht.Server is one.
type node interface {
	AddNode(addr netip.AddrPort)
	AddHosts(hosts []string)
	Start(q dht.Search, done func(dht.Results)) (cancel func())
	Search(ctx context.Context, q dht.Search) (dht.Results, error)
	Stats() dht.ServerStats
	State() (ipv4, ipv6 []byte)
	Close() error
}

const (
	dhtVersion   = "BD\x00\x01" // in every packet of the DHT (BEP 5, "v")
	dhtSaveEvery = 5 * time.Minute
	dhtKey4      = "dht ipv4"
	dhtKey6      = "dht ipv6"
	stateOfNone  = 22 // bytes of a node's state that knows nobody
)

// udpSockets are those of the DHT.
type udpSockets struct {
	ipv4, ipv6 *net.UDPConn
	err        error // why one is missing
}

func (u *udpSockets) close() {
	for _, c := range []*net.UDPConn{u.ipv4, u.ipv6} {
		if c != nil {
			c.Close()
		}
	}
}

// listenAll opens the TCP port for peers, and the UDP port of the same number
// if the DHT is wanted. Only the first must succeed.
func listenAll(cfg Config) (l net.Listener, udp udpSockets, err error) {
	_, port, _ := net.SplitHostPort(cfg.Listen)
	for range 10 {
		if l, err = listen(cfg.Listen); err != nil || !cfg.DHT.On || cfg.DHT.fake != nil {
			return l, udp, err
		}
		if udp = listenUDP(l); udp.err == nil || port != "0" {
			return l, udp, nil
		}
		udp.close() // any port will do: perhaps the next is free for both
		l.Close()
	}
	l, err = listen(cfg.Listen)
	return l, udpSockets{err: udp.err}, err
}

// listenUDP opens UDP sockets where l listens.
func listenUDP(l net.Listener) (u udpSockets) {
	at := l.Addr().(*net.TCPAddr).AddrPort()
	host := at.Addr().Unmap()
	open := func(network string, ip netip.Addr) *net.UDPConn {
		c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, at.Port())))
		if err != nil {
			u.err = errors.Join(u.err, err)
			return nil
		}
		return c
	}
	switch {
	case host.Is4():
		u.ipv4 = open("udp4", host)
	case !host.IsUnspecified():
		u.ipv6 = open("udp6", host)
	default:
		u.ipv4 = open("udp4", netip.IPv4Unspecified())
		u.ipv6 = open("udp6", netip.IPv6Unspecified())
	}
	return u
}

// newSeeker starts the DHT node, if there is to be one. That there is none is
// told and is no error.
func newSeeker(s *Session, udp udpSockets) *seeker {
	d := &seeker{s: s, wake: make(chan struct{}, 1), locals: localAddrs(s.bound())}
	d.init()
	cfg := s.cfg.DHT
	switch {
	case !cfg.On:
		return d
	case cfg.fake != nil:
		d.node = cfg.fake
		return d
	}
	if udp.err != nil {
		d.problem = fmt.Sprintf("UDP port %d: %v", s.port(), udp.err)
		s.log.Warn("the DHT lacks a UDP socket", "port", s.port(), "err", udp.err)
	}
	server := dht.ServerConfig{Bootstrap: cfg.Bootstrap, ReadOnly: cfg.ReadOnly, Version: dhtVersion, Log: s.log}
	if udp.ipv4 != nil {
		server.IPv4 = dht.Socket{Conn: udp.ipv4, Own: true, State: d.recall(dhtKey4), Other: s.refuseUTP()}
	}
	if udp.ipv6 != nil {
		server.IPv6 = dht.Socket{Conn: udp.ipv6, Own: true, State: d.recall(dhtKey6), Other: s.refuseUTP()}
	}
	if udp.ipv4 == nil && udp.ipv6 == nil {
		return d
	}
	n, err := dht.NewServer(server)
	if err != nil {
		udp.close()
		d.problem = err.Error()
		s.log.Warn("the DHT does not run", "err", err)
		return d
	}
	d.node = n
	return d
}

// refuseUTP tells who tries to connect over uTP (BEP 29) that nobody does here.
// Without the DHT the system would say so, since nobody would listen at the
// port. Who hears nothing waits before it tries TCP, libtorrent for 3 s.
func (s *Session) refuseUTP() func(b []byte, from netip.AddrPort) ([]byte, bool) {
	var answer []byte
	return func(b []byte, _ netip.AddrPort) (_ []byte, ok bool) {
		if answer, ok = peerwire.AppendUTPReset(answer[:0], b); ok {
			s.count("utp_refused")
		}
		return answer, ok
	}
}

// recall reads what an earlier run knew of the DHT.
func (d *seeker) recall(key string) []byte {
	b, err := d.s.db.Get(key)
	if err != nil {
		d.s.log.Warn("reading the DHT nodes of the last run", "err", err)
	}
	return b
}

// tend is the work of each minute.
func (d *seeker) tend(now time.Time) {
	d.lookAround()
	if now.Sub(d.saved) >= dhtSaveEvery-time.Second {
		d.save()
		d.saved = now
	}
}

// save records which nodes are known, for the next run.
func (d *seeker) save() {
	ipv4, ipv6 := d.node.State()
	for key, b := range map[string][]byte{dhtKey4: ipv4, dhtKey6: ipv6} {
		if len(b) <= stateOfNone {
			continue // what an earlier run knew is worth more
		}
		if err := d.s.db.Put(key, b); err != nil {
			d.s.log.Warn("recording the DHT nodes", "err", err)
		}
	}
}

// localAddrs are the addresses that peers of this machine's networks see us at.
func localAddrs(bound netip.Addr) []netip.Addr {
	if bound.IsValid() {
		return []netip.Addr{bound}
	}
	var out []netip.Addr
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}

// ourselves tells whether an address of a peer is ours, as far as is known.
func (d *seeker) ourselves(a netip.AddrPort) bool {
	if a.Port() != d.s.port() {
		return false
	}
	ip := a.Addr().Unmap()
	for _, p := range []*atomic.Pointer[netip.Addr]{&d.s.external, &d.external[0], &d.external[1]} {
		if own := p.Load(); own != nil && *own == ip {
			return true
		}
	}
	return slices.Contains(d.locals, ip)
}

// lookAround notes how others see us.
func (d *seeker) lookAround() {
	st := d.node.Stats()
	for i, one := range []*dht.Stats{st.IPv4, st.IPv6} {
		if one != nil && one.External.IsValid() {
			ip := one.External.Unmap()
			d.external[i].Store(&ip)
		}
	}
}

// dhtPort is the port of our DHT node, 0 without one.
func (s *Session) dhtPort() uint16 {
	if s.seeker.node == nil || s.cfg.DHT.ReadOnly {
		return 0
	}
	return s.port()
}

// addNode tells the DHT of a node that may be at an address: a peer said so.
func (d *seeker) addNode(a netip.AddrPort) {
	if d.node != nil && (!d.s.cfg.DHT.Isolated || isLocal(a.Addr())) {
		d.node.AddNode(a)
	}
}

// addHosts tells the DHT of the nodes that a torrent names (BEP 5, "torrent
// file extensions").
func (d *seeker) addHosts(hosts []string) {
	if d.node != nil && !d.s.cfg.DHT.Isolated && len(hosts) > 0 {
		d.node.AddHosts(hosts)
	}
}

func isLocal(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
}

// onPort hands the DHT a peer's node.
func (t *torrent) onPort(p *peer, m *peerwire.Message) {
	if m.Index == 0 || m.Index > 0xffff || t.private() || !t.e.inDHT() || p.node {
		return
	}
	p.node = true // one for each connection
	t.s.seeker.addNode(netip.AddrPortFrom(p.addr.Addr(), uint16(m.Index)))
}

// tellPort tells a peer that knows the DHT of our node.
func (t *torrent) tellPort(p *peer) {
	if port := t.s.dhtPort(); port != 0 && p.hs.DHT() && !t.private() && t.e.inDHT() {
		p.wire.ctl = peerwire.AppendPort(p.wire.ctl, port)
	}
}
