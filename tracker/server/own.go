package server

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ownAddrs knows the addresses of this machine. What it was told lately is
// good enough: interfaces change rarely.
type ownAddrs struct {
	list func() []ownAddr
	mu   sync.Mutex // held by who asks for them anew
	last atomic.Pointer[ownList]
}

// ownAddr is an address of this machine and the interface that it is on.
type ownAddr struct {
	addr netip.Addr
	zone uint32
}

type ownList struct {
	addrs []ownAddr
	at    time.Time
}

const ownFor = 5 * time.Second

// now is the addresses as they were at most ownFor ago.
func (o *ownAddrs) now(at time.Time) []ownAddr {
	l := o.last.Load()
	if l != nil && at.Sub(l.at) < ownFor {
		return l.addrs
	}
	if l != nil && !o.mu.TryLock() {
		return l.addrs // somebody is asking
	} else if l == nil {
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if again := o.last.Load(); again != l {
		return again.addrs
	}
	l = &ownList{o.list(), at}
	o.last.Store(l)
	return l.addrs
}

// has tells whether an address is one of this machine.
func (o *ownAddrs) has(a netip.Addr, at time.Time) bool {
	return a.IsLoopback() || slices.ContainsFunc(o.now(at), func(own ownAddr) bool { return own.addr == a })
}

// beside is an address without a zone of the interface with that index: of
// IPv6 if it has one, else of IPv4 if that is wanted.
func (o *ownAddrs) beside(zone uint32, want4 bool, at time.Time) (found netip.Addr) {
	for _, own := range o.now(at) {
		switch {
		case own.zone != zone || !own.addr.IsGlobalUnicast():
		case own.addr.Is6():
			return own.addr
		case want4 && !found.IsValid():
			found = own.addr
		}
	}
	return found
}

// listOwn asks the system.
func listOwn() []ownAddr {
	var out []ownAddr
	interfaces, _ := net.Interfaces() // an error means that none is known
	for _, ifc := range interfaces {
		addrs, _ := ifc.Addrs() // it may be gone by now
		for _, a := range addrs {
			if ip, ok := interfaceAddr(a); ok {
				out = append(out, ownAddr{ip, uint32(ifc.Index)})
			}
		}
	}
	return out
}

// routes tells which of our addresses packets to somebody leave from, where
// the socket does not say it.
type routes struct {
	mu    sync.Mutex
	known map[netip.Addr]route
}

type route struct {
	local netip.Addr
	at    time.Time
}

const (
	maxRoutes = 4096
	routeFor  = time.Minute
)

func (r *routes) to(a netip.Addr, at time.Time) netip.Addr {
	r.mu.Lock()
	known, ok := r.known[a]
	r.mu.Unlock()
	if ok && at.Sub(known.at) < routeFor {
		return known.local
	}
	local := lookUpRoute(a)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= maxRoutes {
		r.known = map[netip.Addr]route{}
	}
	r.known[a] = route{local, at}
	return local
}

// lookUpRoute connects a UDP socket, which sends nothing.
func lookUpRoute(a netip.Addr) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
}
