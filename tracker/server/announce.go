package server

import (
	"errors"
	"net/netip"
	"time"
)

type event uint8

const (
	eventNone event = iota
	eventStarted
	eventCompleted
	eventStopped
)

// announce is a checked request.
type announce struct {
	source
	hash, peerID [20]byte
	port         uint16
	seed         bool // nothing is left
	event        event
	want         int // addresses; negative leaves it to the tracker
	via          transport
	token        bool // it came with the tracker's token
}

// answer is what an announce is answered with. It is used again and again.
type answer struct {
	draw                       *drawer
	seeds, leechers, downloads int
	self                       bool // our own daemon is among them
	selfID                     [20]byte
	four                       []record[[4]byte]
	six                        []record[[16]byte]
}

func newAnswer() *answer { return &answer{draw: newDrawer()} }

// What clients are told.
var (
	errUnregistered = errors.New("this torrent is not registered with this tracker")
	errRate         = errors.New("too many requests from your address")
	errPerSource    = errors.New("too many peers have your address")
	errFull         = errors.New("this tracker is full")
)

// announce enters a peer and finds others for it.
func (s *Server) announce(a *announce, out *answer, at time.Time) error {
	now, millis := s.clock(at)
	out.self, out.four, out.six = false, out.four[:0], out.six[:0]
	a.alone = s.standsAlone(a.addr, at)
	self := s.isSelf(a, at)
	if !self && !s.meter.allow(a.key(), millis) {
		s.refuse(becauseRate)
		return errRate
	}
	want := a.want
	if want < 0 {
		want = s.cfg.NumWant
	}
	want = min(want, s.cfg.MaxNumWant)
	if a.event == eventStopped {
		want = 0
	}
	sh := s.shard(a.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.cfg.Listed && !a.token {
		if _, ok := sh.registered[a.hash]; !ok {
			s.refuse(becauseUnregistered)
			return errUnregistered
		}
	}
	sw := s.current(sh, a.hash, now)
	if sw == nil && a.event != eventStopped {
		if s.torrents.Load() >= int64(s.cfg.MaxTorrents) {
			s.refuse(becauseFull)
			return errFull
		}
		sw = &swarm{}
		sh.swarms[a.hash] = sw
		s.torrents.Add(1)
	}
	if sw == nil {
		sh.count(a.via, now)
		out.seeds, out.leechers, out.downloads = 0, 0, 0
		return nil
	}
	place, err := s.enter(sw, a, self, now)
	if err != nil {
		s.forgetEmpty(sh, a.hash, sw)
		return err
	}
	sh.count(a.via, now)
	out.seeds, out.leechers, out.downloads = sw.counts()
	if want > 0 {
		s.choose(sw, a, self, place, want, out)
	}
	s.forgetEmpty(sh, a.hash, sw)
	return nil
}

// isSelf tells whether our own daemon announces.
func (s *Server) isSelf(a *announce, at time.Time) bool {
	return s.cfg.Port != 0 && a.port == s.cfg.Port && s.own.has(a.addr, at)
}

// enter notes what a peer said of itself, and returns its place in the list
// of its family.
func (s *Server) enter(sw *swarm, a *announce, self bool, now uint32) (place int, err error) {
	switch {
	case self:
		s.enterSelf(sw, a, now)
		return -1, nil
	case a.addr.Is4():
		return enter(s, sw, &sw.four, a.addr.As4(), a, now)
	case sw.six == nil:
		sw.six = &peers[[16]byte]{}
	}
	return enter(s, sw, sw.six, a.packed(), a, now)
}

func enter[A ip](s *Server, sw *swarm, p *peers[A], addr A, a *announce, now uint32) (place int, err error) {
	place = p.find(s.seed, &addr, a.port)
	if a.event == eventStopped {
		if place >= 0 && p.list[place].id == a.peerID { // nobody can stop another
			s.census.drop(keyOf(&p.list[place]))
			p.remove(s.seed, place, classOf(a.addr))
			s.peers.Add(-1)
		}
		return -1, nil
	}
	if place < 0 {
		key := a.key()
		switch {
		case s.peers.Load() >= int64(s.cfg.MaxPeers):
			s.refuse(becauseFull)
			return -1, errFull
		case s.census.count(key) >= s.cfg.PerSource:
			s.refuse(becausePerSource)
			return -1, errPerSource
		}
		r := record[A]{addr: addr, port: a.port, heard: now}
		if a.alone {
			r.heard |= aloneBit
		}
		place = p.add(s.seed, r, classOf(a.addr))
		s.census.add(key)
		s.peers.Add(1)
	}
	r := &p.list[place]
	r.id, r.heard = a.peerID, now|r.heard&flagBits
	if a.event == eventCompleted && a.seed && r.heard&doneBit == 0 {
		r.heard |= doneBit
		sw.downloads++
	}
	was := place < int(p.seeds)
	p.setSeed(s.seed, place, a.seed)
	if was != a.seed {
		place = p.find(s.seed, &addr, a.port)
	}
	return place, nil
}

func (s *Server) enterSelf(sw *swarm, a *announce, now uint32) {
	if a.event == eventStopped {
		if sw.self != nil {
			sw.self = nil
			s.peers.Add(-1)
		}
		return
	}
	if sw.self == nil {
		sw.self = &selfPeer{}
		s.peers.Add(1)
	}
	p := sw.self
	p.id, p.seed, p.heard = a.peerID, a.seed, now|p.heard&doneBit
	if a.event == eventCompleted && a.seed && p.heard&doneBit == 0 {
		p.heard |= doneBit
		sw.downloads++
	}
}

// choose draws peers for the one that asks, who is at place in its list (-1 if
// it is in none). Seeds are of no use to a seed. Over HTTP, room that is left
// goes to the other family.
func (s *Server) choose(sw *swarm, a *announce, self bool, place, want int, out *answer) {
	c := classOf(a.addr)
	if sw.self != nil && !self && !(a.seed && sw.self.seed) {
		// As likely as any other peer.
		others := len(sw.four.list)
		if sw.six != nil {
			others += len(sw.six.list)
		}
		if out.self = others <= want || out.draw.rng.IntN(others) < want; out.self {
			out.selfID = sw.self.id
			want--
		}
	}
	four := func(but int) {
		out.four = choose(&sw.four, out.draw, out.four, a.seed, but, want-len(out.six), c, class4)
	}
	six := func(but int) {
		if sw.six == nil {
			return
		}
		only := class6
		if c == linkLocal {
			only = func(addr *[16]byte) class {
				if _, zone := unpack(*addr); isLink(*addr) && zone != a.zone {
					return everywhere + 255 // on another link
				}
				return class6(addr)
			}
		}
		out.six = choose(sw.six, out.draw, out.six, a.seed, but, want-len(out.four), c, only)
	}
	both := a.via == overHTTP
	switch {
	case a.addr.Is4():
		four(place)
		if both {
			six(-1)
		}
	default:
		six(place)
		if both {
			four(-1)
		}
	}
}

// choose appends up to n peers of one family that an asker can reach.
func choose[A ip](p *peers[A], d *drawer, dst []record[A], seed bool, but, n int, asker class, of func(*A) class) []record[A] {
	from := 0
	if seed {
		from = int(p.seeds)
	}
	if n <= 0 {
		return dst
	}
	hidden := p.hidden(asker)
	if hidden == 0 && asker != linkLocal {
		p.draw(d, from, len(p.list), but, n, func(r *record[A]) { dst = append(dst, *r) })
		return dst
	}
	// Some are drawn in vain, so draw more.
	begin := len(dst)
	p.draw(d, from, len(p.list), but, min(n+hidden, maxDraw), func(r *record[A]) {
		if c := of(&r.addr); c == everywhere || c == asker {
			dst = append(dst, *r)
		}
	})
	if got := dst[begin:]; len(got) > n {
		d.rng.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		dst = dst[:begin+n]
	}
	return dst
}

// selfAddr is the address by which a source reaches our daemon, invalid if
// there is none that could be told.
func (s *Server) selfAddr(from source, want4 bool, at time.Time) netip.AddrPort {
	local := from.local
	if !local.IsValid() {
		local = s.routes.to(from.addr, at)
	}
	if local.IsLinkLocalUnicast() && local.Is6() {
		// It would be of no use without a zone, which answers have no place for.
		local = s.own.beside(from.zone, want4, at)
	}
	if !local.IsValid() || local.IsUnspecified() || local.IsLoopback() && !from.addr.IsLoopback() && !s.own.has(from.addr, at) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(local, s.cfg.Port)
}
