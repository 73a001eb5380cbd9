//go:build lan && linux

package lan

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// has makes content on m, whose torrent stays in the local network and has no
// tracker, and returns its path and a link to the torrent.
func has(ctx context.Context, l *netns.Lab, m *machine) (root, link string) {
	l.T.Helper()
	root, err := content(filepath.Join(m.Dir, "images"), "small image", 8<<20, 2)
	l.Must(err)
	file := filepath.Join(m.Dir, "small.torrent")
	_, err = m.btctl(ctx, "create", root, "--output", file)
	l.Must(err)
	id, err := m.btctl(ctx, "add", file, "--scope", "lan", "--dir", filepath.Dir(root), "--wait")
	l.Must(err)
	return root, "magnet:?xt=urn:btih:" + strings.TrimSpace(id) + "&x.scope=lan"
}

// gets has m download what a link names, and returns the addresses of those
// that it heard of by multicast.
func gets(ctx context.Context, l *netns.Lab, m *machine, root, link string) (heard []netip.Addr) {
	l.T.Helper()
	id, err := m.btctl(ctx, "add", link)
	l.Must(err)
	l.Must(netns.Poll(ctx, 20*time.Millisecond, m.Name+" has it all", func() (bool, error) {
		peers, err := m.api.Peers(ctx, strings.TrimSpace(id))
		if err != nil {
			return false, err
		}
		for _, p := range peers {
			a, err := netip.ParseAddrPort(p.Addr)
			if err != nil {
				return false, err
			}
			if p.Source == "lsd" {
				heard = append(heard, a.Addr())
			}
		}
		t, err := m.api.Torrent(ctx, strings.TrimSpace(id))
		return err == nil && t.State == client.StateSeeding, err
	}))
	if err := same(root, filepath.Join(m.downloads(), filepath.Base(root))); err != nil {
		l.T.Errorf("%s: %v", m.Name, err)
	}
	return heard
}

// only leaves a host nothing but its link-local address.
func only(h *netns.Host) error {
	return h.NS.Do(func() error {
		commands := []string{fmt.Sprintf("addr del %s/24 dev eth0", h.IP4)}
		if netns.LackOfIPv6() == "" {
			commands = append(commands, fmt.Sprintf("addr del %s/64 dev eth0", h.IP6))
		}
		return netns.IP(commands...)
	})
}

// linkLocal tells whether eth0 has a link-local address that is ready: scope 20,
// and not tentative (40) in its flags.
func linkLocal(table string) bool {
	for line := range strings.Lines(table) {
		f := strings.Fields(line) // address, index, prefix, scope, flags, name
		if len(f) != 6 || f[5] != "eth0" || f[3] != "20" {
			continue
		}
		if flags, err := strconv.ParseUint(f[4], 16, 32); err == nil && flags&0x40 == 0 {
			return true
		}
	}
	return false
}

// TestLinkLocalAlone has two hosts that nobody gave an address.
func TestLinkLocalAlone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := newLab(t)
	if why := netns.LackOfIPv6(); why != "" {
		t.Skip(why)
	}
	var both []*machine
	for _, name := range []string{"one", "two"} {
		h := l.Host(name)
		l.Must(only(h))
		l.Must(netns.Poll(ctx, 50*time.Millisecond, name+" has a link-local address", func() (bool, error) {
			var table []byte
			err := h.NS.Do(func() (err error) {
				table, err = os.ReadFile("/proc/thread-self/net/if_inet6")
				return err
			})
			return linkLocal(string(table)), err
		}))
		m, err := start(ctx, h, "--dht=false")
		l.Must(err)
		both = append(both, m)
	}
	root, link := has(ctx, l, both[0])
	heard := gets(ctx, l, both[1], root, link)
	for _, a := range heard {
		if !a.IsLinkLocalUnicast() || a.Zone() != "eth0" {
			t.Errorf("a peer at %v", a)
		}
	}
	stats, err := both[0].api.Stats(ctx)
	l.Must(err)
	if !strings.HasPrefix(stats.LSD, "on eth0: 1 torrents, ") || strings.Contains(stats.LSD, ";") {
		t.Errorf("discovery: %s", stats.LSD)
	}
	t.Logf("%d sights of peers by multicast; %s", len(heard), stats.LSD)
}

// TestASecondNetwork connects a host that shares to another network while it
// runs. Who is there hears the address that it has there.
func TestASecondNetwork(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := newLab(t)
	first := l.Host("first")
	sharer, err := start(ctx, first, "--dht=false")
	l.Must(err)
	root, link := has(ctx, l, sharer)

	far := l.Host("far")
	l.Must(only(far))
	l.Must(far.NS.Do(func() error { return netns.IP("link set eth0 down") }))
	l.Must(first.NS.Do(func() error {
		return netns.IP(fmt.Sprintf("link add eth1 type veth peer name eth1 netns %s", far.NS.Path()),
			"addr add 10.88.0.1/24 dev eth1", "link set eth1 up")
	}))
	l.Must(far.NS.Do(func() error { return netns.IP("addr add 10.88.0.2/24 dev eth1", "link set eth1 up") }))
	other, err := start(ctx, far, "--dht=false")
	l.Must(err)
	heard := gets(ctx, l, other, root, link)
	for _, a := range heard {
		if a.Is4() && a != netip.MustParseAddr("10.88.0.1") {
			t.Errorf("a peer at %v", a)
		}
	}
	l.Must(netns.Poll(ctx, 100*time.Millisecond, "both networks are in use", func() (bool, error) {
		stats, err := sharer.api.Stats(ctx)
		return strings.HasPrefix(stats.LSD, "on eth0, eth1: 1 torrents, "), err
	}))
}
