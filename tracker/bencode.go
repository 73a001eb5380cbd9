package tracker

import (
	"bytes"
	"errors"
	"fmt"
)

// Answers of trackers are read by walking over the bytes: nothing is built,
// so that an answer cannot make us allocate more than its own size. Order of
// keys does not matter, and bytes after the value are left alone: real
// trackers get both wrong.

const maxDepth = 16 // nesting; the deepest answer in use has 4

var errBencode = errors.New("bencode")

// span returns the length of the value at the start of b.
func span(b []byte, depth int) (int, error) {
	if len(b) == 0 {
		return 0, fmt.Errorf("%w: cut short", errBencode)
	}
	switch c := b[0]; {
	case c == 'i':
		end := bytes.IndexByte(b[:min(len(b), 24)], 'e')
		if end < 0 {
			return 0, fmt.Errorf("%w: endless number", errBencode)
		}
		if _, ok := number(b[:end+1]); !ok {
			return 0, fmt.Errorf("%w: bad number", errBencode)
		}
		return end + 1, nil
	case c >= '0' && c <= '9':
		_, n, err := text(b)
		return n, err
	case c == 'l' || c == 'd':
		if depth >= maxDepth {
			return 0, fmt.Errorf("%w: nested too deeply", errBencode)
		}
		n := 1
		for n < len(b) && b[n] != 'e' {
			if c == 'd' {
				_, k, err := text(b[n:])
				if err != nil {
					return 0, err
				}
				n += k
			}
			k, err := span(b[n:], depth+1)
			if err != nil {
				return 0, err
			}
			n += k
		}
		if n >= len(b) {
			return 0, fmt.Errorf("%w: cut short", errBencode)
		}
		return n + 1, nil
	}
	return 0, fmt.Errorf("%w: unexpected byte %q", errBencode, b[0])
}

// text returns the string at the start of b and the length of the whole of
// it, prefix included.
func text(b []byte) (s []byte, n int, err error) {
	colon := bytes.IndexByte(b[:min(len(b), 12)], ':')
	if colon <= 0 {
		return nil, 0, fmt.Errorf("%w: bad string length", errBencode)
	}
	size := 0
	for _, c := range b[:colon] {
		if c < '0' || c > '9' {
			return nil, 0, fmt.Errorf("%w: bad string length", errBencode)
		}
		size = size*10 + int(c-'0')
		if size > len(b) {
			return nil, 0, fmt.Errorf("%w: string longer than the answer", errBencode)
		}
	}
	end := colon + 1 + size
	if end > len(b) {
		return nil, 0, fmt.Errorf("%w: string longer than the answer", errBencode)
	}
	return b[colon+1 : end], end, nil
}

// number reads a whole value as an integer. What does not fit is cut to the
// nearest number that does.
func number(v []byte) (int64, bool) {
	if len(v) < 3 || v[0] != 'i' || v[len(v)-1] != 'e' {
		return 0, false
	}
	digits, negative := v[1:len(v)-1], false
	if digits[0] == '-' {
		digits, negative = digits[1:], true
	}
	if len(digits) == 0 {
		return 0, false
	}
	const top = 1<<63 - 1
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if d := int64(c - '0'); n > (top-d)/10 {
			n = top
		} else {
			n = n*10 + d
		}
	}
	if negative {
		n = -n
	}
	return n, true
}

// str reads a whole value as a string.
func str(v []byte) ([]byte, bool) {
	s, n, err := text(v)
	return s, err == nil && n == len(v)
}

// dict calls each for every key of the dictionary at the start of b until
// each returns false. A value is the bytes of a whole, well-formed value.
func dict(b []byte, depth int, each func(key, value []byte) bool) error {
	if len(b) == 0 || b[0] != 'd' {
		return fmt.Errorf("%w: not a dictionary", errBencode)
	}
	b = b[1:]
	for len(b) > 0 && b[0] != 'e' {
		key, n, err := text(b)
		if err != nil {
			return err
		}
		b = b[n:]
		if n, err = span(b, depth+1); err != nil {
			return err
		}
		if !each(key, b[:n]) {
			return nil
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return fmt.Errorf("%w: cut short", errBencode)
	}
	return nil
}

// eachOf calls each for every value of the list v, which must be a whole,
// well-formed value, until each returns false.
func eachOf(v []byte, each func(value []byte) bool) {
	if len(v) == 0 || v[0] != 'l' {
		return
	}
	for v = v[1:]; len(v) > 0 && v[0] != 'e'; {
		n, err := span(v, 0)
		if err != nil || !each(v[:n]) {
			return
		}
		v = v[n:]
	}
}
