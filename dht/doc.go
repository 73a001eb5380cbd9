// Package dht is a node of the Mainline DHT (BEP 5, with 32, 33, 42, 43, 44,
// 45 and 51).
//
// [Node] is its core, one for each address family. It is pure: packets and the
// time go in by HandlePacket and Tick, packets go out by a function given at the
// start. There is no lock, no goroutine and no clock in it, so that a million
// nodes can be simulated. It joins the rooms below:
//
//	dht/krpc     bytes <-> messages
//	dht/contact  ids, addresses, BEP 42
//	dht/table    whom we know, and whom to ask to keep that true
//	dht/lookup   whom a search asks, and when it is over
//	dht/store    what is kept for others, tokens and limits
//
// [Server] gives nodes their sockets, their clock and a goroutine, and is safe
// for concurrent callers.
//
// # What a stranger can do to a node
//
// Send packets: each is decoded in place, and what is wrong with it is counted
// by kind. Ask: until the limits of dht/store say no. Be stored: behind a token,
// up to the caps. Answer: only to a query that was sent to that very address,
// with its random transaction id. Name nodes: they count once they answer for
// themselves. Nothing a stranger sends makes memory grow beyond a cap, and no
// reply is larger than 1,200 bytes (1,024 over IPv6, BEP 32; 1,400 for a get with
// a value).
//
// Private torrents are the caller's business: the DHT must not hear of them.
package dht
