package peerwire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// PEXFlags say what is known of a peer (BEP 11, "added.f").
type PEXFlags uint8

// The flags of BEP 11.
const (
	PEXEncryption PEXFlags = 0x01 // prefers encryption
	PEXSeed       PEXFlags = 0x02 // has everything, or wants nothing
	PEXUTP        PEXFlags = 0x04 // speaks uTP
	PEXHolepunch  PEXFlags = 0x08 // speaks ut_holepunch
	PEXReachable  PEXFlags = 0x10 // was connected to, so others can
)

// maxPEX bounds what is read of each list in a message.
const maxPEX = 200

// Lengths of compact addresses with their port, bytes.
const (
	compact4 = 6
	compact6 = 18
)

// PEXPeer is a peer that another one is connected to.
type PEXPeer struct {
	Addr  netip.AddrPort
	Flags PEXFlags
}

// PEX is a ut_pex message (BEP 11): the news of whom the sender is connected
// to.
type PEX struct {
	Added   []PEXPeer
	Dropped []netip.AddrPort
}

// Parse reads the payload of a ut_pex message. Addresses without a port or of
// the wrong family are left out, and so is what is more than 200 in a list.
// Flags count only if there is one for every address.
func (m *PEX) Parse(payload []byte) error {
	var added, added6, dropped, dropped6, flags, flags6 []byte
	fields := map[string]*[]byte{
		"added": &added, "added.f": &flags, "added6": &added6, "added6.f": &flags6, "dropped": &dropped, "dropped6": &dropped6,
	}
	err := dict(payload, func(key, value []byte) {
		if to := fields[string(key)]; to != nil {
			*to, _ = strOf(value)
		}
	})
	if err != nil {
		return fmt.Errorf("%w: ut_pex: %w", ErrMalformed, err)
	}
	if len(added)%compact4 != 0 || len(dropped)%compact4 != 0 || len(added6)%compact6 != 0 || len(dropped6)%compact6 != 0 {
		return fmt.Errorf("%w: ut_pex: %d and %d bytes of addresses added, %d and %d dropped: not whole ones",
			ErrMalformed, len(added), len(added6), len(dropped), len(dropped6))
	}
	*m = PEX{}
	m.Added = appendPEXPeers(m.Added, added, flags, compact4)
	m.Added = appendPEXPeers(m.Added, added6, flags6, compact6)
	for _, list := range []struct {
		b    []byte
		size int
	}{{dropped, compact4}, {dropped6, compact6}} {
		for i := 0; i < min(len(list.b)/list.size, maxPEX); i++ {
			if a, ok := compactAddr(list.b[i*list.size:][:list.size]); ok {
				m.Dropped = append(m.Dropped, a)
			}
		}
	}
	return nil
}

func appendPEXPeers(to []PEXPeer, b, flags []byte, size int) []PEXPeer {
	n := len(b) / size
	for i := range min(n, maxPEX) {
		a, ok := compactAddr(b[i*size:][:size])
		if !ok {
			continue
		}
		p := PEXPeer{Addr: a}
		if len(flags) == n {
			p.Flags = PEXFlags(flags[i])
		}
		to = append(to, p)
	}
	return to
}

// compactAddr reads an address of 4 or 16 bytes and a port.
func compactAddr(b []byte) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(b[:len(b)-2])
	port := binary.BigEndian.Uint16(b[len(b)-2:])
	return netip.AddrPortFrom(ip, port), ok && port != 0 && !ip.IsUnspecified() && !ip.Is4In6()
}

// Append appends the payload of the message. IPv4 addresses in their mapped
// form count as IPv4.
func (m *PEX) Append(b []byte) []byte {
	var added, added6, dropped, dropped6, flags, flags6 []byte
	for _, p := range m.Added {
		if ip := p.Addr.Addr().Unmap(); ip.Is4() {
			added, flags = appendCompact(added, ip, p.Addr.Port()), append(flags, byte(p.Flags))
		} else {
			added6, flags6 = appendCompact(added6, ip, p.Addr.Port()), append(flags6, byte(p.Flags))
		}
	}
	for _, a := range m.Dropped {
		if ip := a.Addr().Unmap(); ip.Is4() {
			dropped = appendCompact(dropped, ip, a.Port())
		} else {
			dropped6 = appendCompact(dropped6, ip, a.Port())
		}
	}
	b = append(b, 'd')
	for _, f := range []struct {
		key string
		b   []byte
	}{{"added", added}, {"added.f", flags}, {"added6", added6}, {"added6.f", flags6}, {"dropped", dropped}, {"dropped6", dropped6}} {
		if len(f.b) > 0 {
			b = appendStr(appendStr(b, f.key), f.b)
		}
	}
	if len(added)+len(added6)+len(dropped)+len(dropped6) == 0 {
		b = appendStr(appendStr(b, "added"), "") // a message has at least one of them
	}
	return append(b, 'e')
}

func appendCompact(b []byte, ip netip.Addr, port uint16) []byte {
	return binary.BigEndian.AppendUint16(append(b, ip.AsSlice()...), port)
}
