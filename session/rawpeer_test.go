package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/peerwire"
	"btd/piece"
)

// rawPeer is a peer that a test drives message by message.
type rawPeer struct {
	net.Conn
	t     *testing.T
	data  []byte // what the torrent's one file should be
	piece int64  // length
}

// rawReserved are the capabilities of a rawPeer.
type rawReserved struct{ fast, extended bool }

// dialRaw connects to s and shakes hands.
func dialRaw(t *testing.T, s *Session, c content, id string, can rawReserved) *rawPeer {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &rawPeer{Conn: conn, t: t, piece: c.meta.PieceLength}
	if r.data, err = os.ReadFile(filepath.Join(c.dir, "content")); err != nil {
		t.Fatal(err)
	}
	h := peerwire.Handshake{InfoHash: c.meta.Hash.Wire()}
	copy(h.PeerID[:], "-RW0001-"+id)
	if can.fast {
		h.SetFast()
	}
	if can.extended {
		h.SetExtended()
	}
	r.send(h.Append(nil))
	r.deadline(patience)
	if got, err := peerwire.ReadHandshake(conn); err != nil || got.InfoHash != h.InfoHash {
		t.Fatalf("the answer to the handshake: %+v, %v", got, err)
	}
	return r
}

// pipeRaw is a fast peer of s over a pipe: s can send it nothing that it does
// not read.
func pipeRaw(t *testing.T, s *Session, c content) *rawPeer {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	r := &rawPeer{Conn: ours, t: t, piece: c.meta.PieceLength}
	var err error
	if r.data, err = os.ReadFile(filepath.Join(c.dir, "content")); err != nil {
		t.Fatal(err)
	}
	j := &joined{conn: &conn{Conn: theirs, release: func() {}}, addr: s.Addr(), source: FromIncoming}
	j.hs.InfoHash, j.hs.PeerID = c.meta.Hash.Wire(), [20]byte{1}
	j.hs.SetFast()
	inLoop(t, s, c, func(t *torrent) { t.join(j) })
	return r
}

func (r *rawPeer) deadline(d time.Duration) {
	r.t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(d)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rawPeer) send(b []byte) {
	r.t.Helper()
	if _, err := r.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// next reads one message, whatever its length. Data of a piece is in Payload.
func (r *rawPeer) next() (m peerwire.Message, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > 1<<20 {
		r.t.Fatalf("a message of %d bytes", n)
	}
	b := append(head[:], make([]byte, n)...)
	if _, err := io.ReadFull(r, b[4:]); err != nil {
		return m, err
	}
	_, err = peerwire.Decode(b, &m)
	if err == nil && m.ID == peerwire.Piece {
		at := int64(m.Index)*r.piece + int64(m.Begin)
		if !bytes.Equal(m.Payload, r.data[at:at+int64(m.Length)]) {
			r.t.Errorf("wrong data at %d of piece %d", m.Begin, m.Index)
		}
	}
	return m, err
}

// until reads messages up to the first of one kind.
func (r *rawPeer) until(id peerwire.ID) peerwire.Message {
	r.t.Helper()
	r.deadline(patience)
	for range 100000 {
		m, err := r.next()
		if err != nil {
			r.t.Fatalf("waiting for a %v: %v", id, err)
		}
		if m.ID == id {
			return m
		}
	}
	r.t.Fatalf("no %v", id)
	return peerwire.Message{}
}

// untilClosed reads until the other side closes the connection.
func (r *rawPeer) untilClosed() {
	r.t.Helper()
	r.deadline(patience)
	for range 100000 {
		if _, err := r.next(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				r.t.Error("the connection is still open")
			}
			return
		}
	}
}

// unchoked shows interest and waits to be served.
func (r *rawPeer) unchoked() *rawPeer {
	r.t.Helper()
	r.send(peerwire.AppendInterested(nil))
	r.until(peerwire.Unchoke)
	return r
}

// block is block n of piece i.
func rawBlock(i piece.Index, n uint32) piece.Block {
	return piece.Block{Piece: i, Begin: n * piece.BlockSize, Length: piece.BlockSize}
}

// answer reads until every request was answered by its data or a reject.
func (r *rawPeer) answers(asked []piece.Block) (served, rejected map[piece.Block]int) {
	r.t.Helper()
	r.deadline(patience)
	open := map[piece.Block]bool{}
	for _, b := range asked {
		open[b] = true
	}
	served, rejected = map[piece.Block]int{}, map[piece.Block]int{}
	for len(open) > 0 {
		m, err := r.next()
		if err != nil {
			r.t.Fatalf("%d of %d requests are still open: %v", len(open), len(asked), err)
		}
		b := piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length}
		switch m.ID {
		case peerwire.Piece:
			served[b]++
			delete(open, b)
		case peerwire.Reject:
			rejected[b]++
			delete(open, b)
		}
	}
	return served, rejected
}

func requestAll(blocks []piece.Block) (b []byte) {
	for _, x := range blocks {
		b = peerwire.AppendRequest(b, x)
	}
	return b
}
