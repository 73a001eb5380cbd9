package peerwire

import (
	"encoding/binary"
	"fmt"

	"btd/piece"
)

// AppendDontHave appends an lt_donthave message: we no longer have piece i
// (BEP 54). ext is the id that the receiver chose for it.
func AppendDontHave(b []byte, ext byte, i piece.Index) []byte {
	b = append(b, 0, 0, 0, 6, byte(Extended), ext)
	return binary.BigEndian.AppendUint32(b, uint32(i))
}

// ParseDontHave reads the payload of an lt_donthave message: the piece,
// unchecked.
func ParseDontHave(payload []byte) (index uint32, err error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("%w: lt_donthave: payload of %d bytes, want 4", ErrMalformed, len(payload))
	}
	return binary.BigEndian.Uint32(payload), nil
}
