// Package session coordinates everything: it owns the torrents, the
// connections, the limits and the resume state, and wires the pure packages
// to sockets, files and the clock.
//
// Every active torrent has one goroutine that alone reads and writes the
// torrent's state; an idle or stopped torrent has none.
package session
