package piece

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

// duplicate appends up to n blocks that are requested from other peers, those
// with the fewest requests first, and notes them as requested from pr too. Of
// each other peer's requests it takes the newer half: they arrive last there,
// and the two meet in the middle.
func (p *Picker) duplicate(pr *Peer, n int, dst []Block) []Block {
	if pr.outstanding == p.asking || !p.Endgame() {
		return dst // it was asked for all of them already, or it is too early
	}
	copies := maxCopies
	for _, other := range p.peers {
		if other == pr {
			continue
		}
		for q := other.first; q != 0 && copies > 1; q = p.requests.all[q].next {
			if c := p.copies(pr, q); c > 0 {
				copies = min(copies, c)
			}
		}
	}
	if copies == maxCopies {
		return dst
	}
	if copies > 1 {
		n = 1
	}
	for k := 1; k < len(p.peers) && n > 0; k++ {
		other := p.peers[(pr.at+k)%len(p.peers)]
		before := len(dst)
		dst = p.help(pr, other, copies, n, dst)
		n -= len(dst) - before
	}
	return dst
}

// copies is the number of requests for the block of request q if pr may be
// asked for it too, else 0. A block counts for the first of its requests.
func (p *Picker) copies(pr *Peer, q int32) int {
	r := &p.requests.all[q]
	b := p.lookup(r.piece)
	if b.who[r.block] != q || !p.allowed(pr, b) {
		return 0
	}
	n, asked := p.requests.count(q, pr)
	if asked {
		return 0
	}
	return n
}

// help requests from pr up to n of the blocks that other was asked for first.
func (p *Picker) help(pr, other *Peer, copies, n int, dst []Block) []Block {
	found := 0
	for q := other.first; q != 0; q = p.requests.all[q].next {
		if p.copies(pr, q) == copies {
			found++
		}
	}
	skip := found - min(n, (found+1)/2)
	for q := other.first; q != 0 && found > 0; q = p.requests.all[q].next {
		if p.copies(pr, q) != copies {
			continue
		}
		found--
		if skip > 0 {
			skip--
			continue
		}
		i, k := p.requests.all[q].piece, int(p.requests.all[q].block)
		p.requests.add(pr, i, k, q)
		dst = append(dst, p.geo.Block(i, k))
	}
	return dst
}
