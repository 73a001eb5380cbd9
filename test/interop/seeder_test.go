//go:build interop && linux

package interop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"btd/test/netns"
)

// seeder is a small seed of our own that speaks BEP 3 and no more. It keeps
// note of what it was asked for, and may lie.
type seeder struct {
	host    *netns.Host
	torrent *torrent
	id      [20]byte
	rate    int                                     // bytes/s of each connection; 0 is unlimited
	corrupt func(piece, begin uint32, block []byte) // changes a block before it is sent; nil is honest

	mu       sync.Mutex
	served   []served // blocks sent, in order
	accepted int      // connections that sent a good handshake
	conns    map[net.Conn]bool
}

// served is one block that was sent.
type served struct {
	piece, begin, length uint32
	altered              bool
	connection           int // number of the connection, from 1
}

const (
	msgChoke = iota
	msgUnchoke
	msgInterested
	msgNotInterested
	msgHave
	msgBitfield
	msgRequest
	msgPiece
)

func newSeeder(h *netns.Host, t *torrent, id string) *seeder {
	s := &seeder{host: h, torrent: t, conns: map[net.Conn]bool{}}
	copy(s.id[:], id+"-000000000000000000000")
	return s
}

// listen serves incoming connections until the test ends.
func (s *seeder) listen() error {
	ln, err := s.host.Listen(peerAddr(s.host, false))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = s.serve(conn) })
		}
	})
	s.host.Lab.T.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return nil
}

// serve speaks with one peer until the connection ends.
func (s *seeder) serve(conn net.Conn) error {
	s.mu.Lock()
	s.conns[conn] = true
	s.mu.Unlock()
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	if err := shake(conn, s.torrent.hash, s.id); err != nil {
		return err
	}
	s.mu.Lock()
	s.accepted++
	number := s.accepted
	s.mu.Unlock()
	if _, err := conn.Write(message(msgBitfield, fullBitfield(len(s.torrent.hashes)))); err != nil {
		return err
	}
	began, sent := time.Now(), 0
	for {
		id, body, err := readMessage(conn)
		if err != nil {
			return err
		}
		switch {
		case id == msgInterested:
			_, err = conn.Write(message(msgUnchoke, nil))
		case id == msgRequest && len(body) == 12:
			if s.rate > 0 { // behind the plan by so much that the next block is due
				time.Sleep(time.Until(began.Add(time.Duration(float64(sent) / float64(s.rate) * float64(time.Second)))))
			}
			var n int
			n, err = s.answer(conn, number, body)
			sent += n
		}
		if err != nil {
			return err
		}
	}
}

// answer sends the block that a request asks for.
func (s *seeder) answer(conn net.Conn, number int, request []byte) (int, error) {
	i, begin, n := binary.BigEndian.Uint32(request), binary.BigEndian.Uint32(request[4:]), binary.BigEndian.Uint32(request[8:])
	if int(i) >= len(s.torrent.hashes) {
		return 0, fmt.Errorf("asked for piece %d", i)
	}
	data := s.torrent.readPiece(s.torrent.source, int(i))
	if uint64(begin)+uint64(n) > uint64(len(data)) {
		return 0, fmt.Errorf("asked for bytes %d to %d of piece %d", begin, begin+n, i)
	}
	block := data[begin : begin+n]
	altered := false
	if s.corrupt != nil {
		before := string(block)
		s.corrupt(i, begin, block)
		altered = before != string(block)
	}
	s.mu.Lock()
	s.served = append(s.served, served{i, begin, n, altered, number})
	s.mu.Unlock()
	_, err := conn.Write(message(msgPiece, append(append([]byte(nil), request[:8]...), block...)))
	return len(block), err
}

// log returns what was served since entry number from.
func (s *seeder) log(from int) []served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]served(nil), s.served[from:]...)
}

func (s *seeder) connections() (open, ever int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.accepted
}

// announce enters the seeder in an HTTP tracker's list.
func (s *seeder) announce(ctx context.Context, tracker string) error {
	q := url.Values{
		"info_hash": {string(s.torrent.hash[:])}, "peer_id": {string(s.id[:])}, "port": {fmt.Sprint(peerPort)},
		"uploaded": {"0"}, "downloaded": {"0"}, "left": {"0"}, "compact": {"1"}, "event": {"started"},
	}
	req, err := http.NewRequestWithContext(ctx, "GET", tracker+"?"+spaced(q.Encode()), nil)
	if err != nil {
		return err
	}
	resp, err := s.host.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && bytes.Contains(answer, []byte("failure reason")) {
		err = fmt.Errorf("the tracker says %q", answer)
	}
	return err
}

// shake sends our handshake and reads the other side's.
func shake(conn net.Conn, hash, id [20]byte) error {
	ours := append([]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x00\x00\x00"), hash[:]...)
	if _, err := conn.Write(append(ours, id[:]...)); err != nil {
		return err
	}
	var theirs [68]byte
	if _, err := io.ReadFull(conn, theirs[:]); err != nil {
		return err
	}
	if [20]byte(theirs[28:48]) != hash {
		return errors.New("another info-hash in the handshake")
	}
	return nil
}

func message(id byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(body)))
	return append(append(b, id), body...)
}

// readMessage skips keep-alives.
func readMessage(r io.Reader) (byte, []byte, error) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return 0, nil, err
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 {
			continue
		}
		if n > 1<<20 {
			return 0, nil, fmt.Errorf("a message of %d bytes", n)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return 0, nil, err
		}
		return body[0], body[1:], nil
	}
}

func fullBitfield(n int) []byte {
	b := make([]byte, (n+7)/8)
	for i := range n {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return b
}

// welcome tells whether the peer at addr speaks with this host: after the
// handshakes it sends a message, instead of closing the connection.
func welcome(ctx context.Context, h *netns.Host, addr netip.AddrPort, hash [20]byte) (bool, error) {
	conn, err := h.Dial(ctx, "tcp", addr.String())
	if err != nil {
		return false, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	var id [20]byte // never the same twice: a connection just closed may still be there
	copy(id[:], fmt.Sprintf("-XX0000-%012d", rand.Int64N(1e12)))
	if err := shake(conn, hash, id); err != nil {
		return false, nil // closed before its handshake
	}
	_, _, err = readMessage(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return false, errors.New("neither a message nor the end of the connection within a minute")
	}
	return err == nil, nil
}
