package session

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	maxNamed    = 64              // peers known by name, of which the addresses are looked for
	maxNamedIPs = 8               // addresses of one name
	nameFirst   = 2 * time.Second // after the first look-up that brought nothing
	nameMost    = 10 * time.Minute
)

// named is a peer that a link gives by the name of its host.
type named struct {
	host  string
	port  uint16
	wait  time.Duration // after the last look-up
	next  time.Time     // of the next look-up
	asked bool          // one is under way
}

// resolvePeers adds peers that a link names, by address or by name.
func (t *torrent) resolvePeers(hosts []string) {
	for _, h := range hosts {
		if a, err := netip.ParseAddrPort(h); err == nil {
			t.learn([]netip.AddrPort{a}, FromMagnet)
			continue
		}
		host, port, err := net.SplitHostPort(h)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err == nil && perr == nil {
			t.resolve(t.named(host, uint16(n)))
		}
	}
}

// named is the peer of that name. It is looked for until it is found, unless
// there are very many.
func (t *torrent) named(host string, port uint16) *named {
	for _, n := range t.peers.names {
		if n.host == host && n.port == port {
			return n
		}
	}
	n := &named{host: host, port: port}
	if len(t.peers.names) < maxNamed {
		t.peers.names = append(t.peers.names, n)
	}
	return n
}

// resolve looks n up. Without a network nothing comes of that now, so it is done
// again until something does.
func (t *torrent) resolve(n *named) {
	if n.asked {
		return
	}
	n.asked = true
	t.spawn(func() {
		ctx, cancel := context.WithTimeout(t.ctx, dialTimeout)
		defer cancel()
		ips, err := t.s.cfg.lookup(ctx, n.host)
		if err != nil {
			t.log.Debug("looking up a peer of the link", "host", n.host, "err", err)
		}
		var addrs []netip.AddrPort
		for _, ip := range ips[:min(len(ips), maxNamedIPs)] {
			addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), n.port))
		}
		t.tell(func(t *torrent) { t.resolved(n, addrs) })
	})
}

// resolved takes what a look-up brought.
func (t *torrent) resolved(n *named, addrs []netip.AddrPort) {
	n.asked = false
	if len(addrs) == 0 {
		n.wait = min(max(2*n.wait, nameFirst), nameMost)
		n.next = t.now.Add(n.wait)
		return
	}
	t.peers.names = slices.DeleteFunc(t.peers.names, func(x *named) bool { return x == n })
	t.learn(addrs, FromMagnet)
}

// tickNames looks up those that are due.
func (t *torrent) tickNames() {
	for _, n := range t.peers.names {
		if !t.now.Before(n.next) {
			t.resolve(n)
		}
	}
}
