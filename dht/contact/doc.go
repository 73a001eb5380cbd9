// Package contact is what can be said of a node of the DHT without asking it:
// who it claims to be, where it is, which network it shares with others,
// whether an id fits its address (BEP 42) and how ids compare.
//
// Addresses fall into three kinds. Global ones are bound by rules of
// diversity, since an attacker owns few of them. Local ones (a LAN, loopback)
// are not: a LAN is one network of 256 addresses. The rest can't be the
// address of a node at all.
package contact
