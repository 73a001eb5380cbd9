package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"btd/peerwire"
	"btd/piece"
)

// maxMessage bounds what is read from the daemon, in bytes.
const maxMessage = 1 << 20

// wire is one connection to or from the daemon.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	buf  []byte
}

func newWire(conn net.Conn) *wire { return &wire{conn: conn, in: bufio.NewReader(conn)} }

// next reads one message; it is valid until the next call.
func (w *wire) next() (m peerwire.Message, err error) {
	var head [4]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return m, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > maxMessage {
		return m, fmt.Errorf("a message of %d bytes", n)
	}
	w.buf = append(w.buf[:0], head[:]...)
	w.buf = append(w.buf, make([]byte, n)...)
	if _, err := io.ReadFull(w.in, w.buf[4:]); err != nil {
		return m, err
	}
	_, err = peerwire.Decode(w.buf, &m)
	return m, err
}

func greeting(hash [20]byte) []byte {
	h := peerwire.Handshake{InfoHash: hash, PeerID: [20]byte([]byte("-LD0100-abcdefghijkl"))}
	h.SetExtended()
	return h.Append(nil)
}

// fetch connects to the daemon like any peer, asks for the first block of a
// torrent of one block, and checks it against the piece's hash. It tells how
// long that took, from the connection's first packet to the last byte checked.
func fetch(addr string, t *torrent, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	conn, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(began.Add(limit))
	if _, err := conn.Write(greeting(t.hash)); err != nil {
		return 0, err
	}
	w := newWire(conn)
	h, err := peerwire.ReadHandshake(w.in)
	if err != nil {
		return 0, fmt.Errorf("handshake: %w", err)
	}
	if h.InfoHash != t.hash {
		return 0, errors.New("handshake: another torrent")
	}
	interested := false
	for {
		m, err := w.next()
		if err != nil {
			return 0, err
		}
		switch m.ID {
		case peerwire.Bitfield, peerwire.Have:
			if !interested {
				interested = true
				_, err = conn.Write(peerwire.AppendInterested(nil))
			}
		case peerwire.Unchoke:
			_, err = conn.Write(peerwire.AppendRequest(nil, piece.Block{Length: uint32(t.size)}))
		case peerwire.Piece:
			if sha1.Sum(m.Payload) != t.pieces[0] {
				return 0, errors.New("the block does not have the piece's hash")
			}
			return time.Since(began), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// seed is a peer that has everything, for any torrent whose pieces are all
// alike.
type seed struct {
	ln   net.Listener
	data []byte // one piece

	mu     sync.Mutex
	pieces int
	first  chan time.Time // the first block of the torrent of the moment was sent
	conns  map[net.Conn]bool
}

func startSeed() (*seed, error) {
	ln, err := net.Listen("tcp", "127.0.0.20:0")
	if err != nil {
		return nil, err
	}
	s := &seed{ln: ln, conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s, nil
}

// compact is where the seed is, as a tracker says it.
func (s *seed) compact() string {
	a := s.ln.Addr().(*net.TCPAddr)
	return string(binary.BigEndian.AppendUint16(a.IP.To4(), uint16(a.Port)))
}

func (s *seed) close() {
	s.ln.Close()
	s.reset(nil, 0)
}

// reset drops all connections and gets ready for the next torrent.
func (s *seed) reset(data []byte, pieces int) (first chan time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
	clear(s.conns)
	s.data, s.pieces, s.first = data, pieces, make(chan time.Time, 1)
	return s.first
}

func (s *seed) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	data, pieces, first := s.data, s.pieces, s.first
	s.conns[conn] = true
	s.mu.Unlock()
	w := newWire(conn)
	h, err := peerwire.ReadHandshake(w.in)
	if err != nil {
		return
	}
	bits := make([]byte, (pieces+7)/8)
	for i := range pieces {
		bits[i/8] |= 0x80 >> (i % 8)
	}
	out := peerwire.AppendUnchoke(peerwire.AppendBitfield(greeting(h.InfoHash), bits))
	for {
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
		m, err := w.next()
		if err != nil {
			return
		}
		out = out[:0]
		if m.ID != peerwire.Request || int(m.Begin)+int(m.Length) > len(data) {
			continue
		}
		out = peerwire.AppendPiece(out, m.Index, m.Begin, data[m.Begin:m.Begin+m.Length])
		if _, err := conn.Write(out); err != nil {
			return
		}
		out = out[:0]
		select {
		case first <- time.Now():
		default:
		}
	}
}
