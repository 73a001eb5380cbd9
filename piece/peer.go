package piece

import "math/bits"

// Peer is what the picker knows of one connected peer.
type Peer struct {
	pieces int  // in the torrent
	has    *set // nil if it has nothing, or everything
	all    bool // a seed

	interesting int    // pieces it has that we want and lack, if counted is current
	counted     uint64 // Picker.interests at the time

	at          int   // position in Picker.peers, -1 once it left
	first, last int32 // its requests, oldest first
	outstanding int   // how many
	pace        Pace  // valid during Duplicate

	work     *begun // the piece it gets its blocks from, valid while stamp is the piece's
	stamp    uint64
	reviewed uint64 // Picker.works when work was chosen
	goOn     int    // the block of work to go on with
}

// Has tells whether the peer has piece i.
func (pr *Peer) Has(i Index) bool { return pr.all || pr.has != nil && pr.has.Has(i) }

// Count is the number of pieces that the peer has.
func (pr *Peer) Count() int {
	switch {
	case pr.all:
		return pr.pieces
	case pr.has == nil:
		return 0
	}
	return pr.has.Count()
}

// HasAll tells whether the peer has every piece of f, a set over the pieces of
// the torrent. It ends with the first 64 pieces of which the peer lacks one.
func (pr *Peer) HasAll(f *Bitfield) bool {
	switch {
	case pr.all || f.Count() == 0:
		return true
	case f.Count() > pr.Count():
		return false
	}
	for w := range f.words() {
		if f.word(w)&^pr.has.word(w) != 0 {
			return false
		}
	}
	return true
}

// IsSeed tells whether the peer has every piece.
func (pr *Peer) IsSeed() bool { return pr.all }

// Outstanding is the number of blocks that are requested from the peer.
func (pr *Peer) Outstanding() int { return pr.outstanding }

// Join adds a peer that has no pieces.
func (p *Picker) Join() *Peer {
	pr := &Peer{pieces: p.pieces, at: len(p.peers), counted: p.interests}
	p.peers = append(p.peers, pr)
	return pr
}

// Leave removes a peer and its requests. It takes time in proportion to the
// pieces that the peer has, or to those that it lacks if these are fewer.
func (p *Picker) Leave(pr *Peer) {
	if pr.at < 0 {
		return
	}
	p.DroppedAll(pr)
	p.uncount(pr)
	last := p.peers[len(p.peers)-1]
	p.peers[pr.at] = last
	last.at = pr.at
	p.peers[len(p.peers)-1] = nil
	p.peers = p.peers[:len(p.peers)-1]
	pr.at, pr.all, pr.has = -1, false, nil
}

// PeerHas notes that the peer has piece i too (BEP 3, "have") and tells
// whether that is news.
func (p *Picker) PeerHas(pr *Peer, i Index) (news bool) {
	if pr.all || pr.at < 0 {
		return false
	}
	if pr.has == nil {
		pr.has = newSet(p.pieces)
	}
	if !pr.has.add(i) {
		return false
	}
	p.rare.more(i)
	if p.wanted.Has(i) {
		pr.interesting++
	}
	if pr.has.All() {
		pr.all, pr.has = true, nil
		p.seeds++
	}
	return true
}

// PeerLacks notes that the peer has piece i no longer (BEP 54) and tells
// whether that is news. Requests stay as they are.
func (p *Picker) PeerLacks(pr *Peer, i Index) (news bool) {
	if !pr.Has(i) {
		return false
	}
	if pr.all {
		full := NewBitfield(p.pieces)
		full.Fill()
		pr.all, pr.has = false, wrapSet(full)
		p.seeds--
		pr.interesting, pr.counted = p.wanted.Count(), p.interests
	}
	pr.has.remove(i)
	p.rare.fewer(i)
	if p.wanted.Has(i) {
		pr.interesting--
	}
	return true
}

// PeerBitfield replaces what the peer has by f, which the picker takes over
// (BEP 3, "bitfield"; BEP 6, "have all" and "have none"). A full f costs no
// more than an empty one.
func (p *Picker) PeerBitfield(pr *Peer, f *Bitfield) {
	if f.Len() != p.pieces {
		panic("piece: the bitfield of another torrent")
	}
	if pr.at < 0 {
		return
	}
	p.uncount(pr)
	pr.all, pr.has = false, nil
	switch {
	case f.All():
		pr.all = true
		p.seeds++
	case f.Count() > 0:
		pr.has = wrapSet(f)
		pr.interesting, pr.counted = p.wanted.common(f), p.interests
	default:
		pr.interesting, pr.counted = 0, p.interests
	}
	p.recount(pr, 1)
}

// uncount takes what the peer has from the availability.
func (p *Picker) uncount(pr *Peer) {
	if pr.all {
		p.seeds--
	}
	p.recount(pr, -1)
}

// recount adds by, 1 or -1, to the availability of what the peer has. All
// pieces but a few are counted as all pieces, less those few.
func (p *Picker) recount(pr *Peer, by int32) {
	switch n := pr.Count(); {
	case n == 0:
	case n <= p.pieces/2:
		p.eachChange(pr.has, 0, by)
	default:
		p.rare.offset += by
		if !pr.all {
			p.eachChange(pr.has, ^uint64(0), -by)
		}
	}
}

// eachChange adds by to the availability of the members of s, or of the
// others if flip is all ones.
func (p *Picker) eachChange(s *set, flip uint64, by int32) {
	for w := range s.words() {
		x := s.word(w) ^ flip
		if over := (w+1)*64 - p.pieces; over > 0 {
			x = x >> over << over
		}
		for x != 0 {
			r := bits.LeadingZeros64(x)
			x &^= 1 << 63 >> r
			if i := Index(w*64 + r); by > 0 {
				p.rare.more(i)
			} else {
				p.rare.fewer(i)
			}
		}
	}
}

// Interesting tells whether the peer has a piece that we want and lack.
func (p *Picker) Interesting(pr *Peer) bool {
	if pr.all {
		return p.wanted.Count() > 0
	}
	if pr.counted != p.interests {
		pr.interesting, pr.counted = 0, p.interests
		if pr.has != nil {
			pr.interesting = p.wanted.common(&pr.has.Bitfield)
		}
	}
	return pr.interesting > 0
}
