package session

import (
	"net/netip"
	"time"

	"btd/peerwire"
)

const (
	maxMetaQueue   = 2048     // requests for metadata of a peer that wait
	maxMetaWaiting = 64 << 10 // bytes for a peer's writer above which no more metadata is added
	maxMetaTimes   = 4        // how often a peer may have the whole
	maxMetaHost    = 16       // how often all of one host may, in an hour
	maxMetaHosts   = 1024     // that are counted
)

// metaGiven is how many pieces of the metadata each host had, since an hour at
// most.
type metaGiven struct {
	by    map[netip.Addr]int
	since time.Time
}

// to is the count of a host.
func (g *metaGiven) to(host netip.Addr) int { return g.by[host] }

// add counts n pieces for a host.
func (g *metaGiven) add(host netip.Addr, n int, now time.Time) {
	if g.by == nil || now.Sub(g.since) >= time.Hour || len(g.by) >= maxMetaHosts && g.by[host] == 0 {
		g.by, g.since = map[netip.Addr]int{}, now
	}
	g.by[host] += n
}

// peerMeta is what a peer asked for of the metadata (BEP 9).
type peerMeta struct {
	queue  []int // pieces, oldest first
	served int   // pieces sent
}

// onMetadata handles a ut_metadata message.
func (t *torrent) onMetadata(p *peer, payload []byte) error {
	var m peerwire.Metadata
	if err := m.Parse(payload); err != nil {
		return err
	}
	switch m.Type {
	case peerwire.MetadataRequest:
		t.onMetadataRequest(p, m.Piece)
	case peerwire.MetadataData:
		if t.wait != nil {
			t.gotMetadata(p, &m)
		}
	case peerwire.MetadataReject:
		if t.wait != nil {
			t.wait.fetch.Reject(p.id, m.Piece, t.now)
		}
	}
	return nil
}

// metadata is the info dictionary that peers can have; nil if there is none.
func (t *torrent) metadata() []byte {
	if t.wait != nil || t.meta == nil || len(t.meta.Raw) > peerwire.MaxMetadata {
		return nil
	}
	return t.meta.Raw
}

// onMetadataRequest answers later, when p's writer has room, or says no.
func (t *torrent) onMetadataRequest(p *peer, n int) {
	raw := t.metadata()
	all := peerwire.MetadataPieces(len(raw))
	if peerwire.MetadataPieceLen(len(raw), n) > 0 && len(p.meta.queue) < maxMetaQueue &&
		p.meta.served+len(p.meta.queue) < maxMetaTimes*all && t.peers.given.to(hostOf(p.addr.Addr())) < maxMetaHost*all {
		p.meta.queue = append(p.meta.queue, n)
		t.peers.given.add(hostOf(p.addr.Addr()), 1, t.now)
	} else {
		t.appendMetadata(p, &peerwire.Metadata{Type: peerwire.MetadataReject, Piece: n})
	}
	t.touch(p)
}

func (t *torrent) appendMetadata(p *peer, m *peerwire.Metadata) {
	if id := p.ext.M[peerwire.ExtMetadata]; id != 0 {
		p.wire.ctl = peerwire.AppendExtended(p.wire.ctl, id, m.Append(nil))
	}
}

// serveMetadata sends what p asked for while its writer has room and the rate
// limit allows it.
func (t *torrent) serveMetadata(p *peer) {
	q := &p.meta
	if len(q.queue) == 0 {
		return
	}
	raw, n, sent := t.metadata(), 0, 0
	room := t.flow.up.room(p)
	for waiting := p.wire.out.waiting(); n < len(q.queue) && waiting+len(p.wire.ctl) < maxMetaWaiting; n++ {
		size := peerwire.MetadataPieceLen(len(raw), q.queue[n])
		if size > room-sent {
			t.flow.up.want(p, p.owed()-(p.up.grant-int64(sent)))
			break
		}
		at := q.queue[n] * peerwire.MetadataPiece
		t.appendMetadata(p, &peerwire.Metadata{Type: peerwire.MetadataData, Piece: q.queue[n], Total: len(raw), Data: raw[at : at+size]})
		sent += size
	}
	q.served += n
	q.queue = append(q.queue[:0], q.queue[n:]...)
	p.up.grant = max(0, p.up.grant-int64(sent))
}

// owed is how many bytes p waits for: blocks, and pieces of the metadata.
func (p *peer) owed() int64 {
	return p.up.owed() + int64(len(p.meta.queue))*peerwire.MetadataPiece
}
