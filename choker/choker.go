package choker

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Defaults, as in BEP 3.
const (
	defaultSlots      = 4
	defaultOptimistic = 1
	defaultRound      = 10 * time.Second
	defaultRotate     = 30 * time.Second
)

// newcomerChance is how much likelier a newcomer is to be next in the rotation
// than to be at any other place in it (BEP 3).
const newcomerChance = 3

// Config holds the choker's settings. The zero value is valid.
type Config struct {
	Slots      int           // regular slots; 0 means 4
	Optimistic int           // optimistic slots beside them; 0 means 1
	Round      time.Duration // time between rounds; 0 means 10 s
	Rotate     time.Duration // how long an optimistic slot is kept while others wait; 0 means 30 s
}

func (c Config) withDefaults() Config {
	if c.Slots == 0 {
		c.Slots = defaultSlots
	}
	if c.Optimistic == 0 {
		c.Optimistic = defaultOptimistic
	}
	if c.Round == 0 {
		c.Round = defaultRound
	}
	if c.Rotate == 0 {
		c.Rotate = defaultRotate
	}
	return c
}

// Default tells Round to use the number of slots of the Config.
const Default = -1

// Peer is what the choker needs to know of a connected peer.
type Peer struct {
	ID         uint32 // the caller's number for it, not used again for another peer before Left
	Interested bool   // in us
	Rate       int64  // bytes per second: from the peer, or to it if we seed
	Snubbed    bool   // it unchoked us, but we had no block from it for 60 s
	Joined     time.Time
}

// slot is the use of one upload slot.
type slot struct {
	id         uint32
	optimistic bool      // else earned by rate
	since      time.Time // when it was given to this peer
}

// Choker is the state of one torrent's choking. It is for one goroutine at a
// time.
type Choker struct {
	cfg      Config
	rng      *rand.Rand
	seeding  bool      // at the last Round
	places   int       // what may be unchoked, at the last Round
	next     time.Time // when the next round is due
	slots    []slot    // who is unchoked
	snubbing int       // how many of them snub us
	rotation []uint32  // all known peers, the next one for an optimistic slot first

	// Scratch memory, by position in the peers of the Round if not said
	// otherwise.
	index  map[uint32]int // id to position
	known  []bool
	earned []bool
	ranked []int // positions
	before []slot
	ids    []uint32
}

// New is a choker that knows no peers. rng decides where newcomers enter the
// rotation.
func New(cfg Config, rng *rand.Rand) *Choker {
	cfg = cfg.withDefaults()
	return &Choker{cfg: cfg, rng: rng, places: cfg.Slots + cfg.Optimistic, index: make(map[uint32]int)}
}

// Round returns the peers to be unchoked, all of them in every answer, and
// when to call it again. peers are all that are connected, interested or not.
// slots is how many may be unchoked, optimistic ones included, as far as the
// caller's global cap allows; Default means the number in the Config.
//
// It may be called before that time, when peers or slots changed: then nobody
// who is interested is choked, unless slots shrank, and only free slots are
// given away. The result is valid until the next call.
func (c *Choker) Round(now time.Time, seeding bool, slots int, peers []Peer) (unchoke []uint32, next time.Time) {
	if slots < 0 {
		slots = c.cfg.Slots + c.cfg.Optimistic
	}
	c.places = slots
	c.admit(now, peers)
	due := !now.Before(c.next) || seeding != c.seeding
	c.seeding = seeding
	if due {
		c.next = now.Add(c.cfg.Round)
		c.rerank(now, peers)
	} else {
		c.keep(peers)
	}
	c.fill(now, peers)
	c.ids = c.ids[:0]
	for _, s := range c.slots {
		c.ids = append(c.ids, s.id)
	}
	return c.ids, c.next
}

// Interested tells whether a peer that just became interested is unchoked at
// once because a slot is free, and takes the slot if so. Call Left if the peer
// is not unchoked after all.
func (c *Choker) Interested(now time.Time, pr Peer) bool {
	if holds(c.slots, pr.ID) >= 0 {
		return true
	}
	if len(c.slots) >= c.places || pr.Snubbed && !c.seeding {
		return false
	}
	c.slots = append(c.slots, slot{id: pr.ID, optimistic: true, since: now})
	c.toEnd(pr.ID)
	return true
}

// Left frees the slot of a peer that disconnected or lost interest.
func (c *Choker) Left(id uint32) {
	if k := holds(c.slots, id); k >= 0 {
		c.slots = slices.Delete(c.slots, k, k+1)
	}
}

// Free is the number of slots that nobody has. If some are free and somebody
// waits, a Round gives them away.
func (c *Choker) Free() int { return max(0, c.places-len(c.slots)) }

// Optimistic are the peers that are unchoked without having earned it.
func (c *Choker) Optimistic() []uint32 {
	var ids []uint32
	for _, s := range c.slots {
		if s.optimistic {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// holds is the position of the peer's slot in l, or -1.
func holds(l []slot, id uint32) int {
	return slices.IndexFunc(l, func(s slot) bool { return s.id == id })
}
