//go:build !race

package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"btd/peerwire"
	"btd/piece"
	"btd/session"
)

// A whole session moves this many blocks; allocations are counted in the
// middle part, when everything has its usual size.
const (
	allBlocks   = 10 << 10 // 160 MiB: temporary directories may be small
	countFrom   = allBlocks / 6
	countTo     = allBlocks - countFrom
	blockBudget = 0.25 // allocations a block: what happens once a piece, a run or a second is spread over many blocks
)

// counter notes how many allocations were made between two of many blocks.
type counter struct {
	seen     int
	from, to uint64
}

func (c *counter) block() {
	c.seen++
	if c.seen == countFrom || c.seen == countTo {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.from, c.to = c.to, m.Mallocs
	}
}

func (c *counter) perBlock() float64 { return float64(c.to-c.from) / (countTo - countFrom) }

// TestASessionAllocatesNothingPerBlock takes blocks through everything that a
// session does with them: from the socket over the loop and the storage to the
// disk, and from the disk to the socket. The other end is in this process, so
// it allocates nothing either.
func TestASessionAllocatesNothingPerBlock(t *testing.T) {
	one := make([]byte, 64*block)
	fill(one, 3)
	x := filled("x.bin", "", allBlocks*block, one, nil)
	s, err := session.Open(session.Config{StateDir: t.TempDir(), Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var down, up counter
	fed := make(chan error, 1)
	go func() { fed <- feed(ln, x, one, &down) }()
	peer := netip.MustParseAddrPort(ln.Addr().String())
	events, cancel, _ := s.Subscribe(0)
	defer cancel()
	_, _, err = s.Add(t.Context(), x.raw, session.AddOptions{Peers: []netip.AddrPort{peer}})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-fed; err != nil {
		t.Fatalf("download: %v", err)
	}
	t.Logf("download: %.3f allocations a block", down.perBlock())
	if n := down.perBlock(); n > blockBudget {
		t.Errorf("download: %.3f allocations a block, at most %v", n, blockBudget)
	}
	limit := time.After(time.Minute)
	for complete := false; !complete; {
		select {
		case e := <-events:
			complete = e.Kind == session.EventCompleted
		case <-limit:
			t.Fatal("the download is not complete after a minute")
		}
	}
	if err := drain(s, x, &up); err != nil {
		t.Fatalf("upload: %v", err)
	}
	t.Logf("upload: %.3f allocations a block", up.perBlock())
	if n := up.perBlock(); n > blockBudget {
		t.Errorf("upload: %.3f allocations a block, at most %v", n, blockBudget)
	}
}

// feed is a seed that serves one connection until every block was asked for.
func feed(ln net.Listener, x *torrent, one []byte, c *counter) error {
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	in := bufio.NewReaderSize(conn, 64<<10)
	if _, err := peerwire.ReadHandshake(in); err != nil {
		return err
	}
	bits := make([]byte, (len(x.pieces)+7)/8)
	for i := range x.pieces {
		bits[i/8] |= 0x80 >> (i % 8)
	}
	out := make([]byte, 0, 64*(block+13))
	out = peerwire.AppendUnchoke(peerwire.AppendBitfield(append(out, greeting(x.hash)...), bits))
	var head [4]byte
	body := make([]byte, 64<<10)
	var m peerwire.Message
	for c.seen < allBlocks {
		if in.Buffered() < 4 && len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[:])
		copy(body, head[:])
		if _, err := io.ReadFull(in, body[4:4+n]); err != nil {
			return err
		}
		if _, err := peerwire.Decode(body[:4+n], &m); err != nil {
			return err
		}
		if m.ID != peerwire.Request {
			continue
		}
		if cap(out)-len(out) < block+13 {
			if _, err := conn.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		out = peerwire.AppendPiece(out, m.Index, m.Begin, one[m.Begin:m.Begin+m.Length])
		c.block()
	}
	_, err = conn.Write(out)
	return err
}

// drain takes every block of what the session has.
func drain(s *session.Session, x *torrent, c *counter) error {
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	in := bufio.NewReaderSize(conn, 256<<10)
	if _, err := conn.Write(peerwire.AppendInterested(greeting(x.hash))); err != nil {
		return err
	}
	if _, err := peerwire.ReadHandshake(in); err != nil {
		return err
	}
	var head [5]byte
	requests := make([]byte, 0, 64*17)
	asked, choked := 0, true
	for c.seen < allBlocks {
		if !choked && asked-c.seen <= 64 {
			for range min(64, allBlocks-asked) {
				at := int64(asked) * block
				requests = peerwire.AppendRequest(requests, piece.Block{Piece: piece.Index(at / x.length), Begin: uint32(at % x.length), Length: block})
				asked++
			}
			if _, err := conn.Write(requests); err != nil {
				return err
			}
			requests = requests[:0]
		}
		if _, err := io.ReadFull(in, head[:4]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(head[:4]))
		if n == 0 {
			continue
		}
		id, err := in.ReadByte()
		if err != nil {
			return err
		}
		switch peerwire.ID(id) {
		case peerwire.Unchoke:
			choked = false
		case peerwire.Piece:
			c.block()
		}
		if _, err := in.Discard(n - 1); err != nil {
			return err
		}
	}
	return nil
}
