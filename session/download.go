package session

import (
	"cmp"
	"slices"
	"time"

	"btd/metainfo"
	"btd/peerwire"
	"btd/piece"
)

const (
	firstDepth   = 16   // requests to a peer whose rate is not known yet
	firstDeep    = 64   // likewise in a local network, where a second is long
	minDepth     = 2    // requests to the slowest peer
	maxDepth     = 2000 // requests to the fastest
	nearDepth    = 400  // likewise if it is near; 10 Gbit/s are 380 in 5 ms, and libtorrent's default is 500
	defaultReqQ  = 250  // what a peer accepts if it does not say (libtorrent's default)
	near         = 5 * time.Millisecond
	pipeline     = 3 * time.Second // worth of data that is kept requested
	snubAfter    = 60 * time.Second
	requestLives = 45 * time.Second // then others may be asked for the block as well
	slowLives    = 2 * time.Minute  // likewise, at most, of a peer that sends but slowly
	tightFirst   = 4                // requests to a peer whose rate is not known while memory is short
	stallAfter   = 5 * time.Second  // without a block, while memory is short
	stallPause   = 30 * time.Second // before such a peer is asked again
	maxOwed      = 64               // cancelled requests that may be open before no more are made
	lostAfter    = 5 * time.Minute  // then a block that was given up will not come any more
	maxPads      = 1 << 13          // blocks of pad files that are supplied in one go, about
)

// hungry notes that p may be asked for more.
func (t *torrent) hungry(p *peer) {
	p.down.hungry = true
	t.touch(p)
}

// feedAll lets every peer be asked for more: blocks or memory became free.
func (t *torrent) feedAll() {
	for _, p := range t.peers.all {
		if p.down.interested {
			t.hungry(p)
		}
	}
}

// feedFastest is feedAll for a time when block memory is short: what there is
// goes to those who use it best.
func (t *torrent) feedFastest() {
	order := slices.Clone(t.peers.all)
	slices.SortStableFunc(order, func(a, b *peer) int { return cmp.Compare(b.down.meter.rate, a.down.meter.rate) })
	for _, p := range order {
		if p.down.interested {
			t.hungry(p)
		}
	}
}

// feed requests blocks from p until its pipeline is full.
func (t *torrent) feed(p *peer) {
	d := &p.down
	if !d.hungry || !d.interested || t.now.Before(d.pause) || t.disk.stuck() || t.disk.check != nil {
		return
	}
	if d.choked && len(d.allowed) == 0 {
		return // and it has no share of a limit
	}
	depth := min(d.depth, t.fairDepth(p), t.shareDepth(p))
	if t.s.store.Tight() {
		depth = min(depth, d.tightDepth(t.now))
	}
	want := depth - d.live
	// Requests go out in groups: a quarter of the pipeline may run empty first.
	if want <= 0 || d.live > 0 && want*4 < depth || len(d.reqs)-d.live > maxOwed {
		return
	}
	d.hungry = false
	want = t.flow.down.allow(p, want)
	granted := t.s.store.Lease(want)
	if granted < want {
		t.clock.starved = true
		d.hungry = true
	}
	if granted <= 0 {
		return
	}
	asked := t.request(p, granted)
	t.s.store.Unlease(granted - asked)
	d.grant = max(0, d.grant-int64(asked)*piece.BlockSize)
}

// request asks p for up to n blocks, for which there is memory, and tells for
// how many it did. Blocks of pad files are supplied on the way and take no place
// in the pipeline. Where a few bytes come with very many of them, it goes on a
// moment later, so that the loop gets to other things.
func (t *torrent) request(p *peer, n int) (asked int) {
	d := &p.down
	for pads, last := 0, false; !last && asked < n; {
		if pads >= maxPads {
			t.clock.starved, d.hungry = true, true
			return asked
		}
		blocks := t.choose(p, n-asked)
		if d.live == 0 {
			d.lastBlock = t.now
			d.flow.Asked(t.now)
		}
		last = true
		for _, b := range blocks {
			if t.disk.isPad(b) {
				t.fillPad(b)
				pads, last = pads+1, false
				continue
			}
			d.reqs = append(d.reqs, request{block: b, at: t.now})
			d.live++
			asked++
			p.wire.credit.Add(1)
			p.wire.ctl = peerwire.AppendRequest(p.wire.ctl, b)
		}
	}
	return asked
}

// shareDepth bounds p's pipeline by its share of the block memory, by heads or by
// rate, whichever is more. Without it those who were asked first would hold all
// of it, and a peer that just got a piece nobody else has would wait.
func (t *torrent) shareDepth(p *peer) int {
	heads := 0
	for _, o := range t.peers.all {
		if o.down.interested && !o.down.choked {
			heads++
		}
	}
	if heads < 2 {
		return maxDepth
	}
	share := 1 / float64(heads)
	if all := t.flow.down.meter.rate; all > 0 {
		share = max(share, min(1, p.down.meter.rate/all))
	}
	return max(firstDepth, int(float64(t.peers.room)*share))
}

// firstDepth is how many requests a peer gets whose rate is not known yet.
func (t *torrent) firstDepth() int {
	if t.e.scope() == metainfo.ScopeLAN {
		return firstDeep
	}
	return firstDepth
}

// tightDepth is the pipeline of a peer while block memory is short: what it
// was given so far if it is sending, else a second's worth of what it was seen
// to send. Peers that send nothing must not keep the others waiting.
func (d *peerDown) tightDepth(now time.Time) int {
	switch {
	case d.stalled:
		return 1
	case d.meter.total == 0:
		return tightFirst
	case now.Sub(d.lastBlock) < time.Second:
		return d.depth
	}
	return max(minDepth, int(d.meter.rate/piece.BlockSize))
}

// choose picks up to n blocks to ask of p: anything while p serves us, pieces
// of its allowed-fast set while it does not.
func (t *torrent) choose(p *peer, n int) []piece.Block {
	t.peers.picked = t.peers.picked[:0]
	if !p.down.choked {
		t.peers.picked = t.pick.Pick(p.has, n, t.peers.picked)
		if short := n - len(t.peers.picked); short > 0 {
			t.duplicate(p, short)
		}
		return t.peers.picked
	}
	for _, i := range p.down.allowed {
		if len(t.peers.picked) == n {
			break
		}
		if p.has.Has(i) {
			t.peers.picked = t.pick.PickPiece(p.has, i, n-len(t.peers.picked), t.peers.picked)
		}
	}
	return t.peers.picked
}

// fillPad supplies a block of a pad file: zeros that are never requested
// (BEP 47). Storage knows of them by itself. Only a piece with a block that is
// not one of them is ever wanted, and that block completes it there.
func (t *torrent) fillPad(b piece.Block) { t.pick.Received(nil, b) }

// onPiece takes a block.
func (t *torrent) onPiece(p *peer, m *peerwire.Message) error {
	b, ok := t.geo.CheckBlock(m.Index, m.Begin, m.Length)
	at := -1
	if ok {
		at = findRequest(p.down.reqs, b)
	}
	if m.Buf == nil { // thrown away by the reader
		if at >= 0 {
			t.settleRequest(p, at)
			t.pick.Dropped(p.has, b)
		}
		t.s.count("unrequested_blocks")
		return p.tolerate()
	}
	if at < 0 {
		t.s.store.Free(m.Buf)
		t.s.count("unrequested_blocks")
		if p.down.late > 0 {
			p.down.late--
			return nil
		}
		return p.tolerate()
	}
	asked := p.down.reqs[at].at
	if asked.After(p.down.reached) {
		p.down.reached = asked
	}
	p.down.came = t.now
	p.down.flow.Arrived(t.now, asked)
	t.clock.block = t.now
	t.settleRequest(p, at) // the buffer counts against the memory by itself now
	p.down.meter.add(int(b.Length))
	t.flow.down.meter.add(int(b.Length))
	t.e.tot.down.Add(int64(b.Length))
	if p.down.stalled {
		p.down.stalled, p.down.pause = false, time.Time{}
	}
	p.down.lastBlock, p.down.snubbed = t.now, false
	t.grow(p)
	t.hungry(p)
	fresh, others := t.pick.Received(p.has, b)
	if !fresh {
		t.s.store.Free(m.Buf)
		t.s.countN("duplicate_bytes", int64(b.Length))
		return nil
	}
	for _, o := range others {
		t.cancelAt(o, b)
	}
	t.blame.received(p, b)
	t.disk.files.Write(b, m.Buf)
	return nil
}

// grow widens the pipeline: by one a block while the rate still climbs.
func (t *torrent) grow(p *peer) {
	if p.down.slowStart && p.down.depth < p.deepest() {
		p.down.depth++
		t.peers.depth++
	}
}

// reqLimit is how many requests the peer takes at a time.
func (p *peer) reqLimit() int {
	if p.ext.ReqQ > 0 {
		return min(p.ext.ReqQ, maxDepth)
	}
	return defaultReqQ
}

// deepest is how many requests p is given at most. One that is near has enough with
// few, and some clients look through all of them for every block that they send.
func (p *peer) deepest() int {
	if p.down.flow.Near(near) {
		return min(p.reqLimit(), nearDepth)
	}
	return p.reqLimit()
}

// tickDown adapts the pipeline once a second and deals with a peer that
// stopped sending.
func (t *torrent) tickDown(p *peer) {
	d := &p.down
	// Of a peer that sends less than a block a second the rate says nothing here:
	// it looks as if it climbed whenever there is a block.
	if d.slowStart && d.meter.last > 0 && (d.meter.last < d.meter.rate*1.1 || d.oldest(t.now) > 2*pipeline) {
		d.slowStart = false
	}
	byRate := int(max(d.meter.rate, d.meter.last) * pipeline.Seconds() / piece.BlockSize)
	if !d.slowStart {
		d.depth = byRate
	}
	d.depth = min(max(d.depth, byRate, minDepth), p.deepest())
	if d.interested && !d.choked {
		t.peers.depth += d.depth
	}
	t.forgetLost(p)
	if t.now.Sub(d.lastBlock) > snubAfter && !d.snubbed && d.owes() {
		d.snubbed = true
		d.slowStart, d.depth = false, minDepth
		t.releaseOld(p, 0)
	}
	if d.live > 0 && t.now.Sub(d.lastBlock) > stallAfter && t.s.store.Tight() {
		d.stalled, d.pause = true, t.now.Add(stallPause)
		t.releaseOld(p, 0)
	}
	if life := d.requestLife(t.now); d.oldest(t.now) > life {
		t.releaseOld(p, life)
	}
	if d.interested {
		d.hungry = true
	}
	// With the fast extension a peer may choke us and still send all it owes.
	// A piece that failed before is left to it alone, and would wait for ever.
	if t.pick.LetGo(p.has, d.choked || !d.interested) {
		t.feedAll()
	}
}

// oldest is the age of the oldest request that is not cancelled.
func (d *peerDown) oldest(now time.Time) time.Duration {
	for i := range d.reqs {
		if !d.reqs[i].cancelled {
			return now.Sub(d.reqs[i].at)
		}
	}
	return 0
}

// requestLife is how long blocks are left to the peer alone. One that is slow has
// time to send the few that it was asked for first: the next request would be for
// the same blocks, and they would come twice.
func (d *peerDown) requestLife(now time.Time) time.Duration {
	rate := d.flow.Rate(now)
	if d.snubbed || rate == 0 || d.live > firstDepth {
		return requestLives
	}
	twice := min(2*firstDepth/rate, slowLives.Seconds())
	return max(requestLives, time.Duration(twice*float64(time.Second)))
}

// releaseOld lets other peers be asked for the blocks that p has owed for
// longer than age. What p still sends of them is welcome.
func (t *torrent) releaseOld(p *peer, age time.Duration) {
	for k := range p.down.reqs {
		r := &p.down.reqs[k]
		if !r.cancelled && t.now.Sub(r.at) >= age {
			t.cancelRequest(p, k)
			t.pick.Dropped(p.has, r.block)
		}
	}
	t.feedAll()
}

// cancelAt tells another peer that a block is no longer wanted from it.
func (t *torrent) cancelAt(pp *piece.Peer, b piece.Block) {
	p := t.peers.byPicker[pp]
	if p == nil {
		return
	}
	at := findRequest(p.down.reqs, b)
	if at < 0 || p.down.reqs[at].cancelled {
		return
	}
	p.wire.ctl = peerwire.AppendCancel(p.wire.ctl, b)
	if p.fast() {
		t.cancelRequest(p, at) // answered by the block or a reject (BEP 6)
		p.down.reqs[at].told = true
	} else {
		t.settleRequest(p, at)
	}
	t.hungry(p)
}

// cancelRequest gives up a request whose answer may still come.
func (t *torrent) cancelRequest(p *peer, at int) {
	p.down.reqs[at].cancelled, p.down.reqs[at].end = true, t.now
	p.down.live--
	t.s.store.Unlease(1)
	t.flow.down.refund(p, int64(p.down.reqs[at].block.Length))
}

// owes tells whether p is to send anything. A cancel is an end of that, even if
// p does not answer it: some do not, against BEP 6.
func (d *peerDown) owes() bool {
	return slices.ContainsFunc(d.reqs, func(r request) bool { return !r.told })
}

// forgetLost forgets cancelled requests whose answer will not come: else they
// would keep p from being asked for more. One that p was told of is answered soon
// or never; of another p may have a long queue, unless it went on to later ones or
// sends nothing.
func (t *torrent) forgetLost(p *peer) {
	d := &p.down
	if len(d.reqs) == d.live {
		return
	}
	d.reqs = slices.DeleteFunc(d.reqs, func(r request) bool {
		since := t.now.Sub(r.end)
		past := r.told || r.at.Before(d.reached)
		lost := since > lostAfter && t.now.Sub(d.came) > snubAfter
		if !r.cancelled || since <= requestLives || !past && !lost {
			return false
		}
		if d.late < maxLate {
			d.late++ // and the reader takes it
		} else {
			p.wire.credit.Add(-1)
		}
		return true
	})
}

// settleRequest removes a request that was answered or never will be.
func (t *torrent) settleRequest(p *peer, at int) {
	if !p.down.reqs[at].cancelled {
		p.down.live--
		t.s.store.Unlease(1)
	}
	p.down.reqs = removeRequest(p.down.reqs, at)
}

// onReject takes back a request (BEP 6).
func (t *torrent) onReject(p *peer, m *peerwire.Message) {
	b, ok := t.geo.CheckBlock(m.Index, m.Begin, m.Length)
	if !ok {
		return
	}
	at := findRequest(p.down.reqs, b)
	if at < 0 {
		return
	}
	cancelled := p.down.reqs[at].cancelled
	if !cancelled {
		t.pick.Dropped(p.has, b)
		t.flow.down.refund(p, int64(b.Length))
	}
	t.settleRequest(p, at)
	p.wire.credit.Add(-1)
	if cancelled {
		t.hungry(p)
		return // that is the answer to a cancel (BEP 6)
	}
	if p.down.choked {
		// Enough of that piece of its allowed-fast set; it may unchoke us at any time.
		p.down.allowed = slices.DeleteFunc(p.down.allowed, func(i piece.Index) bool { return i == b.Piece })
	} else {
		// A peer that says no is asked again later, not as fast as it can say so.
		p.down.pause = t.now.Add(time.Second)
	}
	t.feedAll()
}

// onChoke gives up what was requested. Without the fast extension a choke
// drops all requests; with it every request is rejected or answered.
func (t *torrent) onChoke(p *peer) {
	p.down.choked = true
	if !p.fast() {
		t.forgetRequests(p)
		t.feedAll()
	}
	t.flow.down.settle(p, 0)
}

// forgetRequests drops everything asked of p.
func (t *torrent) forgetRequests(p *peer) {
	t.pick.DroppedAll(p.has)
	t.s.store.Unlease(p.down.live)
	t.flow.down.refund(p, int64(p.down.live)*piece.BlockSize)
	p.down.reqs, p.down.live, p.down.late = p.down.reqs[:0], 0, 0
	p.wire.credit.Store(int64(maxLate))
}

// maxLate is how many blocks may still arrive after a choke dropped their
// requests. They were on their way; they are not held against the peer.
const maxLate = 64

// tolerate counts something useless that a peer did, and ends its patience
// at some point.
func (p *peer) tolerate() error {
	p.down.bad++
	if p.down.bad > 1000 {
		return errProtocol
	}
	return nil
}

// findRequest is the position of block b, nearly always the first.
func findRequest(reqs []request, b piece.Block) int {
	for i := range reqs {
		if reqs[i].block == b {
			return i
		}
	}
	return -1
}

// removeRequest keeps the order. Answers come in order, so that mostly the
// first goes: the slice then slides along its array.
func removeRequest(reqs []request, i int) []request {
	if i == 0 {
		return reqs[1:]
	}
	return append(reqs[:i], reqs[i+1:]...)
}
