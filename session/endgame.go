package session

import (
	"time"

	"btd/piece"
)

const (
	fairSpare  = 8                      // requests beyond a peer's part of the rest, at most
	fairTime   = 50 * time.Millisecond  // worth of such requests
	lookEvery  = 10 * time.Millisecond  // between two looks for blocks that are late, at least
	lookAtMost = 250 * time.Millisecond // likewise at most
)

// fairDepth bounds p's pipeline near the end of a download: each peer is asked
// for its share of what is left by its rate, so that all are through at the
// same time and few blocks have to be asked for twice. Peers that are asked for
// nothing have no share.
func (t *torrent) fairDepth(p *peer) int {
	left := t.pick.Left()
	if left > 2*t.peers.depth {
		return maxDepth
	}
	all, heads := 0.0, 0
	for _, o := range t.peers.all {
		if o.down.interested && !o.down.choked {
			heads++
			if o == p || o.down.live > 0 {
				all += o.down.flow.Rate(t.now)
			}
		}
	}
	rate := p.down.flow.Rate(t.now)
	if rate == 0 || all == 0 {
		return left/max(1, heads) + fairSpare
	}
	spare := min(max(int(rate*fairTime.Seconds()), minDepth), fairSpare)
	return p.down.flow.Fair(t.now, left, all) + spare
}

// paceOf is what is expected of a peer that the picker asks for.
func (t *torrent) paceOf(pp *piece.Peer) piece.Pace {
	p := t.peers.byPicker[pp]
	return p.down.flow.Pace(t.now, p.down.live > 0)
}

// duplicate picks up to n more blocks for p that others were asked for and
// that are late, if nothing else is left to ask for. If there are fewer it is
// looked again soon: p has time.
func (t *torrent) duplicate(p *peer, n int) {
	if !t.pick.Endgame() {
		return
	}
	had := len(t.peers.picked)
	t.peers.picked = t.pick.Duplicate(p.has, n, t.paceOf, t.peers.picked)
	if len(t.peers.picked)-had < n && t.pick.Left() > p.has.Outstanding() {
		p.down.idle = true
		if !t.clock.idlers {
			t.clock.idlers = true
			wait := t.now.Sub(t.clock.block) / 4 // the longer nothing has come, the longer it may take
			t.clock.lookAt = t.now.Add(min(max(wait, lookEvery), lookAtMost))
		}
	}
}

// lookLate lets those be asked for late blocks who had nothing to do when
// there was none.
func (t *torrent) lookLate() {
	if !t.clock.idlers || t.now.Before(t.clock.lookAt) {
		return
	}
	t.clock.idlers = false
	for _, p := range t.peers.all {
		if p.down.idle {
			p.down.idle = false
			t.hungry(p)
		}
	}
}
