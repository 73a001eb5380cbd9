package lsd

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A path that is gone gives its membership back, of which the system allows
// few, unless another path of the same interface needs it.
func TestMembershipsAreGivenBack(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip(err)
	}
	var now []netip.Prefix
	s := New(Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:6881"), GroupPort: freePort(t),
		networks: func() ([]network, error) {
			return []network{{Interface: *lo, addrs: now}}, nil
		},
	})
	a := netip.MustParsePrefix("127.0.0.1/8")
	l := &s.links[0]
	t.Cleanup(func() {
		l.close()
		s.hearts.Wait()
	})
	member := func() bool { // by trying to leave
		p := path{lo.Index, "lo", a.Addr()}
		err := onSocket(l.in, func(fd uintptr) error { return leaveGroup(fd, l.group.Addr(), p) })
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Fatal(err)
		}
		if err == nil {
			if err := l.join(p); err != nil {
				t.Fatal(err)
			}
		}
		return err == nil
	}
	for round := range 3 {
		now = []netip.Prefix{a}
		s.scan(t.Context())
		if st := s.Status(); len(st.Problems) > 0 || !member() {
			t.Fatalf("round %d: no member where there is a network: %v", round, st)
		}
		now = nil
		s.scan(t.Context())
		if member() {
			t.Fatalf("round %d: still a member where the network is gone", round)
		}
	}
	two := []path{{lo.Index, "lo", a.Addr()}, {lo.Index, "lo", netip.MustParseAddr("127.0.0.2")}}
	for _, p := range two {
		if err := l.join(p); err != nil {
			t.Fatal(err)
		}
	}
	if l.keep(two[1:]); len(l.heard) != 1 || !member() {
		t.Error("the second address of an interface lost what the first has joined")
	}
}
