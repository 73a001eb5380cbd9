package tracker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	maxConnections = 1024 // connection ids remembered
	maxReadErrors  = 100  // in a row, before a socket is given up
)

// errTryAgain says that an answer did not come in time.
var errTryAgain = errors.New("tracker: no answer yet")

// udpSocket is one UDP socket and everything that waits for answers on it.
type udpSocket struct {
	conn *net.UDPConn
	v6   bool
	done chan struct{} // closed when the reader is gone

	mu         sync.Mutex
	pending    map[uint32]*transaction
	connected  map[netip.AddrPort]connection
	connecting map[netip.AddrPort]chan struct{} // closed when the attempt is over
}

// transaction is a request that waits for its answer.
type transaction struct {
	from   netip.AddrPort
	action uint32
	answer chan []byte // capacity 1
}

type connection struct {
	id  uint64
	got time.Time
}

func openUDP(v6 bool, source netip.Addr) (*udpSocket, error) {
	network := "udp4"
	if v6 {
		network = "udp6"
	}
	var local *net.UDPAddr
	if source.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	conn, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	s := &udpSocket{
		conn: conn, v6: v6, done: make(chan struct{}),
		pending:    make(map[uint32]*transaction),
		connected:  make(map[netip.AddrPort]connection),
		connecting: make(map[netip.AddrPort]chan struct{}),
	}
	go s.read()
	return s, nil
}

func (s *udpSocket) close() {
	s.conn.Close()
	<-s.done
}

// dead tells whether the reader has given up.
func (s *udpSocket) dead() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// read hands out answers until the socket is closed.
func (s *udpSocket) read() {
	defer close(s.done)
	defer s.conn.Close()
	buf := make([]byte, 64<<10)
	for bad := 0; bad < maxReadErrors; {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // Windows reports that an earlier packet of ours was not wanted
			bad++
			continue
		}
		bad = 0
		s.deliver(buf[:n], plainAddr(from))
	}
}

// plainAddr makes addresses comparable.
func plainAddr(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// deliver gives a packet to the transaction it answers. It must come from
// where the request went; all else is dropped.
func (s *udpSocket) deliver(p []byte, from netip.AddrPort) {
	_, id, ok := answerHeader(p)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.pending[id]
	if t == nil || t.from != from || !plausible(p, t.action) {
		return
	}
	delete(s.pending, id)
	t.answer <- append([]byte(nil), p...)
}

// request sends one request with a connection id not older than oldest, and
// waits for the answer: errTryAgain if it does not come in time.
func (s *udpSocket) request(ctx context.Context, to netip.AddrPort, action uint32, wait time.Duration, oldest time.Time, body func([]byte) []byte) ([]byte, error) {
	id, err := s.connect(ctx, to, wait, oldest)
	if err != nil {
		return nil, err
	}
	return s.roundTrip(ctx, to, action, wait, func(transaction uint32) []byte {
		return body(appendHeader(make([]byte, 0, 256), id, action, transaction))
	})
}

// roundTrip sends one packet and waits for its answer.
func (s *udpSocket) roundTrip(ctx context.Context, to netip.AddrPort, action uint32, wait time.Duration, packet func(transaction uint32) []byte) ([]byte, error) {
	t := &transaction{from: plainAddr(to), action: action, answer: make(chan []byte, 1)}
	id := s.register(t)
	defer s.unregister(id)
	if _, err := s.conn.WriteToUDPAddrPort(packet(id), to); err != nil {
		return nil, fmt.Errorf("sending to the tracker: %w", err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case p := <-t.answer:
		return p, decodeUDPError(p)
	case <-timer.C:
		return nil, errTryAgain
	case <-s.done:
		return nil, errTryAgain
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// register gives a transaction an id that a stranger cannot guess.
func (s *udpSocket) register(t *transaction) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var b [4]byte
		rand.Read(b[:]) // never fails
		id := binary.BigEndian.Uint32(b[:])
		if _, taken := s.pending[id]; !taken {
			s.pending[id] = t
			return id
		}
	}
}

func (s *udpSocket) unregister(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// connect returns a connection id of a tracker. One attempt at a time is
// made for each tracker; others wait for it.
func (s *udpSocket) connect(ctx context.Context, to netip.AddrPort, wait time.Duration, oldest time.Time) (uint64, error) {
	for {
		s.mu.Lock()
		now := time.Now()
		if c, ok := s.connected[to]; ok && now.Sub(c.got) < connectionLife && !c.got.Before(oldest) {
			s.mu.Unlock()
			return c.id, nil
		}
		attempt, busy := s.connecting[to]
		if !busy {
			attempt = make(chan struct{})
			s.connecting[to] = attempt
		}
		s.mu.Unlock()
		if !busy {
			id, err := s.newConnection(ctx, to, wait)
			s.mu.Lock()
			delete(s.connecting, to)
			s.mu.Unlock()
			close(attempt)
			return id, err
		}
		select {
		case <-attempt:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (s *udpSocket) newConnection(ctx context.Context, to netip.AddrPort, wait time.Duration) (uint64, error) {
	p, err := s.roundTrip(ctx, to, actionConnect, wait, func(transaction uint32) []byte {
		return appendHeader(nil, udpMagic, actionConnect, transaction)
	})
	if err != nil {
		return 0, err
	}
	id, err := decodeUDPConnect(p)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.connected) >= maxConnections {
		for addr, c := range s.connected {
			if time.Since(c.got) >= connectionLife || len(s.connected) >= maxConnections {
				delete(s.connected, addr)
			}
		}
	}
	s.connected[to] = connection{id, time.Now()}
	return id, nil
}
