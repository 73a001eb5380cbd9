package metainfo

import (
	"encoding/base32"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const (
	hashHex = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
	keyHex  = "8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e"
)

func v1Of(t testing.TB, digits string) Hash {
	t.Helper()
	h, err := ParseHash(digits)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func base32Of(t testing.TB, digits string) string {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return base32.StdEncoding.EncodeToString(b)
}

func TestMagnet(t *testing.T) {
	v1 := v1Of(t, hashHex)
	v2 := strings.Repeat("ab", 32)
	var sum [32]byte
	if _, err := hex.Decode(sum[:], []byte(v2)); err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(keyHex)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		link string
		want Magnet
	}{
		"hexadecimal":  {"magnet:?xt=urn:btih:" + hashHex, Magnet{Hash: v1}},
		"upper case":   {"MAGNET:?XT=URN:BTIH:" + strings.ToUpper(hashHex), Magnet{Hash: v1}},
		"base32":       {"magnet:?xt=urn:btih:" + base32Of(t, hashHex), Magnet{Hash: v1}},
		"base32 small": {"magnet:?xt=urn:btih:" + strings.ToLower(base32Of(t, hashHex)), Magnet{Hash: v1}},
		"space around": {" magnet:?xt=urn:btih:" + hashHex + "\n", Magnet{Hash: v1}},
		"hybrid":       {"magnet:?xt=urn:btmh:1220" + v2 + "&xt=urn:btih:" + hashHex, Magnet{Hash: v1.WithV2(sum)}},
		"same twice":   {"magnet:?xt=urn:btih:" + hashHex + "&xt=urn:btih:" + base32Of(t, hashHex), Magnet{Hash: v1}},
		"other topics": {"magnet:?xt.1=urn:ed2k:354b15e68fb8f36d7cd88ff94116cdc1&xt.2=urn:btih:" + hashHex, Magnet{Hash: v1}},
		"name":         {"magnet:?dn=a+b%20%C3%BC%0Ac%FF&xt=urn:btih:" + hashHex + "&dn=second", Magnet{Hash: v1, Name: "a b üc\uFFFD"}},
		"trackers": {
			"magnet:?xt=urn:btih:" + hashHex + "&tr=http%3A%2F%2Ft.example%2Fannounce&amp;tr.1=udp://t.example:80&tr=https://t.example/a&tr=wss://t.example&tr=udp://t.example&tr=https://t.example/a",
			Magnet{Hash: v1, Trackers: []string{"http://t.example/announce", "udp://t.example:80", "https://t.example/a"}},
		},
		"web seeds": {
			"magnet:?xt=urn:btih:" + hashHex + "&ws=http%3A%2F%2Fw.example%2Fd%2F&ws=gopher://x&ws=http://w.example/d/",
			Magnet{Hash: v1, WebSeeds: []string{"http://w.example/d/"}},
		},
		"peers": {
			"magnet:?xt=urn:btih:" + hashHex + "&x.pe=1.2.3.4:5&x.pe=%5B2001:db8::1%5D:6&x.pe=[2001:db8::2]:7&x.pe=Host.example:08&x.pe=[::ffff:1.2.3.4]:5" +
				"&x.pe=1.2.3.4&x.pe=1.2.3.4:0&x.pe=h:65536&x.pe=:5&x.pe=0.0.0.0:5&x.pe=a/b:5&x.pe=[fe80::1%25eth0]:1",
			Magnet{Hash: v1, Peers: []string{"1.2.3.4:5", "[2001:db8::1]:6", "[2001:db8::2]:7", "host.example:8"}},
		},
		"files, BEP 53": {"magnet:?xt=urn:btih:" + hashHex + "&so=0,2,4,6-8", Magnet{Hash: v1, Only: []Span{{0, 0}, {2, 2}, {4, 4}, {6, 8}}}},
		"odd files":     {"magnet:?xt=urn:btih:" + hashHex + "&so=9,x,3-1,-2,8-9,7,,1-&so=10", Magnet{Hash: v1, Only: []Span{{7, 10}}}},
		"key, BEP 46":   {"magnet:?xs=urn:btpk:" + keyHex + "&s=6e", Magnet{Key: key, Salt: []byte("n")}},
		"key and hash":  {"magnet:?xt=urn:btih:" + hashHex + "&xs=urn:btpk:" + keyHex, Magnet{Hash: v1, Key: key}},
		"salt alone":    {"magnet:?xt=urn:btih:" + hashHex + "&s=6e", Magnet{Hash: v1}},
		"bad escape":    {"magnet:?dn=%zz&xt=urn:btih:" + hashHex, Magnet{Hash: v1}},
		"scope":         {"magnet:?x.scope=LAN&xt=urn:btih:" + hashHex + "&x.scope=internet", Magnet{Hash: v1, Scope: ScopeLAN}},
		"widest scope":  {"magnet:?xt=urn:btih:" + hashHex + "&x.scope=internet", Magnet{Hash: v1}},
		"unknown keys":  {"magnet:?xt=urn:btih:" + hashHex + "&xq=5&as=x&kt=y&=&&x", Magnet{Hash: v1}},
		"length":        {"magnet:?xt=urn:btih:" + hashHex + "&xl=5&xl=7", Magnet{Hash: v1, Length: 5}},
		"odd lengths":   {"magnet:?xt=urn:btih:" + hashHex + "&xl=-5&xl=x&xl=9223372036854775808&xl=0&xl=", Magnet{Hash: v1}},
		"great length":  {"magnet:?xt=urn:btih:" + hashHex + "&xl=9223372036854775807", Magnet{Hash: v1, Length: 1<<63 - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseMagnet(tt.link)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Fatalf("got  %+v\nwant %+v", *got, tt.want)
			}
			again, err := ParseMagnet(got.String())
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%s is read as %+v, %v", got, again, err)
			}
		})
	}
}

func TestMagnetRefuses(t *testing.T) {
	for link, want := range map[string]string{
		"":                              "does not begin",
		"http://example.org/":           "does not begin",
		"magnet:xt=urn:btih:" + hashHex: "does not begin",
		"magnet:?":                      "names no torrent",
		"magnet:?dn=x&tr=http://t/":     "names no torrent",
		"magnet:?xt=urn:sha1:ABC":       "none of its topics",
		"magnet:?xt=urn:btih:":          "0 digits",
		"magnet:?xt=urn:btih:abc":       "3 digits",
		"magnet:?xt=urn:btih:" + "g" + hashHex[1:]:                                           "neither",
		"magnet:?xt=urn:btih:" + strings.Repeat("1", 32):                                     "neither",
		"magnet:?xt=urn:btih:" + hashHex + "&xt=urn:btih:" + strings.Repeat("0", 40):         "two torrents",
		"magnet:?xt=urn:btmh:1220" + strings.Repeat("ab", 32):                                "v2 torrent only",
		"magnet:?xt=urn:btmh:1114" + strings.Repeat("ab", 20):                                "v2 info-hash",
		"magnet:?xt=urn:btmh:1220" + strings.Repeat("ab", 31):                                "v2 info-hash",
		"magnet:?xt=urn:btih:" + hashHex + "&x.scope=house":                                  "scope",
		"magnet:?xt=urn:btih:" + hashHex + "&x.scope=%zz":                                    "scope",
		"magnet:?xt=urn:btih:" + hashHex + "&x.scope":                                        "scope",
		"magnet:?xs=urn:btpk:abcd":                                                           "public key",
		"magnet:?xt=urn:btih:" + hashHex + "&dn=" + strings.Repeat("x", MaxMagnet):           "bytes",
		"magnet:?xt=urn:btmh:1220" + strings.Repeat("ab", 32) + "&xs=urn:btpk:" + keyHex[:2]: "public key",
	} {
		m, err := ParseMagnet(link)
		if !errors.Is(err, ErrMagnet) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: got %+v, %v, want an error with %q", link, m, err, want)
		}
		if unsupported := errors.Is(err, ErrUnsupported); unsupported != (want == "v2 torrent only") {
			t.Errorf("%.100s: unsupported %v: %v", link, unsupported, err)
		}
	}
}

func TestMagnetIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("magnet:?xt=urn:btih:" + hashHex + "&so=")
	for i := range 5000 {
		b.WriteString(strings.Repeat("0", 4) + "," + string(rune('0'+i%10)) + ",")
	}
	for range 200 {
		b.WriteString("&tr=http://t" + strings.Repeat("x", b.Len()%97) + ".example/&x.pe=h" + strings.Repeat("y", b.Len()%89) + ":1&ws=http://w" + strings.Repeat("z", b.Len()%101))
	}
	m, err := ParseMagnet(b.String()[:MaxMagnet-1000])
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Trackers) > maxTrackers || len(m.Peers) > maxMagnetPeers || len(m.WebSeeds) > maxWebSeeds || len(m.Only) != 1 {
		t.Errorf("%d trackers, %d peers, %d web seeds, %d spans", len(m.Trackers), len(m.Peers), len(m.WebSeeds), len(m.Only))
	}
}

func TestIndexes(t *testing.T) {
	spans := []Span{{0, 0}, {2, 3}, {6, 1 << 20}}
	for n, want := range map[int][]int{0: nil, 1: {0}, 3: {0, 2}, 7: {0, 2, 3, 6}, 9: {0, 2, 3, 6, 7, 8}} {
		if got := Indexes(spans, n); !slices.Equal(got, want) {
			t.Errorf("of %d files: %v, want %v", n, got, want)
		}
	}
	m := Magnet{Trackers: []string{"a", "b"}}
	if got := m.Tiers(); !reflect.DeepEqual(got, [][]string{{"a"}, {"b"}}) {
		t.Errorf("tiers %v", got)
	}
}

func FuzzMagnet(f *testing.F) {
	f.Add("magnet:?xt=urn:btih:" + hashHex + "&dn=a%20b&tr=udp://t.example:80&ws=http://w.example&x.pe=[::1]:5&so=0,2-4")
	f.Add("magnet:?xt=urn:btih:" + base32Of(f, hashHex) + "&amp;xt=urn:btmh:1220" + strings.Repeat("ab", 32))
	f.Add("magnet:?xs=urn:btpk:" + keyHex + "&s=6e")
	f.Add("magnet:?xt=urn:btih:" + hashHex + "#AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
	f.Fuzz(func(t *testing.T, link string) {
		m, err := ParseMagnet(link)
		if err != nil {
			if !errors.Is(err, ErrMagnet) {
				t.Fatalf("%v does not wrap ErrMagnet", err)
			}
			return
		}
		if m.Hash.IsZero() && m.Key == nil {
			t.Fatal("it names nothing")
		}
		if len(m.String()) > MaxMagnet {
			return // escaped more than it was
		}
		again, err := ParseMagnet(m.String())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("got %+v\n%s is read as %+v, %v", m, m, again, err)
		}
	})
}
