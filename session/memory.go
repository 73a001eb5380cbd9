package session

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"

	"btd/metainfo"
)

// What the session remembers beside its torrents: addresses of peers, hosts
// that lied, and the limits that a user set.

const (
	rememberedPeers = 50   // addresses kept for a torrent while it has no loop
	rememberedBans  = 1000 // hosts
	limitsKey       = "session limits"
)

func peersKey(h metainfo.Hash) string { return "peers " + h.String() }

// rememberPeers keeps the best addresses for the torrent's next loop. Those of
// a download survive a restart as well: a swarm without a tracker would be
// lost otherwise. While nobody knows whether the torrent is private, only those
// are kept that it may know then: the next loop does not know their source.
func (t *torrent) rememberPeers() {
	list := t.book.Best(rememberedPeers)
	if t.wait != nil {
		list = slices.DeleteFunc(list, func(a netip.AddrPort) bool { return Source(t.book.Source(a)).public() })
	}
	t.e.mu.Lock()
	t.e.known = list
	removed := t.e.removed
	t.e.mu.Unlock()
	if removed || t.pick != nil && t.pick.Missing() == 0 || len(list) == 0 {
		return
	}
	var b []byte
	for _, a := range list {
		if a.Addr().Zone() == "" { // interfaces may have other names after a restart
			b = appendAddr(b, a)
		}
	}
	if err := t.s.db.Put(peersKey(t.e.hash), b); err != nil {
		t.log.Warn("remembering peers", "err", err)
	}
}

// recallPeers gives the loop the addresses of earlier ones.
func (t *torrent) recallPeers() {
	given, known := t.e.takePeers()
	t.learn(given, FromUser)
	t.learn(known, FromResume)
	if len(known) > 0 {
		return
	}
	b, err := t.s.db.Get(peersKey(t.e.hash))
	if err != nil || len(b) == 0 {
		return
	}
	t.learn(parseAddrs(b), FromResume)
}

// appendAddr writes an address without a zone as one byte of length, the
// address and the port.
func appendAddr(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().AsSlice()
	b = append(b, byte(len(ip)))
	b = append(b, ip...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// parseAddrs reads what appendAddr wrote, as far as it makes sense.
func parseAddrs(b []byte) (out []netip.AddrPort) {
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n+2 {
			break
		}
		ip, ok := netip.AddrFromSlice(b[1 : 1+n])
		if !ok {
			break
		}
		out = append(out, netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[1+n:])))
		b = b[1+n+2:]
	}
	return out
}

// bans are the hosts that sent a wrong block, for all torrents of the
// session.
type bans struct {
	mu    sync.Mutex
	hosts []netip.Addr
}

func (b *bans) add(ip netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hosts = append(b.hosts, ip); len(b.hosts) > rememberedBans {
		b.hosts = b.hosts[1:]
	}
}

func (b *bans) list() []netip.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]netip.Addr(nil), b.hosts...)
}

// recallLimits brings back the limits that a user set while the daemon ran.
// Limits of the configuration win.
func (s *Session) recallLimits() {
	b, err := s.db.Get(limitsKey)
	if err != nil || len(b) != 16 || s.cfg.Limits != (Limits{}) {
		return
	}
	s.cfg.Limits.Up = int64(binary.BigEndian.Uint64(b) & (1<<62 - 1))
	s.cfg.Limits.Down = int64(binary.BigEndian.Uint64(b[8:]) & (1<<62 - 1))
}

// limitsNote is the limits that are still to be recorded.
type limitsNote struct {
	mu      sync.Mutex
	want    Limits
	due     bool
	writing bool
}

// rememberLimits records the session's limits soon; nobody waits for it.
func (s *Session) rememberLimits(l Limits) {
	n := &s.limits
	n.mu.Lock()
	defer n.mu.Unlock()
	n.want, n.due = l, true
	if n.writing {
		return
	}
	n.writing = true
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for l, ok := n.next(); ok; l, ok = n.next() {
			b := binary.BigEndian.AppendUint64(nil, uint64(l.Up))
			if err := s.db.Put(limitsKey, binary.BigEndian.AppendUint64(b, uint64(l.Down))); err != nil {
				s.log.Error("the limits could not be recorded: a restart will not know them", "err", err)
			}
		}
	}()
}

// next is what to record now; false ends the writing.
func (n *limitsNote) next() (Limits, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.writing = n.due
	n.due = false
	return n.want, n.writing
}
