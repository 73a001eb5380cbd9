package session

import (
	"errors"
	"math/rand/v2"
	"time"

	"btd/metainfo"
	"btd/peerwire"
	"btd/session/addrbook"
	"btd/session/metafetch"
)

// collecting is what a torrent has while it waits for its metadata, instead of
// a picker and files.
type collecting struct {
	fetch *metafetch.Fetcher
	tried int      // peers that were dialled, or came
	shown Waiting  // in the last picture
	info  []byte   // the info dictionary, once it is here
	seeds []string // web seeds that came with it
}

// leftUnknown is what trackers are told is missing while nobody knows, bytes:
// anything but nothing, which would make us a seed.
const leftUnknown = 16 << 10

// collect gets the metadata of a torrent that was added by its link. It does
// nothing for others. It returns false once the torrent was stopped.
func (t *torrent) collect() bool {
	rec, _ := t.e.record()
	if rec.Magnet == "" {
		return true
	}
	link, err := metainfo.ParseMagnet(rec.Magnet)
	if err != nil {
		t.giveUp(err)
		return false
	}
	t.beginCollect(link)
	t.loop(t.advanceCollect, func() bool { return t.wait.info != nil })
	t.awaits.Store(false)
	if t.wait.info != nil {
		return t.collected()
	}
	t.rememberPeers()
	return false
}

// beginCollect sets up what collect needs.
func (t *torrent) beginCollect(link *metainfo.Magnet) {
	t.now = time.Now()
	t.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	t.wait = &collecting{fetch: metafetch.New(t.e.hash.Wire(), metafetch.Config{MaxSize: peerwire.MaxMetadata})}
	t.book = addrbook.New(addrbook.Config{Scope: t.e.scope()}, t.rng)
	t.peers.init()
	for _, ip := range t.s.bans.list() {
		t.book.Ban(ip)
	}
	t.recallPeers()
	t.resolvePeers(link.Peers)
	t.e.tot.left.Store(leftUnknown)
	t.e.clearProblem()
	t.awaits.Store(true)
	t.s.announcer.start(t.e)
	t.publishNow()
}

// advanceCollect does what is due and returns when to look again.
func (t *torrent) advanceCollect() time.Time {
	if !t.now.Before(t.clock.tick) {
		t.tickCollect()
		t.clock.tick = t.now.Add(tickEvery)
	}
	t.advanceDials()
	reqs, next := t.wait.fetch.Requests(t.now)
	for _, r := range reqs {
		p := t.peers.byID[r.Peer]
		if p == nil {
			continue
		}
		m := peerwire.Metadata{Type: peerwire.MetadataRequest, Piece: r.Piece}
		p.wire.ctl = peerwire.AppendExtended(p.wire.ctl, p.ext.M[peerwire.ExtMetadata], m.Append(nil))
		t.touch(p)
	}
	if next.IsZero() || next.After(t.clock.tick) {
		next = t.clock.tick
	}
	if t.clock.dialAt.After(t.now) && t.clock.dialAt.Before(next) {
		next = t.clock.dialAt
	}
	return next
}

// tickCollect is the work of about once a second.
func (t *torrent) tickCollect() {
	if !t.clock.lastSec.IsZero() {
		t.e.tot.active.Add(int64(t.now.Sub(t.clock.lastSec)))
	}
	t.clock.lastSec = t.now
	for k := len(t.peers.all) - 1; k >= 0; k-- {
		p := t.peers.all[k]
		switch {
		case t.now.Sub(p.wire.lastRecv) > silentAfter:
			t.drop(p, errTimeout)
			continue
		case t.now.Sub(p.wire.lastSent) > keepAliveAfter:
			p.wire.ctl = peerwire.AppendKeepAlive(p.wire.ctl)
		}
		t.touch(p)
	}
	if t.peers.count() >= t.s.cfg.MaxPeersPerTorrent {
		t.makeRoomEarly()
	}
	t.tickNames()
	t.askForPeers()
	if t.waiting() != t.wait.shown {
		t.pub.dirty = true
	}
	t.publish()
}

// waiting says what the torrent waits for.
func (t *torrent) waiting() Waiting {
	w := Waiting{Nodes: t.s.seeker.asked(t.e), Tried: t.wait.tried, Sources: t.wait.fetch.Sources()}
	w.Have, w.Pieces, w.Size = t.wait.fetch.Progress()
	return w
}

// gotMetadata takes a piece of the metadata.
func (t *torrent) gotMetadata(p *peer, m *peerwire.Metadata) {
	r := t.wait.fetch.Data(p.id, m.Piece, m.Total, m.Data, t.now)
	for _, id := range r.Liars {
		if q := t.peers.byID[id]; q != nil {
			t.log.Info("peer banned: it sent wrong metadata", "peer", q.addr)
			t.banHost(q.addr.Addr())
		}
	}
	if r.Info != nil {
		t.wait.info = r.Info
	}
}

// supplied takes metadata that came another way.
func (t *torrent) supplied(m *metainfo.Metainfo) {
	if t.wait != nil && t.wait.info == nil {
		t.wait.info, t.wait.seeds = m.Raw, m.WebSeeds
	}
}

// collected records the metadata, trying again while the disk does not let
// it. It returns false if it is of no use or the torrent was stopped.
func (t *torrent) collected() bool {
	for wait := probeFirst; ; wait = min(2*wait, probeMost) {
		m, err := t.s.fulfil(t.e, t.wait.info, t.wait.seeds)
		switch {
		case errors.Is(err, errUnusable):
			t.giveUp(err)
			return false
		case err == nil:
			if m != nil {
				t.log.Info("metadata is here", "name", m.Name, "bytes", len(m.Raw))
			}
			t.keepPrivate(t.e.private())
			return true
		}
		t.e.setProblem(t.s, err.Error())
		t.turnAway()
		select {
		case <-t.ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// giveUp shows why a torrent will never run, and waits for its end. Nothing that
// is posted meanwhile has an effect.
func (t *torrent) giveUp(err error) {
	t.log.Error("torrent cannot be used", "err", err)
	t.s.announcer.stop(t.e)
	for len(t.peers.all) > 0 {
		t.drop(t.peers.all[0], errStopping)
	}
	t.e.setProblem(t.s, err.Error())
	for t.ctx.Err() == nil { // what still comes is given back, so that it does not pile up
		select {
		case <-t.ctx.Done():
		case <-t.in.wake:
			t.settleEvents(t.in.drain(nil))
		}
	}
}

// keepPrivate has a private torrent forget the peers that it must not know
// (BEP 27): those that came from others than its trackers and its user.
func (t *torrent) keepPrivate(private bool) {
	t.s.near.learned(t.e)
	if !private {
		t.s.seeker.again(t.e) // to announce it
		return
	}
	t.s.seeker.stop(t.e)
	for k := len(t.peers.all) - 1; k >= 0; k-- {
		if p := t.peers.all[k]; p.source.public() {
			t.drop(p, errPrivate)
		}
	}
	t.book.Purge(func(source string) bool { return Source(source).public() })
}

// scatter ends what a loop had that did not get as far as to have files.
func (t *torrent) scatter() {
	t.stop()
	for len(t.peers.all) > 0 {
		t.drop(t.peers.all[0], errStopping)
	}
	t.wg.Wait()
	t.settleEvents(t.in.drain(nil))
}
