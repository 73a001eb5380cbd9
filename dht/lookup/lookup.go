package lookup

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// Defaults, and the rules that have no setting.
const (
	defaultK          = 8
	defaultAlpha      = 6
	moreWidth         = 2 // how much wider than K the window is
	moreAlpha         = 2 // queries under way near the end, beyond Alpha
	moreIfNone        = 4 // nodes to ask while nobody has what is searched for
	nearEnd           = 3 // as many of the window have answered
	preferred         = 12
	perBit            = 25 * time.Millisecond // what a bit nearer is worth: a hop takes 100 ms and brings four
	unknownRTT        = 200 * time.Millisecond
	defaultMaxQueries = 120
	defaultTimeout    = 4 * time.Second

	maxCandidates = 96 // kept at once; the farthest that were not asked go first
	maxNamed      = 64 // nodes of one reply that are looked at
	maxTaken      = 16 // and of these, the closest that count
	perNetwork    = 2  // nodes of one network asked at once or answered
	perID         = 2  // addresses tried for one id
	maxNames      = 3  // ids that are kept of one address, beside the first
	maxToken      = 64 // bytes; longer ones are taken as none
	credit        = 5  // nodes asked because of one node, before any of them answers
	creditEach    = 4  // and as many more for each that did
	farBits       = 10 // an id nearer than the nearest should be, by so many bits, is suspicious
)

// Config holds the settings of a search. The zero value is valid.
type Config struct {
	Self       krpc.ID       // our own id, never a candidate
	IPv6       bool          // the family; candidates of the other are refused
	K          int           // how many closest nodes are wanted; 0 means 8
	Alpha      int           // queries under way that did not stall; 0 means 6
	Announce   bool          // the closest will be announced to: they must give tokens, and lost queries are repeated
	Values     bool          // replies may have what is searched for: if none has, four more nodes are asked
	MaxQueries int           // in all; 0 means 120
	Timeout    time.Duration // from a query to giving it up; 0 means 4 s
	RTT        *RTT          // of the node, fed by the search; nil means its own
	Bits       int           // log2 of how many nodes the network has (table.Bits); 0 if unknown

	// Refuse, if set, keeps nodes from being asked: blocked ones, our own.
	Refuse func(contact.Node) bool
	// Hold, if set, tells when a node may be asked, where others ask it as well.
	// Until then it is passed over. It is waited for only while those that answered,
	// or may answer, are fewer than are wanted.
	Hold func(netip.AddrPort) time.Time
	// Trace, if set, is told what happens as it happens.
	Trace func(Event)
}

func (c Config) withDefaults() Config {
	if c.K == 0 {
		c.K = defaultK
	}
	if c.Alpha == 0 {
		c.Alpha = defaultAlpha
	}
	if c.MaxQueries == 0 {
		c.MaxQueries = defaultMaxQueries
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.RTT == nil {
		c.RTT = new(RTT)
	}
	return c
}

// Candidate is a node to begin with. A zero id is not known: a bootstrap host.
type Candidate struct {
	contact.Node
	RTT  time.Duration // 0 if unknown
	Live bool          // it answered not long ago

	// Cached says that it was one of the closest in an earlier search for the
	// same. With four of these the search is a short one: see the package
	// comment.
	Cached bool
}

// Query is a query to be sent now.
type Query struct {
	contact.Node
	Again bool // the first was perhaps lost; its reply counts as well
}

// Reply is a reply to a query of this search.
type Reply struct {
	From   netip.AddrPort
	ID     krpc.ID
	Nodes  []contact.Node // of the family of the search
	Token  []byte         // copied
	Values bool           // it has what is searched for
	RTT    time.Duration  // since the query it belongs to was sent
}

// Found is one of the closest nodes that answered.
type Found struct {
	contact.Node
	Token string // empty if it gave none
	RTT   time.Duration
}

// Stats counts what a search did.
type Stats struct {
	Queries  int // sent, repeated ones included
	Repeated int
	Replies  int // that counted
	Refused  int // replies that did not
	Failed   int // queries given up
	Hops     int // queries one after another that led to the first values; 0 if there were none
	FirstAt  time.Duration
	Believed int // nodes named that became candidates
}

// Lookup is one search.
type Lookup struct {
	cfg     Config
	target  contact.Key
	self    contact.Key
	began   time.Time
	list    []*candidate // by distance
	byAddr  map[netip.AddrPort]*candidate
	asked   map[contact.Network]int // asked and not failed
	stats   Stats
	answers int  // replies that counted
	over    bool // and that was traced
	short   bool // there are cached nodes enough
}

// state is how far a candidate is.
type state uint8

const (
	fresh    state = iota // not asked
	waiting               // asked
	stalled               // asked, and its place given to another
	answered              // its reply counted
	useless               // its reply counted, but it can't be one of the closest: no token
	failed                // no reply, or one that did not count
)

type candidate struct {
	node    contact.Node
	dist    contact.Key
	network contact.Network
	state   state
	unnamed bool // its id is not known
	secure  bool // BEP 42
	live    bool // of our own table, and answered not long ago
	cached  bool // one of the closest in an earlier search
	reserve bool // of our own table, and to be asked only if nobody better is left
	again   bool // asked twice
	named   int  // by how many
	under   int  // of those that it named first: queries under way
	bad     int  // failed
	ok      int  // answered
	hop     int
	by      *candidate // who named it first; nil at the start
	rtt     time.Duration
	sent    time.Time
	stall   time.Duration
	lost    time.Time // the end of the search does not wait for it any longer
	againAt time.Time // when it is to be asked once more; zero is never
	held    time.Time // it was not to be asked before
	token   string
	others  []krpc.ID // by which it was named as well, at most maxNames
	told    krpc.ID   // by which it answered, if that is none of them
}

// New begins a search for target with these nodes.
func New(cfg Config, target krpc.ID, start []Candidate, now time.Time) *Lookup {
	l := &Lookup{
		cfg:    cfg.withDefaults(),
		target: contact.KeyOf(target),
		self:   contact.KeyOf(cfg.Self),
		began:  now,
		byAddr: map[netip.AddrPort]*candidate{},
		asked:  map[contact.Network]int{},
	}
	cached := 0
	for _, s := range start {
		if c := l.add(s.Node, nil, s.ID.IsZero()); c != nil {
			c.rtt, c.live, c.cached = s.RTT, s.Live, s.Cached
			if s.Cached {
				cached++
			}
		}
	}
	l.short = cached*2 >= l.cfg.K
	l.prefer()
	return l
}

// prefer keeps all but twelve of the nodes at the start in reserve: those that
// are slow for how near they are.
func (l *Lookup) prefer() {
	cost := func(c *candidate) time.Duration {
		if c.unnamed {
			return 0 // the last resort of who has no table yet
		}
		rtt := c.rtt
		if rtt == 0 {
			rtt = unknownRTT
		}
		if !c.live {
			rtt += unknownRTT
		}
		return rtt - time.Duration(c.dist.Zeros())*perBit
	}
	ranked := slices.Clone(l.list)
	slices.SortStableFunc(ranked, func(a, b *candidate) int { return cmp.Compare(cost(a), cost(b)) })
	for i, c := range ranked {
		c.reserve = i >= preferred
	}
}

// Target is what is searched for.
func (l *Lookup) Target() krpc.ID { return l.target.ID() }

// Stats tells what the search did so far.
func (l *Lookup) Stats() Stats { return l.stats }

// Closest appends the closest nodes that answered, the nearest first, at most
// Config.K. With Config.Announce all have tokens.
func (l *Lookup) Closest(dst []Found) []Found {
	n := 0
	for _, c := range l.list {
		if c.state == answered && n < l.cfg.K {
			dst = append(dst, Found{c.node, c.token, c.rtt})
			n++
		}
	}
	return dst
}
