// Package lookup decides whom a search of the DHT asks, when, and when it is
// over (BEP 5; get_peers, find_node and the get of BEP 44 alike).
//
// It is pure: no I/O, no goroutine, no clock, no log. The same calls give the
// same answers. A Lookup is for one goroutine at a time and has a bound on all
// that it keeps.
//
// # How the caller drives it
//
//	l := lookup.New(cfg, target, start, now)
//	for {
//		queries, wake = l.Next(now, queries[:0])
//		// send each query
//		if l.Done(now) { break }
//		// wait for a packet or for wake, whatever is first:
//		l.OnReply(reply, now)  // each reply to one of its queries
//		l.OnError(addr, now)   // each error message, or a send that failed
//	}
//	closest = l.Closest(closest[:0]) // announce to these, with their tokens
//
// Next and Done are cheap; call both after every event. The Lookup gives up on
// a query by itself after Config.Timeout. Values in replies are the caller's:
// they can be handed on as they come, if OnReply says that the reply counts.
// A search that is done may still have queries under way. Their replies are of
// no use to it, but the routing table wants to hear of them.
//
// # The policy
//
// Of the candidates that have not failed, the eight closest to the target are
// the window. Six queries are kept under way in it. A query that is not
// answered within the stall time (a little more than nine in ten replies take,
// see RTT) frees its place, so that dead nodes cost a fraction of a second
// and not the whole time-out; its reply still counts if it comes. The search
// is done when the eight closest have answered and no query to a nearer one is
// younger than two stall times. A search that will announce asks once more
// where a query stalled, so that a lost packet does not lose a holder.
//
// # Against hostile answers
//
// A reply must have the id that was asked for, and is read once. Of the nodes
// in it the eight closest to the target count, if they are of our family, not
// of somebody's LAN, not ourselves, and new. An id is searched for at two
// addresses at most, an address is asked for one id only, and of one network
// (contact.Network) two nodes are asked. Nodes that name only dead ones lose
// their say: what they name is asked last, unless others name it too.
package lookup
