package lsd

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func networkOf(index int, name string, flags net.Flags, addrs ...string) network {
	n := network{Interface: net.Interface{Index: index, Name: name, Flags: flags}}
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.MustParsePrefix(a))
	}
	return n
}

func TestPlan(t *testing.T) {
	const lan = net.FlagUp | net.FlagMulticast | net.FlagBroadcast
	all := []network{
		networkOf(1, "lo", net.FlagUp|net.FlagLoopback, "127.0.0.1/8", "::1/128"),
		networkOf(2, "eth0", lan, "192.168.1.5/24", "10.9.9.9/8", "fe80::5/64", "2001:db8::5/64"),
		networkOf(3, "wlan0", lan, "fe80::6/64"),
		networkOf(4, "down0", net.FlagMulticast, "192.168.7.1/24"),
		networkOf(5, "tun0", lan|net.FlagPointToPoint, "10.8.0.2/24"),
		networkOf(6, "deaf0", net.FlagUp, "192.168.8.1/24"),
		networkOf(7, "bare0", lan),
	}
	eth4, eth10 := path{2, "eth0", netip.MustParseAddr("192.168.1.5")}, path{2, "eth0", netip.MustParseAddr("10.9.9.9")}
	eth6, wlan6 := path{index: 2, name: "eth0"}, path{index: 3, name: "wlan0"}
	for listen, want := range map[string][]path{
		"::":            {eth4, eth10, eth6, wlan6},
		"0.0.0.0":       {eth4, eth10},
		"192.168.1.5":   {eth4},
		"2001:db8::5":   {eth6},
		"fe80::6%wlan0": {wlan6},
		"fe80::6%eth0":  nil,
		"192.168.7.1":   nil,
		"10.8.0.2":      nil,
		"127.0.0.1":     {{1, "lo", netip.MustParseAddr("127.0.0.1")}},
		"::1":           {{index: 1, name: "lo"}},
	} {
		paths, attached := plan(all, netip.MustParseAddr(listen))
		if !slices.Equal(paths, want) {
			t.Errorf("who listens at %s announces on %v, want %v", listen, paths, want)
		}
		if (len(attached) > 0) != (len(want) > 0) {
			t.Errorf("listening at %s, attached are %v", listen, attached)
		}
	}
	var many []network
	for i := range 100 {
		many = append(many, networkOf(i+1, "veth", lan, "10.0.0.1/24", "10.0.1.1/24", "10.0.2.1/24", "10.0.3.1/24", "10.0.4.1/24"))
	}
	if paths, _ := plan(many, netip.IPv6Unspecified()); len(paths) != maxInterfaces*maxPathsEach {
		t.Errorf("%d paths of 100 interfaces", len(paths))
	}
}

func TestNeighbour(t *testing.T) {
	attached := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:1::/64")}
	for from, want := range map[string]string{
		"192.168.1.2":       "192.168.1.2",
		"::ffff:10.1.1.1":   "10.1.1.1",
		"169.254.3.4":       "169.254.3.4",
		"198.51.100.77":     "198.51.100.77",
		"127.0.0.1":         "127.0.0.1",
		"fe80::1%eth0":      "fe80::1%eth0",
		"fd00::1":           "fd00::1",
		"fd00::1%eth0":      "fd00::1",
		"2001:db8:1::9":     "2001:db8:1::9",
		"fe80::1":           "",
		"198.51.101.1":      "",
		"8.8.8.8":           "",
		"2001:db8:2::9":     "",
		"100.64.0.1":        "",
		"239.192.152.143":   "",
		"0.0.0.0":           "",
		"ff15::efc0:988f":   "",
		"::ffff:8.8.8.8":    "",
		"255.255.255.255":   "",
		"64:ff9b::a01:1":    "",
		"::":                "",
		"fec0::1":           "",
		"2001:db8:1:1::0:1": "",
	} {
		got, ok := neighbour(netip.MustParseAddr(from), attached)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %v, %v, want %q", from, got, ok, want)
		}
	}
}
