package metainfo

import (
	"bytes"
	"iter"
	"slices"

	"github.com/anacrolix/torrent/bencode"
)

// value is one bencoded value, byte for byte. It always lies in input that
// scan accepted, so walking it can't run over its end. nil is a key that is
// not there.
type value []byte

// kind is 'd', 'l', 'i', 's' for a string, or 0 for a value that is not there.
func (v value) kind() byte {
	switch {
	case len(v) == 0:
		return 0
	case v[0] >= '0' && v[0] <= '9':
		return 's'
	}
	return v[0]
}

// next cuts the first value off b.
func next(b []byte) (first value, rest []byte) {
	depth, i := 0, 0
	for {
		switch c := b[i]; c {
		case 'd', 'l':
			depth++
			i++
		case 'e':
			depth--
			i++
		case 'i':
			i += bytes.IndexByte(b[i:], 'e') + 1
		default:
			length := 0
			for ; b[i] != ':'; i++ {
				length = length*10 + int(b[i]-'0')
			}
			i += 1 + length
		}
		if depth == 0 {
			return value(b[:i]), b[i:]
		}
	}
}

// text is the content of a string, nil for other kinds. It is not copied.
func (v value) text() []byte {
	if v.kind() != 's' {
		return nil
	}
	return v[bytes.IndexByte(v, ':')+1:]
}

// elements yields what a list holds; nothing for other kinds.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		if v.kind() != 'l' {
			return
		}
		for b := []byte(v[1:]); b[0] != 'e'; {
			var e value
			if e, b = next(b); !yield(e) {
				return
			}
		}
	}
}

// entries yields what a dictionary holds; nothing for other kinds.
func (v value) entries() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		if v.kind() != 'd' {
			return
		}
		for b := []byte(v[1:]); b[0] != 'e'; {
			var key, e value
			key, b = next(b)
			if e, b = next(b); !yield(key.text(), e) {
				return
			}
		}
	}
}

// pick finds the values of the named keys of a dictionary.
func (v value) pick(names ...string) map[string]value {
	found := make(map[string]value, len(names))
	for key, e := range v.entries() {
		if i := slices.Index(names, string(key)); i >= 0 {
			found[names[i]] = e
		}
	}
	return found
}

// decode has the library decode v, the value of key, into to.
func (v value) decode(key string, kind byte, to any) error {
	if err := v.want(key, kind); err != nil {
		return err
	}
	if err := bencode.Unmarshal(v, to); err != nil {
		return malformed("%s: %v", key, err)
	}
	return nil
}

// want checks the kind of v, the value of key. The library would take a list
// of one element for the element, and a list of small integers for a string.
func (v value) want(key string, kind byte) error {
	switch got := v.kind(); got {
	case kind:
		return nil
	case 0:
		return malformed("%s is missing", key)
	default:
		return malformed("%s is %s, not %s", key, kindName(got), kindName(kind))
	}
}

func kindName(kind byte) string {
	switch kind {
	case 'd':
		return "a dictionary"
	case 'l':
		return "a list"
	case 'i':
		return "an integer"
	default:
		return "a string"
	}
}
