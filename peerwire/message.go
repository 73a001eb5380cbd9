package peerwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"btd/piece"
)

// ErrMalformed marks input that no well-behaved peer sends; callers close
// the connection.
var ErrMalformed = errors.New("peerwire: malformed")

// ID is the type of a message: the byte on the wire, or KeepAlive.
type ID uint16

// The messages of BEP 3, 5 (port), 6 and 10.
const (
	Choke         ID = 0
	Unchoke       ID = 1
	Interested    ID = 2
	NotInterested ID = 3
	Have          ID = 4
	Bitfield      ID = 5
	Request       ID = 6
	Piece         ID = 7
	Cancel        ID = 8
	Port          ID = 9
	Suggest       ID = 13
	HaveAll       ID = 14
	HaveNone      ID = 15
	Reject        ID = 16
	AllowedFast   ID = 17
	Extended      ID = 20

	// KeepAlive is the message without an id (BEP 3). It is outside the
	// range of a byte, so that no wire id can be taken for it.
	KeepAlive ID = 256
)

// Limits on lengths in messages.
const (
	// MaxRequest is the longest payload that a "request" may ask for and the
	// longest that a "piece" message may carry, in bytes. More than a block
	// is never asked for by us and never kept.
	MaxRequest = 128 << 10

	// defaultMaxMessage bounds the length prefix of messages other than
	// "piece" where the caller sets no limit, in bytes.
	defaultMaxMessage = 1 << 20
)

// pieceHead is the length of a "piece" message up to its payload: length
// prefix, id, piece, begin.
const pieceHead = 13

// Message is one decoded message: a flat union, so that decoding allocates
// nothing. Fields that the message does not have are zero.
type Message struct {
	ID  ID
	Ext byte // Extended: the extended id (BEP 10)

	// Index is the piece of a have, request, piece, cancel, suggest, reject
	// or allowed fast, unchecked: convert with piece.Geometry. It is the
	// port number of a port message.
	Index  uint32
	Begin  uint32 // request, piece, cancel, reject: offset in the piece, bytes
	Length uint32 // request, piece, cancel, reject: bytes

	// Payload is the bits of a bitfield, the payload of an extended message
	// and of a message with an unknown id; after Decode also the data of a
	// piece. It is valid until the next call of Next, or as long as the
	// memory that was decoded.
	Payload []byte

	// Buf holds the data of a piece that a Reader received, in its first
	// Length bytes. It belongs to the caller. It is nil if the data was
	// thrown away, because it was longer than a block or not asked for.
	Buf *piece.Buffer
}

// Known tells whether id is one of the messages this package knows.
func (id ID) Known() bool { return id == KeepAlive || id <= Extended && names[id] != "" }

// String is the name of the message, for logs.
func (id ID) String() string {
	if id == KeepAlive {
		return "keep-alive"
	}
	if id.Known() {
		return names[id]
	}
	return fmt.Sprintf("message %d", uint16(id))
}

var names = [Extended + 1]string{
	Choke: "choke", Unchoke: "unchoke", Interested: "interested", NotInterested: "not interested",
	Have: "have", Bitfield: "bitfield", Request: "request", Piece: "piece", Cancel: "cancel",
	Port: "port", Suggest: "suggest", HaveAll: "have all", HaveNone: "have none", Reject: "reject",
	AllowedFast: "allowed fast", Extended: "extended",
}

// bodySize is the length prefix of the messages that have just one.
var bodySize = [Extended + 1]uint32{
	Choke: 1, Unchoke: 1, Interested: 1, NotInterested: 1, HaveAll: 1, HaveNone: 1,
	Port: 3, Have: 5, Suggest: 5, AllowedFast: 5, Request: 13, Cancel: 13, Reject: 13,
}

// headLen checks the length prefix of a message and says how many of its
// bytes, prefix included, are its fixed part. What follows is the data of a
// piece, or the payload of a bitfield, extended or unknown message.
func headLen(id ID, size, limit uint32) (int, error) {
	switch {
	case id == Piece:
		if size <= pieceHead-4 || size > pieceHead-4+MaxRequest {
			return 0, fmt.Errorf("%w: piece: length %d, want %d to %d", ErrMalformed, size, pieceHead-4+1, pieceHead-4+MaxRequest)
		}
		return pieceHead, nil
	case id <= Extended && bodySize[id] != 0:
		if size != bodySize[id] {
			return 0, fmt.Errorf("%w: %v: length %d, want %d", ErrMalformed, id, size, bodySize[id])
		}
		return 4 + int(size), nil
	case size > limit:
		return 0, fmt.Errorf("%w: %v: length %d, want at most %d", ErrMalformed, id, size, limit)
	case id == Extended && size < 2:
		return 0, fmt.Errorf("%w: extended: length %d, want at least 2", ErrMalformed, size)
	case id == Extended:
		return 6, nil
	}
	return 5, nil
}

// setHead fills m from the fixed part of a message.
func (m *Message) setHead(id ID, head []byte) {
	*m = Message{ID: id}
	switch id {
	case Have, Suggest, AllowedFast:
		m.Index = binary.BigEndian.Uint32(head[5:])
	case Request, Cancel, Reject:
		m.Index = binary.BigEndian.Uint32(head[5:])
		m.Begin = binary.BigEndian.Uint32(head[9:])
		m.Length = binary.BigEndian.Uint32(head[13:])
	case Piece:
		m.Index = binary.BigEndian.Uint32(head[5:])
		m.Begin = binary.BigEndian.Uint32(head[9:])
		m.Length = binary.BigEndian.Uint32(head) - (pieceHead - 4)
	case Port:
		m.Index = uint32(binary.BigEndian.Uint16(head[5:]))
	case Extended:
		m.Ext = head[5]
	}
}

// Decode reads the message at the start of b and says how many bytes it is
// long. If b ends before the message does, the error is
// io.ErrUnexpectedEOF. Payload points into b; Buf is always nil. Unlike a
// Reader, Decode returns messages with unknown ids, so that whatever it
// accepts can be appended again.
func Decode(b []byte, m *Message) (n int, err error) {
	if len(b) < 4 {
		return 0, io.ErrUnexpectedEOF
	}
	size := binary.BigEndian.Uint32(b)
	if size == 0 {
		*m = Message{ID: KeepAlive}
		return 4, nil
	}
	if len(b) < 5 {
		return 0, io.ErrUnexpectedEOF
	}
	id := ID(b[4])
	head, err := headLen(id, size, defaultMaxMessage)
	if err != nil {
		return 0, err
	}
	if n = 4 + int(size); len(b) < n {
		return 0, io.ErrUnexpectedEOF
	}
	m.setHead(id, b)
	if head < n || id == Bitfield || id == Extended {
		m.Payload = b[head:n:n]
	}
	return n, nil
}
