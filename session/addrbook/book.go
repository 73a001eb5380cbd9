package addrbook

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"btd/metainfo"
)

// Config holds the settings of a Book. The zero value is valid.
type Config struct {
	Scope       metainfo.Scope // addresses outside of it are refused
	Max         int            // addresses to remember; 0 means 2,000
	MaxBans     int            // banned IP addresses to remember, the oldest is forgotten; 0 means 1,000
	MaxPerHost  int            // addresses of one IPv4 address or IPv6 /64, loopback excepted; 0 means 32
	MaxFailures int            // failed tries in a row after which an address is given up, at most 100; 0 means 6
	Backoff     time.Duration  // wait after the first failure, doubled by every other; 0 means 15 s
	MaxBackoff  time.Duration  // longest wait; 0 means 1 h
	Reconnect   time.Duration  // wait after the loss of a connection that had lasted; 0 means 5 s
	Proven      time.Duration  // how long a connection must last not to count as a failure; 0 means 30 s
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	num(&c.Max, 2000)
	num(&c.MaxBans, 1000)
	num(&c.MaxPerHost, 32)
	num(&c.MaxFailures, 6)
	c.MaxFailures = min(c.MaxFailures, 100)
	def(&c.Backoff, 15*time.Second)
	def(&c.MaxBackoff, time.Hour)
	def(&c.Reconnect, 5*time.Second)
	def(&c.Proven, 30*time.Second)
	return c
}

// Never is the wait that Next returns when time alone will not bring an
// address to dial.
const Never = time.Duration(math.MaxInt64)

// maxNear is how many addresses of local networks are dialled at a time before
// all others: whoever names many of them that do not exist must not keep us
// from those that do.
const maxNear = 8

// Sources that mean something to the book. The addresses from them are hard to
// come by another time, and are not given up, see keep.
const (
	SourceUser   = "user"   // a person gave it: tried first, and at once, also if it failed before
	SourceMagnet = "magnet" // the link gave it
	SourceResume = "resume" // there was a connection with it once
)

// Reason says why a dial or a connection ended.
type Reason uint8

// The reasons. Each says what becomes of the address.
const (
	Lost      Reason = iota // closed, reset or timed out, or never came about: tried again later
	Misbehave               // spoke nonsense, or of another torrent: tried again much later
	Useless                 // neither has what the other wants, for they are seeds both: tried again when we lack pieces
	Self                    // it was ourselves: never again
	Duplicate               // the peer is connected through another address: forgotten
	Unwanted                // the address must not be known: forgotten
	Ours                    // for a reason of ours, such as no network: says little of the address, tried again as if it were lost, but for hours
)

// state of an entry.
type state uint8

const (
	idle    state = iota // in ready or waiting, unless it is a seed that we do not need
	dead                 // failed too often
	dialing              // handed out by Next
	connected
)

// entry is what is known of one address.
type entry struct {
	addr     netip.AddrPort
	prio     uint32 // BEP 40
	seq      uint64 // order of arrival, the last tie-break
	retry    time.Time
	since    time.Time // when it was connected, or when it failed last
	state    state
	failures uint8 // in a row that are the address's
	ours     uint8 // in a row that are ours, since the last connection
	keep     keep  // whether it is ever given up
	user     bool
	seed     bool
	local    bool // in a local network
	source   string
	at       [slots]int
}

// Book is the known addresses of one torrent.
type Book struct {
	cfg      Config
	rng      *rand.Rand
	entries  map[netip.AddrPort]*entry
	hosts    map[netip.Addr]int // entries of each subnet
	ready    heap               // may be dialled now, best first
	near     heap               // likewise, those in local networks
	trying   int                // of those, that are being dialled
	kept     [keeps]int         // entries of each reason to keep them
	waiting  heap               // may be dialled later, soonest first
	evict    heap               // neither connected nor being dialled, worst first
	external [2]netip.AddrPort  // ours, as others see it: IPv4, IPv6
	self     []netip.AddrPort   // found to be ours by dialling them
	bans     map[netip.Addr]struct{}
	banOrder []netip.Addr // a ring once it is full
	banNext  int
	seeding  bool
	seq      uint64
	salt     uint64 // for an order while our own address is unknown
}

// New returns an empty book.
func New(cfg Config, rng *rand.Rand) *Book {
	return &Book{
		cfg:     cfg.withDefaults(),
		rng:     rng,
		entries: make(map[netip.AddrPort]*entry),
		hosts:   make(map[netip.Addr]int),
		ready:   heap{slot: inQueue, less: better},
		near:    heap{slot: inQueue, less: better},
		waiting: heap{slot: inQueue, less: sooner},
		evict:   heap{slot: inEvict, less: worse},
		bans:    make(map[netip.Addr]struct{}),
		salt:    rng.Uint64(),
	}
}

// better orders the addresses that may be dialled.
func better(a, b *entry) bool {
	switch {
	case a.user != b.user:
		return a.user
	case a.tries() != b.tries():
		return a.tries() < b.tries()
	case a.prio != b.prio:
		return a.prio > b.prio
	}
	return a.seq < b.seq
}

func sooner(a, b *entry) bool {
	if !a.retry.Equal(b.retry) {
		return a.retry.Before(b.retry)
	}
	return a.seq < b.seq
}

// worse orders the addresses for eviction: many that are new do not push out
// those that nobody names again.
func worse(a, b *entry) bool {
	switch {
	case (a.state == dead) != (b.state == dead):
		return a.state == dead
	case (a.keep == keepGiven) != (b.keep == keepGiven):
		return b.keep == keepGiven
	}
	return better(b, a)
}

// Add tells of an address, which came from src, and reports whether it is
// new. Addresses that nobody can be at, our own and banned ones are refused.
// One that was given up gets one more try, after the wait that its last failure
// brought: with the defaults that is 6 to 10 minutes, however often it is named.
func (b *Book) Add(addr netip.AddrPort, src string, now time.Time) bool {
	addr = normal(addr)
	if !b.acceptable(addr) {
		return false
	}
	if e := b.entries[addr]; e != nil {
		b.again(e, src, now)
		return false
	}
	e := b.newEntry(addr, src)
	if !b.insert(e) {
		return false
	}
	b.enqueue(e, now)
	return true
}

func (b *Book) newEntry(addr netip.AddrPort, src string) *entry {
	b.seq++
	e := &entry{addr: addr, source: src, user: src == SourceUser, seq: b.seq, local: metainfo.ScopeLAN.Covers(addr.Addr())}
	e.prio = b.priority(addr)
	return e
}

// again handles an address that is known already.
func (b *Book) again(e *entry, src string, now time.Time) {
	user := src == SourceUser
	if e.state == dialing || e.state == connected {
		e.user = e.user || user
		b.keep(e, src)
		return
	}
	if !user && e.state != dead && b.reason(e, src) <= e.keep {
		return
	}
	b.dequeue(e)
	b.keep(e, src)
	switch {
	case user:
		b.become(e, idle)
		e.retry = time.Time{}
		e.user, e.failures, e.ours, e.seed = true, 0, 0, false
	case e.state == dead:
		b.become(e, idle)
		e.failures = uint8(b.cfg.MaxFailures - 1) // one more failure and it is dead again
	}
	b.enqueue(e, now)
}

// insert tells whether e may come in. It evicts the worst of the others if
// that is needed.
func (b *Book) insert(e *entry) bool {
	net := subnet(e.addr.Addr())
	if !e.user && b.hosts[net] >= b.cfg.MaxPerHost && !net.IsLoopback() {
		return false
	}
	if len(b.entries) >= b.cfg.Max {
		worst := b.evict.first()
		if worst == nil || !worse(worst, e) {
			return false
		}
		b.forget(worst)
	}
	b.entries[e.addr] = e
	b.hosts[net]++
	b.keep(e, e.source)
	return true
}

// enqueue puts an idle or dead entry where it belongs.
func (b *Book) enqueue(e *entry, now time.Time) {
	b.evict.push(e)
	switch {
	case e.state == dead, e.seed && b.seeding:
	case e.retry.After(now):
		b.waiting.push(e)
	default:
		b.mayDial(e)
	}
}

// mayDial puts an entry among those that may be dialled now.
func (b *Book) mayDial(e *entry) {
	if e.local {
		b.near.push(e)
	} else {
		b.ready.push(e)
	}
}

// become changes the state of an entry that is in no heap.
func (b *Book) become(e *entry, s state) {
	if e.local && e.state == dialing {
		b.trying--
	}
	if e.local && s == dialing {
		b.trying++
	}
	e.state = s
}

// best is the address to dial next, nil if there is none.
func (b *Book) best() *entry {
	near, far := b.near.first(), b.ready.first()
	switch {
	case near == nil:
		return far
	case far == nil || near.user == far.user && near.tries() == far.tries() && b.trying < maxNear:
		return near
	case better(near, far):
		return near
	}
	return far
}

// dequeue takes an entry out of all heaps.
func (b *Book) dequeue(e *entry) {
	b.ready.remove(e)
	b.near.remove(e)
	b.waiting.remove(e)
	b.evict.remove(e)
}

func (b *Book) forget(e *entry) {
	b.dequeue(e)
	b.become(e, idle)
	b.unkeep(e)
	delete(b.entries, e.addr)
	net := subnet(e.addr.Addr())
	if b.hosts[net]--; b.hosts[net] <= 0 {
		delete(b.hosts, net)
	}
}

// Next hands out the best address to dial. It is then being dialled: exactly
// one of Connected and Failed must follow. If there is none now, wait says
// when to ask again, provided that nothing else changes: Never if time makes
// no difference. external is our own address as others see it, with the port
// that we listen on; the zero value leaves what was known (see SetExternal).
func (b *Book) Next(now time.Time, external netip.AddrPort) (addr netip.AddrPort, ok bool, wait time.Duration) {
	if external.IsValid() {
		b.SetExternal(external)
	}
	for e := b.waiting.first(); e != nil && !e.retry.After(now); e = b.waiting.first() {
		b.waiting.remove(e)
		b.mayDial(e)
	}
	if e := b.best(); e != nil {
		b.dequeue(e)
		b.become(e, dialing)
		return e.addr, true, 0
	}
	if e := b.waiting.first(); e != nil {
		return netip.AddrPort{}, false, e.retry.Sub(now)
	}
	return netip.AddrPort{}, false, Never
}

// Dialling tells that an address is being dialled that did not come from
// Next. It does nothing for one that did.
func (b *Book) Dialling(addr netip.AddrPort) {
	if e := b.entry(addr); e != nil && e.state != connected {
		b.dequeue(e)
		b.become(e, dialing)
	}
}

// Connected tells that there is a connection with addr, at which the peer
// listens. An incoming connection counts too, once it is known where its peer
// listens.
func (b *Book) Connected(addr netip.AddrPort, now time.Time) {
	if e := b.entry(addr); e != nil {
		b.dequeue(e)
		b.become(e, connected)
		e.since, e.ours = now, 0
	}
}

// entry is the entry of addr, which is made if there is none. It is nil for
// an address that the book refuses or has no room for.
func (b *Book) entry(addr netip.AddrPort) *entry {
	addr = normal(addr)
	if e := b.entries[addr]; e != nil {
		return e
	}
	if !b.acceptable(addr) {
		return nil
	}
	e := b.newEntry(addr, "")
	if !b.insert(e) {
		return nil
	}
	return e
}

// Failed tells that dialling addr came to nothing, the BitTorrent handshake
// included.
func (b *Book) Failed(addr netip.AddrPort, why Reason, now time.Time) {
	e := b.entries[normal(addr)]
	if e == nil {
		return
	}
	b.ended(e, why, now, false)
}

// Disconnected tells that the connection with addr has ended.
func (b *Book) Disconnected(addr netip.AddrPort, why Reason, now time.Time) {
	e := b.entries[normal(addr)]
	if e == nil {
		return
	}
	proven := e.state == connected && now.Sub(e.since) >= b.cfg.Proven
	b.ended(e, why, now, proven)
}

// ended decides what becomes of an address after a dial or a connection.
func (b *Book) ended(e *entry, why Reason, now time.Time, proven bool) {
	b.dequeue(e)
	switch why {
	case Self:
		b.forget(e)
		if b.self = append(b.self, e.addr); len(b.self) > 16 {
			b.self = b.self[1:]
		}
		return
	case Duplicate, Unwanted:
		b.forget(e)
		return
	case Useless:
		e.seed = true
		e.failures, e.ours = 0, 0
		e.retry = now.Add(b.jitter(b.cfg.MaxBackoff / 4))
	case Ours:
		if proven {
			e.failures, e.ours = 0, 0
		}
		e.retry = now.Add(b.jitter(b.backoff(e)))
		e.ours = min(e.ours+1, maxOurs)
	case Misbehave:
		e.failures++
		e.retry = now.Add(b.jitter(b.cfg.MaxBackoff))
	default:
		if proven {
			e.failures, e.ours = 0, 0
			e.retry = now.Add(b.jitter(b.cfg.Reconnect))
			break
		}
		e.retry = now.Add(b.jitter(b.backoff(e)))
		e.failures++
	}
	e.since = now
	b.become(e, idle)
	b.bury(e)
	b.enqueue(e, now)
}

// jitter is d, more or less a quarter.
func (b *Book) jitter(d time.Duration) time.Duration {
	if d < 4 {
		return d
	}
	return d - d/4 + time.Duration(b.rng.Int64N(int64(d/2)))
}

// Len is the number of addresses known.
func (b *Book) Len() int { return len(b.entries) }

// Source says where addr came from first; it is "" for one that is unknown or
// that came by itself.
func (b *Book) Source(addr netip.AddrPort) string {
	if e := b.entries[normal(addr)]; e != nil {
		return e.source
	}
	return ""
}

// Best is up to n addresses that are worth trying another time: those of
// connected peers first, then those that never failed, then those that a person
// gave.
func (b *Book) Best(n int) []netip.AddrPort {
	var out, fresh, given []netip.AddrPort
	for addr, e := range b.entries {
		switch {
		case e.state == connected:
			out = append(out, addr)
		case e.tries() == 0 && len(fresh) < n:
			fresh = append(fresh, addr)
		case e.user || e.failures == 0:
			given = append(given, addr)
		}
	}
	out = append(append(out, fresh...), given...)
	return out[:min(n, len(out))]
}
