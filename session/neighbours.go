package session

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"btd/metainfo"
	"btd/tracker/lsd"
)

// LSDConfig says whether torrents are announced and found in the local network
// (BEP 14). The zero value does neither.
type LSDConfig struct {
	On   bool
	Port uint16 // UDP port of the multicast groups; 0 means 6771, that of all clients
}

// neighbours announces all started torrents, active or idle, in the local
// network, and hears of those of others. Private torrents never come here (BEP
// 27), and those of which only a link is known, which may turn out to be
// private, are not announced unless they are meant for the local network.
type neighbours struct {
	s       *Session
	service *lsd.Service // nil if it is off

	mu    sync.Mutex
	items map[lsd.Hash]*entry
	room  float64 // torrents at rest that may be woken now
	at    time.Time
}

// How many torrents at rest are woken by what neighbours announce. Who means it
// hears of us as well, and comes.
const (
	wakeBurst = 32 // at once
	wakeRate  = 1  // a second, after that
)

func newNeighbours(s *Session) *neighbours {
	n := &neighbours{s: s, items: map[lsd.Hash]*entry{}, room: wakeBurst, at: time.Now()}
	if cfg := s.cfg.LSD; cfg.On {
		n.service = lsd.New(lsd.Config{Listen: s.Addr(), GroupPort: cfg.Port, Found: n.found, Log: s.log})
	}
	return n
}

// run announces and listens until ctx ends.
func (n *neighbours) run(ctx context.Context) {
	if n.service != nil {
		n.service.Run(ctx)
	}
}

// start begins announcing e, unless that must not be.
func (n *neighbours) start(e *entry) {
	if n.service == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.set(e)
}

// set announces e as its record wants it. The caller holds n.mu.
func (n *neighbours) set(e *entry) {
	rec, _ := e.record()
	h, class := e.announcedHash(), lsd.Regular
	switch {
	case rec.Private:
		n.remove(e)
		return
	case rec.Scope == metainfo.ScopeLAN:
		class = lsd.Local
	case rec.Magnet != "":
		class = lsd.Listening
	}
	n.items[h] = e
	n.service.Set(h, class)
}

// remove ends announcing e. The caller holds n.mu.
func (n *neighbours) remove(e *entry) {
	if h := e.announcedHash(); n.items[h] == e {
		delete(n.items, h)
		n.service.Remove(h)
	}
}

// stop ends what start began.
func (n *neighbours) stop(e *entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(e)
}

// learned is told when the metadata of e is here: now it is known whether it is
// private.
func (n *neighbours) learned(e *entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.items[e.announcedHash()] == e {
		n.set(e)
	}
}

// found hands a peer to its torrent. It is called by the service and does not
// block. Who was here a moment ago does not wake a seed that sleeps.
func (n *neighbours) found(h lsd.Hash, peer netip.AddrPort, fresh bool) {
	n.mu.Lock()
	e := n.items[h]
	n.mu.Unlock()
	if e == nil || e.private() || e.crowded() || e.running() == nil && !(fresh && n.mayWake(time.Now())) {
		return
	}
	n.s.foundSoon(e, []netip.AddrPort{peer}, FromLSD)
}

// mayWake tells whether one more torrent may be woken now.
func (n *neighbours) mayWake(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.room, n.at = min(wakeBurst, n.room+now.Sub(n.at).Seconds()*wakeRate), now
	if n.room < 1 {
		return false
	}
	n.room--
	return true
}

// status is how discovery gets on, in words; "" if it is off.
func (n *neighbours) status() string {
	if n.service == nil {
		return ""
	}
	return n.service.Status().String()
}
