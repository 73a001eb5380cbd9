// Package shaper holds transfers to their limits. A Shaper serves one
// direction: it has a limit of its own, and a flow for each torrent, which
// may have a limit too, with a leaf for each peer.
//
// Nobody waits in line for a limiter. Leaves say how much they want, and
// every tick the bytes that the limits allow by then are shared out: evenly
// over the torrents that want something, and within a torrent evenly over its
// peers, by deficit round robin (Shreedhar and Varghese, 1995). What one
// cannot use goes to the others. Bytes are granted in steps of one block, so
// that the slowest limit still lets whole blocks pass, one after the other.
//
// The limits are those of golang.org/x/time/rate, asked once a tick. A limit
// starts with nothing saved up; an idle one saves a tenth of a second, or
// four blocks where that is more.
//
// The package is pure: no goroutine, no clock. A Shaper is not safe for
// concurrent use, its flows and leaves included.
package shaper
