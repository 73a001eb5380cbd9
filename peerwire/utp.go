package peerwire

import "encoding/binary"

// A packet of uTP (BEP 29), a transport over UDP that is not spoken here:
//
//	<type 4 bits, version 4 bits> <extension 1> <connection id 2> <time 4> <difference 4> <window 4> <sequence 2> <acknowledged 2>
const (
	utpHeader = 20
	utpReset  = 3<<4 | 1
	utpSyn    = 4<<4 | 1
)

// AppendUTPReset appends the answer to a packet that opens a connection of uTP:
// that there will be none. The sender then need not wait before it tries TCP.
// It appends nothing, and reports so, for any other packet. The answer is not
// longer than the packet.
func AppendUTPReset(b, packet []byte) ([]byte, bool) {
	if len(packet) < utpHeader || packet[0] != utpSyn {
		return b, false
	}
	b = append(b, utpReset, 0)
	b = append(b, packet[2:4]...) // the id that the sender listens to
	b = append(b, make([]byte, 4+4+4)...)
	b = binary.BigEndian.AppendUint16(b, 0)
	return append(b, packet[16:18]...), true
}
