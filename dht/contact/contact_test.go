package contact

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"btd/dht/krpc"
)

func id(t *testing.T, s string) (id krpc.ID) {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	id.SetBytes(b)
	return id
}

// TestSecureVectors has the five rows of BEP 42.
func TestSecureVectors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ ip, id string }{
		{"124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"},
		{"21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"},
		{"65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"},
		{"84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"},
		{"43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"},
	} {
		addr, id := netip.MustParseAddr(row.ip), id(t, row.id)
		if !Secure(id, addr) {
			t.Errorf("%s at %s is not secure", row.id, row.ip)
		}
		if got := MakeSecure(id, addr); got != id {
			t.Errorf("MakeSecure changed a secure id to %s", got)
		}
		b := id.AsByteArray()
		b[2] ^= 8 // the last of the 21 bits
		id.SetBytes(b[:])
		if Secure(id, addr) {
			t.Errorf("%s at %s is secure", id, row.ip)
		}
		if !Secure(MakeSecure(id, addr), addr) {
			t.Errorf("MakeSecure(%s) is not secure", id)
		}
	}
	v6 := netip.MustParseAddr("2a01:4f8::1")
	if x := id(t, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"); Secure(x, v6) || !Secure(MakeSecure(x, v6), v6) {
		t.Error("IPv6: secure before, or not secure after MakeSecure")
	}
	if !Secure(id(t, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"), netip.MustParseAddr("192.168.1.2")) {
		t.Error("an id of a LAN is held to BEP 42")
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]Scope{
		"8.8.8.8:6881": Global, "8.8.8.8:0": Unusable, "10.1.2.3:1": Local, "127.9.9.9:1": Local, "0.1.2.3:1": Unusable,
		"172.15.0.1:1": Global, "172.16.0.1:1": Local, "172.32.0.1:1": Global, "192.168.0.1:1": Local, "224.0.0.1:1": Unusable,
		"255.255.255.255:1": Unusable, "100.64.0.1:1": Local, "100.128.0.1:1": Global, "192.0.2.1:1": Unusable,
		"[::1]:1": Local, "[::]:1": Unusable, "[fe80::1]:1": Local, "[fd00::1]:1": Local, "[ff02::1]:1": Unusable,
		"[2001:db8::1]:1": Unusable, "[2a01::1]:1": Global, "[::ffff:8.8.8.8]:1": Unusable, "[64:ff9b::1]:1": Unusable,
	} {
		if got := ScopeOf(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("%s: scope %d, want %d", addr, got, want)
		}
	}
	if ScopeOf(netip.AddrPort{}) != Unusable {
		t.Error("the zero address can be used")
	}
}

func TestMayName(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		from, addr string
		want       bool
	}{
		{"8.8.8.8:1", "9.9.9.9:1", true},
		{"8.8.8.8:1", "10.0.0.1:1", false},
		{"10.0.0.2:1", "10.0.0.1:1", true},
		{"10.0.0.2:1", "9.9.9.9:1", true},
		{"10.0.0.2:1", "9.9.9.9:0", false},
		{"8.8.8.8:1", "[2a01::1]:1", false},
		{"[2a01::2]:1", "[2a01::1]:1", true},
	} {
		if got := MayName(netip.MustParseAddrPort(row.from), netip.MustParseAddrPort(row.addr)); got != row.want {
			t.Errorf("%s names %s: %t, want %t", row.from, row.addr, got, row.want)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	at := func(s string) Network { return NetworkOf(netip.MustParseAddrPort(s)) }
	if at("8.8.8.8:1") != at("8.8.8.250:9") || at("8.8.8.8:1") == at("8.8.9.8:1") || at("8.8.8.8:1") == 0 {
		t.Error("a network of IPv4 is not a /24")
	}
	if at("[2a01::1]:1") != at("[2a01::ffff:1]:1") || at("[2a01::1]:1") == at("[2a01:0:0:1::1]:1") {
		t.Error("a network of IPv6 is not a /64")
	}
	if at("192.168.1.1:1") != 0 || at("127.0.0.1:1") != 0 {
		t.Error("a LAN counts as a network")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	a := id(t, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401")
	k := KeyOf(a)
	if k.ID() != a {
		t.Fatalf("KeyOf and back: %s", k.ID())
	}
	for n := range Bits {
		f := k.Flip(n)
		if got := Common(a, f.ID()); got != n {
			t.Errorf("flip of bit %d: %d bits in common", n, got)
		}
		if got := f.Xor(k); got != f.Xor(k) || got.Zeros() != n {
			t.Errorf("bit %d: distance %v", n, got)
		}
		other := Key{Hi: ^k.Hi, Mid: ^k.Mid, Lo: ^k.Lo}.Mix(k, n)
		if got := Common(a, other.ID()); got != n {
			t.Errorf("mix of %d bits: %d in common", n, got)
		}
	}
	if got := Common(a, a); got != Bits {
		t.Errorf("equal ids have %d bits in common", got)
	}
	b := id(t, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee402")
	if !KeyOf(a).Less(KeyOf(b)) || KeyOf(b).Less(KeyOf(a)) || KeyOf(a).Less(KeyOf(a)) {
		t.Error("Less is not the order of ids")
	}
}
