package server

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
)

// appendAnnounce writes the answer to an announce over HTTP, keys in ascending
// order, as bencode wants them.
func (s *Server) appendAnnounce(b []byte, a *announce, out *answer, f form, at time.Time) []byte {
	var self netip.AddrPort
	if out.self {
		self = s.selfAddr(a.source, true, at)
	}
	b = append(b, 'd')
	b = appendInt(b, "complete", out.seeds)
	b = appendInt(b, "downloaded", out.downloads)
	b = appendString(b, "external ip")
	if a.addr.Is4() {
		four := a.addr.As4()
		b = append(append(b, "4:"...), four[:]...)
	} else {
		six := a.addr.As16()
		b = append(append(b, "16:"...), six[:]...)
	}
	b = appendInt(b, "incomplete", out.leechers)
	b = appendInt(b, "interval", int(s.cfg.Interval/time.Second))
	if s.cfg.MinInterval > 0 {
		b = appendInt(b, "min interval", int(s.cfg.MinInterval/time.Second))
	}
	if f == compact {
		b = appendCompact(b, out, self)
	} else {
		b = appendDicts(b, out, self, f)
	}
	if s.cfg.TrackerID != "" {
		b = appendString(b, "tracker id")
		b = appendString(b, s.cfg.TrackerID)
	}
	return append(b, 'e')
}

// appendCompact writes peers and peers6 (BEP 23, BEP 7).
func appendCompact(b []byte, out *answer, self netip.AddrPort) []byte {
	b = appendString(b, "peers")
	n, more := len(out.four), self.IsValid() && self.Addr().Is4()
	if more {
		n++
	}
	b = append(strconv.AppendInt(b, int64(6*n), 10), ':')
	if more {
		b = appendPeer(b, self)
	}
	b = appendFour(b, out.four)
	n, more = len(out.six), self.IsValid() && self.Addr().Is6()
	if more {
		n++
	}
	if n == 0 {
		return b
	}
	b = appendString(b, "peers6")
	b = append(strconv.AppendInt(b, int64(18*n), 10), ':')
	if more {
		b = appendPeer(b, self)
	}
	return appendSix(b, out.six)
}

func appendPeer(b []byte, p netip.AddrPort) []byte {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		b = append(b, a[:]...)
	} else {
		a := p.Addr().As16()
		b = append(b, a[:]...)
	}
	return binary.BigEndian.AppendUint16(b, p.Port())
}

func appendFour(b []byte, list []record[[4]byte]) []byte {
	for i := range list {
		b = append(b, list[i].addr[:]...)
		b = binary.BigEndian.AppendUint16(b, list[i].port)
	}
	return b
}

func appendSix(b []byte, list []record[[16]byte]) []byte {
	for i := range list {
		addr, _ := unpack(list[i].addr)
		b = append(b, addr[:]...)
		b = binary.BigEndian.AppendUint16(b, list[i].port)
	}
	return b
}

func appendDicts(b []byte, out *answer, self netip.AddrPort, f form) []byte {
	b = appendString(b, "peers")
	b = append(b, 'l')
	one := func(p netip.AddrPort, id *[20]byte) {
		b = append(b, 'd')
		b = appendString(b, "ip")
		b = appendString(b, p.Addr().String())
		if f == full {
			b = appendString(b, "peer id")
			b = append(append(b, "20:"...), id[:]...)
		}
		b = appendInt(b, "port", int(p.Port()))
		b = append(b, 'e')
	}
	if self.IsValid() {
		one(self, &out.selfID)
	}
	for i := range out.four {
		one(netip.AddrPortFrom(netip.AddrFrom4(out.four[i].addr), out.four[i].port), &out.four[i].id)
	}
	for i := range out.six {
		addr, _ := unpack(out.six[i].addr)
		one(netip.AddrPortFrom(netip.AddrFrom16(addr), out.six[i].port), &out.six[i].id)
	}
	return append(b, 'e')
}

func appendFailure(b []byte, err error) []byte {
	b = append(b, 'd')
	b = appendString(b, "failure reason")
	b = appendString(b, err.Error())
	return append(b, 'e')
}

func appendString(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

func appendInt(b []byte, key string, n int) []byte {
	b = appendString(b, key)
	b = append(b, 'i')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, 'e')
}
