package peerwire

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestPEXOnTheWire(t *testing.T) {
	six := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01"
	m := PEX{
		Added: []PEXPeer{
			{ap("1.2.3.4:6881"), PEXSeed | PEXReachable},
			{ap("5.6.7.8:80"), PEXEncryption | PEXUTP | PEXHolepunch},
			{ap("[2001:db8::1]:256"), PEXUTP},
		},
		Dropped: []netip.AddrPort{ap("9.9.9.9:1"), ap("[2001:db8::1]:2")},
	}
	want := "d5:added12:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x00\x507:added.f2:\x12\x0d6:added618:" + six + "\x01\x008:added6.f1:\x04" +
		"7:dropped6:\x09\x09\x09\x09\x00\x018:dropped618:" + six + "\x00\x02e"
	b := m.Append(nil)
	if string(b) != want {
		t.Errorf("append: got %q, want %q", b, want)
	}
	var got PEX
	if err := got.Parse(b); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("parse: got %+v, %v, want %+v", got, err, m)
	}
	for n := range len(b) {
		if err := got.Parse(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v, want ErrMalformed", n, err)
		}
	}
	if got := (&PEX{}).Append(nil); string(got) != "d5:added0:e" {
		t.Errorf("empty: %q", got)
	}
	mapped := PEX{Added: []PEXPeer{{Addr: ap("[::ffff:1.2.3.4]:5")}}}
	if got := mapped.Append(nil); string(got) != "d5:added6:\x01\x02\x03\x04\x00\x057:added.f1:\x00e" {
		t.Errorf("mapped: %q", got)
	}
}

func TestPEXWhatPeersSend(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want PEX
	}{
		"flags before and missing": {"d7:added.f1:\x025:added12:\x01\x02\x03\x04\x00\x01\x01\x02\x03\x04\x00\x02e", PEX{Added: []PEXPeer{{Addr: ap("1.2.3.4:1")}, {Addr: ap("1.2.3.4:2")}}}},
		"no port, no address":      {"d5:added12:\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x00\x017:added.f2:\x02\x027:dropped6:\x01\x02\x03\x04\x00\x00e", PEX{}},
		"mapped":                   {"d6:added618:\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04\x00\x01e", PEX{}},
		"nothing":                  {"de", PEX{}},
		"other types":              {"d5:addedi5e7:droppedl1:aee", PEX{}},
	} {
		var got PEX
		if err := got.Parse([]byte(c.in)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	many := "d5:added6000:" + strings.Repeat("\x01\x02\x03\x04\x00\x01", 1000) + "7:dropped6000:" + strings.Repeat("\x01\x02\x03\x04\x00\x01", 1000) + "e"
	var got PEX
	if err := got.Parse([]byte(many)); err != nil || len(got.Added) != maxPEX || len(got.Dropped) != maxPEX {
		t.Errorf("of 1000: %d added, %d dropped, %v", len(got.Added), len(got.Dropped), err)
	}
	for _, in := range []string{"", "le", "d5:added1:xe", "d5:added5:12345e", "d6:added66:123456e", "d7:dropped7:1234567e", "d8:dropped617:12345678901234567e"} {
		if err := got.Parse([]byte(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", in, err)
		}
	}
}

func FuzzPEX(f *testing.F) {
	m := PEX{Added: []PEXPeer{{ap("1.2.3.4:6881"), PEXSeed}, {ap("[2001:db8::1]:256"), PEXUTP}}, Dropped: []netip.AddrPort{ap("9.9.9.9:1"), ap("[2001:db8::1]:2")}}
	f.Add(m.Append(nil))
	f.Add([]byte("d5:added6:\x01\x02\x03\x04\x00\x00e"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var m PEX
		if err := m.Parse(in); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(m.Added) > 2*maxPEX || len(m.Dropped) > 2*maxPEX {
			t.Fatalf("%d added, %d dropped", len(m.Added), len(m.Dropped))
		}
		for _, p := range m.Added {
			if !p.Addr.IsValid() || p.Addr.Port() == 0 {
				t.Fatalf("added %v", p)
			}
		}
		var again PEX
		if err := again.Parse(m.Append(nil)); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("got %+v, after a round trip %+v, %v", m, again, err)
		}
		var lib struct {
			Added []byte `bencode:"added"`
		}
		var trailing bencode.ErrUnusedTrailingBytes
		if err := bencode.Unmarshal(in, &lib); (err == nil || errors.As(err, &trailing)) && canonical(in) {
			four := 0
			for _, p := range m.Added {
				if p.Addr.Addr().Is4() {
					four++
				}
			}
			if four > len(lib.Added)/compact4 || len(lib.Added)%compact4 != 0 {
				t.Fatalf("%d addresses of IPv4, the library has %d bytes", four, len(lib.Added))
			}
		}
	})
}
