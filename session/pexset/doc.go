// Package pexset is the policy of peer exchange (BEP 11): what each peer is
// told about the others, and what of its news is taken.
//
// A peer hears of those that we are connected to: at most 50 soon after its
// handshake, then at most once a minute what changed since, at most 50 added
// and 50 dropped. Of its own messages one a minute is taken, and of that at
// most 50 addresses, one for each host.
//
// Addresses that lead nowhere from where the other side is are not passed on
// and not taken: a peer on the Internet neither hears of those of a private
// network nor can send us into our own.
//
// A link-local address is passed on to neighbours on its network, without its zone,
// and what such a neighbour tells of gets the zone of his.
//
// It is pure: no socket, no goroutine, no clock. The same calls give the same
// answers.
package pexset
