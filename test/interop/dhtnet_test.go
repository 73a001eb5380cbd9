//go:build interop && linux

package interop

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"btd/dht"
	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/test/netns"
)

// dhtPort is where programs listen for the DHT that don't use their peers'
// port.
const dhtPort = 50001

// joined says whether a program takes part in the DHT, and whom it asks at
// first. Programs have it as a field and read it when they start.
type joined struct {
	on    bool
	nodes []netip.AddrPort
}

// joiner is a program that can take part in the DHT.
type joiner interface {
	magnetLeech
	// join has the program take part from its start on. Without nodes it
	// knows nobody.
	join(nodes ...netip.AddrPort)
}

func (j *joined) join(nodes ...netip.AddrPort) { j.on, j.nodes = true, nodes }

// list is the nodes with commas between them.
func (j *joined) list() string {
	var s []string
	for _, n := range j.nodes {
		s = append(s, n.String())
	}
	return strings.Join(s, ",")
}

// privateDHT is a network of nodes of ours, all on the hub, each with an
// address of its own.
type privateDHT struct {
	lab   *lab
	nodes []*dht.Server
	at    []netip.AddrPort
	turn  int
}

// someNodes is how many a private DHT has. Transmission 3.00 searches only when
// it knows nine.
const someNodes = 12

// startDHT starts the nodes, and waits until they know each other.
func (l *lab) startDHT(ctx context.Context, ipv6 bool) *privateDHT {
	l.T.Helper()
	d := &privateDHT{lab: l}
	for i := range someNodes {
		ip, ip6 := l.Addrs(100 + i)
		if ipv6 {
			ip = ip6
		}
		at := netip.AddrPortFrom(ip, 6881)
		l.HubAddr(ip)
		var conn *net.UDPConn
		l.Must(l.Hub.NS.Do(func() (err error) {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			return err
		}))
		d.at = append(d.at, at)
		cfg := dht.ServerConfig{Bootstrap: []string{d.at[0].String()}}
		if ipv6 {
			cfg.IPv6 = dht.Socket{Conn: conn, Own: true, State: settled(6, ip)}
		} else {
			cfg.IPv4 = dht.Socket{Conn: conn, Own: true, State: settled(4, ip)}
		}
		s, err := dht.NewServer(cfg)
		l.Must(err)
		l.T.Cleanup(func() { _ = s.Close() })
		d.nodes = append(d.nodes, s)
	}
	for i, s := range d.nodes {
		l.Must(netns.Poll(ctx, 20*time.Millisecond, fmt.Sprintf("DHT node %d knows others", i), func() (bool, error) {
			st := s.Stats()
			one := st.IPv4
			if ipv6 {
				one = st.IPv6
			}
			return one.Nodes >= someNodes-3, nil
		}))
	}
	return d
}

// settled is the state of a node (see dht.Node.State) that ran at ip before: it
// has an id that fits its address (BEP 42), which it need not change.
func settled(family byte, ip netip.Addr) []byte {
	var id krpc.ID
	sum := sha1.Sum(ip.AsSlice())
	id.SetBytes(sum[:])
	id = contact.MakeSecure(id, ip)
	b := id.AsByteArray()
	return append([]byte{1, family}, b[:]...)
}

// waitExternal waits until btd knows its address, and so has the id that fits
// it (BEP 42).
func (c *btd) waitExternal(ctx context.Context, ipv6 bool) {
	c.host.Lab.T.Helper()
	c.host.Lab.Must(netns.Poll(ctx, 10*time.Millisecond, "btd knows its address", func() (bool, error) {
		st, err := c.api.DHTStats(ctx)
		if err != nil {
			return false, err
		}
		if ipv6 {
			return st.IPv6.External != "", nil
		}
		return st.IPv4.External != "", nil
	}))
}

// waitNode waits until a node of the DHT knows another, which answered it.
func (d *privateDHT) waitNode(ctx context.Context, at netip.AddrPort) {
	d.lab.T.Helper()
	compact := binary.BigEndian.AppendUint16(at.Addr().AsSlice(), at.Port())
	d.lab.Must(netns.Poll(ctx, 50*time.Millisecond, at.String()+" is in the DHT", func() (bool, error) {
		for _, s := range d.nodes {
			ipv4, ipv6 := s.State()
			if bytes.Contains(ipv4, compact) || bytes.Contains(ipv6, compact) {
				return true, nil
			}
		}
		return false, nil
	}))
}

// waitAnnounced waits until the DHT tells of a peer for the torrent. Another
// node asks each time, so that no node is asked too often by the same.
func (d *privateDHT) waitAnnounced(ctx context.Context, t *torrent, peer netip.AddrPort) {
	d.lab.T.Helper()
	var all []netip.AddrPort
	err := netns.Poll(ctx, 250*time.Millisecond, "the DHT hears of "+peer.String(), func() (bool, error) {
		s := d.nodes[d.turn%len(d.nodes)]
		d.turn++
		q := dht.Search{Kind: dht.GetPeers}
		q.Target.SetBytes(t.hash[:])
		q.Peers = func(more []netip.AddrPort) { all = append(all, more...) }
		all = nil
		_, _ = s.Search(ctx, q)
		return slices.Contains(all, peer), nil
	})
	if err != nil {
		d.lab.T.Fatalf("%v; it knows %v", err, all)
	}
}
