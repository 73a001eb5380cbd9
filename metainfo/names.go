package metainfo

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName = 255  // bytes of one name, as common file systems have it
	maxPath = 4000 // bytes of a path: below what kernels take
)

// checkName says why a name of a file or directory is refused, or "". It
// reads on from the path.
func checkName(name string) string {
	switch {
	case name == "":
		return "has an empty name in it"
	case name == "." || name == "..":
		return fmt.Sprintf("has the name %q in it", name)
	case len(name) > maxName:
		return fmt.Sprintf("has a name of %d bytes in it, at most %d are possible", len(name), maxName)
	case strings.Trim(name, ". ") == "":
		return fmt.Sprintf("has the name %q in it, nothing but dots and spaces", name)
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '/' || c == '\\':
			return fmt.Sprintf("has the separator %q in a name", c)
		case c < 0x20 || c == 0x7f:
			return fmt.Sprintf("has the control character %U in a name", c)
		case c >= utf8.RuneSelf:
			if r, _ := utf8.DecodeRuneInString(name[i:]); unicode.IsControl(r) {
				return fmt.Sprintf("has the control character %U in a name", r)
			}
		}
	}
	if isDevice(name) {
		return fmt.Sprintf("has the name %s in it, a device on Windows", quote(name))
	}
	return ""
}

// isDevice tells whether Windows takes name for a device. What follows the
// first dot or colon does not matter to it, nor do spaces before that.
func isDevice(name string) bool {
	if i := strings.IndexAny(name, ".:"); i >= 0 {
		name = name[:i]
	}
	name = strings.TrimRight(name, " ")
	switch len(name) {
	case 3:
		return oneOf(name, "CON", "PRN", "AUX", "NUL")
	case 4: // COM0 to LPT9
		return oneOf(name[:3], "COM", "LPT") && name[3] >= '0' && name[3] <= '9'
	case 5: // superscript digits count as digits
		return oneOf(name[:3], "COM", "LPT") && (name[3:] == "¹" || name[3:] == "²" || name[3:] == "³")
	case 6, 7:
		return oneOf(name, "CONIN$", "CONOUT$")
	}
	return false
}

func oneOf(s string, words ...string) bool {
	for _, w := range words {
		if strings.EqualFold(s, w) {
			return true
		}
	}
	return false
}

// toUTF8 writes bytes that are not UTF-8 as %XX.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// appendFolded appends a form of a path that is equal for paths that some
// file system takes for one: letter case is gone by Unicode simple folding,
// and so are dots and spaces at the end of names. The separator becomes a
// zero byte, which sorts before everything that a name may hold.
func appendFolded(b []byte, path string) []byte {
	for name := range strings.SplitSeq(path, "/") {
		for _, r := range strings.TrimRight(name, ". ") {
			switch {
			case r >= 'a' && r <= 'z':
				b = append(b, byte(r-'a'+'A'))
			case r < utf8.RuneSelf:
				b = append(b, byte(r))
			default:
				b = utf8.AppendRune(b, foldRune(r))
			}
		}
		b = append(b, 0)
	}
	return b
}

// foldRune is the least of the runes that are equal to r but for case. For
// letters of ASCII that is the capital.
func foldRune(r rune) rune {
	least := r
	for x := unicode.SimpleFold(r); x != r; x = unicode.SimpleFold(x) {
		least = min(least, x)
	}
	return least
}
