package session

import (
	"time"

	"btd/piece"
)

// publisher keeps the torrent's picture fresh: at once when its state
// changes, otherwise once a second.
type publisher struct {
	dirty bool
	state State
	peers int
	quiet bool // the last picture showed no traffic
	age   int  // ticks since it was made
}

// oldPicture is after how many ticks a picture is renewed without a word to
// subscribers, for the sake of its times.
const oldPicture = 5

// publish renews the picture if something changed since the last.
func (t *torrent) publish() {
	old := t.e.view.Load()
	moving := t.flow.up.meter.rate > 0 || t.flow.down.meter.rate > 0
	if !t.pub.dirty && !moving && t.pub.quiet && t.pub.peers == t.peers.count() && t.pub.state == t.state() &&
		(old == nil || old.Swarm == t.s.announcer.swarm(t.e)) {
		if t.pub.age++; t.pub.age >= oldPicture {
			t.pub.age = 0
			t.e.view.Store(t.snapshot())
		}
		return
	}
	t.publishNow()
	t.s.hub.publish(EventProgress, t.e.hash, t.e.view.Load(), "")
}

// publishNow renews the picture, and tells subscribers if the state changed.
func (t *torrent) publishNow() {
	v := t.snapshot()
	t.e.view.Store(v)
	news := t.pub.state != v.State
	t.pub = publisher{state: v.State, peers: v.Peers, quiet: v.RateUp == 0 && v.RateDown == 0}
	if news {
		t.s.hub.publish(EventState, t.e.hash, v, "")
	}
}

// snapshot is the torrent as it is now.
func (t *torrent) snapshot() *Torrent {
	if t.wait != nil {
		return t.waitingView()
	}
	rec, _ := t.e.record()
	b := t.disk.bytes
	v := &Torrent{
		Hash: t.e.hash, Name: t.meta.Name, Dir: rec.Dir, State: t.state(), Private: t.meta.Private, Single: t.meta.Single,
		Size: b.size, Wanted: b.wanted, Have: b.have, HaveWanted: b.haveWanted,
		Pieces: t.geo.Pieces(), PieceLength: t.geo.PieceLength(), PiecesHave: t.pick.Have().Count(),
		Uploaded: t.e.tot.up.Load(), Downloaded: t.e.tot.down.Load(), Corrupt: t.e.tot.corrupt.Load(),
		RateUp: t.flow.up.meter.perSecond(), RateDown: t.flow.down.meter.perSecond(),
		SecondsActive:  t.e.tot.active.Load() / int64(time.Second),
		SecondsSeeding: t.e.tot.seeding.Load() / int64(time.Second),
		SuperSeeding:   t.super.policy != nil,
		Peers:          t.peers.count(), PeersKnown: t.book.Len(), Swarm: t.s.announcer.swarm(t.e),
		Added: rec.Added, Completed: rec.Completed, Options: optionsOf(&rec),
	}
	for _, p := range t.peers.all {
		if p.has.IsSeed() {
			v.Seeds++
		}
	}
	if c := t.disk.check; c != nil && c.total > 0 {
		v.Checked = 1 - float64(c.left.Count())/float64(c.total)
	}
	v.Error = t.disk.problem()
	if t.ctx.Err() != nil && rec.Stopped {
		v.State, v.RateUp, v.RateDown, v.Peers, v.Seeds = StateStopped, 0, 0, 0, 0
	}
	return v
}

// waitingView is snapshot while the metadata is missing.
func (t *torrent) waitingView() *Torrent {
	t.e.mu.Lock()
	v := t.e.idleView()
	t.e.mu.Unlock()
	if v.State != StateError {
		v.State = StateMetadata
	}
	if t.ctx.Err() != nil && v.Options.Stopped {
		v.State = StateStopped
	}
	v.Peers, v.PeersKnown, v.Swarm = t.peers.count(), t.book.Len(), t.s.announcer.swarm(t.e)
	t.wait.shown = t.waiting()
	shown := t.wait.shown
	v.Waiting = &shown
	return v
}

// fileViews pictures the files of a torrent that runs.
func (t *torrent) fileViews() []File { return fileViews(t.disk.layout, t.disk.prio, t.pick.Have()) }

// haveOf counts the bytes of file i in the pieces of have.
func haveOf(l layout, i int, have *piece.Bitfield) int64 {
	f := l.info.Files[i]
	first, last, ok := l.span(i)
	if !ok {
		return 0
	}
	var n int64
	for x := first; x <= last; x++ {
		if have.Has(x) {
			lo := max(f.Offset, l.geo.Offset(x))
			hi := min(f.Offset+f.Length, l.geo.Offset(x)+l.geo.Length(x))
			n += hi - lo
		}
	}
	return n
}

// peerViews pictures the connected peers.
func (t *torrent) peerViews() []Peer {
	out := make([]Peer, 0, len(t.peers.all))
	for _, p := range t.peers.all {
		progress := 0.0
		if p.has != nil {
			progress = float64(p.has.Count()) / float64(t.geo.Pieces())
		}
		out = append(out, Peer{
			Addr: p.addr, Client: p.name(), ID: p.hs.PeerID, Source: p.source, Incoming: p.incoming,
			Progress:   progress,
			Downloaded: p.down.meter.total, Uploaded: p.up.meter.total,
			RateDown: p.down.meter.perSecond(), RateUp: p.up.meter.perSecond(),
			Choking: p.up.choking, Choked: p.down.choked,
			Interested: p.up.interested, Interesting: p.down.interested,
			Optimistic: p.up.optimistic, Snubbed: p.down.snubbed,
			Requests: len(p.down.reqs), RequestsToUs: len(p.up.queue),
			Connected: time.Since(p.joined), Fast: p.fast(), Extended: p.extended(), UploadOnly: p.up.uploadOnly,
		})
	}
	return out
}
