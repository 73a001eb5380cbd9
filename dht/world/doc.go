// Package world is a simulated DHT of up to millions of nodes in virtual time,
// in which searches and routing tables are measured. It has no goroutine and
// no socket, and the same seed gives the same run.
//
// # The network
//
// Every node has a correct Kademlia table: for each bit in which an id can
// first differ from its own, eight random nodes of all there are, or all if
// they are fewer. Tables are not stored. A draw is a hash of the seed, the
// node and the bucket, so a million nodes take 16 bytes each. A share of all
// nodes is dead, and still listed everywhere. A round trip takes 20 ms and a
// time that is fixed for each node and distributed log-normally (median
// 90 ms, sigma 0.7), so 110 ms in all at the median, and up to a tenth more or
// less each time. Two in a hundred exchanges get lost. What is searched for is
// held by the eight nodes closest to it, dead ones included.
//
// A share of the nodes may be hostile: see hostile.go.
//
// # The clients
//
// Client has the real table and lookup packages of this module and nothing
// else between them and the network. Library has the rules of the search in
// github.com/anacrolix/dht/v2 v2.24.0 as a model: alpha 3, a time-out of 2 s
// with late replies lost, a result set of eight by distance, a search that
// ends when the nearest that was not asked is farther than all eight and
// nothing is under way. A test runs the library's own traversal through the same
// network; both agree.
package world
