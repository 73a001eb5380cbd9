package piece

import (
	"cmp"
	"slices"
	"time"
)

// maxCopies is how many peers a block is requested from at most.
const maxCopies = 8

// Endgame tells whether every block that is wanted and missing is here or
// requested, so that all that is left to do is to request blocks a second
// time from others (BEP 3). Pieces that no connected peer has do not stand in
// the way, nor do those that failed and that one peer has to deliver alone.
func (p *Picker) Endgame() bool {
	if p.wanted.Count() == 0 || p.opens > 0 && p.opens > p.unavailable() {
		return false
	}
	return p.assigned(p.orphans) && p.assigned(p.worked)
}

// assigned tells whether no peer could be asked for the free blocks in l.
func (p *Picker) assigned(l []*begun) bool {
	for _, b := range l {
		if b.holder == nil && p.rare.copies(b.piece) > 0 {
			return false
		}
	}
	return true
}

// unavailable is the number of open pieces that no connected peer has.
func (p *Picker) unavailable() int {
	r := &p.rare
	r.refresh()
	level := -r.offset - r.base
	if level < 0 || level >= r.levels {
		return 0
	}
	n := int32(0)
	for prio := uint8(1); prio <= 7; prio++ {
		s := &r.segs[r.group(prio)+level]
		n += s.live - s.start
	}
	return int(n)
}

// Pace is what is expected of a peer that is asked for blocks.
type Pace struct {
	Latency time.Duration // from a request to its block, if nothing else is requested
	Delay   time.Duration // for which it will probably send nothing
	Each    time.Duration // between two blocks
}

// last is when the last of n requested blocks is expected.
func (e Pace) last(n int) time.Duration { return e.Delay + time.Duration(n)*e.Each }

const (
	// A block is requested again only where it is expected in less than half
	// the time, and this much sooner. Estimates are no better than that, and
	// what is about to come anyway would come twice.
	helpTimes = 2
	helpGain  = 20 * time.Millisecond
)

// helps is the time from which on it pays to request from pr, beside what is
// requested from it already, what others are expected to send at that time.
func (p *Picker) helps(pr *Peer) time.Duration {
	return helpTimes*(pr.pace.Latency+pr.pace.last(pr.outstanding+1)) + helpGain
}

// Duplicate is for the endgame: it appends up to n blocks that are requested
// from other peers and are expected from pr much sooner, and notes them as
// requested from pr too. Those with the fewest requests come first, and from
// the peers that are expected to be the last ones. Of what is requested from
// one of them it takes the end, so that the two meet. Where blocks have more
// than one request already, it takes one at a time.
//
// pace tells what is expected of a peer; it is called once for each. A short
// list does not mean that there is nothing to duplicate a moment later: other
// peers may fall behind.
func (p *Picker) Duplicate(pr *Peer, n int, pace func(*Peer) Pace, dst []Block) []Block {
	if n <= 0 || pr.at < 0 || pr.outstanding == p.asking || !p.Endgame() {
		return dst // it was asked for all of them already, or it is too early
	}
	pr.pace = pace(pr)
	from := p.helps(pr)
	p.late = p.late[:0]
	for _, other := range p.peers {
		if other == pr || other.outstanding == 0 {
			continue
		}
		other.pace = pace(other)
		if other.pace.last(other.outstanding) > from {
			p.late = append(p.late, other)
		}
	}
	copies := p.fewest(pr, from)
	if copies == maxCopies {
		return dst
	}
	if copies > 1 {
		n = 1
	}
	slices.SortStableFunc(p.late, func(a, b *Peer) int {
		return cmp.Compare(b.pace.last(b.outstanding), a.pace.last(a.outstanding))
	})
	for _, other := range p.late {
		before := len(dst)
		dst = p.help(pr, other, copies, n, dst)
		if n -= len(dst) - before; n == 0 {
			break
		}
	}
	return dst
}

// fewest is the smallest number of requests that a block has which is
// expected later than from and may be requested from pr; maxCopies if there is
// no such block.
func (p *Picker) fewest(pr *Peer, from time.Duration) int {
	copies := maxCopies
	for _, other := range p.late {
		at := other.outstanding
		for q := other.last; q != 0 && copies > 1 && other.pace.last(at) > from; q = p.requests.all[q].prev {
			if c := p.copies(pr, q, from); c > 0 {
				copies = min(copies, c)
			}
			at--
		}
	}
	return copies
}

// copies is the number of requests for the block of request q if pr may be
// asked for it too, else 0. A block counts for the first of its requests. The
// others have to be expected later than from as well, even if they are the
// next to be answered: their places are not counted.
func (p *Picker) copies(pr *Peer, q int32, from time.Duration) int {
	r := &p.requests.all[q]
	b := p.lookup(r.piece)
	if b.who[r.block] != q || !p.allowed(pr, b) {
		return 0
	}
	n := 1
	for o := r.same; o != 0; o = p.requests.all[o].same {
		other := p.requests.all[o].peer
		if other == pr || other.pace.last(1) <= from {
			return 0
		}
		n++
	}
	return n
}

// help requests from pr up to n of the blocks that other was asked for first,
// the last ones. They are requested in the order of the other requests, since
// neighbours are cheaper to send.
func (p *Picker) help(pr, other *Peer, copies, n int, dst []Block) []Block {
	from := p.helps(pr)
	step := helpTimes * pr.pace.Each
	begin, found, at := int32(0), 0, other.outstanding
	for q := other.last; q != 0 && found < n && other.pace.last(at) > from; q = p.requests.all[q].prev {
		if p.copies(pr, q, from) == copies {
			begin = q
			from += step
			found++
		}
		at--
	}
	from = p.helps(pr)
	for q := begin; q != 0 && found > 0; q = p.requests.all[q].next {
		if p.copies(pr, q, from) != copies {
			continue
		}
		found--
		i, k := p.requests.all[q].piece, int(p.requests.all[q].block)
		p.requests.add(pr, i, k, q)
		dst = append(dst, p.geo.Block(i, k))
	}
	return dst
}
