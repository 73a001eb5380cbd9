package metainfo

import (
	"bytes"
	"slices"
)

// Limits on the input.
const (
	// MaxFileSize is the longest .torrent file that is read, in bytes.
	MaxFileSize = 32 << 20
	// MaxInfoSize is the longest info dictionary, in bytes. It leaves room in
	// a file for everything else that Bytes writes.
	MaxInfoSize = MaxFileSize - 1<<20

	maxDepth     = 64 // dictionaries and lists in each other; the library has the same limit
	maxIntDigits = 20 // sign included: enough for 64 bits
	maxLenDigits = 8  // of the length of a string: enough for MaxFileSize
)

// scan accepts b only if it is exactly one well-formed dictionary. It
// allocates once, whatever the size, unless more than a few dozen keys stand
// in open dictionaries. Everything else in this package walks only bytes that it
// accepted.
func scan(b []byte, size, depth int) error {
	switch {
	case len(b) == 0:
		return malformed("the input is empty")
	case b[0] == '<':
		return malformed("it begins with %q: a web page, not a torrent", '<')
	case b[0] != 'd':
		return malformed("it does not begin with a dictionary")
	case len(b) > size:
		return malformed("%d bytes, at most %d are read", len(b), size)
	}
	var room [64]span
	s := scanner{b: b, keys: room[:0]}
	if why := s.value(depth); why != "" {
		return malformed("byte %d: %s", s.at, why)
	}
	if s.at != len(b) {
		return malformed("byte %d: %d bytes after the end", s.at, len(b)-s.at)
	}
	return nil
}

// scanner walks untrusted bencode. Its methods return "" or what is wrong at
// the offset at.
type scanner struct {
	b    []byte
	at   int
	keys []span // keys of the dictionaries that are open, outermost first
}

// span is a range of the input.
type span struct{ from, to int32 }

const cutShort = "the input ends in the middle of a value"

// value checks one value that may nest depth levels deep.
func (s *scanner) value(depth int) string {
	if s.at >= len(s.b) {
		return cutShort
	}
	switch c := s.b[s.at]; {
	case c >= '0' && c <= '9':
		_, why := s.text()
		return why
	case c == 'i':
		return s.integer()
	case c != 'd' && c != 'l':
		return "no value begins like this"
	case depth == 0:
		return "nested too deep"
	case c == 'l':
		return s.list(depth - 1)
	default:
		return s.dict(depth - 1)
	}
}

func (s *scanner) list(depth int) string {
	s.at++
	for !s.end() {
		if why := s.value(depth); why != "" {
			return why
		}
	}
	return ""
}

func (s *scanner) dict(depth int) string {
	s.at++
	first, sorted := len(s.keys), true
	for !s.end() {
		key, why := s.text()
		if why != "" {
			return why
		}
		if n := len(s.keys); sorted && n > first {
			sorted = bytes.Compare(s.cut(s.keys[n-1]), s.cut(key)) < 0
		}
		s.keys = append(s.keys, key)
		if why := s.value(depth); why != "" {
			return why
		}
	}
	if !sorted && s.repeats(s.keys[first:]) {
		return "a dictionary that ends here has a key twice"
	}
	s.keys = s.keys[:first]
	return ""
}

// repeats sorts a copy of keys and looks for equal neighbours.
func (s *scanner) repeats(keys []span) bool {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(x, y span) int { return bytes.Compare(s.cut(x), s.cut(y)) })
	for i := 1; i < len(keys); i++ {
		if bytes.Equal(s.cut(keys[i-1]), s.cut(keys[i])) {
			return true
		}
	}
	return false
}

func (s *scanner) cut(k span) []byte { return s.b[k.from:k.to] }

// end consumes the end of a list or dictionary.
func (s *scanner) end() bool {
	if s.at < len(s.b) && s.b[s.at] == 'e' {
		s.at++
		return true
	}
	return false
}

// digits counts the decimal digits from offset i.
func (s *scanner) digits(i int) int {
	n := 0
	for i+n < len(s.b) && s.b[i+n] >= '0' && s.b[i+n] <= '9' {
		n++
	}
	return n
}

func (s *scanner) integer() string {
	i := s.at + 1
	if i < len(s.b) && s.b[i] == '-' {
		i++
	}
	n := s.digits(i)
	switch {
	case i+n >= len(s.b):
		return cutShort
	case n == 0 || s.b[i+n] != 'e':
		return "not an integer"
	case s.b[i] == '0' && (n > 1 || i > s.at+1):
		return "an integer with a leading zero, or minus zero"
	case i+n-s.at-1 > maxIntDigits:
		return "an integer with too many digits"
	}
	s.at = i + n + 1
	return ""
}

// text consumes a string and returns where its content is.
func (s *scanner) text() (span, string) {
	n := s.digits(s.at)
	colon := s.at + n
	switch {
	case colon >= len(s.b):
		return span{}, cutShort
	case n == 0:
		return span{}, "a dictionary key is not a string"
	case s.b[colon] != ':':
		return span{}, "the length of a string is not followed by a colon"
	case s.b[s.at] == '0' && n > 1:
		return span{}, "the length of a string has a leading zero"
	case n > maxLenDigits:
		return span{}, "a string is longer than the input"
	}
	length := 0
	for _, c := range s.b[s.at:colon] {
		length = length*10 + int(c-'0')
	}
	if length > len(s.b)-colon-1 {
		return span{}, "a string is longer than the input"
	}
	s.at = colon + 1 + length
	return span{int32(colon + 1), int32(s.at)}, ""
}
