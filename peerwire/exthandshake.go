package peerwire

import (
	"fmt"
	"net/netip"
	"unicode"
	"unicode/utf8"
)

// Extension is an extension message that this package knows by name.
type Extension uint8

// The extensions, in the order of their names.
const (
	ExtDontHave   Extension = iota // lt_donthave, BEP 54
	ExtUploadOnly                  // upload_only as a message of its own
	ExtHolepunch                   // ut_holepunch, BEP 55
	ExtMetadata                    // ut_metadata, BEP 9
	ExtPEX                         // ut_pex, BEP 11
	numExtensions
)

var extNames = [numExtensions]string{"lt_donthave", "upload_only", "ut_holepunch", "ut_metadata", "ut_pex"}

// String is the name of the extension on the wire.
func (e Extension) String() string {
	if e < numExtensions {
		return extNames[e]
	}
	return fmt.Sprintf("extension %d", uint8(e))
}

// ExtIDs says under which extended ids a side wants to receive the
// extensions we know (BEP 10, "m"). 0 means not at all.
type ExtIDs [numExtensions]byte

// ByID finds the extension that the owner of m receives under an id.
func (m *ExtIDs) ByID(id byte) (Extension, bool) {
	for e, have := range m {
		if have == id && id != 0 {
			return Extension(e), true
		}
	}
	return 0, false
}

// MaxVersion bounds ExtHandshake.Version, bytes.
const MaxVersion = 64

// ExtHandshake is what the two sides tell each other about extensions
// (BEP 10). Zero fields are not sent.
type ExtHandshake struct {
	M            ExtIDs
	Version      string     // v: the client's name; printable and at most MaxVersion bytes when parsed
	Port         uint16     // p: where the sender listens
	ReqQ         int        // reqq: outstanding requests that the sender takes
	YourIP       netip.Addr // yourip: the receiver's address as the sender sees it
	IPv4, IPv6   netip.Addr // ipv4, ipv6: further addresses of the sender
	MetadataSize int        // metadata_size: length of the info dictionary, bytes (BEP 9)
	UploadOnly   bool       // upload_only: the sender wants no data (BEP 21)
}

// Parse reads the payload of an extended message with id 0 into h. A peer
// may send more than one of these; what a later one does not mention stays
// as it is (BEP 10), so Parse into the same h each time. After an error h is
// unchanged.
//
// Unknown keys and values of the wrong type or out of range are passed over,
// unsorted and duplicate keys are taken as they come.
func (h *ExtHandshake) Parse(payload []byte) error {
	next := *h
	if err := dict(payload, next.set); err != nil {
		return fmt.Errorf("%w: extension handshake: %w", ErrMalformed, err)
	}
	*h = next
	return nil
}

// set stores one entry of the dictionary.
func (h *ExtHandshake) set(key, value []byte) {
	n, isInt := intOf(value)
	text, isStr := strOf(value)
	switch string(key) {
	case "m":
		// A dictionary was checked by the scan that found it; another type
		// has no entries.
		_ = dict(value, h.M.set)
	case "v":
		if isStr {
			h.Version = cleanVersion(text)
		}
	case "p":
		if isInt && n > 0 && n <= 0xffff {
			h.Port = uint16(n)
		}
	case "reqq":
		if isInt && n > 0 {
			h.ReqQ = int(min(n, 1<<20))
		}
	case "metadata_size":
		if isInt && n > 0 && n <= MaxMetadata {
			h.MetadataSize = int(n)
		}
	case "upload_only":
		if isInt {
			h.UploadOnly = n != 0
		}
	case "yourip":
		setAddr(&h.YourIP, text, true, true)
	case "ipv4":
		setAddr(&h.IPv4, text, true, false)
	case "ipv6":
		setAddr(&h.IPv6, text, false, true)
	}
}

// set stores one entry of the m dictionary.
func (m *ExtIDs) set(key, value []byte) {
	n, ok := intOf(value)
	if !ok || n < 0 || n > 0xff {
		return
	}
	for e, name := range extNames {
		if string(key) == name {
			m[e] = byte(n)
		}
	}
}

// setAddr stores an address of 4 or 16 bytes if it is of a wanted family.
func setAddr(dst *netip.Addr, b []byte, v4, v6 bool) {
	a, ok := netip.AddrFromSlice(b)
	a = a.Unmap()
	if ok && !a.IsUnspecified() && (a.Is4() && v4 || a.Is6() && v6) {
		*dst = a
	}
}

// Append appends the payload of an extended message with id 0. All ids of M
// are sent that are not 0.
func (h *ExtHandshake) Append(b []byte) []byte {
	b = append(b, 'd')
	if h.IPv4.Is4() {
		b = appendStr(appendStr(b, "ipv4"), h.IPv4.AsSlice())
	}
	if h.IPv6.Is6() {
		b = appendStr(appendStr(b, "ipv6"), h.IPv6.AsSlice())
	}
	b = append(appendStr(b, "m"), 'd')
	for e, id := range h.M {
		if id != 0 {
			b = appendInt(appendStr(b, extNames[e]), int64(id))
		}
	}
	b = append(b, 'e')
	if h.MetadataSize > 0 {
		b = appendInt(appendStr(b, "metadata_size"), int64(h.MetadataSize))
	}
	if h.Port != 0 {
		b = appendInt(appendStr(b, "p"), int64(h.Port))
	}
	if h.ReqQ > 0 {
		b = appendInt(appendStr(b, "reqq"), int64(h.ReqQ))
	}
	if h.UploadOnly {
		b = appendInt(appendStr(b, "upload_only"), 1)
	}
	if h.Version != "" {
		b = appendStr(appendStr(b, "v"), h.Version)
	}
	if h.YourIP.IsValid() {
		b = appendStr(appendStr(b, "yourip"), h.YourIP.AsSlice())
	}
	return append(b, 'e')
}

// cleanVersion makes a peer's text fit to be shown: what cannot be printed
// is left out, and it is cut to MaxVersion bytes.
func cleanVersion(b []byte) string {
	out := make([]byte, 0, min(len(b), MaxVersion))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r == utf8.RuneError && n == 1 || !unicode.IsGraphic(r) {
			continue
		}
		if len(out)+n > MaxVersion {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
