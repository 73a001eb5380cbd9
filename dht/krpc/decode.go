package krpc

import (
	"encoding/binary"
	"net/netip"
)

// Bounds of single values, in bytes.
const (
	idSize   = 20
	maxT     = 64  // longest transaction id that is echoed
	maxToken = 256 // a longer one counts as none
)

// Decode reads a packet into m, which it resets. Slices of m point into b.
//
// After a fault, T and Kind are set if they could be read (T is nil, Kind 0
// otherwise), so that a query can be answered with an error; nothing else of m
// means anything.
func (m *Message) Decode(b []byte) Fault {
	*m = Message{}
	if len(b) == 0 || len(b) > MaxPacket {
		return FaultSize
	}
	s := scanner{b: b}
	if !s.open('d') {
		return FaultBencode
	}
	parts, fault := m.top(&s)
	switch {
	case fault != None:
	case s.at != len(b):
		fault = FaultTrailing
	case m.T == nil:
		fault = FaultTransaction
	case m.Kind == Query:
		fault = m.query(parts.a)
	case m.Kind == Reply:
		fault = m.reply(parts.r)
	case m.Kind == Error:
		fault = m.error(parts.e)
	default:
		fault = FaultKind
	}
	return fault
}

// parts are the values of the top dictionary that depend on the kind.
type parts struct{ a, r, e []byte }

// top reads the outer dictionary.
func (m *Message) top(s *scanner) (p parts, fault Fault) {
	start, seen := s.at, uint(0)
	soft := None // the first fault that lets the walk go on
	for s.more() {
		key := s.str()
		val := s.value()
		if s.fault != None {
			break
		}
		bit, f := uint(0), None
		switch string(key) {
		case "a":
			bit, p.a = 1, val
		case "r":
			bit, p.r = 2, val
		case "e":
			bit, p.e = 4, val
		case "t":
			bit = 8
			f = m.transaction(val)
		case "y":
			bit = 16
			if y, ok := asString(val); ok && len(y) == 1 && (y[0] == 'q' || y[0] == 'r' || y[0] == 'e') {
				m.Kind = Kind(y[0])
			} else {
				f = FaultKind
			}
		case "q":
			bit = 32
			if name, ok := asString(val); ok {
				m.Asked, m.Method = name, methodOf(name)
			} else {
				f = FaultType
			}
		case "ip":
			bit = 64
			m.IP, f = ownAddress(val)
		case "ro":
			bit = 128
			n, ok := asInt(val)
			m.ReadOnly = ok && n != 0
		case "v":
			bit = 256
			m.Version, _ = asString(val)
		}
		if seen&bit != 0 {
			s.repeated(start, key, val)
		}
		seen |= bit
		if soft == None {
			soft = f
		}
	}
	if s.fault != None {
		return p, s.fault
	}
	return p, soft
}

func (m *Message) transaction(val []byte) Fault {
	t, ok := asString(val)
	switch {
	case !ok:
		return FaultType
	case len(t) > maxT:
		return FaultTransaction
	}
	m.T = t
	return None
}

// ownAddress reads the ip key: an address with its port, or, as old clients
// send it, without.
func ownAddress(val []byte) (netip.AddrPort, Fault) {
	b, ok := asString(val)
	if !ok {
		return netip.AddrPort{}, FaultType
	}
	switch len(b) {
	case 4, 16:
		addr, _ := netip.AddrFromSlice(b)
		return netip.AddrPortFrom(addr.Unmap(), 0), None
	case 6, 18:
		return compact(b), None
	}
	return netip.AddrPort{}, FaultAddress
}

// compact reads an address of 4 or 16 bytes and a port.
func compact(b []byte) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(b[:len(b)-2])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[len(b)-2:]))
}

func (m *Message) query(a []byte) Fault {
	if m.Asked == nil || a == nil {
		return FaultBody
	}
	if f := m.body(a); f != None {
		return f
	}
	if m.Has&HasID == 0 {
		return FaultID
	}
	switch m.Method {
	case FindNode, Get, SampleInfohashes:
		if m.Has&HasTarget == 0 {
			return FaultID
		}
	case GetPeers:
		if m.Has&HasInfoHash == 0 {
			return FaultID
		}
	case AnnouncePeer:
		switch {
		case m.Has&HasInfoHash == 0:
			return FaultID
		case m.Port == 0 && !m.ImpliedPort:
			return FaultPort
		case m.Has&HasToken == 0:
			return FaultArgument
		}
	case Put:
		const mutable = HasK | HasSig | HasSeq
		if m.Has&(HasToken|HasV) != HasToken|HasV {
			return FaultArgument
		}
		if m.Has&HasK != 0 && m.Has&mutable != mutable {
			return FaultArgument
		}
	}
	return None
}

func (m *Message) reply(r []byte) Fault {
	if r == nil {
		return FaultBody
	}
	if f := m.body(r); f != None {
		return f
	}
	if m.Has&HasID == 0 {
		return FaultID
	}
	return None
}

// error reads [code, text], and takes what it can of anything else.
func (m *Message) error(e []byte) Fault {
	if e == nil {
		return FaultBody
	}
	if text, ok := asString(e); ok {
		m.Text = text
		return None
	}
	s := scanner{b: e}
	if !s.open('l') {
		return FaultType
	}
	for s.more() {
		val := s.value()
		if n, ok := asInt(val); ok && n > 0 && n < 1000 && m.Code == 0 {
			m.Code = int(n)
		} else if text, ok := asString(val); ok && m.Text == nil {
			m.Text = text
		}
	}
	return s.fault
}

// body reads the dictionary of a query or a reply.
func (m *Message) body(b []byte) Fault {
	s := scanner{b: b}
	if !s.open('d') {
		return FaultType
	}
	start := s.at
	for s.more() {
		key := s.str()
		val := s.value()
		if s.fault != None {
			break
		}
		field, f := m.Body.set(key, val)
		if f != None {
			return f
		}
		if m.Has&field != 0 {
			s.repeated(start, key, val)
		}
		m.Has |= field
	}
	return s.fault
}

// set stores one field. It returns 0 for a key that means nothing here.
func (m *Body) set(key, val []byte) (field Field, f Fault) {
	switch string(key) {
	case "id":
		return HasID, identity(&m.ID, val)
	case "target":
		return HasTarget, identity(&m.Target, val)
	case "info_hash":
		return HasInfoHash, identity(&m.InfoHash, val)
	case "port":
		n, ok := asInt(val)
		if !ok {
			return 0, FaultType
		}
		if n > 0 && n <= 65535 {
			m.Port = uint16(n)
			return HasPort, None
		}
		return 0, None // query tells whether it matters
	case "implied_port":
		return flag(HasImpliedPort, &m.ImpliedPort, val)
	case "noseed":
		return flag(HasNoSeed, &m.NoSeed, val)
	case "scrape":
		return flag(HasScrape, &m.Scrape, val)
	case "seed":
		return flag(HasSeed, &m.Seed, val)
	case "token":
		if field, f = text(HasToken, &m.Token, val); len(m.Token) > maxToken {
			m.Token, field = nil, 0
		}
		return field, f
	case "name":
		m.Name, _ = asString(val)
		return HasName, None
	case "want":
		return HasWant, m.want(val)
	case "nodes":
		return multiple(HasNodes, &m.Nodes, val, NodeSize)
	case "nodes6":
		return multiple(HasNodes6, &m.Nodes6, val, Node6Size)
	case "values":
		return HasValues, m.values(val)
	case "BFsd":
		return exactly(HasBFsd, &m.BFsd, val, FilterSize)
	case "BFpe":
		return exactly(HasBFpe, &m.BFpe, val, FilterSize)
	case "v":
		m.V = val
		return HasV, None
	case "k":
		return exactly(HasK, &m.K, val, KeySize)
	case "sig":
		return exactly(HasSig, &m.Sig, val, SignatureSize)
	case "salt":
		return text(HasSalt, &m.Salt, val)
	case "seq":
		return number(HasSeq, &m.Seq, val)
	case "cas":
		return number(HasCas, &m.Cas, val)
	case "samples":
		if field, f = multiple(HasSamples, &m.Samples, val, idSize); f == FaultNodes {
			f = FaultLength
		}
		return field, f
	case "num":
		return number(HasNum, &m.Num, val)
	case "interval":
		return number(HasInterval, &m.Interval, val)
	}
	return 0, None
}

func identity(id *ID, val []byte) Fault {
	b, ok := asString(val)
	if !ok {
		return FaultType
	}
	if len(b) != idSize {
		return FaultID
	}
	id.SetBytes(b)
	return None
}

func text(field Field, to *[]byte, val []byte) (Field, Fault) {
	b, ok := asString(val)
	if !ok {
		return 0, FaultType
	}
	*to = b
	return field, None
}

func exactly(field Field, to *[]byte, val []byte, size int) (Field, Fault) {
	field, f := text(field, to, val)
	if f == None && len(*to) != size {
		return 0, FaultLength
	}
	return field, f
}

func multiple(field Field, to *[]byte, val []byte, size int) (Field, Fault) {
	field, f := text(field, to, val)
	if f == None && len(*to)%size != 0 {
		return 0, FaultNodes
	}
	return field, f
}

func number(field Field, to *int64, val []byte) (Field, Fault) {
	n, ok := asInt(val)
	if !ok {
		return 0, FaultType
	}
	*to = n
	return field, None
}

// flag reads an integer that means yes if it is not 0.
func flag(field Field, to *bool, val []byte) (Field, Fault) {
	n, ok := asInt(val)
	if !ok {
		return 0, FaultType
	}
	*to = n != 0
	return field, None
}

// want reads a list of strings; unknown ones are for later extensions.
func (m *Body) want(val []byte) Fault {
	s := scanner{b: val}
	if !s.open('l') {
		return FaultType
	}
	m.Want = 0
	for s.more() {
		switch w, _ := asString(s.value()); string(w) {
		case "n4":
			m.Want |= WantNodes
		case "n6":
			m.Want |= WantNodes6
		}
	}
	return s.fault
}

// values checks a list of compact addresses of both families.
func (m *Body) values(val []byte) Fault {
	s := scanner{b: val}
	if !s.open('l') {
		return FaultType
	}
	start := s.at
	for s.more() {
		peer, ok := asString(s.value())
		switch {
		case !ok:
			return FaultType
		case len(peer) != PeerSize && len(peer) != Peer6Size:
			return FaultAddress
		}
	}
	if s.fault == None {
		m.Values = val[start : s.at-1]
	}
	return s.fault
}
