package peerwire

import (
	"encoding/binary"

	"btd/piece"
)

// AppendKeepAlive appends a keep-alive (BEP 3).
func AppendKeepAlive(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// AppendChoke appends a choke.
func AppendChoke(b []byte) []byte { return appendBare(b, Choke) }

// AppendUnchoke appends an unchoke.
func AppendUnchoke(b []byte) []byte { return appendBare(b, Unchoke) }

// AppendInterested appends an interested.
func AppendInterested(b []byte) []byte { return appendBare(b, Interested) }

// AppendNotInterested appends a not interested.
func AppendNotInterested(b []byte) []byte { return appendBare(b, NotInterested) }

// AppendHaveAll appends a have all (BEP 6).
func AppendHaveAll(b []byte) []byte { return appendBare(b, HaveAll) }

// AppendHaveNone appends a have none (BEP 6).
func AppendHaveNone(b []byte) []byte { return appendBare(b, HaveNone) }

// AppendHave appends a have.
func AppendHave(b []byte, i piece.Index) []byte { return appendIndex(b, Have, i) }

// AppendSuggest appends a suggest piece (BEP 6).
func AppendSuggest(b []byte, i piece.Index) []byte { return appendIndex(b, Suggest, i) }

// AppendAllowedFast appends an allowed fast (BEP 6).
func AppendAllowedFast(b []byte, i piece.Index) []byte { return appendIndex(b, AllowedFast, i) }

// AppendRequest appends a request.
func AppendRequest(b []byte, k piece.Block) []byte { return appendBlock(b, Request, k) }

// AppendCancel appends a cancel.
func AppendCancel(b []byte, k piece.Block) []byte { return appendBlock(b, Cancel, k) }

// AppendReject appends a reject request (BEP 6). It answers what a peer
// asked for, so k need not be one of our blocks.
func AppendReject(b []byte, k piece.Block) []byte { return appendBlock(b, Reject, k) }

// AppendBitfield appends a bitfield; bits is as piece.Bitfield.Bytes has it.
func AppendBitfield(b, bits []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(bits)))
	b = append(b, byte(Bitfield))
	return append(b, bits...)
}

// AppendPort appends a port, where our DHT node listens (BEP 5).
func AppendPort(b []byte, port uint16) []byte {
	b = append(b, 0, 0, 0, 3, byte(Port))
	return binary.BigEndian.AppendUint16(b, port)
}

// AppendPiece appends a piece with its data. A Writer sends the data without
// copying it.
func AppendPiece(b []byte, index, begin uint32, data []byte) []byte {
	return append(appendPieceHead(b, index, begin, len(data)), data...)
}

// AppendExtended appends an extended message (BEP 10). ext is the id that
// the receiver chose for it in its handshake, 0 for the handshake itself.
func AppendExtended(b []byte, ext byte, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(2+len(payload)))
	b = append(b, byte(Extended), ext)
	return append(b, payload...)
}

// Append appends the message, its length prefix included. A piece carries
// Buf[:Length] if Buf is set, else Payload.
func (m *Message) Append(b []byte) []byte {
	switch m.ID {
	case KeepAlive:
		return AppendKeepAlive(b)
	case Have, Suggest, AllowedFast:
		return appendIndex(b, m.ID, piece.Index(m.Index))
	case Request, Cancel, Reject:
		return appendBlock(b, m.ID, piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length})
	case Piece:
		if m.Buf != nil {
			return AppendPiece(b, m.Index, m.Begin, m.Buf[:m.Length])
		}
		return AppendPiece(b, m.Index, m.Begin, m.Payload)
	case Port:
		return AppendPort(b, uint16(m.Index))
	case Extended:
		return AppendExtended(b, m.Ext, m.Payload)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(m.Payload)))
	b = append(b, byte(m.ID))
	return append(b, m.Payload...)
}

func appendBare(b []byte, id ID) []byte { return append(b, 0, 0, 0, 1, byte(id)) }

func appendIndex(b []byte, id ID, i piece.Index) []byte {
	b = append(b, 0, 0, 0, 5, byte(id))
	return binary.BigEndian.AppendUint32(b, uint32(i))
}

func appendBlock(b []byte, id ID, k piece.Block) []byte {
	b = append(b, 0, 0, 0, 13, byte(id))
	b = binary.BigEndian.AppendUint32(b, uint32(k.Piece))
	b = binary.BigEndian.AppendUint32(b, k.Begin)
	return binary.BigEndian.AppendUint32(b, k.Length)
}

func appendPieceHead(b []byte, index, begin uint32, length int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(pieceHead-4+length))
	b = append(b, byte(Piece))
	b = binary.BigEndian.AppendUint32(b, index)
	return binary.BigEndian.AppendUint32(b, begin)
}
