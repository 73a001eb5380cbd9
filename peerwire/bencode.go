package peerwire

import (
	"errors"
	"strconv"
)

// maxDepth bounds the nesting of bencoded messages.
const maxDepth = 32

var (
	errBencode = errors.New("not bencoded")
	errDepth   = errors.New("nested too deep")
)

// scanner reads bencoded values from memory, without allocating. After an
// error it must not be used further.
type scanner struct {
	b []byte
}

// is tells whether the next value begins with c, and if so takes that byte.
func (s *scanner) is(c byte) bool {
	if len(s.b) == 0 || s.b[0] != c {
		return false
	}
	s.b = s.b[1:]
	return true
}

// number takes a canonical decimal number and the byte that ends it.
// Numbers beyond 64 bits are taken as the nearest that fits.
func (s *scanner) number(end byte) (int64, error) {
	i := 0
	if len(s.b) > 0 && s.b[0] == '-' {
		i = 1
	}
	first := i
	for i < len(s.b) && '0' <= s.b[i] && s.b[i] <= '9' {
		i++
	}
	switch {
	case i == len(s.b) || s.b[i] != end || i == first:
		return 0, errBencode
	case s.b[first] == '0' && i > 1: // -0 and leading zeros
		return 0, errBencode
	}
	digits := s.b[:i]
	s.b = s.b[i+1:]
	if len(digits) > 20 {
		digits = digits[:20] // out of range in any case
	}
	n, _ := strconv.ParseInt(string(digits), 10, 64)
	return n, nil
}

// str takes a string.
func (s *scanner) str() ([]byte, error) {
	if len(s.b) == 0 || s.b[0] < '0' || s.b[0] > '9' {
		return nil, errBencode
	}
	n, err := s.number(':')
	if err != nil || n > int64(len(s.b)) {
		return nil, errBencode
	}
	v := s.b[:n]
	s.b = s.b[n:]
	return v, nil
}

// value takes any value and returns its bytes.
func (s *scanner) value() ([]byte, error) {
	start := s.b
	err := s.skip(maxDepth)
	return start[:len(start)-len(s.b)], err
}

func (s *scanner) skip(depth int) (err error) {
	switch {
	case depth == 0:
		return errDepth
	case s.is('i'):
		_, err = s.number('e')
		return err
	case s.is('l'):
		for !s.is('e') {
			if err = s.skip(depth - 1); err != nil {
				return err
			}
		}
		return nil
	case s.is('d'):
		for !s.is('e') {
			if _, err = s.str(); err == nil {
				err = s.skip(depth - 1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	_, err = s.str()
	return err
}

// dict calls each with every key of the dictionary that v begins with, and
// with the bytes of its value. Keys need not be sorted or unique.
func dict(v []byte, each func(key, value []byte)) error {
	_, err := dictRest(v, each)
	return err
}

// dictRest is dict, and returns what follows the dictionary.
func dictRest(v []byte, each func(key, value []byte)) (rest []byte, err error) {
	s := scanner{v}
	if !s.is('d') {
		return nil, errBencode
	}
	for !s.is('e') {
		key, err := s.str()
		if err != nil {
			return nil, err
		}
		value, err := s.value()
		if err != nil {
			return nil, err
		}
		each(key, value)
	}
	return s.b, nil
}

// intOf is the integer that v is.
func intOf(v []byte) (n int64, ok bool) {
	s := scanner{v}
	if !s.is('i') {
		return 0, false
	}
	n, err := s.number('e')
	return n, err == nil
}

// strOf is the string that v is.
func strOf(v []byte) (b []byte, ok bool) {
	s := scanner{v}
	b, err := s.str()
	return b, err == nil
}

// appendStr appends a bencoded string.
func appendStr[T string | []byte](b []byte, v T) []byte {
	b = strconv.AppendInt(b, int64(len(v)), 10)
	b = append(b, ':')
	return append(b, v...)
}

// appendInt appends a bencoded integer.
func appendInt(b []byte, n int64) []byte {
	b = append(b, 'i')
	b = strconv.AppendInt(b, n, 10)
	return append(b, 'e')
}
