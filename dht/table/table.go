package table

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// K is the number of nodes in a small bucket, and in a reply (BEP 5).
const K = 8

// Defaults of the Config, and the rules that have no setting.
const (
	defaultIdle       = 0.25 // with a search for ourselves each half an hour it is below 0.3
	defaultBusy       = 2
	defaultQuarantine = 3 * time.Minute

	perNetworkBucket = 2 // live nodes of one network in one bucket
	perNetworkTable  = 4 // nodes of one network in the table, spares included
	downAfter        = 10
	namedEach        = 4  // nodes that one reply brings
	maxNamed         = 64 // nodes of one reply that are looked at
	smallNetwork     = 64 // good nodes; below, all that are named count
)

// Config holds the table's settings. The zero value is valid.
type Config struct {
	IPv6       bool          // the family of all addresses; others are refused
	Idle       float64       // upkeep queries per second when all is well; 0 means 0.25
	Busy       float64       // while the table fills, and while many nodes turn out dead; 0 means 2
	Quarantine time.Duration // how long a node is known before it can push out another; 0 means 3 min
}

func (c Config) withDefaults() Config {
	if c.Idle == 0 {
		c.Idle = defaultIdle
	}
	if c.Busy == 0 {
		c.Busy = defaultBusy
	}
	if c.Quarantine == 0 {
		c.Quarantine = defaultQuarantine
	}
	return c
}

// Table is the routing table of one node and one address family.
type Table struct {
	cfg     Config
	rng     *rand.Rand
	self    contact.Key
	buckets [contact.Bits]bucket
	deepest int // the last bucket that ever had a node

	byAddr   map[netip.AddrPort]*entry
	byHost   map[netip.Addr]*entry   // global addresses: one node each
	networks map[contact.Network]int // global addresses: nodes of each network
	live     int                     // nodes in live places
	good     int                     // of them, without a miss

	heard  time.Time // when anything came in last
	misses int       // queries that went unanswered since

	keeper keeper // upkeep.go

	liars memory  // caught lying
	dead  memory  // named or seen, and did not answer
	told  sayings // answered with another id than others say

	near   [maxClosest]contact.Key // scratch of Closest
	public bool                    // no node of a local network is looked at
}

// bucket has the nodes that have the same number of bits in common with us.
type bucket struct {
	live    []*entry
	keys    []uint64 // the first 64 bits of the ids of live
	spare   []*entry
	changed time.Time // BEP 5, "last changed"
	looked  time.Time // for spares that would push out others, in vain
	dry     int       // replies to FindNodes in a row that named nobody new
}

// entry is what is known of a node.
type entry struct {
	node     contact.Node
	key      contact.Key
	network  contact.Network
	secure   bool // BEP 42
	live     bool // else spare
	restored bool // from an earlier run, and not heard of since
	probing  bool // by a query of Upkeep
	fails    uint8
	bucket   uint8
	group    uint8          // the part of its bucket that it is in
	rtt      time.Duration  // smoothed; 0 is unknown
	source   netip.AddrPort // who named it
	named    uint16         // nodes that it named and that answered
	blame    uint16         // and that lied
	added    time.Time
	first    time.Time   // answer; zero if it never answered in this run
	answered time.Time   // last answer; of an earlier run if restored
	queried  time.Time   // it us, last
	asked    time.Time   // we it, by Upkeep
	target   contact.Key // of the last FindNode to it
	failed   time.Time   // last miss
}

// proven reports whether the node ever answered us.
func (e *entry) proven() bool { return !e.first.IsZero() }

// New makes an empty table for a node with this id.
func New(cfg Config, self krpc.ID, rng *rand.Rand, now time.Time) *Table {
	t := &Table{
		cfg:      cfg.withDefaults(),
		rng:      rng,
		self:     contact.KeyOf(self),
		byAddr:   map[netip.AddrPort]*entry{},
		byHost:   map[netip.Addr]*entry{},
		networks: map[contact.Network]int{},
		heard:    now,
		liars:    memory{size: 256, lasts: time.Hour},
		dead:     memory{size: 1024, lasts: 15 * time.Minute},
		told:     sayings{size: 256, lasts: time.Hour},
	}
	return t
}

// Self is our own id.
func (t *Table) Self() krpc.ID { return t.self.ID() }

// Len is the number of nodes that can be handed out.
func (t *Table) Len() int { return t.good }

// Has reports whether the node at addr is one that can be handed out.
func (t *Table) Has(addr netip.AddrPort) bool {
	e := t.byAddr[addr]
	return e != nil && e.live && e.fails == 0
}

// RTT is the round-trip time to the node at addr, smoothed; 0 if unknown.
func (t *Table) RTT(addr netip.AddrPort) time.Duration {
	if e := t.byAddr[addr]; e != nil {
		return e.rtt
	}
	return 0
}

// LinkDown reports whether our own link seems to be down: ten queries in a row
// went unanswered, and nothing else was heard.
func (t *Table) LinkDown() bool { return t.misses >= downAfter }

// capacity is the number of live places in a bucket, and that of spare ones.
func capacity(bucket int) int {
	if bucket < 4 {
		return 128 >> bucket
	}
	return K
}

// bucketOf is the bucket for an id; false if it is our own.
func (t *Table) bucketOf(k contact.Key) (int, bool) {
	n := t.self.Xor(k).Zeros()
	return n, n < contact.Bits
}

// usable reports whether a node can be in this table at all.
func (t *Table) usable(n contact.Node) bool {
	if n.Addr.Addr().Is4() == t.cfg.IPv6 || contact.ScopeOf(n.Addr) == contact.Unusable {
		return false
	}
	return contact.KeyOf(n.ID) != t.self
}
