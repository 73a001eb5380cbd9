package session

import (
	"btd/metainfo"
	"btd/piece"
)

const (
	rareCopies = 2  // a piece that fewer peers have than this is rare
	maxPassed  = 64 // runs of rare pieces in a row, before the oldest request has its turn
)

// rarity is what a seed of a torrent that stays in the local network knows of
// the copies of its pieces. Once super-seeding is over every piece is at one peer
// at least, and it is worth more to send what only one has: should that one
// leave, the swarm depends on us again.
type rarity struct {
	left int // pieces that are rare, as of the last tick; 0 while it does not matter
}

// tickRare counts the rare pieces.
func (t *torrent) tickRare() {
	t.rare.left = 0
	if t.super.policy != nil || t.pick.Missing() > 0 || len(t.peers.all) < 2 || t.e.scope() != metainfo.ScopeLAN {
		return
	}
	for i := range piece.Index(t.geo.Pieces()) {
		if t.pick.Availability(i) < rareCopies {
			t.rare.left++
		}
	}
}

// turn is the place in p's queue of the request that is answered next: the
// oldest one, or the oldest one of a rare piece.
func (t *torrent) turn(p *peer) int {
	if t.rare.left == 0 || t.super.policy != nil || p.up.passed >= maxPassed {
		p.up.passed = 0
		return 0
	}
	for k, a := range p.up.queue {
		if t.pick.Availability(a.Piece) >= rareCopies {
			continue
		}
		if k > 0 {
			p.up.passed++
		}
		return k
	}
	return 0
}
