package peerwire

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestFastSetVectors(t *testing.T) {
	// BEP 6, "Example results".
	hash := [20]byte([]byte(strings.Repeat("\xaa", 20)))
	want := []uint32{1059, 431, 808, 1217, 287, 376, 1188, 353, 508}
	for _, addr := range []string{"80.4.4.200", "80.4.4.1", "::ffff:80.4.4.200"} {
		for _, k := range []int{7, 9} {
			if got := FastSet(netip.MustParseAddr(addr), hash, 1313, k); !slices.Equal(got, want[:k]) {
				t.Errorf("%s, %d pieces: got %v, want %v", addr, k, got, want[:k])
			}
		}
	}
}

func TestFastSetBounds(t *testing.T) {
	a4, a6 := netip.MustParseAddr("80.4.4.200"), netip.MustParseAddr("2001:db8:1:2::3")
	if got := FastSet(a4, [20]byte{}, 4, 10); !slices.Equal(got, []uint32{0, 1, 2, 3}) {
		t.Errorf("4 pieces: got %v, want all", got)
	}
	if got := FastSet(a4, [20]byte{}, 11, 10); len(got) != 10 || slices.Max(got) > 10 {
		t.Errorf("11 pieces: got %v, want 10 of them", got)
	}
	for _, got := range [][]uint32{FastSet(a4, [20]byte{}, 0, 10), FastSet(a4, [20]byte{}, 10, 0), FastSet(netip.Addr{}, [20]byte{}, 10, 5)} {
		if len(got) != 0 {
			t.Errorf("nothing to choose from: got %v", got)
		}
	}
	same := FastSet(netip.MustParseAddr("2001:db8:1:2::ffff"), [20]byte{}, 999, 10)
	if got := FastSet(a6, [20]byte{}, 999, 10); len(got) != 10 || !slices.Equal(got, same) {
		t.Errorf("two addresses of an IPv6 network: got %v and %v, want the same", got, same)
	}
}

func TestClientName(t *testing.T) {
	for id, want := range map[string]string{
		"-TR2940-abcdefghijkl":                         "Transmission 2.94",
		"-TR3000-abcdefghijkl":                         "Transmission 3.00",
		"-TR4060-abcdefghijkl":                         "Transmission 4.0.6",
		"-TR0072-abcdefghijkl":                         "Transmission 0.72",
		"-qB4520-abcdefghijkl":                         "qBittorrent 4.5.2",
		"-qB5010-abcdefghijkl":                         "qBittorrent 5.0.1",
		"-LT12B0-abcdefghijkl":                         "libtorrent 1.2.11",
		"-LT2080-abcdefghijkl":                         "libtorrent 2.0.8",
		"-lt0D80-abcdefghijkl":                         "libTorrent (rakshasa) 0.13.8",
		"-DE13F0-abcdefghijkl":                         "Deluge 1.3.15",
		"-UT355W-abcdefghijkl":                         "\u00b5Torrent 3.5.5",
		"-AZ5760-abcdefghijkl":                         "Azureus 5.7.6.0",
		"-BD0100-abcdefghijkl":                         "btd 0.1.0",
		"-7T1234-abcdefghijkl":                         "aTorrent 1.2.3.4",
		"-ZZ1234-abcdefghijkl":                         "ZZ 1.2.3.4",
		"-RN0.8.0-abcdefghijk":                         "rain",
		"A2-1-36-0-abcdefghij":                         "aria2 1.36.0",
		"A2-1-1-8-\x00bcdefghij" + "k":                 "aria2 1.1.8",
		"M4-3-6--abcdefghijkl":                         "BitTorrent 4.3.6",
		"M7-10-2--abcdefghijk":                         "BitTorrent 7.10.2",
		"Q1-10-0-abcdefghijkl":                         "unknown (Q1-10-0-)",
		"T03I-----abcdefghijk":                         "BitTornado 0.3.18",
		"exbc\x00\x38abcdefghijklmn":                   "BitComet",
		"OP1234abcdefghijklmn":                         "Opera",
		"\x00\x01\x02\x03\x04\x05\x06\x07abcdefghijkl": "unknown",
		"ab\x1b]0;evil\x07abcdefghi":                   "unknown",
		"-TR\x1b000-abcdefghijkl":                      "unknown (-TR)",
		"-AZ12ab-abcdefghijkl":                         "Azureus 1.2.36.37",
		"-ES12---abcdefghijkl":                         "unknown (-ES12---)",
		"-S~1.2--abcdefghijkl":                         "unknown (-S~1.2--)",
		"A2xabcdefghijklmnopq":                         "unknown (A2xabcde)",
		"R1#-----abcdefghijkl":                         "unknown (R1#-----)",
		"--------------------":                         "unknown (--------)",
		"                    ":                         "unknown",
		"\xff\xff\xff\xff\xff\xff\xff\xffabcdefghijkl": "unknown",
		"M----------abcdefghi":                         "unknown (M-------)",
		"A-----------abcdefgh":                         "unknown (A-------)",
	} {
		if len(id) != 20 {
			t.Fatalf("%q has %d bytes", id, len(id))
		}
		if got := ClientName([20]byte([]byte(id)), ""); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
	if got := ClientName([20]byte([]byte("-TR2940-abcdefghijkl")), "Trans\x07mission 4"); got != "Transmission 4" {
		t.Errorf("with a version: got %q, want what it says, cleaned", got)
	}
}

func TestPeerID(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for version, want := range map[string]string{
		"0.1.0": "-BD0100-", "v1.12.3": "-BD1C30-", "1.2.3.4.5": "-BD1234-", "2": "-BD2000-", "": "-BD0000-",
		"dev": "-BD0000-", "1.0.99": "-BD10Z0-", "1.2.3-rc1": "-BD1230-", "99999999999999999999": "-BDZ000-",
	} {
		a, b := PeerID(version, rng), PeerID(version, rng)
		if string(a[:8]) != want {
			t.Errorf("%q: got %q, want %q and 12 more", version, a, want)
		}
		if a == b {
			t.Errorf("%q: the same id twice: %q", version, a)
		}
		for _, c := range a[8:] {
			if !isAlnum(c) {
				t.Errorf("%q: %q has a byte that is neither letter nor digit", version, a)
			}
		}
	}
}

func FuzzClientName(f *testing.F) {
	f.Add([]byte("-TR2940-abcdefghijkl"), "")
	f.Add([]byte("A2-1-36-0-abcdefghij"), "x")
	f.Add([]byte("T03I-----abcdefghijk"), "")
	f.Fuzz(func(t *testing.T, id []byte, version string) {
		if len(id) != 20 {
			return
		}
		got := ClientName([20]byte(id), version)
		if got == "" || len(got) > 80 || got != strings.ToValidUTF8(got, "") || strings.ContainsAny(got, "\x00\x1b\n\r\x7f") {
			t.Errorf("%q, %q: got %q", id, version, got)
		}
	})
}
