package piece

import "math/rand/v2"

// DefaultPriority is the priority of a piece until SetPriority.
const DefaultPriority = 4

// Picker decides which block to request from which peer. Its owner tells it
// everything that happens; it has no clock and does nothing by itself. It is
// for one goroutine at a time.
//
// A piece that is wanted and missing is open until its first block is
// requested, then begun, then had (Passed). What Pick hands out, in this order:
//
//   - the rest of the piece that the peer works on already;
//   - begun pieces that nobody works on any more;
//   - a new piece: the highest priority, then the rarest, ties at random. As
//     long as we have no piece at all it is a random one, because rare pieces
//     come from few peers and we need something to trade soon. In sequential
//     mode it is the one with the lowest number;
//   - begun pieces that others work on, when there is nothing new for this
//     peer or when many pieces are begun.
//
// After that there are blocks that are requested from others already: see
// Duplicate.
//
// A new piece of a higher priority goes before a begun one of a lower priority.
// Peers so slow that a piece would take them minutes share pieces.
type Picker struct {
	geo    Geometry
	pieces int
	blocks int // in a piece of full length
	rng    *rand.Rand

	sequential bool
	have       *Bitfield
	wanted     *Bitfield // missing and of a priority above 0
	state      []status
	open       [8]*set // by priority: pieces that can be begun; nil until the priority is used
	opens      int     // pieces in open
	rare       rarity

	peers     []*Peer
	seeds     int
	interests uint64 // changes when the peers' counts of interesting pieces become void
	works     uint64 // changes when what peers work on must be reconsidered

	begunAt  []int32 // by piece: position in begun plus 1, or 0
	begun    []*begun
	orphans  []*begun // those with free blocks that nobody works on
	worked   []*begun // those with free blocks that somebody works on
	spare    []*begun
	cursor   int // where the next look at a long list of begun pieces starts
	held     int // begun pieces with a holder
	requests requests
	asking   int     // blocks with a request
	here     int     // blocks of begun pieces that are wanted and here
	cancel   []*Peer // what Received returned last
	late     []*Peer // used by Duplicate
}

// NewPicker is a picker for content cut as g says; nothing is had, everything
// is wanted at DefaultPriority. rng breaks ties; the same source gives the
// same picks.
func NewPicker(g Geometry, rng *rand.Rand) *Picker {
	n := g.Pieces()
	p := &Picker{
		geo:     g,
		pieces:  n,
		blocks:  g.Blocks(0),
		rng:     rng,
		have:    NewBitfield(n),
		wanted:  NewBitfield(n),
		state:   make([]status, n),
		begunAt: make([]int32, n),
	}
	p.rare = newRarity(p.state, rng)
	all := NewBitfield(n)
	all.Fill()
	p.open[DefaultPriority] = wrapSet(all)
	p.opens = n
	p.wanted.Fill()
	for i := range p.state {
		p.state[i] = DefaultPriority | statusOpen
	}
	return p
}

// Have is the set of pieces that passed. The caller must not change it; it
// changes with the next Passed, Failed or Lost.
func (p *Picker) Have() *Bitfield { return p.have }

// Missing is the number of pieces that are wanted and not had.
func (p *Picker) Missing() int { return p.wanted.Count() }

// Left is the number of blocks that are wanted and not here, requested or not.
func (p *Picker) Left() int {
	n := p.wanted.Count()*p.blocks - p.here
	if last := Index(p.pieces - 1); p.wanted.Has(last) {
		n -= p.blocks - p.geo.Blocks(last)
	}
	return n
}

// Availability is the number of connected peers that have piece i.
func (p *Picker) Availability(i Index) int { return p.rare.copies(i) }

// Seeds is the number of connected peers that have everything.
func (p *Picker) Seeds() int { return p.seeds }

// Distributed is the number of distributed copies, our own pieces included:
// how often the rarest piece exists, plus the share of pieces that exist more
// often than that. It looks at every piece.
func (p *Picker) Distributed() float64 {
	least, above := -1, 0
	for i := range Index(p.pieces) {
		n := p.rare.copies(i)
		if p.have.Has(i) {
			n++
		}
		switch {
		case least < 0 || n < least:
			least, above = n, int(i)
		case n > least:
			above++
		}
	}
	return float64(least) + float64(above)/float64(p.pieces)
}

// SetSequential switches between rarest first and lowest number first.
func (p *Picker) SetSequential(on bool) { p.sequential = on }

// Priority is the priority of piece i, 0 to 7.
func (p *Picker) Priority(i Index) uint8 { return p.state[i].prio() }

// SetPriority changes the priority of piece i: 0 is not wanted, 1 to 7 are
// wanted, higher ones first. Requests under way stay as they are, but blocks
// of a piece of priority 0 are not fresh when they arrive. The first Pick
// after changes of priority takes O(pieces).
func (p *Picker) SetPriority(i Index, prio uint8) {
	prio = min(prio, 7)
	old := p.state[i].prio()
	if old == prio {
		return
	}
	open := p.state[i]&statusOpen != 0
	if open {
		p.shut(i)
	}
	p.rare.stale = true
	p.works++
	p.state[i] = p.state[i]&^statusPriority | status(prio)
	if p.have.Has(i) {
		return
	}
	b := p.lookup(i)
	if prio == 0 {
		p.here -= b.arrived()
		p.wanted.Clear(i)
		p.interests++
	} else if old == 0 {
		p.here += b.arrived()
		p.wanted.Set(i)
		p.interests++
	}
	if b != nil {
		p.list(b)
	} else {
		p.reopen(i)
	}
}

// shut takes piece i from those that can be begun.
func (p *Picker) shut(i Index) {
	p.open[p.state[i].prio()].remove(i)
	p.opens--
	p.rare.close(i)
}

// reopen puts piece i, of which nothing is requested or here, among those
// that can be begun, if it is wanted.
func (p *Picker) reopen(i Index) {
	if !p.wanted.Has(i) {
		return
	}
	prio := p.state[i].prio()
	if p.open[prio] == nil {
		p.open[prio] = newSet(p.pieces)
	}
	p.open[prio].add(i)
	p.opens++
	p.rare.open(i)
}

// Passed says that piece i is here and its hash is right. It need not have
// been picked.
func (p *Picker) Passed(i Index) {
	if !p.have.Set(i) {
		return
	}
	p.forget(i)
	p.state[i] &^= statusFailed
	if p.state[i]&statusOpen != 0 {
		p.shut(i)
	}
	if !p.wanted.Clear(i) {
		return
	}
	for _, pr := range p.peers {
		if pr.counted == p.interests && !pr.all && pr.Has(i) {
			pr.interesting--
		}
	}
	if p.wanted.Count() == 0 {
		p.rare.drop()
		p.spare = nil
	}
}

// Failed says that the hash of piece i is wrong or that it could not be
// written: all of it is wanted again. Until it passes, its blocks are
// requested from one peer at a time; see Exclusive.
func (p *Picker) Failed(i Index) {
	p.Lost(i)
	p.state[i] |= statusFailed
}

// Lost says that nothing of piece i is here: it is missing again if it was
// had, and blocks that had arrived are forgotten, like the requests for it.
func (p *Picker) Lost(i Index) {
	if p.have.Clear(i) && p.state[i].prio() > 0 {
		p.wanted.Set(i)
		p.interests++
	}
	p.forget(i)
	if p.state[i]&statusOpen == 0 {
		p.reopen(i)
	}
}

// Exclusive is the peer that a piece which failed is requested from, until
// the piece passes or the peer leaves or drops its requests for it. It is nil
// if there is none. It may not have sent all of the piece: blocks of an
// earlier holder are kept.
func (p *Picker) Exclusive(i Index) *Peer {
	if b := p.lookup(i); b != nil {
		return b.holder
	}
	return nil
}
