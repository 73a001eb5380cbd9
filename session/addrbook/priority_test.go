package addrbook

import (
	"fmt"
	"hash/crc32"
	"net/netip"
	"testing"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// crcHex is the checksum of bytes written in hexadecimal.
func crcHex(t *testing.T, s string) uint32 {
	t.Helper()
	var b []byte
	if _, err := fmt.Sscanf(s, "%x", &b); err != nil {
		t.Fatal(err)
	}
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

func TestPriority(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		want uint32
	}{
		// The two examples of BEP 40.
		"other network": {"123.213.32.10:1", "98.76.54.32:2", 0xec2d7224},
		"same /24":      {"123.213.32.10:1", "123.213.32.234:2", 0x99568189},

		"same /16":       {"123.213.32.10:1", "123.213.99.234:2", crcHex(t, "7bd52000"+"7bd56340")},
		"same IPv4":      {"1.2.3.4:6881", "1.2.3.4:1024", crcHex(t, "04001ae1")},
		"mapped IPv4":    {"[::ffff:123.213.32.10]:1", "98.76.54.32:2", 0xec2d7224},
		"IPv6":           {"[2001:db8:1::ff]:1", "[2001:db9:2::1]:1", crcHex(t, "20010db8000100000000000000000055"+"20010db9000200000000000000000001")},
		"IPv6 masked":    {"[2001:db8:1:ffff::]:1", "[2001:db9:2:ffff::]:1", crcHex(t, "20010db8000155550000000000000000"+"20010db9000255550000000000000000")},
		"IPv6 same /48":  {"[2001:db8:1:ffff::]:1", "[2001:db8:1:eeff::]:1", crcHex(t, "20010db80001ee550000000000000000"+"20010db80001ff550000000000000000")},
		"IPv6 same /56":  {"[2001:db8:1:ffff:ff00::]:1", "[2001:db8:1:ff02::]:1", crcHex(t, "20010db80001ff020000000000000000"+"20010db80001ffff5500000000000000")},
		"IPv6 same /120": {"[2001:db8::ff]:1", "[2001:db8::fe]:1", crcHex(t, "20010db80000000000000000000000fe"+"20010db80000000000000000000000ff")},
		"same IPv6":      {"[::1]:2", "[::1]:1", crcHex(t, "00010002")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Priority(ap(c.a), ap(c.b)); got != c.want {
				t.Errorf("Priority = %08x, want %08x", got, c.want)
			}
			if got := Priority(ap(c.b), ap(c.a)); got != c.want {
				t.Errorf("the other end computes %08x, want %08x", got, c.want)
			}
		})
	}
}

func FuzzPriority(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, []byte{1, 2, 3, 5}, uint16(1), uint16(2))
	f.Add(make([]byte, 16), make([]byte, 16), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, a, b []byte, p, q uint16) {
		x, ok := netip.AddrFromSlice(a)
		y, ok2 := netip.AddrFromSlice(b)
		if !ok || !ok2 {
			return
		}
		one, two := netip.AddrPortFrom(x, p), netip.AddrPortFrom(y, q)
		if Priority(one, two) != Priority(two, one) {
			t.Fatalf("%v and %v do not agree", one, two)
		}
	})
}
