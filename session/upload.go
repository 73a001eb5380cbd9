package session

import (
	"errors"
	"fmt"
	"time"

	"btd/peerwire"
	"btd/piece"
)

const (
	maxAsks   = 1500     // requests of a peer that we keep; our extension handshake says ourReqQ
	slowRun   = 64 << 10 // bytes of a run for a peer whose rate is not known or low
	maxFlying = 1 << 20  // bytes handed to a writer at a time
)

// onRequest takes a request of a peer.
func (t *torrent) onRequest(p *peer, m *peerwire.Message) error {
	i, ok := t.geo.CheckRange(m.Index, m.Begin, m.Length)
	if !ok || m.Length > peerwire.MaxRequest {
		return fmt.Errorf("%w: request of %d bytes at %d of piece %d", errProtocol, m.Length, m.Begin, m.Index)
	}
	a := piece.Block{Piece: i, Begin: m.Begin, Length: m.Length}
	switch {
	case !t.pick.Have().Has(i) || len(p.up.queue) >= maxAsks || !t.disk.readable() || t.refused(p, i) || p.up.choking && !p.allows(a):
		t.reject(p, a)
	default:
		if t.super.policy != nil {
			t.super.policy.Asked(t.now, p.id, i)
		}
		p.up.queue = append(p.up.queue, a)
		t.touch(p)
	}
	return nil
}

// allows tells whether p may have the block although it is choked, and counts it.
// The allowed-fast set is to get a peer started (BEP 6). Who has more than a few
// pieces, or this one, or was given it, waits for a slot like everybody else.
func (p *peer) allows(a piece.Block) bool {
	left := p.up.allowed[a.Piece] - max(int64(a.Length), piece.BlockSize)
	if left < 0 || p.has.Has(a.Piece) || p.has.Count() > allowedSet {
		return false
	}
	p.up.allowed[a.Piece] = left
	return true
}

// reject answers a request with "no". Without the fast extension silence is
// the answer.
func (t *torrent) reject(p *peer, a piece.Block) {
	if p.fast() {
		p.wire.ctl = peerwire.AppendReject(p.wire.ctl, a)
		t.touch(p)
	}
}

// onCancel takes back a request of a peer.
func (t *torrent) onCancel(p *peer, m *peerwire.Message) {
	i, ok := t.geo.Index(m.Index)
	if !ok {
		return
	}
	a := piece.Block{Piece: i, Begin: m.Begin, Length: m.Length}
	for k := range p.up.queue {
		if p.up.queue[k] == a {
			p.up.queue = append(p.up.queue[:k], p.up.queue[k+1:]...)
			t.flow.up.settle(p, p.owed())
			t.reject(p, a)
			return
		}
	}
	if freed, ok := p.wire.out.withdraw(i, m.Begin, m.Length); ok {
		p.up.flying = max(0, p.up.flying-freed)
		t.flow.up.refund(p, int64(m.Length))
		t.reject(p, a)
		t.touch(p) // there may be room for more
	}
}

// serve hands requested runs to p's writer while it has room.
func (t *torrent) serve(p *peer) {
	u := &p.up
	for len(u.queue) > 0 && u.flying < maxFlying {
		at := t.turn(p)
		r, used := t.nextRun(p, at)
		if used == 0 {
			return // the rate limit has nothing to give now
		}
		n := copy(u.queue[at:], u.queue[at+used:])
		u.queue = u.queue[:at+n]
		u.flying += r.cost()
		p.wire.runs = append(p.wire.runs, r)
		if t.super.policy != nil {
			t.super.policy.Sent(t.now, p.id, r.piece, int64(r.total))
		}
	}
}

// nextRun joins requests from some place of the queue that follow each other.
func (t *torrent) nextRun(p *peer, at int) (r run, used int) {
	first := p.up.queue[at]
	r.piece, r.begin = first.Piece, first.Begin
	limit := min(t.flow.up.room(p), max(int(first.Length), p.patience(t.now)))
	for _, a := range p.up.queue[at:] {
		if a.Piece != r.piece || a.Begin != r.begin+uint32(r.total) || r.parts == maxRunParts ||
			r.total+int(a.Length) > maxRun || r.total+int(a.Length) > limit {
			break
		}
		r.add(a.Length)
		used++
	}
	if used == 0 {
		t.flow.up.want(p, p.owed()-p.up.grant)
	}
	p.up.grant = max(0, p.up.grant-int64(r.total))
	return r, used
}

// patience bounds the bytes of a run by what the peer takes in some seconds, so
// that a slow one is not cut off in the middle of it, and holds little memory.
func (p *peer) patience(now time.Time) int {
	rate := p.up.meter.rate
	if served := now.Sub(p.up.served); served < 3*time.Second { // not measured yet
		rate = max(rate, float64(p.up.meter.total)/max(served.Seconds(), 0.01))
	}
	return max(slowRun, int(rate*10))
}

// owed is how many bytes the peer waits for.
func (u *peerUp) owed() int64 {
	var n int64
	for _, a := range u.queue {
		n += int64(a.Length)
	}
	return n
}

// handleSent takes note of what p's writer has sent, and hands it more.
func (t *torrent) handleSent(e *sentEvent) {
	e.queued.Store(false)
	p := e.p
	n := p.wire.written.Load() - p.up.lent
	p.up.lent += n
	landed := p.wire.landed.Load() - p.up.landed
	p.up.landed += landed
	p.up.flying = max(0, p.up.flying-int(landed))
	p.up.meter.add(int(n))
	t.flow.up.meter.add(int(n))
	t.e.tot.up.Add(n)
	if p.closed {
		return
	}
	if failed := e.failed.Load(); failed != nil {
		var re *readError
		if errors.As(*failed, &re) {
			if isChanged(re.err) {
				t.onChanged(re.err)
			} else {
				t.onUnreadable(re.piece, re.err)
			}
		}
		t.drop(p, *failed)
		return
	}
	p.wire.lastSent = t.now
	t.touch(p)
}

// chokePeer stops serving p.
func (t *torrent) chokePeer(p *peer) {
	if p.up.choking {
		return
	}
	p.up.choking = true
	p.up.optimistic = false
	p.wire.ctl = peerwire.AppendChoke(p.wire.ctl)
	for _, r := range p.wire.out.drop() {
		p.up.flying = max(0, p.up.flying-r.cost())
		t.flow.up.refund(p, int64(r.total))
		at := r.begin
		for _, size := range r.sizes[:r.parts] {
			t.reject(p, piece.Block{Piece: r.piece, Begin: at, Length: size})
			at += size
		}
	}
	kept := p.up.queue[:0]
	for _, a := range p.up.queue {
		if p.allows(a) {
			kept = append(kept, a)
		} else {
			t.reject(p, a)
		}
	}
	p.up.queue = kept
	t.flow.up.settle(p, p.owed())
	t.touch(p)
}

// unchokePeer starts serving p.
func (t *torrent) unchokePeer(p *peer) {
	if !p.up.choking {
		return
	}
	p.up.choking, p.up.served = false, t.now
	p.wire.ctl = peerwire.AppendUnchoke(p.wire.ctl)
	t.touch(p)
}

// withdrawPiece tells peers that a piece is not here any more (BEP 54), and
// rejects what they asked of it.
func (t *torrent) withdrawPiece(i piece.Index) {
	for _, p := range t.peers.all {
		kept := p.up.queue[:0]
		for _, a := range p.up.queue {
			if a.Piece != i {
				kept = append(kept, a)
			} else {
				t.reject(p, a)
			}
		}
		if len(kept) < len(p.up.queue) {
			p.up.queue = kept
			t.flow.up.settle(p, p.owed())
		}
		if id := p.ext.M[peerwire.ExtDontHave]; id != 0 {
			p.wire.ctl = peerwire.AppendDontHave(p.wire.ctl, id, i)
			t.touch(p)
		}
	}
}

// broadcastHave tells every peer about a new piece (BEP 3, "have").
func (t *torrent) broadcastHave(i piece.Index) {
	for _, p := range t.peers.all {
		p.wire.ctl = peerwire.AppendHave(p.wire.ctl, i)
		if p.down.interested {
			t.updateInterest(p)
		}
		t.touch(p)
	}
}
