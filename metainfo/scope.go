package metainfo

import (
	"fmt"
	"net/netip"
)

// Scope is how far a torrent reaches: where its peers may be. A greater one is
// narrower.
type Scope uint8

// The scopes.
const (
	ScopeInternet Scope = iota // everywhere
	ScopeLAN                   // in networks that are nobody's but their owner's
)

// scopeNames is how scopes are written, in links as well (x.scope).
var scopeNames = [...]string{ScopeInternet: "internet", ScopeLAN: "lan"}

// ParseScope reads what String writes.
func ParseScope(name string) (Scope, error) {
	for s, n := range scopeNames {
		if n == name {
			return Scope(s), nil
		}
	}
	return 0, fmt.Errorf("there is no scope %s: want internet or lan", quote(name))
}

// String is "internet" or "lan".
func (s Scope) String() string {
	if !s.Valid() {
		return fmt.Sprintf("scope %d", uint8(s))
	}
	return scopeNames[s]
}

// Valid tells whether it is one of the scopes.
func (s Scope) Valid() bool { return int(s) < len(scopeNames) }

// Covers tells whether a torrent of this scope may have a peer at ip.
//
// Those of ScopeLAN are at private addresses (RFC 1918, RFC 4193), at
// link-local ones and at loopback. Addresses that a carrier shares among its
// customers (RFC 6598) are not: strangers are behind them.
func (s Scope) Covers(ip netip.Addr) bool {
	if s == ScopeInternet {
		return ip.IsValid()
	}
	ip = ip.Unmap()
	return ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsLoopback()
}
