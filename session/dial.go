package session

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"btd/metainfo"
	"btd/peerwire"
	"btd/peerwire/secure"
	"btd/session/addrbook"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 15 * time.Second
)

// learn adds addresses to the torrent's book and dials at once.
func (t *torrent) learn(addrs []netip.AddrPort, src Source) {
	if t.private() && src.public() {
		return
	}
	for _, a := range addrs {
		t.book.Add(a, string(src), t.now)
	}
	t.clock.dialAt = t.now
	t.clock.idleAt = time.Time{}
}

// advanceDials starts connections while there are addresses and places.
func (t *torrent) advanceDials() {
	if t.now.Before(t.clock.dialAt) || t.disk.check != nil || t.disk.stuck() {
		return
	}
	for t.peers.count()+t.peers.dialling < t.s.cfg.MaxPeersPerTorrent {
		release, ok := t.s.conns.admit()
		if !ok {
			t.clock.dialAt = t.now.Add(time.Second)
			return
		}
		if !t.s.dials.take() {
			release()
			t.clock.dialAt = t.now.Add(100 * time.Millisecond)
			return
		}
		addr, ok, wait := t.book.Next(t.now, t.s.ourAddr())
		if !ok {
			release()
			t.s.dials.put()
			t.clock.dialAt = t.now.Add(min(max(wait, 100*time.Millisecond), time.Hour))
			return
		}
		t.peers.dialling++
		if t.wait != nil {
			t.wait.tried++
		}
		src := cmp.Or(Source(t.book.Source(addr)), FromIncoming) // one that came by itself told us its port
		t.spawn(func() { t.dial(addr, src, release) })
	}
	t.clock.dialAt = t.now.Add(time.Second)
}

// undialed reports a connection that did not come to be.
type undialed struct {
	addr netip.AddrPort
	err  error
}

func (u *undialed) apply(t *torrent) {
	t.peers.dialling--
	why := u.reason()
	if t.private() && Source(t.book.Source(u.addr)).public() {
		why = addrbook.Unwanted // it was dialled before we knew
	}
	t.book.Failed(u.addr, why, t.now)
	t.clock.dialAt = t.now
	t.log.Debug("dial", "peer", u.addr, "err", u.err)
}

// dial connects to addr and shakes hands. It runs outside the loop.
func (t *torrent) dial(addr netip.AddrPort, src Source, release func()) {
	j, err := t.connect(addr, release)
	t.s.dials.put()
	if err != nil {
		t.tellImpostor(addr, err)
		t.in.post(&undialed{addr, err})
		return
	}
	j.source = src
	if !t.in.post(j) {
		j.conn.Close()
	}
}

// connect makes the connection, which holds the place that release gives
// back.
func (t *torrent) connect(addr netip.AddrPort, release func()) (*joined, error) {
	ctx, cancel := context.WithTimeout(t.ctx, dialTimeout)
	defer cancel()
	d := net.Dialer{LocalAddr: t.s.sourceFor(addr.Addr())}
	raw, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		release()
		return nil, err
	}
	c := &conn{Conn: raw, release: release}
	stop := context.AfterFunc(t.ctx, func() { c.Close() })
	defer stop()
	hs, err := t.s.shake(c, t.e)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &joined{conn: c, hs: hs, addr: addr, dialed: true}, nil
}

var errOtherTorrent = errors.New("the peer answered for another torrent")

// shake sends our handshake and reads the peer's.
func (s *Session) shake(c *conn, e *entry) (peerwire.Handshake, error) {
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return peerwire.Handshake{}, err
	}
	if err := s.vault.shakeInside(c, e.secret()); err != nil {
		return peerwire.Handshake{}, err
	}
	stream := c.stream()
	if _, err := stream.Write(s.handshake(e)); err != nil {
		return peerwire.Handshake{}, err
	}
	var hs peerwire.Handshake
	if err := hs.ReadHead(stream); err != nil {
		return hs, err
	}
	if hs.InfoHash != e.hash.Wire() {
		return hs, errOtherTorrent
	}
	if err := hs.ReadID(stream); err != nil {
		return hs, err
	}
	return hs, c.SetDeadline(time.Time{})
}

// handshake is what we say first: we speak the fast extension, the extension
// protocol and, unless the torrent must not be in it, the DHT.
func (s *Session) handshake(e *entry) []byte {
	h := peerwire.Handshake{InfoHash: e.hash.Wire(), PeerID: s.peerID}
	h.SetFast()
	h.SetExtended()
	if s.dhtPort() != 0 && e.inDHT() {
		h.SetDHT()
	}
	return h.Append(nil)
}

// ourAddr is how peers may see us; it may be invalid.
func (s *Session) ourAddr() netip.AddrPort {
	if a := s.external.Load(); a != nil {
		return netip.AddrPortFrom(*a, s.port())
	}
	if a := s.bound(); a.IsValid() {
		return netip.AddrPortFrom(a, s.port())
	}
	return netip.AddrPort{}
}

// sourceFor is the local address to dial from: the one we listen on, if that
// is one of the same family.
func (s *Session) sourceFor(to netip.Addr) net.Addr {
	a := s.bound()
	if !a.IsValid() || a.Is4() != to.Is4() {
		return nil
	}
	return &net.TCPAddr{IP: a.AsSlice(), Zone: a.Zone()}
}

// listen opens the TCP port for peers.
func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for peers on %s: %w (choose another address or port with --listen)", addr, err)
	}
	return l, nil
}

// accept takes incoming connections until the listener is closed.
func (s *Session) accept() {
	pause := 5 * time.Millisecond
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.Warn("accepting a connection", "err", err)
			select {
			case <-time.After(pause):
				pause = min(2*pause, time.Second)
			case <-s.ctx.Done():
				return
			}
			continue
		}
		pause = 5 * time.Millisecond
		done, ok := s.admitCaller(raw)
		if !ok {
			s.count("incoming_refused")
			raw.Close()
			continue
		}
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			defer done()
			if err := s.welcome(raw); err != nil {
				s.log.Debug("incoming connection", "peer", raw.RemoteAddr(), "err", err)
			}
		}()
	}
}

// admitCaller finds a place for an incoming handshake. Half of them are the most
// that one host gets.
func (s *Session) admitCaller(raw net.Conn) (done func(), ok bool) {
	at, _ := netip.ParseAddrPort(raw.RemoteAddr().String()) // all that have none share one
	from := hostOf(at.Addr())
	if !s.callers.enter(from, (s.cfg.MaxIncoming+1)/2) {
		return nil, false
	}
	if !s.incoming.take() {
		s.callers.leave(from)
		return nil, false
	}
	return func() {
		s.incoming.put()
		s.callers.leave(from)
	}, true
}

var errUnknownTorrent = errors.New("asked for a torrent that is not served here")

// welcome shakes hands with an incoming peer and hands it to its torrent.
func (s *Session) welcome(raw net.Conn) error {
	release, ok := s.conns.admit()
	if !ok {
		raw.Close()
		return errFull
	}
	c := &conn{Conn: raw, release: release}
	stop := context.AfterFunc(s.ctx, func() { c.Close() })
	defer stop()
	j, e, err := s.answer(c)
	if err != nil {
		c.Close()
		s.tellRefused(c, err) // afterwards, so that time tells nothing
		return err
	}
	if !s.deliver(e, j) {
		c.Close()
		return errUnknownTorrent
	}
	return nil
}

func (s *Session) answer(c *conn) (*joined, *entry, error) {
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, nil, err
	}
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return nil, nil, fmt.Errorf("reading the peer's address: %w", err)
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	var lead [1]byte
	if _, err := io.ReadFull(c, lead[:]); err != nil {
		return nil, nil, err
	}
	var proved metainfo.Secret
	in := io.MultiReader(bytes.NewReader(lead[:]), c)
	if lead[0] == secure.FirstByte {
		if proved, err = s.unseal(c, lead[:], from.Addr()); err != nil {
			return nil, nil, err
		}
		in = c.stream()
	}
	var hs peerwire.Handshake
	if err := hs.ReadHead(in); err != nil {
		if errors.Is(err, peerwire.ErrMalformed) {
			s.count("handshakes_malformed")
		}
		return nil, nil, err
	}
	e := s.byWire(hs.InfoHash)
	if e != nil && e.secret() != proved {
		if !e.secret().IsZero() {
			return nil, nil, unproved{e}
		}
		e = nil
	}
	if e == nil || !e.serves() || e.crowded() || !e.scope().Covers(from.Addr()) {
		s.count("handshakes_unknown_torrent")
		return nil, nil, errUnknownTorrent
	}
	if _, err := c.stream().Write(s.handshake(e)); err != nil {
		return nil, nil, err
	}
	if err := hs.ReadID(c.stream()); err != nil {
		return nil, nil, err
	}
	return &joined{conn: c, hs: hs, addr: from, source: FromIncoming}, e, c.SetDeadline(time.Time{})
}
