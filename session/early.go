package session

import (
	"fmt"
	"net/netip"

	"btd/peerwire"
	"btd/piece"
)

// early is what a peer said of pieces before we knew how many there are.
type early struct {
	set     *peerwire.Message // its last bitfield, have all or have none
	haves   []uint32          // after that
	lacks   []byte            // of what it had then, what it has no longer (BEP 54): as a bitfield, as long as needed
	allowed []uint32
	wants   bool // it is interested in us
}

// Limits on what is kept of a peer until the metadata is here.
const (
	maxEarlyHaves   = 1 << 15
	maxEarlyAllowed = 64
)

// handleEarly applies one message of a peer while the metadata is missing.
func (t *torrent) handleEarly(p *peer, m *peerwire.Message) error {
	e := p.early
	switch m.ID {
	case peerwire.Piece:
		if m.Buf != nil {
			t.s.store.Free(m.Buf)
		}
	case peerwire.Have:
		if len(e.haves) == maxEarlyHaves {
			return errNotReady // it is asked again later
		}
		e.haves = append(e.haves, m.Index)
		e.lost(m.Index, false)
	case peerwire.Bitfield, peerwire.HaveAll, peerwire.HaveNone:
		if len(m.Payload) > piece.MaxPieces/8 {
			return fmt.Errorf("%w: bitfield of %d bytes", errProtocol, len(m.Payload))
		}
		set := *m
		e.set, e.haves, e.lacks = &set, e.haves[:0], nil
	case peerwire.Choke:
		p.down.choked = true
	case peerwire.Unchoke:
		p.down.choked = false
	case peerwire.Interested, peerwire.NotInterested:
		e.wants = m.ID == peerwire.Interested
	case peerwire.Request:
		t.reject(p, piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length})
	case peerwire.AllowedFast:
		if len(e.allowed) < maxEarlyAllowed {
			e.allowed = append(e.allowed, m.Index)
		}
	case peerwire.Port:
		t.onPort(p, m)
	case peerwire.Extended:
		return t.onExtended(p, m)
	}
	return nil
}

// lost notes whether a peer said last of piece n that it has it no longer.
func (e *early) lost(n uint32, lost bool) {
	at, bit := int(n/8), byte(0x80>>(n%8))
	switch {
	case n >= piece.MaxPieces:
	case lost:
		if missing := at + 1 - len(e.lacks); missing > 0 {
			e.lacks = append(e.lacks, make([]byte, missing)...)
		}
		e.lacks[at] |= bit
	case at < len(e.lacks):
		e.lacks[at] &^= bit
	}
}

// makeRoomEarly drops the peer that is here longest without having the
// metadata, or without giving it.
func (t *torrent) makeRoomEarly() bool {
	for _, p := range t.peers.all {
		if t.now.Sub(p.joined) > handshakeTimeout && (p.ext.M[peerwire.ExtMetadata] == 0 || p.ext.MetadataSize == 0 || t.wait.fetch.Fruitless(p.id)) {
			t.drop(p, errFull)
			return true
		}
	}
	return false
}

// thinOut drops a peer of the host, or of the network, that holds the most
// places, if the newcomer's holds clearly fewer: so nobody has all places.
func (t *torrent) thinOut(newcomer netip.Addr) bool {
	for _, group := range []func(netip.Addr) netip.Addr{hostOf, networkOf} {
		count, latest := map[netip.Addr]int{}, map[netip.Addr]*peer{}
		var most netip.Addr
		for _, p := range t.peers.all { // in order of arrival
			g := group(p.addr.Addr())
			count[g]++
			latest[g] = p
			if count[g] > count[most] {
				most = g
			}
		}
		if count[most] > count[group(newcomer)]+1 {
			t.drop(latest[most], errFull)
			return true
		}
	}
	return false
}

// hostOf is what one host has: an IPv4 address, 64 bits of an IPv6 address.
func hostOf(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap().WithZone(""); ip.Is4() || ip.IsLoopback() {
		return ip
	}
	return prefixOf(ip, 64)
}

// networkOf is what one party easily has: a /24, or a /48 of IPv6. A local
// network is one network, of which each host counts.
func networkOf(ip netip.Addr) netip.Addr {
	switch ip = ip.Unmap().WithZone(""); {
	case isLocal(ip):
		return hostOf(ip)
	case ip.Is4():
		return prefixOf(ip, 24)
	}
	return prefixOf(ip, 48)
}

func prefixOf(ip netip.Addr, bits int) netip.Addr {
	p, _ := ip.Prefix(bits) // never fails: it has so many
	return p.Addr()
}

// takeOver makes peers that were met before the metadata was here peers like
// others. What they said is handled by replay.
func (t *torrent) takeOver() {
	for _, p := range t.peers.all {
		p.has = t.pick.Join()
		t.peers.byPicker[p.has] = p
		p.down.lastBlock = t.now
		t.flow.join(t, p)
	}
	t.wait = nil
}

// replay handles what peers said before the metadata was here, and tells them
// that it is, and what we have: it may be known already, of a version before.
func (t *torrent) replay() {
	for k := len(t.peers.all) - 1; k >= 0; k-- {
		p := t.peers.all[k]
		e := p.early
		if e == nil {
			continue
		}
		p.early = nil
		if t.disk.check != nil || t.disk.err != nil {
			t.drop(p, errNotReady)
			continue
		}
		if err := t.repeat(p, e); err != nil {
			t.drop(p, err)
			continue
		}
		if p.extended() {
			t.introduce(p, false)
		}
		for i := range t.pick.Have().Indexes() {
			p.wire.ctl = peerwire.AppendHave(p.wire.ctl, i)
		}
		t.touch(p)
	}
}

// repeat handles what p said.
func (t *torrent) repeat(p *peer, e *early) error {
	if e.set != nil {
		if err := t.onBitfield(p, e.set); err != nil {
			return err
		}
	}
	for _, n := range e.haves {
		if err := t.onHave(p, n); err != nil {
			return err
		}
	}
	for at, b := range e.lacks {
		for k := range uint32(8) {
			if b&(0x80>>k) != 0 {
				if err := t.lost(p, uint32(at)*8+k); err != nil {
					return err
				}
			}
		}
	}
	if e.lacks != nil {
		t.updateInterest(p)
	}
	for _, n := range e.allowed {
		if err := t.onFast(p, &peerwire.Message{ID: peerwire.AllowedFast, Index: n}); err != nil {
			return fmt.Errorf("allowed fast: %w", err)
		}
	}
	if e.wants {
		t.onInterested(p)
	}
	if !p.down.choked {
		t.hungry(p)
	}
	return nil
}
