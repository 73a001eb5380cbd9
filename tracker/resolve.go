package tracker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	resolveFor   = 5 * time.Minute  // how long an address is believed
	notFoundFor  = 30 * time.Second // how long a host stays not found
	maxResolved  = 512              // hosts remembered
	maxAddresses = 4                // addresses of one host and family that are used
)

// LookupFunc finds the addresses of a host, as [net.Resolver.LookupNetIP] does
// with network "ip".
type LookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)

// resolver remembers addresses of hosts for a while: a thousand torrents on
// one UDP tracker must not mean a thousand lookups.
type resolver struct {
	lookup LookupFunc
	source netip.Addr // see Config.Source
	mu     sync.Mutex
	hosts  map[string]resolved
}

type resolved struct {
	addrs []netip.Addr
	err   error
	until time.Time
}

func newResolver(lookup LookupFunc, source netip.Addr) *resolver {
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return &resolver{lookup: lookup, source: source, hosts: make(map[string]resolved)}
}

// reaches tells whether a can be spoken to from the source address.
func (r *resolver) reaches(a netip.Addr) bool {
	return !r.source.IsValid() || r.source.Is4() == a.Is4()
}

// parseLiteral reads a host that is an address.
func parseLiteral(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(host)
	return a.Unmap(), err == nil
}

// addrs returns one to four addresses of the host, or ErrNoFamily.
func (r *resolver) addrs(ctx context.Context, host string, f Family) ([]netip.Addr, error) {
	all, err := r.all(ctx, host)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); f.has(a) && r.reaches(a) && len(out) < maxAddresses && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %s has no %s address", ErrNoFamily, host, f)
	}
	return out, nil
}

func (r *resolver) all(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, ok := parseLiteral(host); ok {
		return []netip.Addr{a}, nil
	}
	now := time.Now()
	r.mu.Lock()
	found, ok := r.hosts[host]
	r.mu.Unlock()
	if ok && now.Before(found.until) {
		return found.addrs, found.err
	}
	addrs, err := r.lookup(ctx, host)
	found = resolved{addrs, err, now.Add(resolveFor)}
	if err != nil {
		var dns *net.DNSError
		if !errors.As(err, &dns) || !dns.IsNotFound {
			return nil, fmt.Errorf("looking up host: %w", err)
		}
		found.until = now.Add(notFoundFor)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.hosts) >= maxResolved {
		r.evict(now)
	}
	r.hosts[host] = found
	return addrs, err
}

// evict makes room: what is out of date goes, or else any one host.
func (r *resolver) evict(now time.Time) {
	for host, v := range r.hosts {
		if now.After(v.until) {
			delete(r.hosts, host)
		}
	}
	for host := range r.hosts {
		if len(r.hosts) < maxResolved {
			return
		}
		delete(r.hosts, host)
	}
}

// forget drops what is known of a host that did not answer: it may have moved.
func (r *resolver) forget(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hosts, host)
}
