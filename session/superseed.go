package session

import (
	"time"

	"btd/metainfo"
	"btd/peerwire"
	"btd/piece"
	"btd/session/superseed"
)

// SuperSeeding says when a torrent that we are the only seed of is shown to
// peers piece by piece (BEP 16).
type SuperSeeding string

// The modes of super-seeding.
const (
	SuperAuto SuperSeeding = "auto" // while several peers have no full copy among them and no other seed is known
	SuperOn   SuperSeeding = "on"   // also for a single peer, and although there may be other seeds
	SuperOff  SuperSeeding = "off"
)

// Valid tells whether it is one of the modes.
func (m SuperSeeding) Valid() bool { return m == SuperAuto || m == SuperOn || m == SuperOff }

const (
	superSlots = 16               // peers served at a time, if that many want something
	slotRate   = 64 << 10         // bytes a second of the upload limit for each of them
	satedFor   = 5 * time.Second  // a peer that took all it was shown keeps its slot
	seedLasts  = 30 * time.Minute // how long a seed that was seen counts as one
)

// super is the torrent's super-seeding.
type super struct {
	policy  *superseed.Seed // nil while everybody is told everything
	next    time.Time       // when to look again
	sawSeed time.Time       // the last time another seed was connected
	show    []piece.Index   // reused
}

// mayCover tells whether a peer that connects now is to be shown pieces one by
// one.
func (t *torrent) mayCover() bool {
	mode := t.s.cfg.SuperSeeding
	if mode == SuperOff || !t.pick.Have().All() || t.geo.Pieces() < 2 {
		return false
	}
	if mode == SuperAuto {
		t.watchSeeds()
		if t.now.Sub(t.super.sawSeed) < seedLasts || t.s.announcer.swarm(t.e).Seeds > 1 || !t.downloaders(2) {
			return false
		}
	}
	if t.super.policy != nil {
		return true
	}
	for i := range piece.Index(t.geo.Pieces()) {
		if t.pick.Availability(i) == 0 {
			return true
		}
	}
	return false
}

// downloaders tells whether at least n peers lack something.
func (t *torrent) downloaders(n int) bool {
	for _, p := range t.peers.all {
		if !p.has.IsSeed() && !p.up.uploadOnly {
			n--
		}
	}
	return n <= 0
}

func (t *torrent) watchSeeds() {
	if t.pick.Seeds() > 0 {
		t.super.sawSeed = t.now
	}
}

// cover decides how a new peer sees us, before it is greeted.
func (t *torrent) cover(p *peer) (covered bool) {
	covered = t.mayCover()
	if t.super.policy == nil {
		if !covered {
			return false
		}
		t.log.Info("super-seeding: nobody else has everything")
		t.super.policy = superseed.New(t.geo, t.pick, t.rng)
		t.super.next = t.now
		t.pub.dirty = true
		for _, o := range t.peers.all {
			if o == p {
				continue
			}
			t.super.policy.Join(o.id, o.has, false)
			for _, a := range o.up.queue {
				t.super.policy.Asked(t.now, o.id, a.Piece)
			}
			t.coverLate(o)
		}
	}
	t.super.policy.Join(p.id, p.has, covered)
	return covered
}

// sated tells whether p wants nothing because it has all that it was shown. It
// keeps its slot: more is shown soon.
func (t *torrent) sated(p *peer) bool {
	return p.up.interested && t.super.policy != nil && t.super.policy.Sated(p.id)
}

// tickSated frees the slots of peers that want nothing of what they were shown
// since.
func (t *torrent) tickSated(p *peer) {
	if p.up.sated.IsZero() || t.now.Sub(p.up.sated) < satedFor {
		return
	}
	p.up.sated, p.up.interested = time.Time{}, false
	t.choke.lostInterest(t, p)
}

// coverLate takes back what a peer was told when it was alone, if it
// understands that (BEP 54).
func (t *torrent) coverLate(p *peer) {
	s, id := t.super.policy, p.ext.M[peerwire.ExtDontHave]
	if s == nil || id == 0 || p.up.uploadOnly || p.has.IsSeed() || s.Covered(p.id) {
		return
	}
	keeps := s.Cover(t.now, p.id)
	for i := range piece.Index(t.geo.Pieces()) {
		if !keeps.Has(i) {
			p.wire.ctl = peerwire.AppendDontHave(p.wire.ctl, id, i)
		}
	}
	t.touch(p)
}

// advanceSuper shows peers more pieces, ends super-seeding when it is over, and
// returns when to look again.
func (t *torrent) advanceSuper() time.Time {
	s := t.super.policy
	if s == nil {
		return t.now.Add(tickEvery)
	}
	t.watchSeeds()
	if !t.pick.Have().All() || s.Done(t.now) || t.s.cfg.SuperSeeding == SuperAuto && len(t.peers.all) == 0 {
		t.uncover()
		return t.now.Add(tickEvery)
	}
	tick := !t.now.Before(t.super.next)
	if s.Due(t.now, tick) {
		for _, p := range t.peers.all {
			t.show(p)
		}
	}
	if tick {
		t.super.next = s.Next(t.now)
	}
	return t.super.next
}

// show tells a peer of more pieces.
func (t *torrent) show(p *peer) {
	v := superseed.View{
		ID: p.id, Rate: int64(max(p.up.meter.rate, p.up.meter.last)), Interested: p.up.interested,
		Served: !p.up.choking, UploadOnly: p.up.uploadOnly,
	}
	t.super.show = t.super.policy.Show(t.now, v, t.super.show[:0])
	for _, i := range t.super.show {
		p.wire.ctl = peerwire.AppendHave(p.wire.ctl, i)
		t.touch(p)
	}
}

// uncover ends super-seeding: every peer is told of the rest of what we have.
func (t *torrent) uncover() {
	s := t.super.policy
	for _, p := range t.peers.all {
		if !s.Covered(p.id) || p.has.IsSeed() {
			continue
		}
		for i := range t.pick.Have().Indexes() {
			if s.Hidden(p.id, i) {
				p.wire.ctl = peerwire.AppendHave(p.wire.ctl, i)
			}
		}
		t.touch(p)
	}
	t.super.policy = nil
	t.choke.next = t.now
	t.pub.dirty = true
	t.log.Info("super-seeding is over", "sent", t.flow.up.meter.total)
}

// refused tells whether p asks for a piece that it was not shown.
func (t *torrent) refused(p *peer, i piece.Index) bool {
	return t.super.policy != nil && t.super.policy.Refused(p.id, i)
}

// superSlots is how many peers are served at a time while super-seeding: all
// of them pass on what they get.
func (t *torrent) superSlots(usual int) int {
	most := superSlots
	if limit := t.uploadLimit(); limit > 0 {
		most = min(most, int(limit/slotRate))
	}
	return max(usual, most)
}

// uploadLimit is the lower of the limits that hold for the torrent's uploads,
// bytes a second; 0 is none.
func (t *torrent) uploadLimit() int64 {
	rec, _ := t.e.record()
	own, all := rec.LimitUp, t.s.Limits().Up
	if rec.Scope == metainfo.ScopeLAN {
		return own
	}
	if own == 0 || all > 0 && all < own {
		return all
	}
	return own
}
