package session

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"btd/peerwire"
	"btd/piece"
	"btd/session/addrbook"
)

// peers holds a torrent's connections.
type peers struct {
	all      []*peer // in order of arrival
	byID     map[uint32]*peer
	byPeerID map[[20]byte]*peer
	byPicker map[*piece.Peer]*peer
	picked   []piece.Block // reused by choose
	touched  []*peer       // have output or wants for flush
	nextID   uint32
	dialling int
	room     int // blocks of memory that requests should take
	given    metaGiven
	names    []*named // peers of which nobody knows the addresses yet
	news     int      // grows with every peer that comes, goes, or says where it listens
	depth    int      // of all pipelines in use, about
}

func (ps *peers) count() int { return len(ps.all) }

func (ps *peers) init() {
	ps.news = 1
	ps.byID = map[uint32]*peer{}
	ps.byPeerID = map[[20]byte]*peer{}
	ps.byPicker = map[*piece.Peer]*peer{}
}

// joined is a connection whose handshake is complete.
type joined struct {
	conn   *conn
	hs     peerwire.Handshake
	addr   netip.AddrPort
	source Source
	dialed bool
}

func (j *joined) apply(t *torrent) { t.join(j) }

// Reasons to close a connection that say nothing bad of the peer.
var (
	errDuplicate = errors.New("connected already")
	errOurselves = errors.New("connected to ourselves")
	errFull      = errors.New("too many peers")
	errBothSeeds = errors.New("both sides are complete")
	errNotReady  = errors.New("torrent is not ready for peers")
	errStopping  = errors.New("torrent stopped")
	errBanned    = errors.New("sent a wrong block")
	errTimeout   = errors.New("silent for too long")
	errPrivate   = errors.New("the torrent is private, and the peer did not come from its trackers")
	errOutside   = errors.New("the torrent stays in the local network, and the peer is outside of it")
)

// join admits a connection, or closes it.
func (t *torrent) join(j *joined) {
	if j.dialed {
		t.peers.dialling--
	}
	refuse := func(why error) {
		j.conn.Close()
		if j.dialed {
			t.book.Failed(j.addr, reasonOf(why), t.now)
		}
		t.log.Debug("connection refused", "peer", j.addr, "err", why)
	}
	old := t.peers.byPeerID[j.hs.PeerID]
	switch {
	case j.hs.PeerID == t.s.peerID:
		refuse(errOurselves)
		return
	case !t.e.scope().Covers(j.addr.Addr()):
		refuse(errOutside)
		return
	case !t.disk.readable():
		refuse(errNotReady)
		return
	case t.book.Banned(j.addr.Addr()):
		refuse(errBanned)
		return
	case t.private() && j.source.public(): // it was dialled before we knew
		refuse(errPrivate)
		return
	case old != nil && !t.replaces(old, j):
		refuse(errDuplicate)
		return
	case old == nil && t.peers.count() >= t.s.cfg.MaxPeersPerTorrent && !t.makeRoom(j.addr):
		refuse(errFull)
		return
	}
	if old != nil {
		t.drop(old, errDuplicate)
	}
	t.admit(j)
}

// replaces decides between two connections to the same peer so that both
// ends keep the same one: that which the greater peer id dialled.
func (t *torrent) replaces(old *peer, j *joined) bool {
	if old.incoming == !j.dialed || old.addr.Addr() != j.addr.Addr() {
		return false // the other address may be anybody who knows the peer's id
	}
	ours := string(t.s.peerID[:]) > string(j.hs.PeerID[:])
	return ours == j.dialed
}

// makeRoom drops the least useful peer of a full torrent: one that has been
// here for a while, gives nothing and takes nothing. Of those that want
// something, one may go whose rank is lower than the newcomer's (BEP 40), so
// that who is early cannot keep a swarm to itself.
func (t *torrent) makeRoom(newcomer netip.AddrPort) bool {
	if t.wait != nil {
		return t.makeRoomEarly() || t.thinOut(newcomer.Addr())
	}
	var lowest *peer
	rank := t.book.Rank(newcomer)
	for _, p := range t.peers.all {
		if t.now.Sub(p.joined) <= 2*time.Minute || p.down.meter.rate > 0 || p.up.meter.rate > 0 {
			continue
		}
		if !p.up.interested && !p.down.interested {
			t.drop(p, errFull)
			return true
		}
		if r := t.book.Rank(p.addr); r < rank {
			lowest, rank = p, r
		}
	}
	if lowest != nil {
		t.drop(lowest, errFull)
	}
	return lowest != nil
}

func (t *torrent) admit(j *joined) {
	t.peers.nextID++
	p := &peer{
		id: t.peers.nextID, addr: j.addr, source: j.source, incoming: !j.dialed,
		hs: j.hs, joined: t.now,
	}
	if j.dialed {
		p.listen = j.addr
	}
	p.down = peerDown{choked: true, slowStart: true, depth: t.firstDepth(), lastBlock: t.now}
	p.up = peerUp{choking: true, allowed: map[piece.Index]int64{}}
	p.wire.conn, p.wire.out = j.conn, newOutbox()
	p.wire.free = make(chan *batch, 2)
	p.wire.free <- &batch{p: p}
	p.wire.free <- &batch{p: p}
	p.wire.lastRecv, p.wire.lastSent = t.now, t.now
	p.wire.sentEvent.p = p
	t.peers.all = append(t.peers.all, p)
	t.peers.byID[p.id] = p
	t.peers.byPeerID[p.hs.PeerID] = p
	t.peers.news++
	if j.dialed {
		t.book.Connected(j.addr, t.now)
	}
	if t.wait != nil {
		p.early = &early{}
		if !j.dialed {
			t.wait.tried++
		}
	} else {
		p.has = t.pick.Join()
		t.peers.byPicker[p.has] = p
		t.flow.join(t, p)
	}
	t.greet(p)
	t.startWire(p)
	t.log.Debug("peer connected", "peer", p.addr, "client", p.name(), "incoming", p.incoming)
}

// drop closes a connection and gives back everything it held.
func (t *torrent) drop(p *peer, why error) {
	if p.closed {
		return
	}
	p.closed = true
	p.wire.conn.Close()
	p.wire.out.close()
	switch {
	case p.has != nil:
		t.forgetRequests(p)
		t.pick.Leave(p.has)
		if t.super.policy != nil {
			t.super.policy.Leave(p.id)
		}
		t.choke.left(t, p)
		t.flow.leave(p)
	case t.wait != nil:
		t.wait.fetch.Leave(p.id)
	}
	t.peers.news++
	for i, q := range t.peers.all {
		if q == p {
			t.peers.all = append(t.peers.all[:i], t.peers.all[i+1:]...)
			break
		}
	}
	delete(t.peers.byID, p.id)
	delete(t.peers.byPicker, p.has)
	if t.peers.byPeerID[p.hs.PeerID] == p {
		delete(t.peers.byPeerID, p.hs.PeerID)
	}
	t.noteEnd(p, why)
	if p.has != nil {
		t.feedAll()
	}
}

// noteEnd tells the address book and the counters how a connection ended.
func (t *torrent) noteEnd(p *peer, why error) {
	if p.listen.IsValid() {
		t.book.Disconnected(p.listen, reasonOf(why), t.now)
	}
	t.clock.dialAt = t.now
	if errors.Is(why, peerwire.ErrMalformed) || errors.Is(why, errProtocol) {
		t.s.count("peer_protocol_errors")
	}
	t.log.Debug("peer gone", "peer", p.addr, "client", p.name(), "err", why)
}

// reasonOf says what the end of a connection means for the peer's address.
func reasonOf(why error) addrbook.Reason {
	switch {
	case errors.Is(why, errOurselves):
		return addrbook.Self
	case errors.Is(why, errDuplicate):
		return addrbook.Duplicate
	case errors.Is(why, errPrivate), errors.Is(why, errOutside):
		return addrbook.Unwanted
	case errors.Is(why, errBothSeeds):
		return addrbook.Useless
	case errors.Is(why, errFull), errors.Is(why, errNotReady), errors.Is(why, errStopping), errors.Is(why, context.Canceled):
		return addrbook.Ours
	case errors.Is(why, peerwire.ErrMalformed), errors.Is(why, errProtocol), errors.Is(why, errOtherTorrent):
		return addrbook.Misbehave
	}
	return addrbook.Lost
}

// touch puts p on the list that flush works through.
func (t *torrent) touch(p *peer) {
	if !p.touched && !p.closed {
		p.touched = true
		t.peers.touched = append(t.peers.touched, p)
	}
}

// flush requests more blocks, hands requested runs to the writers and wakes
// every writer that has output, once.
func (t *torrent) flush() {
	for k := 0; k < len(t.peers.touched); k++ {
		p := t.peers.touched[k]
		if !p.closed {
			if p.has != nil {
				t.feed(p)
				t.serveMetadata(p)
				t.serve(p)
			}
			t.send(p)
		}
		p.touched = false
	}
	clear(t.peers.touched)
	t.peers.touched = t.peers.touched[:0]
}

// maxControl is how much control output may wait for a peer that does not
// read before it is dropped, bytes, beside a have for every piece.
const maxControl = 256 << 10

func (t *torrent) send(p *peer) {
	if len(p.wire.ctl) == 0 && len(p.wire.runs) == 0 {
		return
	}
	waiting := p.wire.out.put(p.wire.ctl, p.wire.runs)
	p.wire.ctl, p.wire.runs = p.wire.ctl[:0], p.wire.runs[:0]
	p.wire.lastSent = t.now
	if waiting > maxControl+9*t.geo.Pieces() {
		t.drop(p, errTimeout)
	}
}

const (
	keepAliveAfter = 110 * time.Second // BEP 3 closes after two minutes of silence
	silentAfter    = 150 * time.Second
	uselessAfter   = 5 * time.Second // since both sides were complete
)

// useless tells whether p and we have had nothing to give each other for a while.
// Not at once: it is to hear first that we are complete, or it dials us again.
func (t *torrent) useless(p *peer) bool {
	switch {
	case t.pick.Missing() > 0 || !p.has.IsSeed():
		p.seeds = time.Time{}
	case p.seeds.IsZero():
		p.seeds = t.now
	}
	return !p.seeds.IsZero() && t.now.Sub(p.seeds) > uselessAfter
}

// tickPeers measures rates, keeps connections alive and closes dead ones.
func (t *torrent) tickPeers() {
	t.peers.depth = 0
	for k := len(t.peers.all) - 1; k >= 0; k-- {
		p := t.peers.all[k]
		p.down.meter.tick(t.now)
		p.up.meter.tick(t.now)
		switch {
		case t.now.Sub(p.wire.lastRecv) > silentAfter:
			t.drop(p, errTimeout)
			continue
		case t.useless(p):
			t.drop(p, errBothSeeds)
			continue
		case t.now.Sub(p.wire.lastSent) > keepAliveAfter:
			p.wire.ctl = peerwire.AppendKeepAlive(p.wire.ctl)
		}
		p.sets = max(0, p.sets-maxSetWork)
		t.tickDown(p)
		t.tickSated(p)
		t.touch(p)
	}
}
