package secure

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"btd/metainfo"
)

// FirstByte is the first byte of a TLS connection, which tells it apart from a
// BitTorrent handshake (19): the type of a record with a handshake message.
const FirstByte = 0x16

// maxHandshake is how much the other side may send before it has proved the
// secret, bytes. A ClientHello has 1,500, a server's part 2,000.
const maxHandshake = 8 << 10

// maxWritten is how much is written under one key, bytes: AES-GCM is good for
// 2^24.5 records of 16 KiB (RFC 8446, section 5.5).
const maxWritten = 1 << 38

var (
	errLong  = errors.New("secure: the other side sends too much before it has proved the secret")
	errSpent = errors.New("secure: so much was sent that the connection has to be made anew")
)

// Conn is a channel whose other end holds the secret.
type Conn struct {
	tls     *tls.Conn
	carrier *carrier
	written int64 // by the one goroutine that writes
}

// Read reads as net.Conn says.
func (c *Conn) Read(b []byte) (int, error) { return c.tls.Read(b) }

// ReadNow is Read of what has arrived: it does not wait. It gives 0 and no
// error if there is nothing, or if this system cannot tell.
func (c *Conn) ReadNow(b []byte) (int, error) {
	c.carrier.eager = true
	n, err := c.tls.Read(b)
	c.carrier.eager = false
	if n > 0 || err == errEmpty {
		err = nil // others come again
	}
	return n, err
}

// Write writes as net.Conn says, but is for one goroutine at a time.
func (c *Conn) Write(b []byte) (int, error) {
	if c.written > maxWritten {
		return 0, errSpent
	}
	if len(b) <= maxRecord {
		n, err := c.tls.Write(b)
		c.written += int64(n)
		return n, err
	}
	c.carrier.cork()
	n, err := c.tls.Write(b)
	c.written += int64(n)
	if failed := c.carrier.uncork(); err == nil {
		err = failed
	}
	return n, err
}

// Close closes the connection below at once: saying goodbye could wait for
// the other side, and what is framed and hashed needs no goodbye.
func (c *Conn) Close() error { return c.carrier.Close() }

// LocalAddr is the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.carrier.LocalAddr() }

// RemoteAddr is the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.carrier.RemoteAddr() }

// SetDeadline sets when Read and Write give up.
func (c *Conn) SetDeadline(t time.Time) error { return c.carrier.SetDeadline(t) }

// SetReadDeadline sets when Read gives up; it may go on after that.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.carrier.SetReadDeadline(t) }

// SetWriteDeadline sets when Write gives up, after which the channel is of no
// use.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.carrier.SetWriteDeadline(t) }

// Endpoint makes channels of connections. The identity that it shows to those
// who connect lives as long as it does.
type Endpoint struct {
	Ring Ring // the secrets that are good for incoming connections
	tls  *tls.Config
	bufs sync.Pool // *[]byte, see carrier
}

// NewEndpoint makes an Endpoint with an identity of its own.
func NewEndpoint() (*Endpoint, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1)} // the same of everybody, but for the key
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, public, private)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	cfg := baseConfig()
	cfg.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}
	cfg.SessionTicketsDisabled = true
	return &Endpoint{tls: cfg}, nil
}

func baseConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13,
		CurvePreferences:            []tls.CurveID{tls.X25519MLKEM768},
		DynamicRecordSizingDisabled: true, // bulk is what is sent
	}
}

// Accept makes a channel of a connection that was accepted and of which lead
// was read already. It tells which secret the client has proved; ErrProof
// means that it proved none that is in the Ring. The caller sets a deadline
// before, and after an error closes raw without another word.
func (e *Endpoint) Accept(raw net.Conn, lead []byte) (*Conn, metainfo.Secret, error) {
	below := newCarrier(raw, lead, &e.bufs)
	c := tls.Server(below, e.tls)
	if err := c.Handshake(); err != nil {
		return nil, metainfo.Secret{}, fmt.Errorf("TLS handshake: %w", err)
	}
	exporter, err := exporterOf(c)
	if err != nil {
		return nil, metainfo.Secret{}, err
	}
	var proof [proofLen]byte
	if _, err := io.ReadFull(c, proof[:]); err != nil {
		return nil, metainfo.Secret{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	k, ok := e.Ring.find(proof[:], exporter)
	if !ok {
		return nil, metainfo.Secret{}, ErrProof
	}
	answer := prove(&k.server, exporter)
	if _, err := c.Write(answer[:]); err != nil {
		return nil, metainfo.Secret{}, fmt.Errorf("answering a proof: %w", err)
	}
	below.prove()
	return &Conn{tls: c, carrier: below}, k.secret, nil
}

// Connect makes a channel of a connection that was dialled: ErrProof means that
// the other side does not hold the secret, or closed the connection since we
// do not hold its own. The caller sets a deadline before, and closes raw after
// an error.
func (e *Endpoint) Connect(raw net.Conn, s metainfo.Secret) (*Conn, error) {
	k, err := newKeys(s)
	if err != nil {
		return nil, err
	}
	cfg := baseConfig()
	cfg.InsecureSkipVerify = true // the proof takes the place of the certificate
	below := newCarrier(raw, nil, &e.bufs)
	c := tls.Client(below, cfg)
	if err := c.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	exporter, err := exporterOf(c)
	if err != nil {
		return nil, err
	}
	proof := prove(&k.client, exporter)
	if _, err := c.Write(proof[:]); err != nil {
		return nil, fmt.Errorf("sending a proof: %w", err)
	}
	var answer [proofLen]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if want := prove(&k.server, exporter); !hmac.Equal(want[:], answer[:]) {
		return nil, ErrProof
	}
	below.prove()
	return &Conn{tls: c, carrier: below}, nil
}
