package lookup

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

const (
	keepFor    = 2 * time.Hour
	maxSilent  = 8
	least      = 7 // with fewer known the next search had better be a whole one
	chunkSlots = 64
)

// Memory keeps the closest nodes of many targets, so that the next search for
// one of them is a short one, and which nodes near it were silent. What goes
// when it is full is left to chance: torrents have their turns in a circle, and
// of a circle that is a little too large the oldest would always go just before
// it is wanted.
type Memory struct {
	most  int // targets
	node  int // bytes of a compact node
	slot  int // bytes of a slot
	rng   *rand.Rand
	salt  uint64
	index map[uint64]int32 // by the first bytes of the target
	used  int
	slots [][]byte // chunks
}

// A slot is the target, when it was searched for (seconds since 1970, 4 bytes),
// how many nodes there are, their round trips (units of 8 ms), the fingerprints
// of silent addresses (2 bytes each), and the compact nodes.
const (
	atTime   = contact.Bits / 8
	atCount  = atTime + 4
	atRTT    = atCount + 1
	atSilent = atRTT + defaultK
	atNodes  = atSilent + 2*maxSilent

	rttUnit = 8 * time.Millisecond
)

// NewMemory makes a memory for most targets, of about 285 bytes each, or 380
// over IPv6. It takes as much as it holds.
func NewMemory(most int, ipv6 bool, rng *rand.Rand) *Memory {
	m := &Memory{most: most, node: krpc.NodeSize, rng: rng, salt: rng.Uint64(), index: map[uint64]int32{}}
	if ipv6 {
		m.node = krpc.Node6Size
	}
	m.slot = atNodes + defaultK*m.node
	return m
}

// Len is how many targets are kept.
func (m *Memory) Len() int { return m.used }

// at is the i-th slot.
func (m *Memory) at(i int) []byte {
	b := m.slots[i/chunkSlots][i%chunkSlots*m.slot:]
	return b[:m.slot:m.slot]
}

// find is the slot of a target; nil if there is none.
func (m *Memory) find(target [contact.Bits / 8]byte) []byte {
	i, ok := m.index[keyOf(target[:])]
	if !ok {
		return nil
	}
	if b := m.at(int(i)); [contact.Bits / 8]byte(b) == target {
		return b
	}
	return nil
}

func keyOf(slot []byte) uint64 { return binary.BigEndian.Uint64(slot) }

func stale(slot []byte, now time.Time) bool {
	age := now.Unix() - int64(binary.BigEndian.Uint32(slot[atTime:]))
	return age < 0 || age >= int64(keepFor/time.Second)
}

// Silence are nodes near a target that did not answer.
type Silence struct {
	salt uint64
	of   [maxSilent]uint16
}

// Has reports whether a node is one of them. Once in eight thousand times it is
// wrong.
func (s *Silence) Has(addr netip.AddrPort) bool {
	if s.of[0] == 0 {
		return false
	}
	print := fingerprint(s.salt, addr)
	for _, one := range s.of {
		if one == print {
			return true
		}
	}
	return false
}

// fingerprint is never 0.
func fingerprint(salt uint64, addr netip.AddrPort) uint16 {
	ip := addr.Addr().As16()
	h := salt
	for _, w := range [...]uint64{binary.BigEndian.Uint64(ip[:8]), binary.BigEndian.Uint64(ip[8:]), uint64(addr.Port())} {
		h = (h ^ w) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return max(1, uint16(h>>48))
}

// Recall appends the closest nodes of the last search for target. Those that
// were silent then are not to be asked. It reports whether there was one.
func (m *Memory) Recall(target krpc.ID, now time.Time, dst []Candidate) ([]Candidate, Silence, bool) {
	b := m.find(target.AsByteArray())
	if b == nil || stale(b, now) {
		return dst, Silence{}, false
	}
	each := krpc.Nodes4
	if m.node != krpc.NodeSize {
		each = krpc.Nodes6
	}
	i := atRTT
	for id, addr := range each(b[atNodes : atNodes+int(b[atCount])*m.node]) {
		rtt := time.Duration(b[i]) * rttUnit
		dst = append(dst, Candidate{Node: contact.Node{ID: id, Addr: addr}, RTT: rtt, Live: true, Cached: true})
		i++
	}
	s := Silence{salt: m.salt}
	for i := range s.of {
		s.of[i] = binary.BigEndian.Uint16(b[atSilent+2*i:])
	}
	return dst, s, true
}

// Keep takes down what a search that is done has found. A target of which fewer
// than seven nodes answered is forgotten.
func (m *Memory) Keep(l *Lookup, now time.Time) {
	id := l.target.ID()
	target := id.AsByteArray()
	var near [defaultK]*candidate
	var silent [maxSilent]uint16
	known, mute := 0, 0
	for _, c := range l.list {
		if known == min(len(near), l.cfg.K) {
			break
		}
		switch c.state {
		case answered:
			near[known] = c
			known++
		case fresh:
		default:
			if !c.cached && mute < len(silent) {
				silent[mute] = fingerprint(m.salt, c.node.Addr)
				mute++
			}
		}
	}
	b := m.find(target)
	if known < min(least, l.cfg.K) {
		if b != nil {
			m.drop(int(m.index[keyOf(b)]))
		}
		return
	}
	if b == nil {
		b = m.place(target)
	} else if !stale(b, now) {
		carry(&silent, mute, b)
	}
	binary.BigEndian.PutUint32(b[atTime:], uint32(now.Unix()))
	b[atCount] = byte(known)
	for i, one := range silent {
		binary.BigEndian.PutUint16(b[atSilent+2*i:], one)
	}
	nodes := b[atNodes:atNodes]
	for i, c := range near[:known] {
		b[atRTT+i] = byte(min(255, (c.rtt+rttUnit/2)/rttUnit))
		nodes = krpc.AppendNode(nodes, c.node.ID, c.node.Addr)
	}
}

// carry adds to the silent nodes of this search those of the ones before, which
// were not asked: all but the one that was silent longest ago, whose turn it is
// to be asked again.
func carry(silent *[maxSilent]uint16, n int, slot []byte) {
	before := 0
	for before < maxSilent && binary.BigEndian.Uint16(slot[atSilent+2*before:]) != 0 {
		before++
	}
	for i := 0; i < before-1 && n < len(silent); i++ {
		silent[n] = binary.BigEndian.Uint16(slot[atSilent+2*i:])
		n++
	}
}

// place is a slot for a new target.
func (m *Memory) place(target [contact.Bits / 8]byte) []byte {
	i := m.used
	if before, taken := m.index[keyOf(target[:])]; taken {
		i = int(before)
	} else if m.used == m.most {
		i = m.rng.IntN(m.used)
		delete(m.index, keyOf(m.at(i)))
	} else {
		if m.used == len(m.slots)*chunkSlots {
			m.slots = append(m.slots, make([]byte, chunkSlots*m.slot))
		}
		m.used++
	}
	m.index[keyOf(target[:])] = int32(i)
	b := m.at(i)
	copy(b, target[:])
	return b
}

// drop empties a slot: the last one takes its place.
func (m *Memory) drop(i int) {
	m.used--
	b, last := m.at(i), m.at(m.used)
	delete(m.index, keyOf(b))
	if i != m.used {
		copy(b, last)
		m.index[keyOf(b)] = int32(i)
	}
	if full := (m.used + chunkSlots - 1) / chunkSlots; full+1 < len(m.slots) {
		m.slots[len(m.slots)-1] = nil
		m.slots = m.slots[:len(m.slots)-1]
	}
}

// Expire forgets what is too old.
func (m *Memory) Expire(now time.Time) {
	for i := m.used - 1; i >= 0; i-- {
		if stale(m.at(i), now) {
			m.drop(i)
		}
	}
	if m.used == 0 {
		m.index, m.slots = map[uint64]int32{}, nil
	}
}
