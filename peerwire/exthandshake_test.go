package peerwire

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"
)

func full() ExtHandshake {
	return ExtHandshake{
		M:       ExtIDs{ExtDontHave: 7, ExtUploadOnly: 3, ExtHolepunch: 4, ExtMetadata: 2, ExtPEX: 1},
		Version: "btd 0.1.0", Port: 6881, ReqQ: 500,
		YourIP: netip.MustParseAddr("203.0.113.9"), IPv4: netip.MustParseAddr("198.51.100.1"), IPv6: netip.MustParseAddr("2001:db8::1"),
		MetadataSize: 31235, UploadOnly: true,
	}
}

func TestExtHandshakeOnTheWire(t *testing.T) {
	h := full()
	want := "d4:ipv44:\xc6\x33\x64\x014:ipv616:\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" +
		"1:md11:lt_donthavei7e11:upload_onlyi3e12:ut_holepunchi4e11:ut_metadatai2e6:ut_pexi1ee" +
		"13:metadata_sizei31235e1:pi6881e4:reqqi500e11:upload_onlyi1e1:v9:btd 0.1.06:yourip4:\xcb\x00\x71\x09e"
	b := h.Append(nil)
	if string(b) != want {
		t.Errorf("append: got %q, want %q", b, want)
	}
	var got ExtHandshake
	if err := got.Parse(b); err != nil || got != h {
		t.Errorf("parse: got %+v, %v, want %+v", got, err, h)
	}
	for n := range len(b) {
		var got ExtHandshake
		if err := got.Parse(b[:n]); !errors.Is(err, ErrMalformed) || got != (ExtHandshake{}) {
			t.Errorf("cut to %d bytes: got %+v, %v, want ErrMalformed", n, got, err)
		}
	}
	if got := (&ExtHandshake{}).Append(nil); string(got) != "d1:mdee" {
		t.Errorf("empty: got %q", got)
	}
}

func TestExtHandshakesAreAdditive(t *testing.T) {
	h := full()
	if err := h.Parse([]byte("d1:md11:ut_metadatai0e6:ut_pexi9ee11:upload_onlyi0ee")); err != nil {
		t.Fatal(err)
	}
	want := full()
	want.M[ExtMetadata], want.M[ExtPEX], want.UploadOnly = 0, 9, false
	if h != want {
		t.Errorf("got %+v, want %+v", h, want)
	}
}

func TestWhatPeersSend(t *testing.T) {
	cases := []struct {
		name, in string
		want     ExtHandshake
	}{
		{"example of BEP 10", "d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e", ExtHandshake{Port: 6881, Version: "\u00b5Torrent 1.2"}},
		{"unsorted and duplicate keys", "d1:v1:a1:pi1e1:v1:b1:mdee", ExtHandshake{Version: "b", Port: 1}},
		{"bytes after the end", "d1:pi7eexyz", ExtHandshake{Port: 7}},
		{"empty", "de", ExtHandshake{}},
		{"wrong types", "d1:mi1e1:pl1:ae4:reqq1:x1:vi3e6:yourip3:abc11:upload_only1:1e", ExtHandshake{}},
		{"out of range", "d1:md6:ut_pexi256e11:ut_metadatai-1ee13:metadata_sizei99999999999e1:pi65536e4:reqqi-5ee", ExtHandshake{}},
		{"huge numbers", "d4:reqqi999999999999999999999999999ee", ExtHandshake{ReqQ: 1 << 20}},
		{"unknown nested", "d1:xd1:al1:bi1ee1:cdeee", ExtHandshake{}},
		{"long and dirty name", "d1:v80:\x1b[31m" + strings.Repeat("x", 75) + "e", ExtHandshake{Version: "[31m" + strings.Repeat("x", 60)}},
		{"name with direction marks", "d1:v9:a\xe2\x80\xaeb\xff\nc\x00e", ExtHandshake{Version: "abc"}},
		{"mapped address as the IPv6 one", "d4:ipv616:\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04e", ExtHandshake{}},
		{"addresses that are none", "d4:ipv44:\x00\x00\x00\x004:ipv63:abc6:yourip5:abcdee", ExtHandshake{}},
		{"mapped address", "d6:yourip16:\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04e", ExtHandshake{YourIP: netip.MustParseAddr("1.2.3.4")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got ExtHandshake
			if err := got.Parse([]byte(c.in)); err != nil || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestExtHandshakeRefuses(t *testing.T) {
	for _, in := range []string{
		"", "x", "i1e", "le", "4:spam", "d", "d1:m", "di1ei2ee", "d1:pi01ee", "d1:pi-0ee", "d1:pi+1ee", "d1:pie", "d1:pi-ee",
		"d01:pi1ee", "d-1:pe", "d99999999999999999999:ae", "d1:v5:abce", "d1:x" + strings.Repeat("l", 40) + strings.Repeat("e", 40) + "e",
	} {
		h := full()
		if err := h.Parse([]byte(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", in, err)
		}
		if h != full() {
			t.Errorf("%q: a refused handshake changed something", in)
		}
	}
}

func TestExtNames(t *testing.T) {
	m := ExtIDs{ExtMetadata: 2, ExtPEX: 1}
	if e, ok := m.ByID(1); !ok || e != ExtPEX || e.String() != "ut_pex" {
		t.Errorf("id 1: got %v, %v, want ut_pex", e, ok)
	}
	if got := Extension(99).String(); got != "extension 99" {
		t.Errorf("extension 99: got %q", got)
	}
	for _, id := range []byte{0, 3} {
		if e, ok := m.ByID(id); ok {
			t.Errorf("id %d: got %v, want none", id, e)
		}
	}
}

func FuzzExtHandshake(f *testing.F) {
	h := full()
	f.Add(h.Append(nil))
	f.Add([]byte("d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e"))
	f.Add([]byte("d1:ad1:bl1:ci-5eee4:reqqi250ee"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var h ExtHandshake
		err := h.Parse(in)
		var lib map[string]bencode.Bytes
		var trailing bencode.ErrUnusedTrailingBytes
		libErr := bencode.Unmarshal(in, &lib)
		libOK := libErr == nil || errors.As(libErr, &trailing)
		if err != nil {
			if canonical(in) && !errors.Is(err, errDepth) { // the library nests deeper
				t.Fatalf("refused (%v) what the library takes", err)
			}
			return
		}
		if !utf8.ValidString(h.Version) || len(h.Version) > MaxVersion {
			t.Fatalf("version %q", h.Version)
		}
		var again ExtHandshake
		if err := again.Parse(h.Append(nil)); err != nil || again != h {
			t.Fatalf("got %+v, after a round trip %+v, %v", h, again, err)
		}
		if !libOK {
			return // unsorted or duplicate keys
		}
		if v, ok := lib["p"]; ok {
			var n int64
			if bencode.Unmarshal(v, &n) == nil && n > 0 && n < 1<<16 && h.Port != uint16(n) {
				t.Fatalf("port: got %d, the library %d", h.Port, n)
			}
		}
		if v, ok := lib["m"]; ok {
			var m map[string]int64
			if bencode.Unmarshal(v, &m) == nil {
				for e, name := range extNames {
					if id := m[name]; id >= 0 && id < 256 && int64(h.M[e]) != id {
						t.Fatalf("%s: got %d, the library %d", name, h.M[e], id)
					}
				}
			}
		}
	})
}

// canonical tells whether in begins with a bencoded dictionary that the
// library reads and writes again just so. It reads raw values, and those of
// duplicate keys, less strictly.
func canonical(in []byte) bool {
	var x any
	var trailing bencode.ErrUnusedTrailingBytes
	if err := bencode.Unmarshal(in, &x); err != nil && !errors.As(err, &trailing) {
		return false
	}
	b, err := bencode.Marshal(x)
	return err == nil && bytes.HasPrefix(b, []byte("d")) && bytes.HasPrefix(in, b)
}
