package krpc

import "bytes"

// Bounds of what is read.
const (
	MaxPacket = 65507 // bytes, the most that UDP carries over IPv4
	maxDepth  = 32    // of lists and dictionaries
	maxAgain  = 8     // known keys that may come again: each costs a walk from the start
)

// scanner walks bencode. A fault sticks.
type scanner struct {
	b     []byte
	at    int
	again int // known keys that came again
	fault Fault
}

func (s *scanner) fail(f Fault) {
	if s.fault == None {
		s.fault = f
	}
}

// more tells whether another element of the open list or dictionary follows,
// and steps over its end if none does.
func (s *scanner) more() bool {
	if s.fault != None {
		return false
	}
	if s.at >= len(s.b) {
		s.fail(FaultBencode)
		return false
	}
	if s.b[s.at] == 'e' {
		s.at++
		return false
	}
	return true
}

// open steps into a list or dictionary.
func (s *scanner) open(c byte) bool {
	if s.fault != None || s.at >= len(s.b) || s.b[s.at] != c {
		return false
	}
	s.at++
	return true
}

// str reads a string.
func (s *scanner) str() []byte {
	n, at := 0, s.at
	for ; at < len(s.b) && s.b[at] >= '0' && s.b[at] <= '9'; at++ {
		n = n*10 + int(s.b[at]-'0')
		if n > len(s.b) {
			s.fail(FaultBencode)
			return nil
		}
	}
	digits := at - s.at
	if digits == 0 || (digits > 1 && s.b[s.at] == '0') || at >= len(s.b) || s.b[at] != ':' || n > len(s.b)-at-1 {
		s.fail(FaultBencode)
		return nil
	}
	s.at = at + 1 + n
	return s.b[at+1 : s.at : s.at]
}

// number steps over an integer.
func (s *scanner) number() {
	at := s.at + 1 // the i
	if at < len(s.b) && s.b[at] == '-' {
		at++
	}
	start := at
	for at < len(s.b) && s.b[at] >= '0' && s.b[at] <= '9' {
		at++
	}
	if at == start || at >= len(s.b) || s.b[at] != 'e' {
		s.fail(FaultBencode)
		return
	}
	s.at = at + 1
}

// value steps over any value and returns its bytes.
func (s *scanner) value() []byte {
	start, depth := s.at, 0
	var dict, key uint64 // by depth: it is a dictionary; a key is next
	for s.fault == None {
		if s.at >= len(s.b) {
			s.fail(FaultBencode)
			break
		}
		bit := uint64(1) << depth
		c := s.b[s.at]
		if dict&bit != 0 && c != 'e' {
			if key&bit != 0 && (c < '0' || c > '9') {
				s.fail(FaultBencode)
				break
			}
			key ^= bit
		}
		switch {
		case c >= '0' && c <= '9':
			s.str()
		case c == 'i':
			s.number()
		case c == 'l' || c == 'd':
			if depth++; depth > maxDepth {
				s.fail(FaultDepth)
				break
			}
			s.at++
			bit = uint64(1) << depth
			dict &^= bit
			if c == 'd' {
				dict |= bit
				key |= bit
			}
		case c == 'e' && depth > 0 && (dict&bit == 0 || key&bit != 0):
			s.at++
			depth--
		default:
			s.fail(FaultBencode)
		}
		if depth == 0 {
			break
		}
	}
	if s.fault != None {
		return nil
	}
	return s.b[start:s.at:s.at]
}

// repeated handles a known key that was seen before: it is fine if it says
// the same as the first one in the dictionary that begins at start.
func (s *scanner) repeated(start int, key, val []byte) {
	if s.again++; s.again > maxAgain {
		s.fail(FaultDuplicate)
		return
	}
	again := scanner{b: s.b, at: start}
	for again.more() {
		k := again.str()
		v := again.value()
		if again.fault == None && bytes.Equal(k, key) {
			if !bytes.Equal(v, val) {
				s.fail(FaultDuplicate)
			}
			return
		}
	}
}

// asString is the string that a value is.
func asString(val []byte) ([]byte, bool) {
	if len(val) == 0 || val[0] < '0' || val[0] > '9' {
		return nil, false
	}
	colon := bytes.IndexByte(val, ':')
	return val[colon+1:], true
}

// asInt is the integer that a value is, if it fits.
func asInt(val []byte) (n int64, ok bool) {
	if len(val) < 3 || val[0] != 'i' {
		return 0, false
	}
	digits := val[1 : len(val)-1]
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	if len(digits) > 19 || (digits[0] == '0' && (len(digits) > 1 || negative)) {
		return 0, false
	}
	var u uint64
	for _, c := range digits {
		u = u*10 + uint64(c-'0')
	}
	switch {
	case negative && u <= 1<<63:
		return -int64(u), true
	case !negative && u < 1<<63:
		return int64(u), true
	}
	return 0, false
}

// Canonical tells whether b is exactly one value in the only form that BEP 3
// allows: keys sorted and unique, no superfluous zeros, nested at most 32 deep.
// Numbers may be of any size.
func Canonical(b []byte) bool {
	s := scanner{b: b}
	s.canonical(0)
	return s.fault == None && s.at == len(b)
}

func (s *scanner) canonical(depth int) {
	if s.fault != None || s.at >= len(s.b) || depth > maxDepth {
		s.fail(FaultBencode)
		return
	}
	switch c := s.b[s.at]; c {
	case 'i':
		start := s.at + 1
		if s.number(); s.fault != None {
			return
		}
		digits := s.b[start : s.at-1]
		if digits[0] == '-' {
			if digits = digits[1:]; digits[0] == '0' {
				s.fail(FaultBencode)
			}
		}
		if digits[0] == '0' && len(digits) > 1 {
			s.fail(FaultBencode)
		}
	case 'l':
		s.at++
		for s.more() {
			s.canonical(depth + 1)
		}
	case 'd':
		s.at++
		var last []byte
		for first := true; s.more(); first = false {
			key := s.str()
			if !first && bytes.Compare(last, key) >= 0 {
				s.fail(FaultBencode)
			}
			last = key
			s.canonical(depth + 1)
		}
	default:
		s.str()
	}
}
