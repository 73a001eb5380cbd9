// Package piece says how a torrent's content is cut into pieces and blocks,
// keeps sets of pieces, and decides which block to ask of which peer.
//
// It is pure: no I/O, no goroutine, no clock, no log. The same events in the
// same order with the same random source give the same decisions.
package piece
