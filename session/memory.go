package session

import (
	"encoding/binary"
	"net/netip"
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
// lost otherwise.
func (t *torrent) rememberPeers() {
	list := t.book.Best(rememberedPeers)
	t.e.mu.Lock()
	t.e.known = list
	removed := t.e.removed
	t.e.mu.Unlock()
	if removed || t.pick.Missing() == 0 || len(list) == 0 {
		return
	}
	var b []byte
	for _, a := range list {
		b = appendAddr(b, a)
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

// appendAddr writes an address as one byte of length, the address and the
// port. A zone is not kept.
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

func (s *Session) rememberLimits(l Limits) error {
	b := binary.BigEndian.AppendUint64(nil, uint64(l.Up))
	return s.db.Put(limitsKey, binary.BigEndian.AppendUint64(b, uint64(l.Down)))
}
