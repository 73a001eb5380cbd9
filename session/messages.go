package session

import (
	"errors"
	"fmt"
	"net/netip"

	"btd/peerwire"
	"btd/piece"
)

// errProtocol marks a message that is well formed but makes no sense here.
var errProtocol = errors.New("protocol violation")

// ourExtensions are the extension message ids we hand out (BEP 10).
var ourExtensions = peerwire.ExtIDs{peerwire.ExtPEX: 1, peerwire.ExtMetadata: 2, peerwire.ExtDontHave: 7}

const (
	maxSetWork = 1 << 20 // pieces in sets after the first that a peer may make us go through in a second
	ourReqQ    = 1000    // requests we accept at a time, as our extension handshake says
	allowedSet = 10      // size of the allowed-fast set (BEP 6)

	allowedCopies = 2 // of each piece of that set a choked peer may ask for: it may have lost what it got
)

// greet queues what a new peer is told first: what we have, and our
// extension handshake.
func (t *torrent) greet(p *peer) {
	if t.wait != nil {
		t.greetEarly(p)
		return
	}
	have := t.pick.Have()
	covered := t.cover(p)
	switch {
	case covered && p.fast():
		p.wire.ctl = peerwire.AppendHaveNone(p.wire.ctl)
	case covered: // without a bitfield we have nothing (BEP 3)
	case p.fast() && have.All():
		p.wire.ctl = peerwire.AppendHaveAll(p.wire.ctl)
	case p.fast() && have.Count() == 0:
		p.wire.ctl = peerwire.AppendHaveNone(p.wire.ctl)
	case have.Count() > 0:
		p.wire.ctl = peerwire.AppendBitfield(p.wire.ctl, have.Bytes())
	}
	if p.extended() {
		t.introduce(p, covered)
	}
	t.tellPort(p)
	if p.fast() && have.Count() > 0 && !covered {
		for _, n := range peerwire.FastSet(p.addr.Addr(), t.meta.Hash.Wire(), t.geo.Pieces(), allowedSet) {
			p.up.allowed[piece.Index(n)] = allowedCopies * int64(t.geo.Blocks(piece.Index(n))) * piece.BlockSize
			p.wire.ctl = peerwire.AppendAllowedFast(p.wire.ctl, piece.Index(n))
		}
	}
	t.touch(p)
}

// greetEarly is greet while the metadata is missing: we have nothing.
func (t *torrent) greetEarly(p *peer) {
	if p.fast() {
		p.wire.ctl = peerwire.AppendHaveNone(p.wire.ctl)
	}
	if p.extended() {
		t.introduce(p, false)
	}
	t.tellPort(p)
	t.touch(p)
}

// introduce queues our extension handshake (BEP 10). To a peer that is shown
// pieces one by one we have nothing.
func (t *torrent) introduce(p *peer, covered bool) {
	h := peerwire.ExtHandshake{
		Version: t.s.clientName(), ReqQ: ourReqQ, Port: t.s.port(), YourIP: p.addr.Addr(),
		UploadOnly: t.wait == nil && t.pick.Missing() == 0 && !covered, MetadataSize: len(t.metadata()),
		M: ourExtensions,
	}
	if t.private() || t.s.cfg.NoPEX {
		h.M[peerwire.ExtPEX] = 0
	}
	p.wire.ctl = peerwire.AppendExtended(p.wire.ctl, 0, h.Append(nil))
}

// handleBatch applies what a reader gathered.
func (t *torrent) handleBatch(b *batch) {
	p := b.p
	for i := range b.msgs {
		m := &b.msgs[i]
		if p.closed {
			if m.Buf != nil {
				t.s.store.Free(m.Buf)
			}
			continue
		}
		if err := t.handle(p, m); err != nil {
			t.drop(p, err)
		}
	}
	p.wire.lastRecv = t.now
	if b.err != nil && !p.closed {
		t.drop(p, b.err)
	}
	clear(b.msgs)
	b.msgs, b.err = b.msgs[:0], nil
	p.wire.free <- b // two batches, capacity two: never blocks
}

// handle applies one message. An error closes the connection.
func (t *torrent) handle(p *peer, m *peerwire.Message) error {
	if t.wait != nil {
		return t.handleEarly(p, m)
	}
	switch m.ID {
	case peerwire.KeepAlive:
	case peerwire.Piece:
		return t.onPiece(p, m)
	case peerwire.Request:
		return t.onRequest(p, m)
	case peerwire.Have:
		return t.onHave(p, m.Index)
	case peerwire.Bitfield, peerwire.HaveAll, peerwire.HaveNone:
		return t.onBitfield(p, m)
	case peerwire.Choke:
		t.onChoke(p)
	case peerwire.Unchoke:
		if p.down.choked {
			t.peers.depth += p.down.depth
		}
		p.down.choked = false
		p.down.lastBlock = t.now
		t.hungry(p)
	case peerwire.Interested:
		t.onInterested(p)
	case peerwire.NotInterested:
		if t.sated(p) {
			p.up.sated = t.now
			return nil
		}
		p.up.interested = false
		t.choke.lostInterest(t, p)
	case peerwire.Cancel:
		t.onCancel(p, m)
	case peerwire.Reject, peerwire.AllowedFast, peerwire.Suggest:
		return t.onFast(p, m)
	case peerwire.Port:
		t.onPort(p, m)
	case peerwire.Extended:
		return t.onExtended(p, m)
	}
	return nil
}

func (t *torrent) onHave(p *peer, index uint32) error {
	i, ok := t.geo.Index(index)
	if !ok {
		return fmt.Errorf("%w: have of piece %d of %d", errProtocol, index, t.geo.Pieces())
	}
	if t.pick.PeerHas(p.has, i) {
		if t.super.policy != nil {
			t.super.policy.Has(p.id, i)
		}
		t.updateInterest(p)
	}
	return nil
}

// chargeSet counts a set of pieces that p makes us go through: there is a limit
// to how many it may.
func (t *torrent) chargeSet(p *peer) error {
	p.sets += t.geo.Pieces()
	if p.sets > t.geo.Pieces()+maxSetWork {
		return fmt.Errorf("%w: too many sets of pieces", errProtocol)
	}
	return nil
}

// onBitfield takes over what the peer says it has. BEP 3 wants it first and
// once; aria2 sends more of them later where that is shorter than many haves,
// and they are news like any other.
func (t *torrent) onBitfield(p *peer, m *peerwire.Message) error {
	if err := t.chargeSet(p); err != nil {
		return err
	}
	f := piece.NewBitfield(t.geo.Pieces())
	switch m.ID {
	case peerwire.Bitfield:
		var err error
		if f, err = piece.ParseBitfield(m.Payload, t.geo.Pieces()); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
	default:
		if !p.fast() {
			return fmt.Errorf("%w: fast message without the fast extension", errProtocol)
		}
		if m.ID == peerwire.HaveAll {
			f.Fill()
		}
	}
	t.pick.PeerBitfield(p.has, f)
	if t.super.policy != nil && f.Count() > 0 {
		t.super.policy.Resync()
	}
	t.updateInterest(p)
	return nil
}

func (t *torrent) onFast(p *peer, m *peerwire.Message) error {
	if !p.fast() {
		return fmt.Errorf("%w: fast message without the fast extension", errProtocol)
	}
	switch m.ID {
	case peerwire.Reject:
		t.onReject(p, m)
	case peerwire.AllowedFast:
		// A number out of range is ignored: the peer may not know the
		// number of pieces yet (BEP 6).
		if i, ok := t.geo.Index(m.Index); ok && len(p.down.allowed) < 64 {
			p.down.allowed = append(p.down.allowed, i)
			t.hungry(p)
		}
	}
	return nil
}

func (t *torrent) onExtended(p *peer, m *peerwire.Message) error {
	if !p.extended() {
		return fmt.Errorf("%w: extension message without the extension protocol", errProtocol)
	}
	if m.Ext == 0 {
		return t.onExtHandshake(p, m.Payload)
	}
	e, ok := ourExtensions.ByID(m.Ext)
	switch {
	case !ok:
	case e == peerwire.ExtMetadata:
		return t.onMetadata(p, m.Payload)
	case e == peerwire.ExtPEX:
		return t.onPEX(p, m.Payload)
	case e == peerwire.ExtDontHave:
		n, err := peerwire.ParseDontHave(m.Payload)
		if err != nil {
			return err
		}
		if t.wait != nil {
			p.early.lost(n, true)
			return nil
		}
		if err := t.lost(p, n); err != nil {
			return err
		}
		t.updateInterest(p)
	}
	return nil
}

// lost takes a piece off what p has (BEP 54). The first one makes a set of what
// a seed has.
func (t *torrent) lost(p *peer, n uint32) error {
	i, ok := t.geo.Index(n)
	if !ok {
		return nil
	}
	if p.has.IsSeed() {
		if err := t.chargeSet(p); err != nil {
			return err
		}
	}
	if t.pick.PeerLacks(p.has, i) && t.super.policy != nil {
		t.super.policy.Lacks(i)
	}
	return nil
}

// onExtHandshake takes what a peer says of itself.
func (t *torrent) onExtHandshake(p *peer, payload []byte) error {
	if err := p.ext.Parse(payload); err != nil {
		return err
	}
	p.client = ""
	p.up.uploadOnly = p.ext.UploadOnly
	if p.ext.Port != 0 && !p.listen.IsValid() {
		p.listen = netip.AddrPortFrom(p.addr.Addr(), p.ext.Port)
		t.peers.news++
		t.book.Connected(p.listen, t.now)
	}
	if t.wait == nil {
		t.coverLate(p)
		t.hungry(p)
		return nil
	}
	if p.ext.M[peerwire.ExtMetadata] != 0 {
		t.wait.fetch.Join(p.id, networkOf(p.addr.Addr()), p.ext.MetadataSize)
	} else {
		t.wait.fetch.Leave(p.id)
	}
	return nil
}

// updateInterest tells the peer whether we want something of it.
func (t *torrent) updateInterest(p *peer) {
	if p.listen.IsValid() && p.has.IsSeed() {
		t.book.SetSeed(p.listen, true, t.now)
	}
	want := t.pick.Interesting(p.has) && !t.disk.stuck() && t.disk.check == nil
	if want == p.down.interested {
		if want {
			t.hungry(p)
		}
		return
	}
	p.down.interested = want
	if want {
		p.wire.ctl = peerwire.AppendInterested(p.wire.ctl)
		p.down.lastBlock = t.now
		t.hungry(p)
	} else {
		p.wire.ctl = peerwire.AppendNotInterested(p.wire.ctl)
	}
	t.touch(p)
}
