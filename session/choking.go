package session

import (
	"time"

	"btd/choker"
)

// choking wires the choker to the torrent's peers.
type choking struct {
	policy *choker.Choker
	next   time.Time
	held   int // upload slots of the session that this torrent holds
	view   []choker.Peer
}

// advanceChokes runs a round when it is due and returns when the next is.
func (t *torrent) advanceChokes() time.Time {
	if t.now.Before(t.choke.next) {
		return t.choke.next
	}
	c := &t.choke
	if !t.disk.readable() { // nobody can be served
		c.next = t.now.Add(tickEvery)
		return c.next
	}
	c.view = c.view[:0]
	seeding := t.pick.Missing() == 0
	wanting := 0
	for _, p := range t.peers.all {
		if p.up.interested {
			wanting++
		}
		c.view = append(c.view, p.chokerView(seeding))
	}
	slots := t.s.slots.resize(c.held, min(wanting, t.mostSlots()))
	c.held = slots
	unchoke, next := c.policy.Round(t.now, seeding, slots, c.view)
	c.next = next
	keep := map[uint32]bool{}
	for _, id := range unchoke {
		keep[id] = true
	}
	optimistic := map[uint32]bool{}
	for _, id := range c.policy.Optimistic() {
		optimistic[id] = true
	}
	for _, p := range t.peers.all {
		p.up.optimistic = optimistic[p.id]
		if !keep[p.id] {
			t.chokePeer(p)
		}
	}
	for _, id := range unchoke {
		if p := t.peers.byID[id]; p != nil {
			t.unchokePeer(p)
		}
	}
	return c.next
}

// mostSlots is how many peers are served at a time, the optimistic one
// included.
func (t *torrent) mostSlots() int {
	usual := t.s.cfg.UploadSlotsPerTorrent + 1
	if t.super.policy != nil {
		return t.superSlots(usual)
	}
	return usual
}

func (p *peer) chokerView(seeding bool) choker.Peer {
	rate := p.down.meter.perSecond()
	if seeding {
		rate = p.up.meter.perSecond()
	}
	return choker.Peer{
		ID: p.id, Interested: p.up.interested, Rate: rate, Snubbed: p.down.snubbed,
		Joined: p.joined,
	}
}

// onInterested gives a newly interested peer a free slot at once.
func (t *torrent) onInterested(p *peer) {
	p.up.sated = time.Time{}
	if p.up.interested {
		return
	}
	p.up.interested = true
	if !p.up.choking || !t.disk.readable() {
		return
	}
	c := &t.choke
	if c.policy.Interested(t.now, p.chokerView(t.pick.Missing() == 0)) {
		t.unchokePeer(p)
	} else if c.held < t.mostSlots() {
		c.next = t.now // there may be a slot of the session to be had
	}
}

// lostInterest frees the slot of a peer that wants nothing.
func (c *choking) lostInterest(t *torrent, p *peer) {
	t.chokePeer(p)
	c.left(t, p)
}

// left frees the slot of a peer. A round gives it to the next at once.
func (c *choking) left(t *torrent, p *peer) {
	c.policy.Left(p.id)
	if c.policy.Free() > 0 {
		c.next = t.now
	}
}
