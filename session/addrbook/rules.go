package addrbook

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"slices"
	"time"
)

// normal is the one form in which an address is kept.
func normal(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	reserved    = netip.MustParsePrefix("240.0.0.0/4") // 255.255.255.255 too
)

// valid tells whether a peer can listen at a, which is normal. A link-local IPv6
// address is none without its zone.
func valid(a netip.AddrPort) bool {
	ip := a.Addr()
	if ip.Is6() && ip.IsLinkLocalUnicast() && ip.Zone() == "" {
		return false
	}
	return ip.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() &&
		!thisNetwork.Contains(ip) && !reserved.Contains(ip)
}

// SetExternal tells our own address as others see it, with the port that we
// listen on. One is kept for each family. It decides the order of dialling
// (BEP 40), and is never dialled. A change costs O(n).
func (b *Book) SetExternal(addr netip.AddrPort) {
	addr = normal(addr)
	family := 0
	if addr.Addr().Is6() {
		family = 1
	}
	if !addr.Addr().IsValid() || b.external[family] == addr {
		return
	}
	b.external[family] = addr
	if e := b.entries[addr]; e != nil && e.state != connected {
		b.forget(e)
	}
	for _, e := range b.entries {
		if e.addr.Addr().Is6() == addr.Addr().Is6() {
			e.prio = b.priority(e.addr)
		}
	}
	b.ready.reset()
	b.near.reset()
	b.evict.reset()
}

// priority is the BEP 40 priority of a peer's address. While our own address
// in its family is unknown it is a random number that belongs to the address.
func (b *Book) priority(addr netip.AddrPort) uint32 {
	ours := b.external[0]
	if addr.Addr().Is6() {
		ours = b.external[1]
	}
	if ours.IsValid() {
		return Priority(ours, addr)
	}
	var buf [26]byte
	binary.BigEndian.PutUint64(buf[:], b.salt)
	ip := addr.Addr().As16()
	copy(buf[8:], ip[:])
	binary.BigEndian.PutUint16(buf[24:], addr.Port())
	return crc32.Checksum(buf[:], castagnoli)
}

// acceptable tells whether addr, which is normal, may be in the book.
func (b *Book) acceptable(addr netip.AddrPort) bool {
	return valid(addr) && b.cfg.Scope.Covers(addr.Addr()) && !b.isSelf(addr) && !b.Banned(addr.Addr())
}

// subnet is what counts as one host: an IPv4 address, or the first 64 bits of
// an IPv6 address.
func subnet(ip netip.Addr) netip.Addr {
	if ip.Is4() || ip.IsLoopback() {
		return ip
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return p.Addr()
}

func (b *Book) isSelf(addr netip.AddrPort) bool {
	return addr == b.external[0] || addr == b.external[1] || slices.Contains(b.self, addr)
}

// SetSeed tells whether the peer at addr is known to have every piece.
func (b *Book) SetSeed(addr netip.AddrPort, seed bool, now time.Time) {
	e := b.entries[normal(addr)]
	if e == nil || e.seed == seed {
		return
	}
	e.seed = seed
	if b.seeding && e.state == idle {
		b.dequeue(e)
		b.enqueue(e, now)
	}
}

// SetSeeding tells whether we have all that we want: other seeds are of no
// use then, and are not dialled. A change costs O(n log n).
func (b *Book) SetSeeding(on bool, now time.Time) {
	if b.seeding == on {
		return
	}
	b.seeding = on
	for _, e := range b.entries {
		if e.seed && e.state == idle {
			b.dequeue(e)
			b.enqueue(e, now)
		}
	}
}

// Ban forgets every address at ip and refuses it from now on. Connections
// that exist are the caller's to close.
func (b *Book) Ban(ip netip.Addr) {
	ip = host(ip)
	if _, ok := b.bans[ip]; ok || !ip.IsValid() {
		return
	}
	if len(b.banOrder) < b.cfg.MaxBans {
		b.banOrder = append(b.banOrder, ip)
	} else {
		delete(b.bans, b.banOrder[b.banNext])
		b.banOrder[b.banNext] = ip
		b.banNext = (b.banNext + 1) % len(b.banOrder)
	}
	b.bans[ip] = struct{}{}
	for _, e := range b.entries {
		if host(e.addr.Addr()) == ip {
			b.forget(e)
		}
	}
}

// Banned tells whether ip was banned. Incoming connections are to be checked
// with it.
func (b *Book) Banned(ip netip.Addr) bool {
	_, ok := b.bans[host(ip)]
	return ok
}

// host is the form in which banned addresses are kept.
func host(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// Purge forgets the addresses that came from the sources for which gone
// returns true. Those in use are kept; they are the caller's to close.
func (b *Book) Purge(gone func(source string) bool) {
	for _, e := range b.entries {
		if e.state != dialing && e.state != connected && gone(e.source) {
			b.forget(e)
		}
	}
}

// Rank is the priority of a peer's address (BEP 40): where connections are
// short, those of the highest are kept.
func (b *Book) Rank(addr netip.AddrPort) uint32 { return b.priority(normal(addr)) }
