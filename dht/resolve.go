package dht

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	resolveTimeout = 5 * time.Second
	resolveFirst   = 5 * time.Second // until names are looked up again; doubles
	resolveLongest = 5 * time.Minute
)

// resolve looks up the bootstrap hosts, again and again while that fails or
// while a node knows nobody, and the hosts of AddHosts as they come.
func (s *Server) resolve(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := resolveFirst
	again := true
	for {
		select {
		case <-ctx.Done():
			return
		case hosts := <-s.hosts:
			for _, addr := range s.lookup(ctx, hosts) {
				s.AddNode(addr)
			}
			continue
		case <-timer.C:
		}
		if again {
			addrs := s.lookup(ctx, s.cfg.Bootstrap)
			for _, l := range s.loops {
				l.post(func(now time.Time) { l.node.SetBootstrap(addrs, now) })
			}
			pause = min(2*pause, resolveLongest)
			if len(addrs) > 0 {
				pause = resolveLongest
			}
		}
		again = false
		for _, l := range s.loops {
			again = again || l.lonely.Load()
		}
		timer.Reset(pause)
	}
}

// lookup resolves host:port pairs, all at once, and keeps their order.
func (s *Server) lookup(ctx context.Context, hosts []string) (addrs []netip.AddrPort) {
	found := make([][]netip.AddrPort, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() {
			var err error
			if found[i], err = s.lookupOne(ctx, h); err != nil && ctx.Err() == nil {
				s.cfg.Log.Debug("dht: resolving", "host", h, "err", err)
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

func (s *Server) lookupOne(ctx context.Context, hostport string) (addrs []netip.AddrPort, err error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, errors.New("bad port")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(port))}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := s.cfg.Resolve(ctx, host)
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return addrs, err
}
