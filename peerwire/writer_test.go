package peerwire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"btd/piece"
)

// addAll adds every kind of message to w, and what that is on the wire to b.
func addAll(w *Writer, b, data []byte) []byte {
	k := piece.Block{Piece: 5, Begin: 6, Length: 7}
	w.Bitfield(data[:9])
	w.KeepAlive()
	w.Piece(1, 2, data)
	w.Piece(3, 4, data[:100])
	w.Choke()
	w.Unchoke()
	w.Interested()
	w.NotInterested()
	w.HaveAll()
	w.HaveNone()
	w.Piece(5, 6, data[100:])
	w.Have(8)
	w.Suggest(9)
	w.AllowedFast(10)
	w.Request(k)
	w.Cancel(k)
	w.Reject(k)
	w.Port(11)
	w.Extended(12, data[:13])
	w.DontHave(14, 15)
	w.Encoded(data[:16])

	b = AppendKeepAlive(AppendBitfield(b, data[:9]))
	b = AppendPiece(AppendPiece(b, 1, 2, data), 3, 4, data[:100])
	b = AppendNotInterested(AppendInterested(AppendUnchoke(AppendChoke(b))))
	b = AppendPiece(AppendHaveNone(AppendHaveAll(b)), 5, 6, data[100:])
	b = AppendAllowedFast(AppendSuggest(AppendHave(b, 8), 9), 10)
	b = AppendReject(AppendCancel(AppendRequest(b, k), k), k)
	b = AppendDontHave(AppendExtended(AppendPort(b, 11), 12, data[:13]), 14, 15)
	return append(b, data[:16]...)
}

func testData(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

// onlyConn hides that a connection is a TCP socket.
type onlyConn struct{ net.Conn }

func TestWriterSendsWhatWasAdded(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"socket": func(c net.Conn) net.Conn { return c },
		"other":  func(c net.Conn) net.Conn { return onlyConn{c} },
	} {
		t.Run(name, func(t *testing.T) {
			a, c := tcpPair(t)
			w := NewWriter(wrap(a))
			data := testData(piece.BlockSize)
			read := make(chan []byte)
			go func() {
				b, _ := io.ReadAll(c)
				read <- b
			}()
			var want []byte
			var payload int64
			for round := range 30 {
				before := len(want)
				for range round % 4 {
					want = addAll(w, want, data)
					payload += 2 * piece.BlockSize
				}
				w.Have(1)
				want = AppendHave(want, 1)
				if got := w.Pending(); got != len(want)-before {
					t.Fatalf("pending: got %d, want %d", got, len(want)-before)
				}
				n, err := w.Flush(time.Now().Add(patience))
				if err != nil || n != int64(len(want)-before) {
					t.Fatalf("flush: got %d, %v, want %d", n, err, len(want)-before)
				}
			}
			if n, err := w.Flush(time.Time{}); n != 0 || err != nil {
				t.Errorf("flush of nothing: got %d, %v", n, err)
			}
			a.Close()
			if got := <-read; !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d, or they differ", len(got), len(want))
			}
			p, o := w.Written()
			if p != payload || p+o != int64(len(want)) {
				t.Errorf("written: got %d and %d, want %d and %d", p, o, payload, int64(len(want))-payload)
			}
		})
	}
}

func TestBatchLongerThanOneWritev(t *testing.T) {
	a, c := tcpPair(t)
	data := testData(3000)
	const blocks = 2100
	var want []byte
	w := NewWriter(a)
	for i := range uint32(blocks) {
		w.Piece(i, 0, data)
		want = AppendPiece(want, i, 0, data)
		if i%700 == 0 {
			w.Choke()
			want = AppendChoke(want)
		}
	}
	read := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(c)
		read <- b
	}()
	if n, err := w.Flush(time.Now().Add(patience)); err != nil || n != int64(len(want)) {
		t.Fatalf("flush: got %d, %v, want %d", n, err, len(want))
	}
	a.Close()
	if got := <-read; !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d, or they differ", len(got), len(want))
	}
}

func TestFlushHonoursItsDeadline(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"socket": func(c net.Conn) net.Conn { return c },
		"other":  func(c net.Conn) net.Conn { return onlyConn{c} },
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := tcpPair(t) // nobody reads
			w := NewWriter(wrap(a))
			data := testData(piece.BlockSize)
			var total, sum int64
			for range 100 {
				for range 64 {
					w.Piece(1, 2, data)
				}
				w.Have(1)
				n, err := w.Flush(time.Now().Add(30 * time.Millisecond))
				total += n
				p, o := w.Written()
				if sum = p + o; sum != total {
					t.Fatalf("flushes said %d bytes, written says %d", total, sum)
				}
				if err == nil {
					continue
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("got %v, want a deadline error", err)
				}
				if w.Pending() != 0 {
					t.Errorf("after an error %d bytes are pending, want 0", w.Pending())
				}
				return
			}
			t.Fatalf("a socket that nobody reads took %d bytes", total)
		})
	}
}

func TestClosedConnectionEndsAFlush(t *testing.T) {
	a, _ := tcpPair(t)
	w := NewWriter(a)
	done := make(chan error)
	go func() {
		var err error
		data := testData(piece.BlockSize)
		for err == nil {
			for range 64 {
				w.Piece(1, 2, data)
			}
			_, err = w.Flush(time.Time{})
		}
		done <- err
	}()
	a.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
}

func TestAccountSplitsAPartialFlush(t *testing.T) {
	data := testData(100)
	for n, want := range map[int64]int64{0: 0, 5: 0, 18: 0, 19: 1, 118: 100, 125: 100, 131: 100, 132: 101, 181: 150, 186: 150} {
		w := NewWriter(nil)
		w.Choke()
		w.Piece(1, 2, data)
		w.Piece(1, 2, data[:50])
		w.Choke()
		w.account(n)
		if p, o := w.Written(); p != want || p+o != n {
			t.Errorf("%d bytes sent: got %d payload and %d else, want %d payload", n, p, o, want)
		}
	}
}

func TestWritingBlocksAllocatesNothing(t *testing.T) {
	a, c := tcpPair(t)
	go io.Copy(io.Discard, c)
	w := NewWriter(a)
	data := testData(piece.BlockSize)
	deadline := time.Now().Add(patience)
	send := func() {
		for range 32 {
			w.Piece(1, 2, data)
		}
		w.Have(4)
		if _, err := w.Flush(deadline); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		send()
	}
	if got := testing.AllocsPerRun(200, send); got != 0 {
		t.Errorf("allocations per flush of 32 blocks: got %v, want 0", got)
	}
}

func TestIdleWriterHoldsLittle(t *testing.T) {
	a, c := tcpPair(t)
	go io.Copy(io.Discard, c)
	w := NewWriter(a)
	for range 500 {
		w.Piece(1, 2, testData(99))
	}
	w.Bitfield(testData(128 << 10))
	for range 2 * keepBare {
		w.Have(1)
		if _, err := w.Flush(time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if cap(w.arena) > idleArena || cap(w.data) > 0 {
		t.Errorf("an idle writer holds %d bytes and %d spans", cap(w.arena), cap(w.data))
	}
}

func TestHandshake(t *testing.T) {
	h := Handshake{InfoHash: [20]byte(testData(20)), PeerID: [20]byte([]byte("-BD0100-abcdefghijkl"))}
	h.SetFast()
	h.SetExtended()
	h.SetDHT()
	b := h.Append(nil)
	want := "\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05" + string(h.InfoHash[:]) + "-BD0100-abcdefghijkl"
	if string(b) != want {
		t.Fatalf("append: got %q, want %q", b, want)
	}
	got, err := ReadHandshake(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil || got != h {
		t.Errorf("read: got %v, %v, want %v", got, err, h)
	}
	if !got.Fast() || !got.Extended() || !got.DHT() {
		t.Errorf("bits: fast %v, extended %v, dht %v, want all", got.Fast(), got.Extended(), got.DHT())
	}
	if (&Handshake{}).Fast() || (&Handshake{}).Extended() || (&Handshake{}).DHT() {
		t.Errorf("an empty handshake has bits")
	}
	for n := range len(b) {
		_, err := ReadHandshake(bytes.NewReader(b[:n]))
		if want := io.ErrUnexpectedEOF; !errors.Is(err, want) && !(n == 0 && errors.Is(err, io.EOF)) {
			t.Errorf("cut to %d bytes: got %v, want %v", n, err, want)
		}
	}
}

func TestHandshakeInTwoSteps(t *testing.T) {
	h := Handshake{InfoHash: [20]byte(testData(20)), PeerID: [20]byte([]byte("-BD0100-abcdefghijkl"))}
	r := bytes.NewReader(append(h.Append(nil), "rest"...))
	var got Handshake
	if err := got.ReadHead(r); err != nil || got.InfoHash != h.InfoHash {
		t.Fatalf("head: got %v, %v", got, err)
	}
	if r.Len() != 20+4 {
		t.Fatalf("%d bytes are left after the info-hash, want 24", r.Len())
	}
	if err := got.ReadID(r); err != nil || got.PeerID != h.PeerID || r.Len() != 4 {
		t.Errorf("id: got %q, %v, %d bytes left, want %q and 4", got.PeerID, err, r.Len(), h.PeerID)
	}
}

func TestNotAHandshakeFailsAtOnce(t *testing.T) {
	for _, s := range []string{"G", "\x13BitTorrent_", "\x13bitTorrent protocol", "GET / HTTP/1.1\r\n\r\n"} {
		// The reader would fail with another error if more were read.
		r := io.MultiReader(bytes.NewReader([]byte(s)), iotest.ErrReader(errors.New("read on")))
		if _, err := ReadHandshake(r); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", s, err)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add((&Handshake{}).Append(nil))
	f.Add([]byte("\x13BitTorrent protocol"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ReadHandshake(bytes.NewReader(in))
		if err == nil && !bytes.Equal(h.Append(nil), in[:HandshakeLen]) {
			t.Errorf("read %x, appended %x", in[:HandshakeLen], h.Append(nil))
		}
	})
}
