// Package superseed decides which pieces a lone seed shows to which peer
// (BEP 16), so that it has to send little more than one copy before others can
// go on without it.
//
// A peer whose view is covered is told of a few pieces at a time. Each piece is
// given to one peer, who is expected to pass it on; the others get it there. How
// much a peer is shown depends on two windows:
//
//	ahead    given, not sent yet: keeps its pipeline full
//	unspread sent in the last two seconds, seen at nobody else yet: holds the
//	         seed to the pace of the swarm
//
// A swarm that does not trade must not starve. The second window of a peer that
// has nothing to fetch from us doubles twice a second, until the seed serves it
// like any other. A piece that its owner does not fetch, or leaves with, is
// given to somebody else.
//
// It is pure: no clock, no connection, no goroutine. The same calls with the
// same random source give the same decisions.
package superseed
