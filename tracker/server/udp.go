package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	udpMagic       = 0x41727101980
	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3

	maxUDPPeers4  = 200 // keeps an answer below 1,472 bytes
	maxUDPPeers6  = 70
	maxReadErrors = 100         // in a row
	idPeriod      = time.Minute // a connection id is good for two to three of these
)

// ServeUDP answers the packets of BEP 15 on a UDP socket until ctx ends. It
// closes the socket.
func (s *Server) ServeUDP(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	buf := make([]byte, 2048)
	for bad := 0; ; {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if bad++; err != nil && (errors.Is(err, net.ErrClosed) || bad > maxReadErrors) {
			return fmt.Errorf("serving the tracker: %w", err)
		}
		if err != nil {
			continue // Windows reports that an earlier answer of ours was not wanted
		}
		bad = 0
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		source := udp.AddrPort()
		source = netip.AddrPortFrom(source.Addr().Unmap().WithZone(""), source.Port())
		if out := s.packet(buf[:n], source, time.Now()); out != nil {
			conn.WriteTo(out, from)
		}
	}
}

// packet answers one packet; nil means that none is due. A source is sent no
// more than it sent itself before it has shown, by a connection id, that it
// is where it claims to be.
func (s *Server) packet(p []byte, from netip.AddrPort, now time.Time) []byte {
	if len(p) < 16 {
		return nil
	}
	id, action, transaction := binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint32(p[12:])
	if action == actionConnect {
		if id != udpMagic {
			return nil
		}
		return binary.BigEndian.AppendUint64(header(actionConnect, transaction), s.connectionID(from, now, 0))
	}
	if !s.knows(from, id, now) {
		return nil
	}
	switch action {
	case actionAnnounce:
		a, err := parsePacket(p, from)
		if err == nil {
			a.want, a.via = s.roomFor(a), overUDP
			a.token = s.knowsToken(urlData(p[98:]))
			var out answer
			if out, err = s.announce(a, false); err == nil {
				return s.packAnswer(transaction, out)
			}
		}
		return append(header(actionError, transaction), err.Error()...)
	case actionScrape:
		return s.packScrape(transaction, p[16:])
	}
	return append(header(actionError, transaction), "unknown action"...)
}

func header(action, transaction uint32) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 64), action)
	return binary.BigEndian.AppendUint32(b, transaction)
}

// connectionID is computed, not stored, so that strangers cannot fill memory.
func (s *Server) connectionID(from netip.AddrPort, now time.Time, ago int64) uint64 {
	mac := hmac.New(sha256.New, s.secret[:])
	b, _ := from.MarshalBinary() // never fails
	b = binary.BigEndian.AppendUint64(b, uint64(now.Unix()/int64(idPeriod/time.Second)-ago))
	mac.Write(b)
	return binary.BigEndian.Uint64(mac.Sum(nil))
}

func (s *Server) knows(from netip.AddrPort, id uint64, now time.Time) bool {
	for ago := range int64(3) {
		if s.connectionID(from, now, ago) == id {
			return true
		}
	}
	return false
}

func parsePacket(p []byte, from netip.AddrPort) (announce, error) {
	if len(p) < 98 {
		return announce{}, errors.New("an announce has 98 bytes")
	}
	a := announce{
		hash:   [20]byte(p[16:36]),
		peerID: [20]byte(p[36:56]),
		left:   binary.BigEndian.Uint64(p[64:]),
		want:   int(int32(binary.BigEndian.Uint32(p[92:]))),
	}
	port := binary.BigEndian.Uint16(p[96:])
	if port == 0 {
		return a, errors.New("port must be 1 to 65535")
	}
	a.addr = netip.AddrPortFrom(from.Addr(), port)
	switch binary.BigEndian.Uint32(p[80:]) {
	case 0:
	case 1:
		a.event = eventCompleted
	case 2:
		a.event = eventStarted
	case 3:
		a.event = eventStopped
	default:
		return a, errors.New("unknown event")
	}
	return a, nil
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
		data := options[1 : 1+options[0]]
		options = options[1+len(data):]
		if kind == optionURLData {
			path = append(path, data...)
		}
	}
	return string(path)
}

const (
	optionEnd     = 0
	optionNOP     = 1
	optionURLData = 2
)

// roomFor is the number of addresses wanted that an answer has room for.
func (s *Server) roomFor(a announce) int {
	if a.want < 0 {
		a.want = s.cfg.NumWant
	}
	if a.addr.Addr().Is6() {
		return min(a.want, maxUDPPeers6)
	}
	return min(a.want, maxUDPPeers4)
}

func (s *Server) packAnswer(transaction uint32, out answer) []byte {
	b := header(actionAnnounce, transaction)
	b = binary.BigEndian.AppendUint32(b, uint32(s.cfg.Interval/time.Second))
	b = binary.BigEndian.AppendUint32(b, uint32(out.leechers))
	b = binary.BigEndian.AppendUint32(b, uint32(out.seeds))
	for _, p := range out.peers {
		b = appendPeer(b, p)
	}
	return b
}

func (s *Server) packScrape(transaction uint32, hashes []byte) []byte {
	b := header(actionScrape, transaction)
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; len(hashes) >= 20 && n < maxScrape; n++ {
		seeds, leechers, downloads := s.store.current([20]byte(hashes[:20]), time.Now()).counts()
		b = binary.BigEndian.AppendUint32(b, uint32(seeds))
		b = binary.BigEndian.AppendUint32(b, uint32(downloads))
		b = binary.BigEndian.AppendUint32(b, uint32(leechers))
		hashes = hashes[20:]
	}
	return b
}
