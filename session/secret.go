package session

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"btd/metainfo"
	"btd/peerwire/secure"
	"btd/storage/resume"
)

// A torrent with a secret is one of a closed swarm: connections that speak of
// it are channels of peerwire/secure whose other end has proved the secret.
// Without the proof it is treated as if it were not there.

// vault is what closed swarms need of the session.
type vault struct {
	end   *secure.Endpoint // answers whether there are secrets or not
	guard secure.Guard
	told  refusals
}

func newVault() (*vault, error) {
	end, err := secure.NewEndpoint()
	if err != nil {
		return nil, fmt.Errorf("preparing for encrypted connections: %w", err)
	}
	return &vault{end: end}, nil
}

// hold makes e's secret, if it has one, good for incoming connections.
func (v *vault) hold(e *entry) error {
	if s := e.secret(); !s.IsZero() {
		return v.end.Ring.Add(s)
	}
	return nil
}

// release undoes hold.
func (v *vault) release(e *entry) {
	if s := e.secret(); !s.IsZero() {
		v.end.Ring.Remove(s)
	}
}

// secret is the torrent's secret; zero if it has none. It never changes.
func (e *entry) secret() metainfo.Secret {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec.Secret
}

// announcedHash is what trackers and neighbours are told in place of the
// info-hash: the same, or what the secret makes of it.
func (e *entry) announcedHash() [20]byte { return e.secret().Mask(e.hash).Wire() }

// Secret is a torrent's secret: zero if it has none. Who asks must be the
// torrent's owner.
func (s *Session) Secret(h metainfo.Hash) (metainfo.Secret, error) {
	e, err := s.find(h)
	if err != nil {
		return metainfo.Secret{}, err
	}
	return e.secret(), nil
}

// AnnouncedHash is what trackers are told in place of a torrent's info-hash.
func (s *Session) AnnouncedHash(h metainfo.Hash) ([20]byte, error) {
	e, err := s.find(h)
	if err != nil {
		return [20]byte{}, err
	}
	return e.announcedHash(), nil
}

// joinSecrets is the secret of a new torrent for which a link and a call may
// each have one.
func joinSecrets(link, option metainfo.Secret) (metainfo.Secret, error) {
	switch {
	case link.IsZero():
		return option, nil
	case option.IsZero() || option == link:
		return link, nil
	}
	return metainfo.Secret{}, fmt.Errorf("%w: the link has another secret than the request", ErrInvalid)
}

// checkSecret tells why a torrent that is here cannot be added again with this
// secret. None at all is as good as the right one: nothing is opened by it.
func (e *entry) checkSecret(again metainfo.Secret) error {
	switch has := e.secret(); {
	case again.IsZero() || again == has:
		return nil
	case has.IsZero():
		return fmt.Errorf("%w: the torrent is here without a secret: remove it first, its data will be used", ErrInvalid)
	}
	return fmt.Errorf("%w: the torrent is here with another secret: remove it first, its data will be used", ErrInvalid)
}

// secretKey is where a secret is kept beside the record: a torrent whose record
// is damaged must not come back as an open one.
func secretKey(h metainfo.Hash) string { return "secret " + h.String() }

// keepSecret writes the secret of a new torrent, before its record.
func (s *Session) keepSecret(rec *resume.Record) error {
	if rec.Secret.IsZero() {
		return nil
	}
	return s.db.Put(secretKey(rec.Hash), rec.Secret[:])
}

// keptSecret is what keepSecret has written of a torrent, zero if nothing.
func (s *Session) keptSecret(h metainfo.Hash) (secret metainfo.Secret, err error) {
	b, err := s.db.Get(secretKey(h))
	if err == nil && b != nil && len(b) != len(secret) {
		err = errors.New("a secret of the wrong length")
	}
	if err != nil || b == nil {
		return secret, err
	}
	return metainfo.Secret(b), nil
}

// secretLost tells whether e comes from a damaged record and may have had a
// secret, which is not known any more: then its info-hash must not be told to
// anybody, unless its owner starts it.
func (s *Session) secretLost(e *entry) bool {
	kept, err := s.keptSecret(e.hash)
	return e.secret().IsZero() && (err != nil || !kept.IsZero())
}

var (
	errTooOften = errors.New("too many encrypted handshakes from this address that proved nothing")
	errUnsealed = errors.New("encrypted handshake")
)

// unproved is the refusal of a peer that asked for e without having proved its
// secret. The peer sees what it sees of a torrent that is not there.
type unproved struct{ e *entry }

func (u unproved) Error() string { return "asked for a torrent without having proved its secret" }

// unseal makes a channel of an incoming connection that begins as TLS does, and
// says which secret its other end has proved.
func (s *Session) unseal(c *conn, lead []byte, from netip.Addr) (metainfo.Secret, error) {
	if !s.vault.guard.Admit(from, time.Now()) {
		s.count("secret_handshakes_refused")
		return metainfo.Secret{}, errTooOften
	}
	channel, secret, err := s.vault.end.Accept(c.Conn, lead)
	if err != nil {
		return metainfo.Secret{}, fmt.Errorf("%w: %w", errUnsealed, err)
	}
	s.vault.guard.Proved(from)
	c.channel = channel
	return secret, nil
}

// tellRefused counts and logs that an incoming connection ended because a
// secret was not proved, where there is one.
func (s *Session) tellRefused(c *conn, err error) {
	var plain unproved
	asked, unsealed := errors.As(err, &plain), errors.Is(err, errUnsealed)
	if !asked && !unsealed || errors.Is(err, net.ErrClosed) { // we are stopping
		return
	}
	s.count("secret_not_proved")
	swarms := s.vault.end.Ring.Len()
	from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	if swarms == 0 || !s.vault.told.worth(from.Addr(), time.Now()) {
		return
	}
	attrs := []any{"peer", from.Addr().Unmap().String(), "err", err}
	switch {
	case asked:
		attrs = append(attrs, "torrent", plain.e.hash.String())
	case swarms == 1: // it cannot be told which was meant, but for this
		for _, e := range s.entries() {
			if !e.secret().IsZero() {
				attrs = append(attrs, "torrent", e.hash.String())
			}
		}
	default:
		attrs = append(attrs, "swarms", swarms)
	}
	s.log.Warn("peer refused: it did not prove the secret of the swarm", attrs...)
}

// tellImpostor logs that a peer that was dialled does not hold the secret.
func (t *torrent) tellImpostor(addr netip.AddrPort, err error) {
	if t.e.secret().IsZero() || !errors.Is(err, secure.ErrProof) || errors.Is(err, net.ErrClosed) { // we are stopping
		return
	}
	t.s.count("secret_not_proved")
	if t.s.vault.told.worth(addr.Addr(), time.Now()) {
		t.log.Warn("peer passed over: it did not prove the swarm's secret, so it holds another or none", "peer", addr, "err", err)
		t.s.hub.publish(EventWarning, t.e.hash, nil, fmt.Sprintf("%s did not prove the swarm's secret: it holds another, or none", addr))
	}
}

// shakeInside makes a channel of a connection to a peer of a closed swarm; of
// others it leaves the connection as it is.
func (v *vault) shakeInside(c *conn, secret metainfo.Secret) error {
	if secret.IsZero() {
		return nil
	}
	channel, err := v.end.Connect(c.Conn, secret)
	if err != nil {
		return err
	}
	c.channel = channel
	return nil
}

// stream is what messages go through: the channel, or the connection itself.
func (c *conn) stream() net.Conn {
	if c.channel != nil {
		return c.channel
	}
	return c.Conn
}

// refusals decides which refused peers are worth a line in the log: each
// address once a minute, and no more than a few.
type refusals struct {
	mu    sync.Mutex
	since time.Time
	seen  map[netip.Addr]bool
}

const (
	refusalEvery = time.Minute
	refusalMost  = 20
)

func (r *refusals) worth(addr netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil || now.Sub(r.since) >= refusalEvery {
		r.since, r.seen = now, map[netip.Addr]bool{}
	}
	if r.seen[addr] || len(r.seen) >= refusalMost {
		return false
	}
	r.seen[addr] = true
	return true
}
