package metainfo

import (
	"fmt"
	"slices"
	"strconv"
)

const (
	maxExtras    = 1000
	maxExtraText = 100 // bytes shown of a string or a key
)

// Extra is a key of a torrent that Parse does not know.
type Extra struct {
	Key   string // quoted, below "info" with "info." before it
	Value string // as one line that is safe to print: long ones are cut, lists and dictionaries counted
}

// Extras are the keys of a .torrent file that Parse does not know, in the
// order of the file and those of info last, 1,000 at most. Those of single files, which may be many
// million, are not among them. Errors are those of Parse.
func Extras(b []byte) ([]Extra, error) {
	if err := scan(b, MaxFileSize, maxDepth); err != nil {
		return nil, err
	}
	var out []Extra
	add := func(prefix string, v value, known []string) {
		for key, e := range v.entries() {
			if !slices.Contains(known, string(key)) && len(out) < maxExtras {
				out = append(out, Extra{Key: prefix + extraText(key), Value: extraValue(e)})
			}
		}
	}
	add("", b, fileKeys[:])
	add("info.", value(b).pick("info")["info"], infoKeys[:])
	return out, nil
}

func extraText(b []byte) string {
	if len(b) > maxExtraText {
		return fmt.Sprintf("%s... (%d bytes)", strconv.QuoteToGraphic(string(b[:maxExtraText])), len(b))
	}
	return strconv.QuoteToGraphic(string(b))
}

func extraValue(v value) string {
	n := 0
	switch v.kind() {
	case 'i':
		return string(v[1 : len(v)-1])
	case 's':
		return extraText(v.text())
	case 'l':
		for range v.elements() {
			n++
		}
		return fmt.Sprintf("a list of %d", n)
	default:
		for range v.entries() {
			n++
		}
		return fmt.Sprintf("a dictionary of %d keys", n)
	}
}
