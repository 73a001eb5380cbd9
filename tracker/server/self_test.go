package server

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

const daemonPort = 6881

// machine is a tracker on a machine with two networks, and link-local
// addresses on both.
func machine() *Server {
	s := New(Config{Port: daemonPort})
	s.own.list = func() []ownAddr {
		var out []ownAddr
		for zone, list := range map[uint32][]string{1: {"127.0.0.1", "::1"}, 2: {"192.168.1.5", "fe80::5", "2001:db8::5"}, 3: {"10.0.0.5", "fe80::35"}} {
			for _, a := range list {
				out = append(out, ownAddr{netip.MustParseAddr(a), zone})
			}
		}
		return out
	}
	return s
}

// tell announces and returns the addresses that are answered. At says what the
// request was sent to, "" is not known.
func (s *Server) tell(t *testing.T, from, at string, port uint16, via transport) []string {
	t.Helper()
	src := netip.MustParseAddr(from)
	zone := map[string]uint32{"two": 2, "three": 3}[src.Zone()]
	var local netip.Addr
	if at != "" {
		local = netip.MustParseAddr(at)
	}
	a := announce{source: sourceOf(src, zone, local), hash: [20]byte{1}, port: port, want: 50, via: via}
	out, now := newAnswer(), time.Now()
	if err := s.announce(&a, out, now); err != nil {
		t.Fatal(err)
	}
	var b []byte
	if via == overUDP {
		b = s.packAnswer(nil, &a, out, now)[12:]
		return list(b, a.addr.Is4())
	}
	body := string(s.appendAnnounce(nil, &a, out, compact, now))
	var found []string
	for key, size := range map[string]int{"5:peers": 6, "6:peers6": 18} {
		_, rest, ok := strings.Cut(body, key)
		digits, rest, _ := strings.Cut(rest, ":")
		if n := 0; ok {
			for _, d := range digits {
				n = 10*n + int(d-'0')
			}
			found = append(found, list([]byte(rest[:n]), size == 6)...)
		}
	}
	return found
}

func list(b []byte, four bool) (found []string) {
	size := 18
	if four {
		size = 6
	}
	for ; len(b) >= size; b = b[size:] {
		a, _ := netip.AddrFromSlice(b[:size-2])
		found = append(found, netip.AddrPortFrom(a, uint16(b[size-2])<<8|uint16(b[size-1])).String())
	}
	slices.Sort(found)
	return found
}

// Everybody is told of our daemon by an address that is reached from there,
// however the daemon itself announced.
func TestSelf(t *testing.T) {
	for _, daemon := range []string{"127.0.0.1", "::1", "192.168.1.5", "10.0.0.5", "fe80::5%two"} {
		for _, tt := range []struct{ from, at, udp, http string }{
			{"192.168.1.77", "192.168.1.5", "192.168.1.5:6881", "192.168.1.5:6881"},
			{"10.0.0.77", "10.0.0.5", "10.0.0.5:6881", "10.0.0.5:6881"},
			{"127.0.0.1", "127.0.0.1", "127.0.0.1:6881", "127.0.0.1:6881"},
			{"::1", "::1", "[::1]:6881", "[::1]:6881"},
			{"2001:db8::77", "2001:db8::5", "[2001:db8::5]:6881", "[2001:db8::5]:6881"},
			{"fe80::77%two", "fe80::5", "[2001:db8::5]:6881", "[2001:db8::5]:6881"},
			{"fe80::77%three", "fe80::35", "", "10.0.0.5:6881"},
		} {
			for via, want := range map[transport]string{overUDP: tt.udp, overHTTP: tt.http} {
				s := machine()
				s.tell(t, daemon, "", daemonPort, via)
				if got := strings.Join(s.tell(t, tt.from, tt.at, 1000, via), " "); got != want {
					t.Errorf("the daemon announced from %s; %s is told %q over %s, want %q", daemon, tt.from, got, transportNames[via], want)
				}
				if got := s.tell(t, daemon, "", daemonPort, via); slices.ContainsFunc(got, func(p string) bool { return strings.HasSuffix(p, ":6881") }) {
					t.Errorf("the daemon is told of itself: %q", got)
				}
				s.verify(t)
				if n := s.Stats().Peers; n != 2 {
					t.Errorf("%d peers, want the daemon and the other", n)
				}
			}
		}
	}
}

// Where the socket does not say by which address it was asked, the routes do.
func TestSelfByRoute(t *testing.T) {
	s := machine()
	s.own.list = listOwn
	s.tell(t, "127.0.0.1", "", daemonPort, overUDP)
	if got := s.tell(t, "127.0.0.9", "", 1000, overUDP); len(got) != 1 || !strings.HasPrefix(got[0], "127.0.0.") {
		t.Errorf("a neighbour on loopback is told %q", got)
	}
	// What this machine would use to reach an address of the documentation.
	conn, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		t.Skipf("no route: %v", err)
	}
	defer conn.Close()
	own := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().String()
	if got := s.tell(t, "192.0.2.1", "", 1000, overUDP); len(got) != 1 || got[0] != own+":6881" {
		t.Errorf("a stranger is told %q, want %s", got, own)
	}
}

// Addresses that lead nowhere from elsewhere are not handed out there.
func TestNarrowAddresses(t *testing.T) {
	s := machine()
	for i, from := range []string{"127.0.0.1", "::1", "192.168.1.77", "2001:db8::77", "fe80::77%two", "fe80::77%three", "169.254.3.4"} {
		s.tell(t, from, "", uint16(100+i), overHTTP)
	}
	s.verify(t)
	for from, want := range map[string]string{
		"127.0.0.1":      "127.0.0.1:100 192.168.1.77:102 [2001:db8::77]:103 [::1]:101",
		"192.168.1.78":   "192.168.1.77:102 [2001:db8::77]:103",
		"2001:db8::78":   "192.168.1.77:102 [2001:db8::77]:103",
		"fe80::78%two":   "169.254.3.4:106 192.168.1.77:102 [2001:db8::77]:103 [fe80::77]:104",
		"fe80::78%three": "169.254.3.4:106 192.168.1.77:102 [2001:db8::77]:103 [fe80::77]:105",
		"169.254.3.5":    "169.254.3.4:106 192.168.1.77:102 [2001:db8::77]:103",
	} {
		got := s.tell(t, from, "", 99, overHTTP)
		slices.Sort(got)
		got = slices.DeleteFunc(got, func(p string) bool { return strings.HasSuffix(p, ":99") })
		if strings.Join(got, " ") != want {
			t.Errorf("%s is told %q, want %q", from, strings.Join(got, " "), want)
		}
	}
}

// A stranger cannot pass for our daemon by its port, nor for another peer by
// its address.
func TestNobodyElseIsSelf(t *testing.T) {
	s := machine()
	s.tell(t, "192.168.1.77", "192.168.1.5", daemonPort, overUDP)
	if got := s.tell(t, "192.168.1.78", "192.168.1.5", 1000, overUDP); len(got) != 1 || got[0] != "192.168.1.77:6881" {
		t.Errorf("told %q", got)
	}
}

// In our own networks each IPv6 address is limited by itself, elsewhere a /64.
func TestStandsAlone(t *testing.T) {
	s := machine()
	now := time.Now()
	key := func(a string) sourceKey {
		addr := netip.MustParseAddr(a)
		src := sourceOf(addr, 0, netip.Addr{})
		src.alone = s.standsAlone(src.addr, now)
		return src.key()
	}
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"2001:db8::77", "2001:db8::78", false},
		{"2001:db8:0:1::77", "2001:db8:0:1::78", true},
		{"2001:db8:0:1::77", "2001:db8:0:2::77", false},
		{"fd00::1", "fd00::2", false},
		{"fe80::1%two", "fe80::2%two", false},
		{"1.2.3.4", "1.2.3.5", false},
		{"::ffff:1.2.3.4", "1.2.3.4", true},
	} {
		if (key(tt.a) == key(tt.b)) != tt.same {
			t.Errorf("%s and %s: one source %v, want %v", tt.a, tt.b, !tt.same, tt.same)
		}
	}
	// What a peer is counted as does not change with our own addresses.
	s.tell(t, "2001:db8::77", "", 1, overHTTP)
	s.own.last.Store(&ownList{at: now.Add(time.Hour)})
	s.tell(t, "2001:db8::77", "", 1, overHTTP)
	s.tell(t, "2001:db8::78", "", 1, overHTTP)
	s.Unregister([20]byte{1})
	s.cfg.Listed = true
	s.Unregister([20]byte{1})
	for row := range s.census.cells {
		for i := range s.census.cells[row] {
			if n := s.census.cells[row][i].Load(); n != 0 {
				t.Fatalf("row %d counts %d peers where there are none", row, n)
			}
		}
	}
	if s.peers.Load() != 0 {
		t.Errorf("%d peers", s.peers.Load())
	}
}
