package dht

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"btd/dht/krpc"
	"btd/dht/store"
	"btd/dht/table"
)

// Conn is what a Server sends through. A *net.UDPConn is one.
type Conn interface {
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// Socket is the way of one family to the network. Without a Conn there is no
// node of this family.
type Socket struct {
	// Conn may be shared: then its owner hands packets that begin with 'd' to
	// Deliver.
	Conn Conn
	// Own makes the Server read from Conn, which must be a *net.UDPConn, and
	// close it at the end.
	Own   bool
	State []byte // what State gave in an earlier run
	// Other, if set, is shown the packets of a socket of the Server's own that
	// do not begin with 'd', as all of the DHT do, and reports whether it took
	// one, and what is to be answered, if anything: the Server may have closed
	// Conn and use another way to the socket. It is called by the goroutine that
	// reads, must not block and does not keep b.
	Other func(b []byte, from netip.AddrPort) (answer []byte, took bool)
}

// ServerConfig holds a server's settings.
type ServerConfig struct {
	IPv4, IPv6 Socket
	Bootstrap  []string // host:port; empty for none, see DefaultBootstrap
	ReadOnly   bool     // BEP 43
	Version    string   // see Config

	// Refuse, if set, tells of addresses to have nothing to do with. It is
	// called from several goroutines.
	Refuse func(netip.AddrPort) bool

	// Resolve looks up a host; nil means the system's way.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	Log    *slog.Logger // nil means none
	Table  table.Config
	Peers  store.PeersConfig
	Items  store.ItemsConfig
	Limits store.LimitsConfig
}

// DefaultBootstrap are well-known hosts to ask when nobody is known.
func DefaultBootstrap() []string {
	return []string{
		"router.bittorrent.com:6881",
		"router.utorrent.com:6881",
		"dht.transmissionbt.com:6881",
		"dht.libtorrent.org:25401",
		"dht.aelitis.com:6881",
	}
}

// Server runs a node for each family that has a socket. Its methods may be
// called from any goroutine. Two goroutines for a socket (one if it is shared)
// and one that resolves hosts are all that it has, however much is searched.
type Server struct {
	cfg    ServerConfig
	loops  []*loop // one or two
	hosts  chan []string
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	last   sync.Once
}

// NewServer starts the nodes.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	s := &Server{cfg: cfg, hosts: make(chan []string, 16)}
	for _, ipv6 := range []bool{false, true} {
		socket := cfg.IPv4
		if ipv6 {
			socket = cfg.IPv6
		}
		if socket.Conn == nil {
			continue
		}
		l, err := newLoop(s, socket, ipv6)
		if err != nil {
			s.forget()
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	if len(s.loops) == 0 {
		return nil, errors.New("dht: no socket")
	}
	if len(s.loops) == 2 {
		s.loops[0].other, s.loops[1].other = s.loops[1], s.loops[0]
	}
	now := time.Now()
	for _, l := range s.loops {
		if err := l.makeNode(now); err != nil {
			s.forget()
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, l := range s.loops {
		s.wg.Go(func() { l.run(ctx) })
		if l.own != nil {
			s.wg.Go(func() { l.read(ctx) })
		}
	}
	s.wg.Go(func() { s.resolve(ctx) })
	return s, nil
}

// Close ends all searches with ErrClosed, and all goroutines. Own sockets are
// closed. It may be called more than once.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.cancel()
		for _, l := range s.loops {
			if l.own != nil {
				l.own.close()
			}
		}
	})
	s.wg.Wait()
	s.last.Do(s.forget)
	return nil
}

// forget gives up what only the server itself knows of its sockets.
func (s *Server) forget() {
	for _, l := range s.loops {
		if l.own != nil && l.own.quiet != nil {
			l.own.quiet.close()
		}
	}
}

// newRand is a random source that nobody can foresee.
func newRand() (*rand.Rand, error) {
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("dht: making secrets: %w", err)
	}
	return rand.New(rand.NewChaCha8(seed)), nil
}

// Deliver takes a packet from a shared socket. It does not keep b and does not
// block: if the node is far behind, the packet is dropped, as the network might
// have done. It reports whether the packet was taken.
func (s *Server) Deliver(b []byte, from netip.AddrPort) bool {
	if len(b) == 0 || b[0] != 'd' {
		return false
	}
	if l := s.loop(from.Addr()); l != nil {
		return l.packet(b, from)
	}
	return false
}

// loop is the loop for an address; nil if there is none.
func (s *Server) loop(ip netip.Addr) *loop {
	for _, l := range s.loops {
		if l.ipv6 != ip.Unmap().Is4() && ip.IsValid() {
			return l
		}
	}
	return nil
}

// AddNode asks a node that we were told of, for instance by a peer's PORT
// message (BEP 5).
func (s *Server) AddNode(addr netip.AddrPort) {
	if l := s.loop(addr.Addr()); l != nil {
		l.post(func(now time.Time) { l.node.AddNode(addr, now) })
	}
}

// AddHosts resolves hosts and asks them, for instance those of a torrent's
// nodes key (BEP 5). If too many are waiting to be resolved, they are dropped.
func (s *Server) AddHosts(hosts []string) {
	select {
	case s.hosts <- hosts[:min(len(hosts), maxNodes)]:
	default:
	}
}

// ServerStats are the counters of both nodes.
type ServerStats struct {
	IPv4, IPv6 *Stats // nil if there is none
	Dropped    int64  // packets that came faster than they could be read
	ReadErrors int64
}

// Stats is what happened so far. After Close it is what had happened until
// then.
func (s *Server) Stats() (all ServerStats) {
	for _, l := range s.loops {
		var got Stats
		l.call(func(now time.Time) { got = l.node.Stats(now) })
		if l.ipv6 {
			all.IPv6 = &got
		} else {
			all.IPv4 = &got
		}
		all.Dropped += l.dropped.Load()
		all.ReadErrors += l.readErrors.Load()
	}
	return all
}

// State is what is to be given back in the Sockets of the next run: our ids and
// the best nodes. It may be called after Close.
func (s *Server) State() (ipv4, ipv6 []byte) {
	for _, l := range s.loops {
		var got []byte
		l.call(func(time.Time) { got = l.node.State() })
		if l.ipv6 {
			ipv6 = got
		} else {
			ipv4 = got
		}
	}
	return ipv4, ipv6
}

// IDs are our ids; zero where there is no node.
func (s *Server) IDs() (ipv4, ipv6 krpc.ID) {
	stats := s.Stats()
	if stats.IPv4 != nil {
		ipv4 = stats.IPv4.ID
	}
	if stats.IPv6 != nil {
		ipv6 = stats.IPv6.ID
	}
	return ipv4, ipv6
}
