package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"btd/dht"
	"btd/dht/krpc"
	"btd/dht/store"
)

// Round trips to nodes of a private DHT, each with its own.
const (
	nearest  = 20 * time.Millisecond
	farthest = 250 * time.Millisecond
)

// nodesRow is the private DHT: o.nodes nodes that answer after a while. It says
// where the first one is and goes on until its standard input ends.
func nodesRow(ctx context.Context, o *options) (result, error) {
	var first string
	for i := range o.nodes {
		host := netip.AddrFrom4([4]byte{127, 1, byte(i / 200), byte(i%200 + 1)})
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if i == 0 {
			first = conn.LocalAddr().String()
		}
		far := &farConn{conn, nearest + rand.N(farthest-nearest)}
		s, err := dht.NewServer(dht.ServerConfig{
			IPv4: dht.Socket{Conn: far}, Bootstrap: []string{first},
			Peers: store.PeersConfig{Torrents: 100_000, Each: 4}, // they are far fewer than those of the public network
		})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		go far.read(s)
		if i%10 == 9 {
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
	fmt.Println(first)
	_, err := io.Copy(io.Discard, os.Stdin)
	return nil, err
}

// farConn sends after a while.
type farConn struct {
	conn  *net.UDPConn
	after time.Duration
}

// WriteToUDPAddrPort is of dht.Conn.
func (c *farConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	packet := append([]byte(nil), b...)
	time.AfterFunc(c.after/2, func() { c.conn.WriteToUDPAddrPort(packet, to) })
	return len(b), nil
}

func (c *farConn) read(s *dht.Server) {
	b := make([]byte, 4096)
	for {
		n, from, err := c.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			packet := append([]byte(nil), b[:n]...)
			time.AfterFunc(c.after/2, func() { s.Deliver(packet, from) })
		}
	}
}

// startNodes starts a private DHT in a process of its own, and waits until it
// has found itself. A node of this process asks it until it finds nodes enough.
func startNodes(ctx context.Context, o *options) (bootstrap string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(self, "nodes", "-nodes", fmt.Sprint(o.nodes))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		in.Close()
		cmd.Wait()
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		stop()
		return "", nil, errors.New("the private DHT does not start")
	}
	bootstrap = lines.Text()
	go io.Copy(io.Discard, out)
	if err := settled(ctx, o.nodes, bootstrap); err != nil {
		stop()
		return "", nil, err
	}
	return bootstrap, stop, nil
}

// settled waits until a newcomer knows half of all nodes.
func settled(ctx context.Context, nodes int, bootstrap string) error {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 11)})
	if err != nil {
		return err
	}
	s, err := dht.NewServer(dht.ServerConfig{IPv4: dht.Socket{Conn: conn, Own: true}, Bootstrap: []string{bootstrap}, ReadOnly: true})
	if err != nil {
		conn.Close()
		return err
	}
	defer s.Close()
	var target krpc.ID
	return until(ctx, 3*time.Minute, time.Second, "the private DHT finds itself", func() (bool, error) {
		var raw [20]byte
		for i := range raw {
			raw[i] = byte(rand.Uint32())
		}
		target.SetBytes(raw[:])
		s.Start(dht.Search{Kind: dht.FindNode, Target: target}, nil)
		return s.Stats().IPv4.Nodes >= min(nodes/2, 100), nil
	})
}
