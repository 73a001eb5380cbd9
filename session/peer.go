package session

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"btd/peerwire"
	"btd/piece"
)

// peer is one connection of one torrent. Its fields belong to the torrent's
// loop, except where a comment names another owner.
type peer struct {
	id       uint32 // unique in the torrent
	addr     netip.AddrPort
	listen   netip.AddrPort // where the peer can be dialled, if known
	source   Source
	incoming bool
	hs       peerwire.Handshake
	ext      peerwire.ExtHandshake
	client   string
	joined   time.Time
	seeds    time.Time // since when both sides are complete; zero if they are not

	has   *piece.Peer // nil while the metadata is missing
	early *early      // what it said then
	meta  peerMeta
	pex   peerPEX
	node  bool // it told us of its DHT node

	down peerDown
	up   peerUp
	wire peerWire

	sets    int // pieces in sets of late, see chargeSet
	closed  bool
	touched bool // has pending output or work for flush
}

// peerDown is what we get from a peer.
type peerDown struct {
	meter      meter
	interested bool // we in them
	choked     bool // they choke us
	snubbed    bool
	stalled    bool // sent nothing for a while when memory was short
	slowStart  bool
	depth      int       // requests to keep outstanding
	reqs       []request // oldest first
	live       int       // those of reqs that are not cancelled; each holds a lease
	allowed    []piece.Index
	late       int       // blocks that may still come though their requests were forgotten, at most maxLate
	lastBlock  time.Time // or when requests began to wait for one
	reached    time.Time // when the last was asked for of those that came
	came       time.Time // when the last of them did
	pause      time.Time // no requests before this
	grant      int64     // bytes the rate limit allows to request
	hungry     bool      // may want more requests
	idle       bool      // had nothing to do in the endgame
	flow       piece.Flow
	bad        int // malformed or useless things that were tolerated
}

// request is one block asked of a peer.
type request struct {
	block     piece.Block
	at        time.Time
	cancelled bool      // no longer wanted; the answer may still come
	told      bool      // the peer was sent a cancel
	end       time.Time // when it was cancelled
}

// peerUp is what a peer gets from us.
type peerUp struct {
	meter      meter
	interested bool // they in us
	choking    bool // we them
	optimistic bool
	uploadOnly bool
	queue      []piece.Block         // what they asked for, oldest first; not always our blocks
	flying     int                   // cost of the runs handed to the writer
	grant      int64                 // bytes the rate limit allows to send
	passed     int                   // runs that were sent before the oldest request
	allowed    map[piece.Index]int64 // its allowed-fast set: bytes of each piece that it may still ask for while choked
	sated      time.Time             // it lost interest because it has all it was shown; zero if not
	served     time.Time             // when they were unchoked
	lent       int64                 // payload written, as counted by the loop
	landed     int64                 // cost of the runs written, likewise
}

// peerWire is the connection with its two goroutines.
type peerWire struct {
	conn   net.Conn
	out    *outbox
	free   chan *batch // empty batches for the reader, capacity 2
	credit atomic.Int64
	ctl    []byte // output of the current batch, not yet in out
	runs   []run

	lastRecv, lastSent time.Time
	written            atomic.Int64 // payload bytes the writer has sent
	landed             atomic.Int64 // cost of the runs it is done with
	sentEvent          sentEvent
}

func (p *peer) fast() bool     { return p.hs.Fast() }
func (p *peer) extended() bool { return p.hs.Extended() }

// name is how logs and `btctl peers` call the peer's software.
func (p *peer) name() string {
	if p.client == "" {
		p.client = peerwire.ClientName(p.hs.PeerID, p.ext.Version)
	}
	return p.client
}

// batch is what a reader gathered without waiting for the network.
type batch struct {
	p    *peer
	msgs []peerwire.Message
	err  error // the connection ended with this
}

// maxBatch bounds the messages of a batch: more would only delay them.
const maxBatch = 64

func (b *batch) apply(t *torrent) { t.handleBatch(b) }

// sentEvent tells the loop that the writer got on. One is in flight at most.
type sentEvent struct {
	p      *peer
	queued atomic.Bool
	failed atomic.Pointer[error]
}

func (e *sentEvent) apply(t *torrent) { t.handleSent(e) }
