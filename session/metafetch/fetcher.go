package metafetch

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// PieceSize is the length of a piece of the dictionary, bytes (BEP 9).
const PieceSize = 16 << 10

// Config holds the settings of a Fetcher. The zero value is valid.
type Config struct {
	MaxSize  int           // longest dictionary, bytes; 0 means 30 MiB
	Pipeline int           // requests outstanding with one peer; 0 means 4
	Deadline time.Duration // after which a piece is asked of others as well; 0 means 3 s
	Patience time.Duration // after which an answer is not waited for any more; 0 means 30 s
	Pause    time.Duration // rest for a peer that rejects or does not answer, doubled every time; 0 means 10 s
	MaxPause time.Duration // longest rest; 0 means 5 min
}

func (c Config) withDefaults() Config {
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num(&c.MaxSize, 30<<20)
	num(&c.Pipeline, 4)
	def(&c.Deadline, 3*time.Second)
	def(&c.Patience, 30*time.Second)
	def(&c.Pause, 10*time.Second)
	def(&c.MaxPause, 5*time.Minute)
	return c
}

// Request is a piece to be asked of a peer.
type Request struct {
	Peer  uint32
	Piece int
}

// Result is what came of a piece.
type Result struct {
	Info  []byte   // the dictionary, once its hash is right; nil before
	Liars []uint32 // peers that sent wrong data, in order
	Used  bool     // the piece was asked for and was news
}

// Fetcher fetches one info dictionary.
type Fetcher struct {
	cfg        Config
	hash       [20]byte
	peers      []*peer // by id
	candidates []*candidate
	done       bool
}

// peer is one that has the dictionary, or says so.
type peer struct {
	id     uint32
	host   netip.Addr
	c      *candidate        // of the size it claims; nil if that makes no sense
	asked  map[int]time.Time // pieces it has not sent yet, and when they were asked for
	idle   time.Time         // is not asked before this
	pauses int               // in a row
	turns  int               // how often it was to send all alone
}

// New returns a Fetcher for the dictionary with the given SHA-1.
func New(hash [20]byte, cfg Config) *Fetcher {
	return &Fetcher{cfg: cfg.withDefaults(), hash: hash}
}

// forget drops what p was asked for: an answer does not count any more.
func (p *peer) forget() {
	for n := range p.asked {
		p.c.settled(n)
	}
	clear(p.asked)
}

// find is where the peer is or would be.
func (f *Fetcher) find(id uint32) (at int, p *peer) {
	at, ok := slices.BinarySearchFunc(f.peers, id, func(p *peer, id uint32) int { return cmp.Compare(p.id, id) })
	if ok {
		p = f.peers[at]
	}
	return at, p
}

// Join tells that a peer, whose id is not 0, answers requests, and which size it
// claims. A later call replaces the claim; a size below 1 or above the limit means
// that it has nothing. host is what the peer shares with others who may be the
// same party: where not all can be tried at once, all of one host have no more
// turns than one of another.
func (f *Fetcher) Join(id uint32, host netip.Addr, size int) {
	at, p := f.find(id)
	if p == nil {
		p = &peer{id: id, host: host, asked: map[int]time.Time{}}
		f.peers = slices.Insert(f.peers, at, p)
	}
	if p.c != nil && p.c.size == size {
		return
	}
	f.unclaim(p)
	if size >= 1 && size <= f.cfg.MaxSize {
		p.c = f.candidate(size)
	}
	if p.c != nil {
		p.c.peers++
	}
}

// Leave tells that a peer is gone.
func (f *Fetcher) Leave(id uint32) {
	at, p := f.find(id)
	if p == nil {
		return
	}
	f.unclaim(p)
	f.peers = slices.Delete(f.peers, at, at+1)
}

// unclaim takes a peer off its candidate, which is forgotten with its last.
func (f *Fetcher) unclaim(p *peer) {
	c := p.c
	p.forget()
	p.c = nil
	if c == nil {
		return
	}
	if c.alone == p.id {
		f.restart(c)
	}
	if c.peers--; c.peers == 0 {
		f.candidates = slices.DeleteFunc(f.candidates, func(x *candidate) bool { return x == c })
	}
}

// Reject tells that a peer does not give a piece.
func (f *Fetcher) Reject(id uint32, piece int, now time.Time) {
	_, p := f.find(id)
	if p == nil {
		return
	}
	if _, ok := p.asked[piece]; ok {
		f.rest(p, now)
	}
}

// rest leaves a peer alone for a while.
func (f *Fetcher) rest(p *peer, now time.Time) {
	wait := min(f.cfg.Pause<<min(p.pauses, 10), f.cfg.MaxPause)
	p.idle = now.Add(wait)
	p.pauses++
	p.forget()
	if c := p.c; c != nil && c.alone == p.id {
		f.restart(c) // another one's turn
	}
}

// Data takes a piece from a peer. total is the size that it claims with it, 0
// if it says nothing.
func (f *Fetcher) Data(id uint32, piece, total int, data []byte, now time.Time) Result {
	_, p := f.find(id)
	if p == nil || p.c == nil || f.done {
		return Result{}
	}
	if _, ok := p.asked[piece]; !ok {
		return Result{}
	}
	c := p.c
	if total != 0 && total != c.size || len(data) != c.length(piece) {
		f.rest(p, now) // it contradicts what it said before
		return Result{}
	}
	delete(p.asked, piece)
	c.settled(piece)
	p.pauses = 0
	if c.pieces == nil || c.pieces[piece] != nil || c.alone != 0 && c.alone != id {
		return Result{}
	}
	c.put(piece, id, data)
	if c.missing > 0 {
		return Result{Used: true}
	}
	r := f.judge(c)
	r.Used = true
	return r
}

// Requests returns what is to be asked now, and when to call again if nothing
// else happens; the zero time means that only a call can change anything.
func (f *Fetcher) Requests(now time.Time) (reqs []Request, next time.Time) {
	if f.done {
		return nil, time.Time{}
	}
	sooner := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	f.expire(now)
	f.census()
	for _, c := range f.affordable() {
		c.begin()
		c.choose(now, f.cfg.Patience)
		if c.alone != 0 && c.peers > 1 {
			sooner(c.until)
		}
		for _, p := range c.claim {
			if c.alone != 0 && c.alone != p.id {
				continue
			}
			if p.idle.After(now) {
				sooner(p.idle)
				continue
			}
			reqs = append(reqs, f.ask(c, p, now)...)
			for _, at := range p.asked {
				sooner(at.Add(f.cfg.Deadline))
				sooner(at.Add(f.patience(p)))
			}
		}
	}
	return reqs, next
}

// expire gives up on peers that owe an answer for too long.
func (f *Fetcher) expire(now time.Time) {
	for _, p := range f.peers {
		for _, at := range p.asked {
			if now.Sub(at) >= f.patience(p) {
				f.rest(p, now)
				break
			}
		}
		if c := p.c; c != nil && c.alone == p.id && c.peers > 1 && !now.Before(c.until) {
			f.rest(p, now)
		}
	}
}

// Fruitless tells whether a peer that claims to have the dictionary gave nothing
// since it was last left alone for not answering, rejecting or contradicting
// itself.
func (f *Fetcher) Fruitless(id uint32) bool {
	_, p := f.find(id)
	return p != nil && p.c != nil && p.pauses > 0
}

// patience is how long p may owe an answer: less if everything waits for it.
func (f *Fetcher) patience(p *peer) time.Duration {
	if p.c != nil && p.c.alone == p.id {
		return min(f.cfg.Patience, 3*f.cfg.Deadline)
	}
	return f.cfg.Patience
}

// ask fills p's pipeline with pieces of c that are missing. Those that nobody
// was asked for come first, then those that others are late with.
func (f *Fetcher) ask(c *candidate, p *peer, now time.Time) (reqs []Request) {
	for _, others := range []bool{false, true} {
		for n := c.first; n < len(c.pieces) && len(p.asked) < f.cfg.Pipeline; n++ {
			if c.pieces[n] != nil || c.owed[n] > 0 && !(others && now.Sub(c.latest[n]) >= f.cfg.Deadline) {
				continue
			}
			if _, mine := p.asked[n]; mine {
				continue
			}
			p.asked[n] = now
			c.owed[n]++
			c.latest[n] = now
			reqs = append(reqs, Request{p.id, n})
		}
	}
	return reqs
}

// choose picks the peer that is to send c alone, if that is what c needs: all
// have their turn before one has it again. A turn is bounded, and the next one
// of the same peer is longer, so that neither liars that take their time can keep
// the others waiting for ever, nor is an honest peer too slow for ever.
func (c *candidate) choose(now time.Time, patience time.Duration) {
	if !c.distrusted || c.alone != 0 {
		return
	}
	var next *peer
	for _, p := range c.claim {
		if !p.idle.After(now) && (next == nil || p.turns < next.turns) {
			next = p
		}
	}
	if next != nil {
		next.turns++
		c.alone, c.until = next.id, now.Add(patience<<min(next.turns, 6))
	}
}

// Progress is the state of the candidate that is furthest: its pieces that are
// here, how many there are, and its size in bytes. All are 0 while nobody
// claims to have anything.
func (f *Fetcher) Progress() (have, pieces, size int) {
	for _, c := range f.candidates {
		if n := c.count() - c.missing; size == 0 || n*pieces > have*c.count() {
			have, pieces, size = n, c.count(), c.size
		}
	}
	return have, pieces, size
}

// Sources is the number of peers that claim to have the dictionary.
func (f *Fetcher) Sources() (n int) {
	for _, p := range f.peers {
		if p.c != nil {
			n++
		}
	}
	return n
}
