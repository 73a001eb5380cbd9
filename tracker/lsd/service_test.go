package lsd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// until waits for a condition that some other goroutine brings about.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

// found collects what a Service finds.
type found struct {
	mu   sync.Mutex
	list map[Hash][]netip.AddrPort
}

func (f *found) add(h Hash, peer netip.AddrPort, _ bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.list == nil {
		f.list = map[Hash][]netip.AddrPort{}
	}
	f.list[h] = append(f.list[h], peer)
}

func (f *found) of(h Hash) []netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list[h]
}

// freePort is a UDP port that nobody uses.
func freePort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// serve runs a Service for the length of the test.
func serve(t *testing.T, cfg Config) (*Service, *found) {
	t.Helper()
	f := &found{}
	cfg.Found = f.add
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s, f
}

// TestTwoFindEachOther multicasts on the loopback interface.
func TestTwoFindEachOther(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("loopback interfaces of other systems may not multicast")
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			ip := netip.MustParseAddr(host)
			if l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))); err != nil {
				t.Skipf("this machine has no %s: %v", host, err)
			} else {
				l.Close()
			}
			group := freePort(t)
			a, fa := serve(t, Config{Listen: netip.AddrPortFrom(ip, 1111), GroupPort: group})
			b, fb := serve(t, Config{Listen: netip.AddrPortFrom(ip, 2222), GroupPort: group})
			c, fc := serve(t, Config{Listen: netip.AddrPortFrom(ip, 3333), GroupPort: group})
			until(t, "network", func() bool {
				return len(a.Status().Networks)+len(b.Status().Networks)+len(c.Status().Networks) == 3
			})
			for _, s := range []*Service{a, b, c} {
				if p := s.Status().Problems; len(p) > 0 {
					t.Fatalf("problems: %v", p)
				}
			}
			h, other := Hash{1}, Hash{2}
			a.Set(h, Local)
			c.Set(other, Local)
			until(t, "announce", func() bool {
				for _, p := range a.Status().Problems {
					if ip.Is6() && strings.HasPrefix(p, "sending by IPv6 on lo: ") {
						t.Skipf("no multicast over IPv6 on loopback: %s", p)
					}
				}
				return b.Status().Heard >= 2
			})
			b.Set(h, Local) // a announced it before b wanted it
			until(t, "meeting", func() bool { return len(fa.of(h)) > 0 })
			if got := fa.of(h)[0]; got != netip.AddrPortFrom(ip, 2222) {
				t.Errorf("found %v", got)
			}
			if len(fc.of(h)) > 0 || len(fb.of(other)) > 0 || len(fa.of(other)) > 0 {
				t.Error("a torrent was found by who does not have it")
			}
			until(t, "count", func() bool { return a.Status().Packets > 0 }) // it counts after it has sent
			st := a.Status()
			if st.Torrents != 1 || st.Announces == 0 || !strings.HasPrefix(st.String(), "on "+st.Networks[0]+": 1 torrents, ") {
				t.Errorf("status %+v: %v", st, st)
			}
		})
	}
}

// TestOnlyPacketsToTheGroupCount sends some to the host itself.
func TestOnlyPacketsToTheGroupCount(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("other systems do not say where a packet was sent to")
	}
	ip := netip.MustParseAddr("127.0.0.1")
	group := freePort(t)
	s, f := serve(t, Config{Listen: netip.AddrPortFrom(ip, 1111), GroupPort: group})
	s.Set(Hash{1}, Local)
	until(t, "network", func() bool { return len(s.Status().Networks) > 0 })
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, group)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := Announce{Port: 9, Hashes: []Hash{{1}}}
	until(t, "refusal", func() bool {
		if _, err := c.Write(a.Append(nil, groups(group)[0])); err != nil {
			t.Fatal(err)
		}
		return s.Status().Refused > 0
	})
	if got := f.of(Hash{1}); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}

func TestWhatDoesNotCount(t *testing.T) {
	f := &found{}
	s := New(Config{Listen: netip.MustParseAddrPort("0.0.0.0:1"), Found: f.add})
	h := Hash{1}
	s.Set(h, Local)
	good := Announce{Port: 2, Hashes: []Hash{h}}
	own := good
	own.Cookie = s.cookie
	now := start
	group := groups(port)[0]
	for name, tt := range map[string]struct {
		from   string
		packet []byte
	}{
		"our own":   {"192.168.1.9", own.Append(nil, group)},
		"elsewhere": {"198.51.100.1", good.Append(nil, group)},
		"no zone":   {"fe80::1", good.Append(nil, group)},
		"nonsense":  {"192.168.1.9", []byte("GET / HTTP/1.1\r\n\r\n")},
	} {
		s.heard(tt.packet, netip.MustParseAddr(tt.from), now)
		if got := f.of(h); len(got) > 0 {
			t.Errorf("%s: found %v", name, got)
		}
	}
	for range 1000 {
		s.heard(good.Append(nil, group), netip.MustParseAddr("fe80::1%eth9"), now)
	}
	if got := f.of(h); len(got) != sourceBurst || got[0] != netip.MustParseAddrPort("[fe80::1%eth9]:2") {
		t.Errorf("of 1,000 packets of one source %d count: %v", len(got), got[:1])
	}
	if st := s.Status(); st.Refused != 3+1000-sourceBurst || st.Heard != sourceBurst {
		t.Errorf("status %+v", st)
	}
}

// TestMulticastThatFails has an interface that does not exist.
func TestMulticastThatFails(t *testing.T) {
	t.Parallel()
	ghost := networkOf(1<<20, "ghost0", net.FlagUp|net.FlagMulticast, "192.0.2.1/24")
	broken := errors.New("out of interfaces")
	fail := false
	s := New(Config{
		Listen: netip.MustParseAddrPort("0.0.0.0:1"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Found: (&found{}).add,
		GroupPort: freePort(t),
		networks: func() ([]network, error) {
			if fail {
				return nil, broken
			}
			return []network{ghost}, nil
		},
	})
	defer func() {
		for i := range s.links {
			s.links[i].close()
		}
		s.hearts.Wait()
	}()
	s.Set(Hash{1}, Local)
	for range 3 {
		s.scan(t.Context())
	}
	st := s.Status()
	if len(st.Problems) != 1 || !strings.HasPrefix(st.Problems[0], "IPv4 on ghost0: joining the multicast group: ") {
		t.Errorf("problems %q", st.Problems)
	}
	s.mu.Lock()
	s.pacer.Again(true, time.Now().Add(-Gap))
	s.mu.Unlock()
	s.announce()
	if !s.missed {
		t.Error("what could not be sent is not tried again")
	}
	if st = s.Status(); len(st.Problems) != 2 || !strings.Contains(st.String(), "; sending by IPv4 on ghost0: ") || st.Announces != 0 {
		t.Errorf("problems %q", st.Problems)
	}
	fail = true
	s.scan(t.Context())
	if st = s.Status(); !strings.Contains(st.String(), "interfaces: out of interfaces") {
		t.Errorf("status %v", st)
	}
	fail, ghost = false, networkOf(1<<20, "gone", 0)
	s.scan(t.Context())
	if st = s.Status(); len(st.Problems) != 0 || st.String() != "no network to announce in" {
		t.Errorf("status %v", st)
	}
}
