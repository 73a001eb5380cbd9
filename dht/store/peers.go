package store

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// PeersConfig bounds the stored peers. The zero value means the defaults.
type PeersConfig struct {
	Torrents int           // at most so many; 0 means 2,000
	Each     int           // peers of one torrent; 0 means 500
	Expiry   time.Duration // after the last announce; 0 means 45 min; at most 7 days
}

func (c PeersConfig) withDefaults() PeersConfig {
	if c.Torrents == 0 {
		c.Torrents = 2000
	}
	if c.Each == 0 {
		c.Each = 500
	}
	if c.Expiry == 0 {
		c.Expiry = 45 * time.Minute
	}
	c.Expiry = min(c.Expiry, 7*24*time.Hour)
	return c
}

// What one address may hold.
const (
	portsGlobal = 4  // ports of one torrent
	portsLocal  = 64 // the same for an address of a local network
	onlyPeer    = 64 // torrents that nobody else announces, once there is no room
)

// A record of a peer is its address and port, then two bytes: the minute of
// the announce, modulo 2^15, and the highest bit if it is a seed.
const (
	stampSize = 2
	seedBit   = 1 << 15
	minutes   = 1<<15 - 1
)

// Peers are the announced peers of one address family.
type Peers struct {
	cfg      PeersConfig
	self     contact.Key
	start    time.Time
	addrSize int // 4 or 16
	torrents map[krpc.ID]*torrent
	count    int // records, expired ones too until they are met
	samples  samples
}

// torrent has its records back to back, in no order.
type torrent struct{ records []byte }

// NewPeers makes an empty store for IPv6 peers if v6, else for IPv4 ones. self
// is our node id.
func NewPeers(cfg PeersConfig, v6 bool, self krpc.ID, now time.Time) *Peers {
	p := &Peers{cfg: cfg.withDefaults(), self: contact.KeyOf(self), start: now, addrSize: 4, torrents: make(map[krpc.ID]*torrent)}
	if v6 {
		p.addrSize = 16
	}
	return p
}

// SetSelf tells a new node id.
func (p *Peers) SetSelf(id krpc.ID) { p.self = contact.KeyOf(id) }

// Len is the number of torrents and of peers.
func (p *Peers) Len() (torrents, peers int) { return len(p.torrents), p.count }

// size of a record, bytes.
func (p *Peers) size() int { return p.addrSize + 2 + stampSize }

func (p *Peers) minute(now time.Time) uint16 { return uint16(now.Sub(p.start)/time.Minute) & minutes }

func stampOf(r []byte) uint16 { return binary.BigEndian.Uint16(r[len(r)-stampSize:]) }

// age of a record in minutes; 0 if it is from the future.
func age(r []byte, minute uint16) uint16 {
	a := (minute - stampOf(r)) & minutes
	if a > minutes/2 {
		return 0
	}
	return a
}

func (p *Peers) expired(r []byte, minute uint16) bool {
	return time.Duration(age(r, minute))*time.Minute > p.cfg.Expiry
}

// Announce stores a peer, or makes it fresh. It tells whether it did: addresses
// of the other family and port 0 are refused, and so are torrents when there
// is no room (see the package comment).
func (p *Peers) Announce(hash krpc.ID, addr netip.AddrPort, seed bool, now time.Time) bool {
	ip := addr.Addr().Unmap()
	if addr.Port() == 0 || ip.BitLen() != p.addrSize*8 {
		return false
	}
	var buf [16 + 2 + stampSize]byte
	record := krpc.AppendPeer(buf[:0], netip.AddrPortFrom(ip, addr.Port()))
	minute := p.minute(now)
	stamp := minute
	if seed {
		stamp |= seedBit
	}
	record = binary.BigEndian.AppendUint16(record, stamp)

	t := p.torrents[hash]
	if t == nil {
		if len(p.torrents) >= p.cfg.Torrents && !p.makeRoom(hash, record) {
			return false
		}
		t = &torrent{}
		p.torrents[hash] = t
	}
	p.put(t, record, minute, Local(ip))
	return true
}

// put stores a record in place of the same peer, of the oldest port of an
// address that has too many, of the oldest peer of a full torrent, or at the end.
func (p *Peers) put(t *torrent, record []byte, minute uint16, local bool) {
	size, ports := p.size(), portsGlobal
	if local {
		ports = portsLocal
	}
	oldest, oldestOwn, own := 0, 0, 0
	var oldestAge, oldestOwnAge uint16
	for at := 0; at < len(t.records); at += size {
		r := t.records[at : at+size]
		old := age(r, minute)
		if string(r[:p.addrSize]) == string(record[:p.addrSize]) {
			if string(r[p.addrSize:p.addrSize+2]) == string(record[p.addrSize:p.addrSize+2]) {
				copy(r, record)
				return
			}
			if own++; own == 1 || old > oldestOwnAge {
				oldestOwn, oldestOwnAge = at, old
			}
		}
		if old > oldestAge {
			oldest, oldestAge = at, old
		}
	}
	switch {
	case own >= ports:
		copy(t.records[oldestOwn:], record)
	case len(t.records) >= p.cfg.Each*size:
		copy(t.records[oldest:], record)
	default:
		if len(t.records)+size > cap(t.records) {
			// Grow by a quarter only: most torrents stay small, and doubling
			// would waste a third of all memory.
			n := len(t.records) / size
			t.records = slices.Grow(t.records, max(2, n/4)*size)
		}
		t.records = append(t.records, record...)
		p.count++
	}
}

// makeRoom drops a torrent for a new one, or tells that the new one is the
// first that would go.
func (p *Peers) makeRoom(hash krpc.ID, record []byte) bool {
	size, mine := p.size(), 0
	var ownVictim krpc.ID
	var ownFar contact.Key
	victim, fewest, far := hash, 1, contact.KeyOf(hash).Xor(p.self)
	for h, t := range p.torrents {
		n, sole := len(t.records)/size, p.soleAddress(t)
		if sole != nil {
			n = 1 // whatever number of ports
		}
		if n > fewest {
			continue
		}
		d := contact.KeyOf(h).Xor(p.self)
		if n < fewest || far.Less(d) {
			victim, fewest, far = h, n, d
		}
		if sole != nil && string(sole) == string(record[:p.addrSize]) {
			if mine == 0 || ownFar.Less(d) {
				ownVictim, ownFar = h, d
			}
			mine++
		}
	}
	if mine > onlyPeer {
		victim = ownVictim
	}
	if victim == hash {
		return false
	}
	p.drop(victim)
	return true
}

// soleAddress is the address that all peers of a torrent share, nil if they
// have several.
func (p *Peers) soleAddress(t *torrent) []byte {
	first := t.records[:p.addrSize]
	for at := p.size(); at < len(t.records); at += p.size() {
		if string(t.records[at:at+p.addrSize]) != string(first) {
			return nil
		}
	}
	return first
}

func (p *Peers) drop(hash krpc.ID) {
	p.count -= len(p.torrents[hash].records) / p.size()
	delete(p.torrents, hash)
}

// remove takes the record at an offset out.
func (p *Peers) remove(t *torrent, at int) {
	last := len(t.records) - p.size()
	copy(t.records[at:], t.records[last:])
	t.records = t.records[:last]
	p.count--
}

// Without is whom an asker is not told of.
type Without uint8

// What may be left out.
const (
	Seeds  Without = 1 << iota // BEP 33
	Locals                     // peers in local networks: for who is in none
)

// hides tells whether a record is left out.
func (p *Peers) hides(w Without, r []byte) bool {
	if w&Seeds != 0 && stampOf(r)&seedBit != 0 {
		return true
	}
	if w&Locals == 0 {
		return false
	}
	ip, _ := netip.AddrFromSlice(r[:p.addrSize])
	return Local(ip)
}

// AppendValues appends up to n > 0 peers of a torrent, chosen at random, in the
// form of [krpc.Body.Values], and tells how many.
func (p *Peers) AppendValues(b []byte, hash krpc.ID, n int, w Without, now time.Time, rng *rand.Rand) ([]byte, int) {
	t := p.torrents[hash]
	if t == nil {
		return b, 0
	}
	size, minute, given := p.size(), p.minute(now), 0
	count := len(t.records) / size
	// A window at a random place. Two records change places each time, so that
	// the neighbours in a window are not always the same.
	p.swap(t, rng.IntN(count), rng.IntN(count))
	at := rng.IntN(count) * size
	for range count {
		r := t.records[at : at+size]
		if at += size; at == len(t.records) {
			at = 0
		}
		if p.expired(r, minute) || p.hides(w, r) {
			continue
		}
		b = krpc.AppendValue(b, r[:p.addrSize+2])
		if given++; given >= n {
			break
		}
	}
	return b, given
}

func (p *Peers) swap(t *torrent, i, j int) {
	var r [16 + 2 + stampSize]byte
	size := p.size()
	a, b := t.records[i*size:(i+1)*size], t.records[j*size:(j+1)*size]
	copy(r[:], a)
	copy(a, b)
	copy(b, r[:size])
}

// Filters are the seeds and the other peers of a torrent (BEP 33). It costs a
// hash for each peer. ok is false if there is no such torrent.
func (p *Peers) Filters(hash krpc.ID, w Without, now time.Time) (seeds, peers Filter, ok bool) {
	t := p.torrents[hash]
	if t == nil {
		return seeds, peers, false
	}
	size, minute := p.size(), p.minute(now)
	for at := 0; at < len(t.records); at += size {
		switch r := t.records[at : at+size]; {
		case p.expired(r, minute), p.hides(w, r):
		case stampOf(r)&seedBit != 0:
			seeds.insert(r[:p.addrSize])
		default:
			peers.insert(r[:p.addrSize])
		}
	}
	return seeds, peers, true
}

// Expire forgets peers that have not announced themselves for long. Call it
// every few minutes, and at least once a day; it costs about 1 ns a peer.
func (p *Peers) Expire(now time.Time) {
	size, minute := p.size(), p.minute(now)
	for hash, t := range p.torrents {
		for at := 0; at < len(t.records); {
			if p.expired(t.records[at:at+size], minute) {
				p.remove(t, at)
			} else {
				at += size
			}
		}
		if len(t.records) == 0 {
			delete(p.torrents, hash)
		} else if cap(t.records) > 2*len(t.records)+4*size {
			t.records = slices.Clip(slices.Clone(t.records))
		}
	}
}
