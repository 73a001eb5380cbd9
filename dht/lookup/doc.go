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
// The window is the ten candidates closest to the target that did not fail and
// did not stall. Six queries are kept under way in it, eight once three of the
// window have answered. A query stalls when it takes longer than most replies
// do (three quarters of the time in which nine in ten come, see RTT). That
// frees its place, so that dead nodes cost a fraction of a second and not the
// whole time-out; its reply still counts if it comes. The search is done when
// the eight closest have answered and a reply from a nearer one is not to be
// expected any more. A search that will announce asks once more where the usual
// time has passed, so that a lost packet does not lose a holder.
//
// At the start, twelve of our own nodes are asked in turn: those whose round
// trip is short for how far they are. The others wait in reserve.
//
// # A target that was searched for not long ago
//
// Memory keeps who was closest, and makes the next search for the same target a
// short one of at most twelve queries: those who were closest are asked at once,
// and once more where no answer comes; others only if they are as near, or where
// one is gone. Who was silent near the target before is not asked again, but for
// one each time: the dead nodes that everybody names would use up all twelve. If
// less than half of them are there, it becomes a search like any other.
//
// # Against hostile answers
//
// A reply must have the id that was asked for, and is read once. Of the nodes
// in it the sixteen closest to the target count, if they are of our family, not
// of somebody's LAN, not ourselves, and new. An id is searched for at two
// addresses at most, an address is asked for one id only, and of one network
// (contact.Network) two nodes are asked.
//
// Nobody steers a search alone: five of the nodes that one node named are asked,
// and more only as they answer or as others name them too. An id that is nearer
// to the target than any node of so large a network should be, and does not fit
// its address (BEP 42), is asked last.
package lookup
