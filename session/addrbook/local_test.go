package addrbook

import (
	"net/netip"
	"testing"
	"time"

	"btd/metainfo"
)

func lan4(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 6881)
}

func TestLocalAddressesComeFirst(t *testing.T) {
	b := newBook(Config{})
	for n := range 10 {
		b.Add(addr4(n), "tracker", start)
	}
	b.Add(netip.MustParseAddrPort("[fe80::1%eth0]:1"), "lsd", start)
	b.Add(lan4(1), "tracker", start)
	b.Add(addr4(99), SourceUser, start)
	if a := next(t, b, start); a != addr4(99) {
		t.Errorf("%v is dialled before that of a person", a)
	}
	for range 2 {
		if a := next(t, b, start); !metainfo.ScopeLAN.Covers(a.Addr()) {
			t.Errorf("%v is dialled before those of the local network", a)
		}
	}
	// One that failed waits behind those that did not.
	b.Failed(lan4(1), Lost, start)
	later := start.Add(time.Minute)
	for range 10 {
		if a := next(t, b, later); a == lan4(1) {
			t.Error("it is dialled again before others were")
		}
	}
	if a := next(t, b, later); a != lan4(1) {
		t.Errorf("the last is %v", a)
	}
}

// TestManyLocalAddressesDoNotKeepOthersWaiting has somebody name a network
// full of hosts that do not exist.
func TestManyLocalAddressesDoNotKeepOthersWaiting(t *testing.T) {
	b := newBook(Config{})
	for n := range 1000 {
		b.Add(lan4(n), "tracker", start)
	}
	for n := range 100 {
		b.Add(addr4(n), "tracker", start)
	}
	far := 0
	for i := range 300 { // many at a time, none of which ends
		if a := next(t, b, start); metainfo.ScopeLAN.Covers(a.Addr()) {
			if i < maxNear {
				continue
			}
		} else {
			far++
			if i < maxNear {
				t.Errorf("address %d is %v", i, a)
			}
		}
	}
	// They take turns by their priority, a tenth of all being far.
	if far < 15 {
		t.Errorf("of 300 addresses only %d were not local", far)
	}
}

func TestScope(t *testing.T) {
	b := newBook(Config{Scope: metainfo.ScopeLAN})
	if b.Add(addr4(1), SourceUser, start) || !b.Add(lan4(1), "tracker", start) || b.Len() != 1 {
		t.Errorf("%d addresses are known", b.Len())
	}
	b.Dialling(addr4(2))
	b.Connected(addr4(3), start)
	if b.Len() != 1 {
		t.Errorf("%d addresses are known", b.Len())
	}
}
