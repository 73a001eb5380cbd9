package server

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

const (
	udpMagic       = 0x41727101980
	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3

	optionEnd     = 0 // of BEP 41
	optionNOP     = 1
	optionURLData = 2

	announceLen  = 98
	maxPacket    = 1472 // bytes of an answer
	maxUDPPeers4 = 200  // keeps an answer below that
	maxUDPPeers6 = 70

	idPeriod = time.Minute // a connection id is good for two to three of these
)

// packet appends the answer to one packet, which comes from a port of from;
// none is due where nothing is appended. A source that has not shown by a
// connection id that it is where it claims to be is sent 16 bytes for 16, and
// nothing otherwise.
func (s *Server) packet(b, p []byte, from source, port uint16, out *answer, at time.Time) []byte {
	if len(p) < 16 {
		s.refuse(becauseMalformed)
		return b
	}
	id, action, transaction := binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint32(p[12:])
	period := uint64(at.Unix() / int64(idPeriod/time.Second))
	if action == actionConnect {
		if id != udpMagic {
			s.refuse(becauseMalformed)
			return b
		}
		return binary.BigEndian.AppendUint64(header(b, actionConnect, transaction), s.connectionID(from, port, period))
	}
	if !s.knows(from, port, id, period) {
		s.refuse(becauseConnection)
		return b
	}
	switch action {
	case actionAnnounce:
		var a announce
		err := parsePacket(p, &a)
		if err != nil {
			s.refuse(becauseMalformed)
			return append(header(b, actionError, transaction), err.Error()...)
		}
		a.source, a.via = from, overUDP
		a.want = s.roomFor(&a)
		if s.cfg.Token != "" && len(p) > announceLen {
			a.token = s.knowsToken(urlData(p[announceLen:]))
		}
		if err := s.announce(&a, out, at); err != nil {
			return append(header(b, actionError, transaction), err.Error()...)
		}
		return s.packAnswer(header(b, actionAnnounce, transaction), &a, out, at)
	case actionScrape:
		if !s.mayScrape(from, at) {
			return append(header(b, actionError, transaction), errRate.Error()...)
		}
		now, _ := s.clock(at)
		return s.appendScrapeUDP(header(b, actionScrape, transaction), p[16:], now)
	}
	s.refuse(becauseMalformed)
	return append(header(b, actionError, transaction), "unknown action"...)
}

func header(b []byte, action, transaction uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, action), transaction)
}

// connectionID is computed, not stored, so that strangers cannot fill memory.
// Its first byte tells the period in which it was given out.
func (s *Server) connectionID(from source, port uint16, period uint64) uint64 {
	var msg [32]byte
	addr := from.packed()
	copy(msg[:], addr[:])
	binary.BigEndian.PutUint16(msg[16:], port)
	binary.BigEndian.PutUint64(msg[24:], period)
	return s.ids.sum(msg[:])>>8 | period<<56
}

func (s *Server) knows(from source, port uint16, id, period uint64) bool {
	ago := uint64(byte(period) - byte(id>>56))
	return ago < 3 && s.connectionID(from, port, period-ago) == id
}

var (
	errShort  = errors.New("an announce has 98 bytes")
	udpEvents = [4]event{eventNone, eventCompleted, eventStarted, eventStopped}
)

// parsePacket reads an announce (BEP 15). The address in it is ignored, so
// that nobody can enter somebody else.
func parsePacket(p []byte, a *announce) error {
	if len(p) < announceLen {
		return errShort
	}
	a.hash = [20]byte(p[16:36])
	a.peerID = [20]byte(p[36:56])
	a.seed = binary.BigEndian.Uint64(p[64:]) == 0
	a.want = int(int32(binary.BigEndian.Uint32(p[92:])))
	if a.port = binary.BigEndian.Uint16(p[96:]); a.port == 0 {
		return errPort
	}
	if e := binary.BigEndian.Uint32(p[80:]); e < uint32(len(udpEvents)) {
		a.event = udpEvents[e] // others are none: what BEP 21 calls paused has no number
	}
	return nil
}

// urlData is the path and query of the announce URL, as the options behind an
// announce tell (BEP 41); "" if they do not.
func urlData(options []byte) string {
	var path []byte
	for len(options) > 0 {
		kind := options[0]
		options = options[1:]
		if kind == optionNOP {
			continue
		}
		if kind == optionEnd || len(options) == 0 || len(options) <= int(options[0]) {
			break
		}
		data := options[1 : 1+int(options[0])]
		options = options[1+len(data):]
		if kind == optionURLData {
			path = append(path, data...)
		}
	}
	return string(path)
}

// roomFor is the number of addresses wanted that an answer has room for.
func (s *Server) roomFor(a *announce) int {
	if a.want < 0 {
		a.want = s.cfg.NumWant
	}
	if a.addr.Is6() {
		return min(a.want, maxUDPPeers6)
	}
	return min(a.want, maxUDPPeers4)
}

func (s *Server) packAnswer(b []byte, a *announce, out *answer, at time.Time) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(s.cfg.Interval/time.Second))
	b = binary.BigEndian.AppendUint32(b, uint32(out.leechers))
	b = binary.BigEndian.AppendUint32(b, uint32(out.seeds))
	if out.self {
		if self := s.selfAddr(a.source, false, at); self.IsValid() && self.Addr().Is4() == a.addr.Is4() {
			b = appendPeer(b, self)
		}
	}
	if a.addr.Is4() {
		return appendFour(b, out.four)
	}
	return appendSix(b, out.six)
}

// sourceOf is the source of what comes from an address, which may be an IPv4
// address in the form of IPv6, and have a zone.
func sourceOf(a netip.Addr, zone uint32, local netip.Addr) source {
	return source{addr: a.Unmap().WithZone(""), zone: zone, local: local.Unmap().WithZone("")}
}
