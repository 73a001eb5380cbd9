package follow

import "strconv"

// maxDepth is how deep lists and dictionaries of a value may lie in each other.
const maxDepth = 16

// AppendValue appends the value of an item that names a torrent (BEP 46,
// "Publishing content").
func AppendValue(b []byte, hash [20]byte) []byte {
	b = append(b, "d2:ih20:"...)
	b = append(b, hash[:]...)
	return append(b, 'e')
}

// ReadValue reads the torrent that an item's value names. Other keys beside ih
// are passed over. It returns false if there is none, or if the value is not
// one dictionary in bencode.
func ReadValue(v []byte) (hash [20]byte, ok bool) {
	if len(v) < 2 || v[0] != 'd' {
		return hash, false
	}
	rest := v[1:]
	for len(rest) > 0 && rest[0] != 'e' {
		var key, val []byte
		if key, rest, ok = cutString(rest); !ok {
			return [20]byte{}, false
		}
		val = rest
		if rest, ok = skip(rest, maxDepth); !ok {
			return [20]byte{}, false
		}
		if string(key) != "ih" {
			continue
		}
		s, after, isString := cutString(val)
		if !isString || len(after) != len(rest) || len(s) != len(hash) {
			return [20]byte{}, false
		}
		copy(hash[:], s)
	}
	if len(rest) != 1 || hash == [20]byte{} {
		return [20]byte{}, false
	}
	return hash, true
}

// cutString cuts a string off the front.
func cutString(b []byte) (s, rest []byte, ok bool) {
	digits := 0
	for digits < len(b) && digits < 5 && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	if digits == 0 || digits == len(b) || b[digits] != ':' {
		return nil, nil, false
	}
	n, err := strconv.Atoi(string(b[:digits]))
	if b = b[digits+1:]; err != nil || n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// skip cuts any value off the front.
func skip(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 || depth == 0 {
		return nil, false
	}
	switch b[0] {
	case 'i':
		for n := 1; n < len(b) && n < 22; n++ {
			if b[n] == 'e' {
				return b[n+1:], n > 1
			}
		}
		return nil, false
	case 'l', 'd':
		isDict := b[0] == 'd'
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
			if isDict {
				if _, b, ok = cutString(b); !ok {
					return nil, false
				}
			}
			if b, ok = skip(b, depth-1); !ok {
				return nil, false
			}
		}
		if len(b) == 0 {
			return nil, false
		}
		return b[1:], true
	}
	_, rest, ok = cutString(b)
	return rest, ok
}
