// Package addrbook keeps the known addresses of one torrent's peers and says
// which one to dial next.
//
// Addresses in local networks are tried first, a few at a time. Within these and
// within the others the order is that of BEP 40, so that nobody can fill a swarm
// by being everywhere first. One that fails waits, longer every time, and is
// given up after a number of tries until somebody names it again. Those in local
// networks, and those that a person, a link or an earlier connection gave, are
// not given up: nobody may name them again. The book is bounded: when it is full,
// the worst address makes room.
//
// It is pure: no socket, no goroutine, no clock. The same calls with the same
// random source give the same answers. A Book is not safe for concurrent use.
package addrbook
