// Package table is the routing table of a DHT node (BEP 5, "Routing Table"):
// whom it knows, who of them can be handed out, and what has to be asked to
// keep that true. One table is for one address family (BEP 32).
//
// It is pure: no I/O, no goroutine, no clock, no log. The same calls with the
// same random source give the same answers. It is for one goroutine at a time.
//
// # Shape
//
// Bucket n has the nodes whose ids have exactly n bits in common with our own
// in front. The first four buckets are large (128, 64, 32 and 16 nodes), the
// others have 8: half of all searches begin in bucket 0, and with 128 nodes
// in it they begin four bits nearer.
//
//	            proven: answered us               not yet, or no room
//	bucket 0    live, up to 128                   spare, up to 128
//	bucket 1    live, up to 64                    spare, up to 64
//	...
//
// Only live nodes without a miss are handed out. Who asks us, or is named by
// others, begins as a spare and has to answer before it can be live. A spare
// takes a free place as soon as it answers. In a full bucket it must have been
// known for three minutes and be better than the worst that is there: an id
// that fits the address (BEP 42), an even spread over the bucket, a short
// round trip.
//
// # What the caller does
//
// Everything that is heard goes in, whatever it was sent for:
//
//	Answered   a reply came that matches a query of ours
//	TimedOut   it did not come
//	Seen       a query came
//	Named      a reply to a FindNode of Upkeep named these nodes
//	Lied       a node was caught lying otherwise than by its id
//
// Upkeep says what to ask next and when to call again. Its queries need no
// bookkeeping beyond the calls above. What comes out are Closest, for answers
// to others, Start, for searches of our own, and Save.
//
// # When many die
//
// If more than a fifth of the last ten live nodes that Upkeep asked did not
// answer, all are asked, two a second, so that within five minutes hardly a dead
// one is handed out. While all is well, Upkeep asks one of them every few seconds,
// even if none is due, to hear of it soon.
//
// # When nobody answers
//
// One miss makes a node suspect: it is not handed out any more, and a proven
// spare takes its place. The second miss removes it. If ten queries in a row
// go unanswered and nothing else is heard, our own link is taken to be down:
// what was held against nodes since then is taken back, and nothing more is
// held against any until something is heard again.
package table
