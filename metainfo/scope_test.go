package metainfo

import (
	"net/netip"
	"testing"
)

func TestScopeNames(t *testing.T) {
	for _, want := range []Scope{ScopeInternet, ScopeLAN} {
		if got, err := ParseScope(want.String()); err != nil || got != want || !want.Valid() {
			t.Errorf("%v is read as %v, %v", want, got, err)
		}
	}
	for _, name := range []string{"", "LAN", "house", "scope 2"} {
		if s, err := ParseScope(name); err == nil {
			t.Errorf("%q is read as %v", name, s)
		}
	}
	if s := ScopeLAN + 1; s.Valid() || s.String() != "scope 2" {
		t.Errorf("%v is a scope", s)
	}
}

func TestScopeCovers(t *testing.T) {
	for addr, lan := range map[string]bool{
		"10.1.2.3": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.1": true,
		"169.254.9.9": true, "127.0.0.1": true, "127.9.9.9": true,
		"::1": true, "fe80::1": true, "fe80::1%eth0": true, "fd00::1": true, "fc00::1": true,
		"::ffff:192.168.1.1": true,

		"8.8.8.8": false, "172.15.255.255": false, "172.32.0.1": false, "192.169.0.1": false, "11.0.0.1": false,
		"100.64.0.1": false, "192.0.2.1": false, "198.18.0.1": false,
		"2001:db8::1": false, "2606:4700::1": false, "fec0::1": false, "64:ff9b::c0a8:101": false, "2002:c0a8:101::": false,
		"::ffff:8.8.8.8": false, "224.0.0.1": false, "ff02::1": false, "0.0.0.0": false, "::": false,
	} {
		ip := netip.MustParseAddr(addr)
		if got := ScopeLAN.Covers(ip); got != lan {
			t.Errorf("lan covers %s: %v, want %v", addr, got, lan)
		}
		if !ScopeInternet.Covers(ip) {
			t.Errorf("internet does not cover %s", addr)
		}
	}
	if ScopeLAN.Covers(netip.Addr{}) || ScopeInternet.Covers(netip.Addr{}) {
		t.Error("no address is covered")
	}
}
