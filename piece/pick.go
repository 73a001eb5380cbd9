package piece

import "math/bits"

// Limits of the search for a piece. They bound the work of one Pick; within
// them the choice is exact.
const (
	lookRare   = 64  // pieces tried along the order of rarity before the bitfields are compared
	lookLevels = 256 // availabilities tried there
	lookCommon = 128 // pieces weighed when comparing bitfields
	lookBegun  = 64  // begun pieces weighed
	lookRandom = 16  // tries to hit a random piece that the peer has
)

const (
	// A peer is slow if a piece has more than this many times the blocks it
	// keeps requested. With 3 s worth of requests that is a piece in 48 s.
	slowFactor = 16
	// Two peers that work on one piece start up to this many blocks apart.
	stride = 64
	// Begun pieces with free blocks are limited to 3/2 per peer and some, and
	// where pieces are large to those that make this many bytes.
	begunSome  = 8
	begunFew   = 4
	begunBytes = 2 << 30
)

// Pick appends up to n blocks to request from pr and notes them as requested.
// They come from as few pieces as possible and ascend within a piece. With
// what is outstanding already, n tells how fast the peer is: pass all that
// should be requested now. Fewer than n come back if the peer has nothing
// more to offer for now, see Duplicate, or if very much is begun already.
func (p *Picker) Pick(pr *Peer, n int, dst []Block) []Block {
	if n <= 0 || pr.at < 0 || !p.Interesting(pr) {
		return dst
	}
	depth := pr.outstanding + n
	for n > 0 {
		b := p.workOf(pr)
		if b == nil || pr.reviewed != p.works || b.free == 0 || !p.allowed(pr, b) {
			p.setWork(pr, nil)
			if b = p.choose(pr, depth); b == nil {
				return dst
			}
			p.join(pr, b, depth)
		}
		before := len(dst)
		dst = p.cut(pr, b, n, depth, dst)
		n -= len(dst) - before
	}
	return dst
}

// PickPiece is Pick for blocks of piece i alone (BEP 6, "allowed fast" and
// "suggest piece").
func (p *Picker) PickPiece(pr *Peer, i Index, n int, dst []Block) []Block {
	if n <= 0 || pr.at < 0 || !pr.Has(i) || !p.wanted.Has(i) {
		return dst
	}
	b := p.lookup(i)
	switch {
	case b == nil && !p.full():
		b = p.begin(i)
	case b == nil, b.free == 0, !p.allowed(pr, b):
		return dst
	}
	depth := pr.outstanding + n
	if w := p.workOf(pr); w == nil || w.free == 0 {
		p.join(pr, b, depth)
	} else {
		p.hold(pr, b)
	}
	if p.workOf(pr) != b {
		for ; n > 0 && b.free > 0; n-- {
			dst = p.request(pr, b, b.nextFree(0), dst)
		}
		p.list(b)
		return dst
	}
	return p.cut(pr, b, n, depth, dst)
}

// allowed tells whether blocks of b may be requested from pr.
func (p *Picker) allowed(pr *Peer, b *begun) bool {
	return pr.Has(b.piece) && p.wanted.Has(b.piece) && (b.holder == nil || b.holder == pr)
}

// hold makes pr the holder of b if b failed before.
func (p *Picker) hold(pr *Peer, b *begun) {
	if p.state[b.piece]&statusFailed != 0 {
		p.setHolder(b, pr)
	}
}

// join makes b the piece that pr works on.
func (p *Picker) join(pr *Peer, b *begun, depth int) {
	p.setWork(pr, b)
	p.hold(pr, b)
	if b.workers == 1 {
		b.slow = p.slow(depth)
	}
}

// slow tells whether a peer with that many requests is slow.
func (p *Picker) slow(depth int) bool { return p.blocks > slowFactor*depth }

// cut requests up to n blocks of b from pr, which works on it.
func (p *Picker) cut(pr *Peer, b *begun, n, depth int, dst []Block) []Block {
	alone := b.workers == 1 || p.slow(depth)
	k := pr.goOn
	if alone {
		k = b.nextFree(0)
	}
	for n > 0 && b.free > 0 {
		if k < 0 || !b.isFree(k) {
			if alone {
				k = b.nextFree(k)
			} else {
				k = b.apart()
			}
		}
		dst = p.request(pr, b, k, dst)
		k++
		n--
	}
	pr.goOn = k
	if b.free == 0 {
		p.list(b)
	}
	return dst
}

// apart is a free block to start with for a peer that is not alone: some
// distance from the first free one, where another peer is likely to go on. So
// both get long runs.
func (b *begun) apart() int {
	k := b.nextFree(0)
	if far := b.nextFree(k + min(stride, b.free/2)); far >= 0 {
		return far
	}
	return k
}

// request notes a request for block k of b, which is free.
func (p *Picker) request(pr *Peer, b *begun, k int, dst []Block) []Block {
	b.take(k)
	b.requested++
	p.asking++
	b.who[k] = p.requests.add(pr, b.piece, k, 0)
	return append(dst, p.geo.Block(b.piece, k))
}

// choose finds the piece that pr is to work on next and begins it if it is
// new. It is nil if there is no free block for pr.
func (p *Picker) choose(pr *Peer, depth int) *begun {
	b := p.best(p.orphans, pr, p.fuller)
	if p.slow(depth) {
		b = p.shared(b, pr, depth)
	}
	if b == nil && len(p.orphans)+len(p.worked) >= p.limit() {
		b = p.best(p.worked, pr, p.freer)
	}
	least := uint8(1)
	if b != nil {
		least = p.state[b.piece].prio() + 1
	}
	if !p.full() {
		if i, ok := p.fresh(pr, least); ok {
			return p.begin(i)
		}
	}
	if b == nil {
		b = p.best(p.worked, pr, p.freer)
	}
	if b == nil && pr.outstanding == 0 { // what is begun may be nobody's to deliver any more
		if i, ok := p.fresh(pr, least); ok {
			return p.begin(i)
		}
	}
	return b
}

// limit is the number of begun pieces with free blocks from which on no
// further one is begun without need.
func (p *Picker) limit() int {
	large := max(begunFew, int(begunBytes/p.geo.PieceLength()))
	return min(len(p.peers)*3/2+begunSome, large)
}

// best is the best piece for pr in l; before tells which of two is better.
func (p *Picker) best(l []*begun, pr *Peer, before func(a, b *begun) bool) *begun {
	var best *begun
	p.look(l, func(b *begun) {
		if p.allowed(pr, b) && (best == nil || before(b, best)) {
			best = b
		}
	})
	return best
}

// look visits some of l, others the next time if it is long.
func (p *Picker) look(l []*begun, visit func(*begun)) {
	n := min(len(l), lookBegun)
	at := 0
	if n < len(l) {
		p.cursor = (p.cursor + n) % len(l)
		at = p.cursor
	}
	for range n {
		visit(l[at])
		if at++; at == len(l) {
			at = 0
		}
	}
}

// shared is the better of b, which may be nil, and the pieces of other slow
// peers that have room for one more.
func (p *Picker) shared(b *begun, pr *Peer, depth int) *begun {
	p.look(p.worked, func(o *begun) {
		if o.slow && o.blocks > slowFactor*depth*o.workers && p.allowed(pr, o) && (b == nil || p.fuller(o, b)) {
			b = o
		}
	})
	return b
}

// fuller prefers the piece that is complete sooner.
func (p *Picker) fuller(a, b *begun) bool {
	return p.before(a, b, b.free-a.free)
}

// freer prefers the piece that leaves more to do for each who works on it.
func (p *Picker) freer(a, b *begun) bool {
	return p.before(a, b, a.free*(b.workers+1)-b.free*(a.workers+1))
}

// before orders begun pieces: by priority; in sequential mode by number, else
// by lead, how much a is ahead of b; then the rarer and the lower one.
func (p *Picker) before(a, b *begun, lead int) bool {
	if x, y := p.state[a.piece].prio(), p.state[b.piece].prio(); x != y {
		return x > y
	}
	if !p.sequential {
		if lead != 0 {
			return lead > 0
		}
		if x, y := p.rare.raw[a.piece], p.rare.raw[b.piece]; x != y {
			return x < y
		}
	}
	return a.piece < b.piece
}

// fresh finds a piece to begin for pr, of priority least or more.
func (p *Picker) fresh(pr *Peer, least uint8) (Index, bool) {
	for prio := uint8(7); prio >= least && prio > 0; prio-- {
		open := p.open[prio]
		if open == nil || open.Count() == 0 {
			continue
		}
		has := pr.has
		if pr.all {
			has = open
		}
		var i Index
		var ok bool
		switch {
		case p.sequential:
			i, ok = open.next(has, 0)
		case p.have.Count() == 0:
			i, ok = p.anyOf(open, has, pr, prio)
		default:
			i, ok = p.rarest(open, has, pr, prio)
		}
		if ok {
			return i, true
		}
	}
	return 0, false
}

// anyOf is a random open piece of a priority that pr has.
func (p *Picker) anyOf(open, has *set, pr *Peer, prio uint8) (Index, bool) {
	r := &p.rare
	r.refresh()
	first := r.group(prio)
	from, to := r.segs[first].start, r.segs[first+r.levels-1].end
	for range lookRandom {
		i := r.order[from+int32(p.rng.Uint32N(uint32(to-from)))]
		if p.state[i]&statusOpen != 0 && pr.Has(i) {
			return i, true
		}
	}
	i := Index(p.rng.Uint32N(uint32(p.pieces)))
	if i, ok := open.next(has, i); ok {
		return i, true
	}
	return open.next(has, 0)
}

// rarest is the rarest open piece of a priority that pr has.
func (p *Picker) rarest(open, has *set, pr *Peer, prio uint8) (Index, bool) {
	r := &p.rare
	r.refresh()
	left := open.Count()
	if !pr.all && pr.interesting <= lookCommon && pr.interesting*lookRare < left {
		return p.rarestCommon(open, has)
	}
	first, looked := r.group(prio), 0
	low := r.low[prio]
	for level := low; left > 0 && looked < lookRare && level < low+lookLevels; level++ {
		s := &r.segs[first+level]
		if s.start == s.live && r.low[prio] == level {
			r.low[prio]++
		}
		for at := s.start; at < s.live && looked < lookRare; at++ {
			if i := r.order[at]; pr.Has(i) {
				return i, true
			}
			looked++
			left--
		}
	}
	if left == 0 {
		return 0, false
	}
	return p.rarestCommon(open, has)
}

// rarestCommon is the rarest piece in both sets, or the rarest of many if
// they have very many in common.
func (p *Picker) rarestCommon(open, has *set) (best Index, found bool) {
	start, salt := int(p.rng.Uint32N(uint32(open.words()))), p.rng.Uint64()
	var copies int32
	var tie uint64 // which of equally rare ones wins: the lowest
	looked := 0
	for _, part := range [2][2]int{{start, open.words()}, {0, start}} {
		for w := open.nextWord(has, part[0]); w >= 0 && w < part[1] && looked < lookCommon; w = open.nextWord(has, w+1) {
			for x := open.word(w) & has.word(w); x != 0; looked++ {
				r := bits.LeadingZeros64(x)
				x &^= 1 << 63 >> r
				i := Index(w<<6 + r)
				n, t := p.rare.raw[i], (uint64(i)^salt)*0x9e3779b97f4a7c15
				if !found || n < copies || n == copies && t < tie {
					best, copies, tie, found = i, n, t, true
				}
			}
		}
	}
	return best, found
}
