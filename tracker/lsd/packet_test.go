package lsd

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func hashOf(n int) (h Hash) {
	h[0], h[1], h[19] = byte(n>>8), byte(n), 0xfe
	return h
}

func hashes(n int) (out []Hash) {
	for i := range n {
		out = append(out, hashOf(i))
	}
	return out
}

func TestPacket(t *testing.T) {
	a := Announce{Port: 6881, Hashes: []Hash{{0x12, 0xab}}, Cookie: "0011aabb"}
	want := "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: 12ab" + strings.Repeat("0", 36) +
		"\r\ncookie: 0011aabb\r\n\r\n\r\n"
	if got := string(a.Append(nil, groups(port)[0])); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(a.Append(nil, groups(port)[1])); !strings.Contains(got, "\r\nHost: [ff15::efc0:988f]:6771\r\n") {
		t.Errorf("to the IPv6 group: %s", got)
	}
}

func TestPacketsAreReadBack(t *testing.T) {
	for _, want := range []Announce{
		{Port: 1, Hashes: hashes(1)},
		{Port: 65535, Hashes: hashes(MaxHashes), Cookie: strings.Repeat("c", 16)},
	} {
		for _, group := range groups(port) {
			p := want.Append(nil, group)
			if len(p) > MaxPacket {
				t.Errorf("%d hashes make %d bytes", len(want.Hashes), len(p))
			}
			var got Announce
			if err := got.Parse(p); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, want)
			}
		}
	}
}

// TestPacketsOfOthers has what other clients send.
func TestPacketsOfOthers(t *testing.T) {
	h := strings.Repeat("Ab", 20)
	want := Hash(bytes.Repeat([]byte{0xab}, 20))
	for name, packet := range map[string]string{
		"plain":         "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 51413\r\nInfohash: " + h + "\r\n\r\n\r\n",
		"other order":   "BT-SEARCH * HTTP/1.1\r\nInfohash: " + h + "\r\nPort: 51413\r\nHost: 239.192.152.143:6771\r\n\r\n\r\n",
		"one empty":     "BT-SEARCH * HTTP/1.1\r\nport:51413\r\ninfohash:" + h + "\r\n\r\n",
		"no empty":      "BT-SEARCH * HTTP/1.1\r\nPort: 51413\r\nInfohash: " + h,
		"line feeds":    "BT-SEARCH * HTTP/1.0\nPORT: 51413\nINFOHASH: " + h + "\n\n",
		"more headers":  "BT-SEARCH * HTTP/1.1\r\nPort: 51413\r\nX: y\r\nnonsense\r\nInfohash: " + h + "\r\nInfohash: zz\r\nInfohash: " + h + "\r\n\r\n\r\n",
		"bytes behind":  "BT-SEARCH * HTTP/1.1\r\nPort: 51413\r\nInfohash: " + h + "\r\n\r\n\r\nPort: 0\r\n\x00",
		"hash of a v2":  "BT-SEARCH * HTTP/1.1\r\nPort: 51413\r\nInfohash: " + h + h + "\r\nInfohash: " + h + "\r\n\r\n\r\n",
		"strange value": "BT-SEARCH * HTTP/1.1\r\nHost: \xff\x00\r\nPort: 51413\r\nInfohash: " + h + "\r\n\r\n\r\n",
	} {
		var a Announce
		if err := a.Parse([]byte(packet)); err != nil || a.Port != 51413 || !reflect.DeepEqual(a.Hashes, []Hash{want}) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestPacketsAreRefused(t *testing.T) {
	h := "Infohash: " + strings.Repeat("ab", 20) + "\r\n"
	const first = "BT-SEARCH * HTTP/1.1\r\n"
	for name, packet := range map[string]string{
		"nothing":        "",
		"other protocol": "M-SEARCH * HTTP/1.1\r\nPort: 1\r\n" + h,
		"no port":        first + h,
		"port 0":         first + "Port: 0\r\n" + h,
		"port 65536":     first + "Port: 65536\r\n" + h,
		"negative port":  first + "Port: -1\r\n" + h,
		"signed port":    first + "Port: +1\r\n" + h,
		"port in words":  first + "Port: one\r\n" + h,
		"second port":    first + "Port: 1\r\nPort: 0\r\n" + h,
		"no hash":        first + "Port: 1\r\n\r\n\r\n",
		"short hash":     first + "Port: 1\r\nInfohash: abcd\r\n",
		"hash behind":    first + "Port: 1\r\n\r\n" + h,
		"many lines":     first + "Port: 1\r\n" + h + strings.Repeat("x\r\n", maxLines),
		"long":           first + "Port: 1\r\n" + h + strings.Repeat("x", maxRead),
	} {
		var a Announce
		if err := a.Parse([]byte(packet)); !errors.Is(err, errPacket) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	a := Announce{Port: 6881, Hashes: hashes(3), Cookie: "abc"}
	f.Add(a.Append(nil, groups(port)[0]))
	f.Add([]byte("BT-SEARCH * HTTP/1.1\nport: 1\nInfohash: x\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var a Announce
		if err := a.Parse(in); err != nil {
			return
		}
		if a.Port == 0 || len(a.Hashes) == 0 || len(a.Hashes) > maxLines || len(a.Cookie) > maxCookie {
			t.Fatalf("accepted %+v", a)
		}
		if len(a.Hashes) > MaxHashes || strings.ContainsAny(a.Cookie, "\r\n") {
			return
		}
		var b Announce
		if err := b.Parse(a.Append(nil, netip.MustParseAddrPort("239.192.152.143:6771"))); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v is read back as %+v, %v", a, b, err)
		}
	})
}
