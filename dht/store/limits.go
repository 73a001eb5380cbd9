package store

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"time"

	"btd/dht/contact"
)

// LimitsConfig says how much is done for others. The zero value means the
// defaults.
type LimitsConfig struct {
	Queries    float64 // a second from one address (IPv6: /64) over 10 s; 0 means 5
	LocalRate  float64 // the same for one address and port of a local network; 0 means 500
	Bytes      float64 // of replies a second, with a burst of 3 s; 0 means 16,000
	LocalBytes float64 // the same to local networks; 0 means 1,000,000

	// Alone, if set, tells of IPv6 addresses that count each by itself and not
	// with their /64: those of machines beside ours.
	Alone func(ip netip.Addr, now time.Time) bool
}

func (c LimitsConfig) withDefaults() LimitsConfig {
	if c.Queries == 0 {
		c.Queries = 5
	}
	if c.LocalRate == 0 {
		c.LocalRate = 500
	}
	if c.Bytes == 0 {
		c.Bytes = 16000
	}
	if c.LocalBytes == 0 {
		c.LocalBytes = 1e6
	}
	return c
}

const (
	querySpan  = 10 // seconds over which the rate is averaged
	farBeyond  = 10 // times the rate: who asks more is silenced
	byteSpan   = 3  // seconds of bytes that may come at once
	silence    = 5 * 60 * 1000
	limitSets  = 256 // times limitWays are the addresses that are remembered
	limitWays  = 4
	milliscale = 1000
)

// Verdict is what is done with a query.
type Verdict uint8

// The verdicts.
const (
	Serve    Verdict = iota
	NoBudget         // no reply bytes are left
	TooFast
	Silenced // it was far too fast less than 5 minutes ago
)

// Limits decides whether a query is served. What is above the rate is dropped,
// so that who has much to ask for a while is answered at that rate. Who asks ten
// times as much is silenced. Its memory is fixed: 1,024
// addresses are remembered, and a new one takes the place of the one in its set
// of four that was quiet the longest.
type Limits struct {
	cfg    LimitsConfig
	start  time.Time
	mix    uint64
	sets   [limitSets][limitWays]asker
	global bucket
	local  bucket
}

// asker is one address. Times are milliseconds since start.
type asker struct {
	key      uint64 // 0: free
	last     int64
	left     float32 // queries it may send at once
	borne    float32 // and how many until it is silenced
	silenced bool    // until last + silence
}

// bucket is a budget of bytes.
type bucket struct {
	left float64
	last int64
}

// NewLimits starts with full budgets.
func NewLimits(cfg LimitsConfig, now time.Time, rng *rand.Rand) *Limits {
	cfg = cfg.withDefaults()
	return &Limits{
		cfg: cfg, start: now, mix: rng.Uint64() | 1,
		global: bucket{left: cfg.Bytes * byteSpan}, local: bucket{left: cfg.LocalBytes * byteSpan},
	}
}

// Query counts a query from an address and decides what to do with it.
func (l *Limits) Query(from netip.AddrPort, now time.Time) Verdict {
	at := l.at(now)
	ip := from.Addr().Unmap()
	local, rate, key := Local(ip), l.cfg.Queries, asked(ip)
	if ip.Is6() && (local || l.cfg.Alone != nil && l.cfg.Alone(ip, now)) {
		key = l.alone(ip)
	}
	if local {
		key, rate = key+uint64(from.Port())<<48, l.cfg.LocalRate
	}
	a := l.find(key+1, at, rate)
	if a.silenced {
		if at < a.last+silence {
			return Silenced
		}
		*a = newAsker(a.key, at, rate)
	}
	more := float64(max(0, at-a.last)) * rate / milliscale
	a.left = min(float32(rate*querySpan), a.left+float32(more))
	a.borne = min(float32(rate*querySpan*farBeyond), a.borne+float32(more*farBeyond))
	a.last = max(at, a.last)
	if a.borne < 1 {
		a.silenced = true
		return TooFast
	}
	a.borne--
	if a.left < 1 {
		return TooFast
	}
	a.left--
	if l.budget(local, at).left <= 0 {
		return NoBudget
	}
	return Serve
}

// Sent takes the bytes of a reply out of the budget.
func (l *Limits) Sent(to netip.AddrPort, n int, now time.Time) {
	l.budget(Local(to.Addr().Unmap()), l.at(now)).left -= float64(n)
}

func (l *Limits) at(now time.Time) int64 { return now.Sub(l.start).Milliseconds() }

func (l *Limits) budget(local bool, at int64) *bucket {
	b, rate := &l.global, l.cfg.Bytes
	if local {
		b, rate = &l.local, l.cfg.LocalBytes
	}
	b.left = min(rate*byteSpan, b.left+float64(max(0, at-b.last))*rate/milliscale)
	b.last = max(at, b.last)
	return b
}

// find is the entry of an address, old or new.
func (l *Limits) find(key uint64, at int64, rate float64) *asker {
	set := &l.sets[(key*l.mix)>>56%limitSets]
	oldest := &set[0]
	for i := range set {
		a := &set[i]
		if a.key == key {
			return a
		}
		if a.key == 0 || (oldest.key != 0 && a.last < oldest.last) {
			oldest = a
		}
	}
	*oldest = newAsker(key, at, rate)
	return oldest
}

func newAsker(key uint64, at int64, rate float64) asker {
	return asker{key: key, last: at, left: float32(rate * querySpan), borne: float32(rate * querySpan * farBeyond)}
}

// asked is the 64 bits that an address is known by.
func asked(ip netip.Addr) uint64 {
	if ip.Is4() {
		b := ip.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := ip.As16()
	return binary.BigEndian.Uint64(b[:])
}

// alone is asked for one machine of an IPv6 network. Who may choose his address
// cannot foresee whom he would be taken for.
func (l *Limits) alone(ip netip.Addr) uint64 {
	b := ip.As16()
	return asked(ip) ^ bits.RotateLeft64(binary.BigEndian.Uint64(b[8:])*l.mix, 32)
}

// Local tells whether an address belongs to a local network.
func Local(ip netip.Addr) bool {
	return contact.ScopeOf(netip.AddrPortFrom(ip.Unmap(), 1)) == contact.Local
}
