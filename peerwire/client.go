package peerwire

import (
	"strconv"
	"strings"
)

// ClientName names a peer's program for people: by what it says in its
// extension handshake (version, may be empty), else by its peer id. The
// result is printable and never empty.
func ClientName(peerID [20]byte, version string) string {
	if v := cleanVersion([]byte(version)); v != "" {
		return v
	}
	if name, ok := azureusName(peerID); ok {
		return name
	}
	if name, ok := mainlineName(peerID); ok {
		return name
	}
	for _, p := range plainPrefixes {
		if strings.HasPrefix(string(peerID[:]), p.prefix) {
			return p.name
		}
	}
	if name, ok := shadowName(peerID); ok {
		return name
	}
	n := 0
	for n < 8 && peerID[n] > ' ' && peerID[n] < 0x7f {
		n++
	}
	if n < 3 {
		return "unknown"
	}
	return "unknown (" + string(peerID[:n]) + ")"
}

// azureusName reads ids such as -TR4060-: two letters, four version digits.
func azureusName(id [20]byte) (string, bool) {
	if id[0] != '-' || !isAlnum(id[1]) || !isAlnum(id[2]) && id[2] != '~' {
		return "", false
	}
	for _, c := range id[3:6] {
		if !isAlnum(c) {
			return "", false
		}
	}
	if !isAlnum(id[6]) && id[6] != '-' {
		return "", false
	}
	code, v := string(id[1:3]), id[3:7]
	name, ok := azureusNames[code]
	if !ok {
		name = code
	}
	switch code {
	case "TR":
		return name + " " + transmissionVersion(v), true
	case "UT", "UM", "UE", "BT", "lt", "LT", "qB", "DE", "BD":
		return name + " " + dotted(v[:3]), true
	}
	return name + " " + dotted(v), true
}

// transmissionVersion: -TR0072- is 0.72, -TR2940- is 2.94 and -TR4060- is
// 4.0.6; before a release the last digit is X or Z.
func transmissionVersion(v []byte) string {
	switch {
	case v[0] == '0' && v[1] == '0':
		return "0." + string(v[2:4])
	case v[0] >= '4':
		return dotted(v[:3])
	}
	return string(v[0]) + "." + string(v[1:3])
}

// mainlineName reads ids such as M7-10-2--: a letter, numbers with dashes.
func mainlineName(id [20]byte) (string, bool) {
	name, rest := "", id[1:]
	switch {
	case id[0] == 'M':
		name = "BitTorrent"
	case id[0] == 'Q':
		name = "Queen Bee"
	case id[0] == 'A' && id[1] == '2':
		name, rest = "aria2", id[3:]
		if id[2] != '-' {
			return "", false
		}
	default:
		return "", false
	}
	end := strings.Index(string(rest), "--")
	if name == "aria2" && end < 0 {
		// A2-1-36-0- and random bytes, after three numbers.
		end = 0
		for dashes := 0; end < len(rest); end++ {
			if rest[end] == '-' {
				if dashes++; dashes == 3 {
					break
				}
			}
		}
	}
	if end < 1 || end > 8 {
		return "", false
	}
	version := string(rest[:end])
	for _, part := range strings.Split(version, "-") {
		if _, err := strconv.ParseUint(part, 10, 16); err != nil {
			return "", false
		}
	}
	return name + " " + strings.ReplaceAll(version, "-", "."), true
}

// shadowName reads ids such as S58B-----: a letter, up to five digits, and
// dashes up to the ninth byte.
func shadowName(id [20]byte) (string, bool) {
	name, ok := shadowNames[id[0]]
	if !ok || string(id[6:9]) != "---" {
		return "", false
	}
	version := strings.TrimRight(string(id[1:6]), "-")
	for i := range len(version) {
		if !isAlnum(version[i]) {
			return "", false
		}
	}
	if version == "" {
		return "", false
	}
	return name + " " + dotted([]byte(version)), true
}

// dotted is 1.2.3 for 123 and 1.2.11 for 12B.
func dotted(v []byte) string {
	var b []byte
	for _, c := range v {
		if c == '-' {
			break
		}
		if len(b) > 0 {
			b = append(b, '.')
		}
		switch {
		case c >= 'A' && c <= 'Z':
			b = strconv.AppendInt(b, int64(c-'A')+10, 10)
		case c >= 'a' && c <= 'z':
			b = strconv.AppendInt(b, int64(c-'a')+36, 10)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isAlnum(c byte) bool  { return isLetter(c) || c >= '0' && c <= '9' }

var plainPrefixes = []struct{ prefix, name string }{
	{"exbc", "BitComet"},
	{"FUTB", "BitComet Mod"},
	{"XBT", "XBT Client"},
	{"OP", "Opera"},
	{"-ML", "MLDonkey"},
	{"-RN", "rain"},
	{"-BOW", "Bits on Wheels"},
	{"Mbrst", "burst!"},
	{"Plus", "Plus!"},
	{"turbobt", "TurboBT"},
	{"btpd", "BT Protocol Daemon"},
	{"TIX", "Tixati"},
	{"10-------", "JVtorrent"},
	{"AZ2500BT", "BitTyrant"},
	{"-G3", "G3 Torrent"},
	{"346-", "TorrentTopia"},
	{"LIME", "LimeWire"},
	{"Pando", "Pando"},
	{"eX", "eXeem"},
	{"a00---0", "Swarmy"},
	{"T00---0", "Teeweety"},
}

var shadowNames = map[byte]string{
	'A': "ABC", 'O': "Osprey Permaseed", 'Q': "BTQueue", 'R': "Tribler", 'S': "Shadow's client",
	'T': "BitTornado", 'U': "UPnP NAT BitTorrent",
}
