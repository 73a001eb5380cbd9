package session

import (
	"fmt"

	"btd/peerwire"
	"btd/session/pexset"
)

// peerPEX is a peer's side of peer exchange (BEP 11).
type peerPEX struct {
	teller   *pexset.Teller // nil until the peer says that it wants to hear
	listener pexset.Listener
	told     int // value of peers.news when there was nothing more to tell
}

// private tells whether peers may be had from the trackers only (BEP 27).
func (t *torrent) private() bool { return t.meta != nil && t.meta.Private }

// tickPEX tells peers of each other. Before the metadata is here nobody knows
// whether that is allowed.
func (t *torrent) tickPEX() {
	if t.private() || t.s.cfg.NoPEX {
		return
	}
	var contacts []peerwire.PEXPeer
	for _, p := range t.peers.all {
		id := p.ext.M[peerwire.ExtPEX]
		if id == 0 || !p.extended() || p.pex.told == t.peers.news {
			continue
		}
		if p.pex.teller == nil {
			p.pex.teller = pexset.NewTeller(p.joined)
		}
		if !p.pex.teller.Due(t.now) {
			continue
		}
		if contacts == nil {
			contacts = t.contacts()
		}
		to := p.addr
		if p.listen.IsValid() {
			to = p.listen
		}
		m, ok := p.pex.teller.Message(t.now, to, t.s.ourAddr(), contacts)
		if len(m.Added) < pexset.Most && len(m.Dropped) < pexset.Most {
			p.pex.told = t.peers.news
		}
		if ok {
			p.wire.ctl = peerwire.AppendExtended(p.wire.ctl, id, m.Append(nil))
			t.touch(p)
		}
	}
}

// contacts are the connected peers of whom it is known where they listen.
func (t *torrent) contacts() []peerwire.PEXPeer {
	list := make([]peerwire.PEXPeer, 0, len(t.peers.all))
	for _, p := range t.peers.all {
		if !p.listen.IsValid() {
			continue
		}
		c := peerwire.PEXPeer{Addr: p.listen}
		if p.has.IsSeed() || p.up.uploadOnly {
			c.Flags |= peerwire.PEXSeed
		}
		if !p.incoming {
			c.Flags |= peerwire.PEXReachable
		}
		if p.ext.M[peerwire.ExtHolepunch] != 0 {
			c.Flags |= peerwire.PEXHolepunch
		}
		list = append(list, c)
	}
	return list
}

// onPEX takes the addresses that a peer tells of.
func (t *torrent) onPEX(p *peer, payload []byte) error {
	if t.private() || t.s.cfg.NoPEX {
		return nil
	}
	var m peerwire.PEX
	if err := m.Parse(payload); err != nil {
		return err
	}
	addrs, verdict := p.pex.listener.Take(t.now, p.addr.Addr(), &m)
	switch verdict {
	case pexset.Hostile:
		return fmt.Errorf("%w: ut_pex much more often than once a minute", errProtocol)
	case pexset.Early:
		t.s.count("pex_too_often")
		return nil
	}
	fresh := 0
	for _, a := range addrs {
		if !t.book.Add(a.Addr, string(FromPEX), t.now) {
			continue
		}
		fresh++
		if a.Flags&peerwire.PEXSeed != 0 {
			t.book.SetSeed(a.Addr, true, t.now)
		}
	}
	if fresh > 0 {
		t.clock.dialAt = t.now
		t.log.Debug("peers heard of", "from", p.addr, "peers", fresh)
	}
	return nil
}
