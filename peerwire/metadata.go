package peerwire

import "fmt"

const (
	// MaxMetadata is the longest info dictionary that is transferred, in
	// bytes. Peers that speak of a longer one are taken to have none.
	MaxMetadata = 30 << 20

	// MetadataPiece is the length of a piece of it, in bytes (BEP 9).
	MetadataPiece = 16 << 10
)

// MetadataType is what a ut_metadata message does. Types that BEP 9 does not
// know are to be ignored.
type MetadataType uint8

// The types of BEP 9.
const (
	MetadataRequest MetadataType = 0
	MetadataData    MetadataType = 1
	MetadataReject  MetadataType = 2

	metadataUnknown MetadataType = 255
)

// Metadata is a ut_metadata message (BEP 9, "extension message").
type Metadata struct {
	Type  MetadataType
	Piece int    // number of a piece of the info dictionary, below MaxMetadata/MetadataPiece
	Total int    // MetadataData: length of the whole, bytes; 0 if the peer does not say
	Data  []byte // MetadataData: the piece
}

// Parse reads the payload of a ut_metadata message. Data lies in payload.
func (m *Metadata) Parse(payload []byte) error {
	kind, number, total := int64(-1), int64(-1), int64(0)
	rest, err := dictRest(payload, func(key, value []byte) {
		n, ok := intOf(value)
		if !ok {
			n = -1
		}
		switch string(key) {
		case "msg_type":
			kind = n
		case "piece":
			number = n
		case "total_size":
			total = n
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: ut_metadata: %w", ErrMalformed, err)
	case kind < 0:
		return fmt.Errorf("%w: ut_metadata: no msg_type", ErrMalformed)
	case kind > int64(MetadataReject):
		*m = Metadata{Type: metadataUnknown}
		return nil
	case number < 0 || number >= MaxMetadata/MetadataPiece:
		return fmt.Errorf("%w: ut_metadata: piece %d, want 0 to %d", ErrMalformed, number, MaxMetadata/MetadataPiece-1)
	}
	*m = Metadata{Type: MetadataType(kind), Piece: int(number)}
	if m.Type != MetadataData {
		return nil
	}
	if total < 0 || total > MaxMetadata {
		return fmt.Errorf("%w: ut_metadata: total_size %d, want 1 to %d", ErrMalformed, total, MaxMetadata)
	}
	m.Total, m.Data = int(total), rest
	if want := MetadataPieceLen(m.Total, m.Piece); total > 0 && len(rest) != want || len(rest) == 0 || len(rest) > MetadataPiece {
		return fmt.Errorf("%w: ut_metadata: piece %d of %d bytes has %d, want %d", ErrMalformed, m.Piece, m.Total, len(rest), want)
	}
	return nil
}

// Append appends the payload of the message.
func (m *Metadata) Append(b []byte) []byte {
	b = append(b, 'd')
	b = appendInt(appendStr(b, "msg_type"), int64(m.Type))
	b = appendInt(appendStr(b, "piece"), int64(m.Piece))
	if m.Type == MetadataData && m.Total > 0 {
		b = appendInt(appendStr(b, "total_size"), int64(m.Total))
	}
	b = append(b, 'e')
	if m.Type == MetadataData {
		b = append(b, m.Data...)
	}
	return b
}

// MetadataPieces is the number of pieces that a dictionary of total bytes has.
func MetadataPieces(total int) int { return (total + MetadataPiece - 1) / MetadataPiece }

// MetadataPieceLen is the length of a piece in bytes, 0 for one that a
// dictionary of total bytes does not have.
func MetadataPieceLen(total, piece int) int {
	return max(0, min(MetadataPiece, total-piece*MetadataPiece))
}
