package world

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// k is the size of the buckets and of a reply.
const k = 8

// Config holds the settings of a network. Zero values mean the defaults.
type Config struct {
	Nodes   int           // 0 means 10,000; at most 40 million
	Seed    uint64        //
	Dead    float64       // share of all nodes
	Hostile float64       // share of the living nodes
	Loss    float64       // share of exchanges; 0 means 0.02
	Secure  float64       // share of the nodes with an id that fits its address (BEP 42); 0 means 0.6
	Median  time.Duration // of the part of the round trip that varies; 0 means 90 ms
}

func (c Config) withDefaults() Config {
	if c.Nodes == 0 {
		c.Nodes = 10_000
	}
	if c.Loss == 0 {
		c.Loss = 0.02
	}
	if c.Secure == 0 {
		c.Secure = 0.6
	}
	if c.Median == 0 {
		c.Median = 90 * time.Millisecond
	}
	return c
}

// Network is the nodes. A node's rank is its place in the order of ids; its
// number is that of its address.
type Network struct {
	cfg    Config
	ids    []uint64 // by rank: the first 64 bits
	number []uint32 // by rank
	rank   []uint32 // by number
	top    []uint32 // first rank of each of the first bits of ids
	shift  int      // 64 less the number of those bits
	dead   []uint64 // by rank, a bit each
}

// NewNetwork makes a network.
func NewNetwork(cfg Config) *Network {
	n := &Network{cfg: cfg.withDefaults()}
	count := n.cfg.Nodes
	type node struct {
		id     uint64
		number uint32
	}
	nodes := make([]node, count)
	for i := range nodes {
		nodes[i] = node{n.firstBits(uint32(i)), uint32(i)}
	}
	slices.SortFunc(nodes, func(a, b node) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	n.ids, n.number, n.rank = make([]uint64, count), make([]uint32, count), make([]uint32, count)
	n.dead = make([]uint64, count/64+1)
	for r, x := range nodes {
		n.ids[r], n.number[r], n.rank[x.number] = x.id, x.number, uint32(r)
	}
	prefix := max(1, bits.Len(uint(count))-2)
	n.shift = 64 - prefix
	n.top = make([]uint32, 1<<prefix+1)
	for r, p := 0, 0; p < len(n.top); p++ {
		for r < count && n.ids[r]>>n.shift < uint64(p) {
			r++
		}
		n.top[p] = uint32(r)
	}
	n.Kill(n.cfg.Dead)
	return n
}

// mix is a hash of two numbers (the finaliser of SplitMix64, twice).
func mix(a, b uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 ^ b + 0x632be59bd9b4e019
	for range 2 {
		x ^= x >> 30
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 27
		x *= 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}

// hash is the same for this network's seed, a purpose and a thing.
func (n *Network) hash(purpose, thing uint64) uint64 { return mix(mix(n.cfg.Seed, purpose), thing) }

// unit is a hash as a number of [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// Purposes of hashes.
const (
	forID = iota + 1
	forTail
	forSecure
	forRTT
	forRTT2
	forTable
	forDead
	forHostile
	forLie
)

// firstOctets is how many first octets of addresses are in use.
const firstOctets = 170

// addr is the address of a node by its number: 170 first octets that are all
// global, and a permutation of the rest.
func addr(number uint32) netip.AddrPort {
	first, rest := number%firstOctets, number/firstOctets*0x5bd1e5&0xffffff
	octet := byte(11 + first) // 11..
	if octet >= 100 {
		octet++ // not 100
	}
	if octet >= 127 {
		octet++ // not 127
	}
	if octet >= 169 {
		octet++ // not 169
	}
	if octet >= 172 {
		octet++ // not 172
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{octet, byte(rest >> 16), byte(rest >> 8), byte(rest)}), 6881)
}

// numberOf is the opposite of addr; false if no node can have that address.
func numberOf(a netip.AddrPort) (uint32, bool) {
	if !a.Addr().Is4() {
		return 0, false
	}
	b := a.Addr().As4()
	rest := uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	octet := int(b[0])
	for _, hole := range [...]int{172, 169, 127, 100} {
		if octet == hole {
			return 0, false
		}
		if octet > hole {
			octet--
		}
	}
	first := octet - 11
	if first < 0 || first >= firstOctets || a.Port() != 6881 {
		return 0, false
	}
	return rest*inverse(0x5bd1e5)&0xffffff*firstOctets + uint32(first), true
}

// inverse of an odd number modulo 2^32 (Newton).
func inverse(a uint32) uint32 {
	x := a
	for range 5 {
		x *= 2 - a*x
	}
	return x
}

// fullID makes the id of a node from its number.
func (n *Network) fullID(number uint32) krpc.ID {
	var b [20]byte
	binary.BigEndian.PutUint64(b[:], n.hash(forID, uint64(number)))
	tail := n.hash(forTail, uint64(number))
	binary.BigEndian.PutUint64(b[8:], tail)
	binary.BigEndian.PutUint32(b[16:], uint32(mix(tail, 1)))
	var id krpc.ID
	id.SetBytes(b[:])
	if unit(n.hash(forSecure, uint64(number))) < n.cfg.Secure {
		return contact.MakeSecure(id, addr(number).Addr())
	}
	return id
}

func (n *Network) firstBits(number uint32) uint64 {
	b := n.fullID(number)
	return contact.KeyOf(b).Hi
}

// Node is the node of a rank.
func (n *Network) Node(rank int) contact.Node {
	return contact.Node{ID: n.fullID(n.number[rank]), Addr: addr(n.number[rank])}
}

// At is the rank of the node at an address; false if there is none.
func (n *Network) At(a netip.AddrPort) (rank int, ok bool) {
	number, ok := numberOf(a)
	if !ok || int(number) >= len(n.rank) {
		return 0, false
	}
	return int(n.rank[number]), true
}

// Dead reports whether a node is dead.
func (n *Network) Dead(rank int) bool { return n.dead[rank/64]>>(rank%64)&1 == 1 }

// Kill makes a share of the living nodes die.
func (n *Network) Kill(share float64) {
	purpose := uint64(forDead)
	for _, w := range n.dead {
		purpose = mix(purpose, w) // another draw each time
	}
	for r := range n.ids {
		if !n.Dead(r) && unit(n.hash(purpose, uint64(n.number[r]))) < share {
			n.dead[r/64] |= 1 << (r % 64)
		}
	}
}

// RTT is the round-trip time to a node without what varies each time.
func (n *Network) RTT(rank int) time.Duration {
	number := uint64(n.number[rank])
	u, v := unit(n.hash(forRTT, number)), unit(n.hash(forRTT2, number))
	normal := math.Sqrt(-2*math.Log(1-u)) * math.Cos(2*math.Pi*v)
	return 20*time.Millisecond + time.Duration(float64(n.cfg.Median)*math.Exp(0.7*normal))
}

// block has the ranks [lo, hi) of the ids that share their first bits with id.
func (n *Network) block(id uint64, first int) (lo, hi int) {
	if first <= 0 {
		return 0, len(n.ids)
	}
	size := uint64(1) << (64 - min(first, 64))
	low := id &^ (size - 1)
	lo, hi = n.search(low), len(n.ids)
	if end := low + size; end != 0 {
		hi = n.search(end)
	}
	return lo, hi
}

// search is the first rank whose id is not below id.
func (n *Network) search(id uint64) int {
	p := id >> n.shift
	lo, hi := int(n.top[p]), int(n.top[p+1])
	return lo + sort.Search(hi-lo, func(i int) bool { return n.ids[lo+i] >= id })
}
