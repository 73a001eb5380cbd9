package peerwire

import (
	"fmt"
	"net"
	"time"

	"btd/piece"
)

// Writer gathers messages for one connection and sends them together. It is
// used by one goroutine at a time. The connection's write deadline is its.
//
// Small messages are encoded into memory of the Writer. The data of pieces is
// sent from where it stands: on Linux one writev takes a whole batch of
// blocks, with their headers in between.
type Writer struct {
	conn     net.Conn
	deadline time.Time // as set on conn
	out      output    // writev, where there is one

	arena []byte // encoded messages and headers of pieces, in order
	data  []span // the data of pieces, in order

	bare int // flushes in a row that sent no data of pieces
	low  int // flushes in a row that used little of the arena

	payload, overhead int64 // bytes sent
}

// span is the data of a piece, which goes out after the first at bytes of
// the arena.
type span struct {
	at   int
	data []byte
}

// Memory that a Writer keeps between flushes at most.
const (
	keepArena = 64 << 10 // bytes
	idleArena = 1 << 10  // bytes, of a peer to which little is sent
	keepSpans = 256

	// keepBare is after how many flushes in a row that did not need it
	// memory is given back.
	keepBare = 8
)

// NewWriter is a Writer to conn.
func NewWriter(conn net.Conn) *Writer {
	w := &Writer{conn: conn}
	w.out.init(conn)
	return w
}

// KeepAlive adds a keep-alive.
func (w *Writer) KeepAlive() { w.arena = AppendKeepAlive(w.arena) }

// Choke adds a choke.
func (w *Writer) Choke() { w.arena = AppendChoke(w.arena) }

// Unchoke adds an unchoke.
func (w *Writer) Unchoke() { w.arena = AppendUnchoke(w.arena) }

// Interested adds an interested.
func (w *Writer) Interested() { w.arena = AppendInterested(w.arena) }

// NotInterested adds a not interested.
func (w *Writer) NotInterested() { w.arena = AppendNotInterested(w.arena) }

// HaveAll adds a have all.
func (w *Writer) HaveAll() { w.arena = AppendHaveAll(w.arena) }

// HaveNone adds a have none.
func (w *Writer) HaveNone() { w.arena = AppendHaveNone(w.arena) }

// Have adds a have.
func (w *Writer) Have(i piece.Index) { w.arena = AppendHave(w.arena, i) }

// Suggest adds a suggest piece.
func (w *Writer) Suggest(i piece.Index) { w.arena = AppendSuggest(w.arena, i) }

// AllowedFast adds an allowed fast.
func (w *Writer) AllowedFast(i piece.Index) { w.arena = AppendAllowedFast(w.arena, i) }

// Request adds a request.
func (w *Writer) Request(k piece.Block) { w.arena = AppendRequest(w.arena, k) }

// Cancel adds a cancel.
func (w *Writer) Cancel(k piece.Block) { w.arena = AppendCancel(w.arena, k) }

// Reject adds a reject request.
func (w *Writer) Reject(k piece.Block) { w.arena = AppendReject(w.arena, k) }

// Bitfield adds a bitfield.
func (w *Writer) Bitfield(bits []byte) { w.arena = AppendBitfield(w.arena, bits) }

// Port adds a port.
func (w *Writer) Port(port uint16) { w.arena = AppendPort(w.arena, port) }

// Extended adds an extended message.
func (w *Writer) Extended(ext byte, payload []byte) {
	w.arena = AppendExtended(w.arena, ext, payload)
}

// DontHave adds an lt_donthave.
func (w *Writer) DontHave(ext byte, i piece.Index) { w.arena = AppendDontHave(w.arena, ext, i) }

// Encoded adds bytes that are encoded already, such as a handshake.
func (w *Writer) Encoded(b []byte) { w.arena = append(w.arena, b...) }

// Piece adds a piece. Its data is not copied: it must stay as it is until
// Flush has returned.
func (w *Writer) Piece(index, begin uint32, data []byte) {
	w.arena = appendPieceHead(w.arena, index, begin, len(data))
	w.data = append(w.data, span{at: len(w.arena), data: data})
}

// Pending is the number of bytes that the next Flush will send.
func (w *Writer) Pending() int {
	n := len(w.arena)
	for i := range w.data {
		n += len(w.data[i].data)
	}
	return n
}

// Written is how many bytes were sent so far: data of pieces, and all else.
func (w *Writer) Written() (payload, overhead int64) { return w.payload, w.overhead }

// Flush sends everything that was added, and waits until the connection has
// taken it or the deadline has passed; a zero deadline never passes. It says
// how many bytes went out. After an error the stream may end within a
// message: the connection is of no more use. In any case the Writer is empty
// afterwards and refers to no data.
func (w *Writer) Flush(deadline time.Time) (n int64, err error) {
	if len(w.arena) == 0 {
		return 0, nil
	}
	if deadline != w.deadline {
		if err = w.conn.SetWriteDeadline(deadline); err == nil {
			w.deadline = deadline
		}
	}
	switch {
	case err != nil:
	case len(w.data) == 0:
		var k int
		k, err = w.conn.Write(w.arena)
		n = int64(k)
		if w.bare++; w.bare == keepBare {
			w.out.shrink()
			w.data = nil
		}
	default:
		w.bare = 0
		n, err = w.out.send(w.conn, w.arena, w.data)
	}
	w.account(n)
	w.reset()
	if err != nil {
		return n, fmt.Errorf("writing to peer: %w", err)
	}
	return n, nil
}

// reset empties the Writer.
func (w *Writer) reset() {
	if len(w.arena) > max(idleArena, cap(w.arena)/4) {
		w.low = 0
	} else {
		w.low++
	}
	if w.arena = w.arena[:0]; cap(w.arena) > keepArena || cap(w.arena) > idleArena && w.low >= keepBare {
		w.arena = nil
	}
	clear(w.data)
	if w.data = w.data[:0]; cap(w.data) > keepSpans {
		w.data = nil
	}
}

// account splits the n bytes that went out.
func (w *Writer) account(n int64) {
	was, left := w.payload, n
	at := 0
	for i := range w.data {
		left -= int64(w.data[i].at - at)
		if left <= 0 {
			break
		}
		at = w.data[i].at
		k := min(left, int64(len(w.data[i].data)))
		w.payload += k
		left -= k
	}
	w.overhead += n - (w.payload - was)
}
