package dht

import (
	"encoding/binary"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/table"
)

// State is a version, a family (4 or 6), our id, and for each node 20 bytes of
// id, a compact address, the round-trip time in ms (2 bytes) and when it
// answered last, in seconds since 1970 (4 bytes).
const (
	stateVersion = 1
	stateHead    = 2 + 20
)

// State is our id and the best nodes, to be given to New in the next run.
func (n *Node) State() []byte {
	family := byte(4)
	if n.cfg.IPv6 {
		family = 6
	}
	id := n.self.AsByteArray()
	b := append([]byte{stateVersion, family}, id[:]...)
	for _, s := range n.table.Save() {
		b = krpc.AppendNode(b, s.ID, s.Addr)
		b = binary.BigEndian.AppendUint16(b, uint16(min(s.RTT.Milliseconds(), 65535)))
		b = binary.BigEndian.AppendUint32(b, uint32(max(0, s.Answered.Unix())))
	}
	return b
}

type savedState struct {
	id    krpc.ID
	nodes []table.Saved
}

// decodeState reads what State gave. What is left over at the end, and more
// than table.MaxSaved nodes, are ignored.
func decodeState(b []byte, ipv6 bool) (s savedState, ok bool) {
	family, size, nodes := byte(4), krpc.NodeSize, krpc.Nodes4
	if ipv6 {
		family, size, nodes = 6, krpc.Node6Size, krpc.Nodes6
	}
	if len(b) < stateHead || b[0] != stateVersion || b[1] != family {
		return s, false
	}
	s.id.SetBytes(b[2:stateHead])
	const rest = 6
	for b = b[stateHead:]; len(b) >= size+rest && len(s.nodes) < table.MaxSaved; b = b[size+rest:] {
		for id, addr := range nodes(b[:size]) {
			s.nodes = append(s.nodes, table.Saved{
				Node:     contact.Node{ID: id, Addr: addr},
				RTT:      time.Duration(binary.BigEndian.Uint16(b[size:])) * time.Millisecond,
				Answered: time.Unix(int64(binary.BigEndian.Uint32(b[size+2:])), 0),
			})
		}
	}
	return s, true
}
