package peerwire

import (
	"fmt"
	"io"
)

// Lengths of the handshake, bytes.
const (
	HandshakeLen     = 68
	handshakeHeadLen = 48 // protocol name, reserved bytes, info-hash
)

const protocol = "\x13BitTorrent protocol"

// Bits of the reserved bytes.
const (
	fastBit     = 0x04 // of byte 7, BEP 6
	dhtBit      = 0x01 // of byte 7, BEP 5
	extendedBit = 0x10 // of byte 5, BEP 10
)

// Handshake is the first thing either side sends (BEP 3).
type Handshake struct {
	Reserved [8]byte
	InfoHash [20]byte
	PeerID   [20]byte
}

// Fast tells whether the sender knows the fast extension (BEP 6). It is in
// force only if both sides say so.
func (h *Handshake) Fast() bool { return h.Reserved[7]&fastBit != 0 }

// Extended tells whether the sender knows the extension protocol (BEP 10).
func (h *Handshake) Extended() bool { return h.Reserved[5]&extendedBit != 0 }

// DHT tells whether the sender runs a DHT node (BEP 5).
func (h *Handshake) DHT() bool { return h.Reserved[7]&dhtBit != 0 }

// SetFast announces the fast extension (BEP 6).
func (h *Handshake) SetFast() { h.Reserved[7] |= fastBit }

// SetExtended announces the extension protocol (BEP 10).
func (h *Handshake) SetExtended() { h.Reserved[5] |= extendedBit }

// SetDHT announces a DHT node (BEP 5).
func (h *Handshake) SetDHT() { h.Reserved[7] |= dhtBit }

// Append appends the handshake.
func (h *Handshake) Append(b []byte) []byte {
	b = append(b, protocol...)
	b = append(b, h.Reserved[:]...)
	b = append(b, h.InfoHash[:]...)
	return append(b, h.PeerID[:]...)
}

// ReadHead reads a handshake up to and including the info-hash, and not a
// byte more. The accepting side can then look the torrent up and answer
// before the peer id comes, since the connecting side may wait for the
// answer before it sends its own id (BEP 3).
//
// It fails at the first byte that is not a BitTorrent handshake, without
// waiting for the rest.
func (h *Handshake) ReadHead(r io.Reader) error {
	b := make([]byte, handshakeHeadLen)
	for n := 0; n < len(b); {
		k, err := r.Read(b[n:])
		was := n
		n += k
		if have := min(n, len(protocol)); was < have && string(b[was:have]) != protocol[was:have] {
			return fmt.Errorf("%w: handshake: not the BitTorrent protocol", ErrMalformed)
		}
		if err != nil && n < len(b) {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading handshake: %w", err)
		}
	}
	copy(h.Reserved[:], b[len(protocol):])
	copy(h.InfoHash[:], b[len(protocol)+len(h.Reserved):])
	return nil
}

// ReadID reads what ReadHead left: the peer id, and not a byte more.
func (h *Handshake) ReadID(r io.Reader) error {
	b := make([]byte, len(h.PeerID))
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading peer id of handshake: %w", err)
	}
	h.PeerID = [20]byte(b)
	return nil
}

// ReadHandshake reads a whole handshake, and not a byte more.
func ReadHandshake(r io.Reader) (h Handshake, err error) {
	if err = h.ReadHead(r); err == nil {
		err = h.ReadID(r)
	}
	return h, err
}
