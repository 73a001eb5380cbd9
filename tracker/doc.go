// Package tracker asks BitTorrent trackers for peers: over HTTP and HTTPS
// (BEP 3, 7, 23, 24, 31, 48) and over UDP (BEP 15, 41).
//
// It has two halves that know nothing of each other:
//
//   - [Client] owns sockets and goroutines. One call is one announce, or one
//     scrape, to one tracker over one address family. All that comes from a
//     tracker is bounded and checked before it is handed out.
//   - [Schedule] is pure. It belongs to one torrent and decides which tracker
//     is asked when and with which event (BEP 12): time, chance and answers
//     come in as arguments; announces and the next deadline come out.
//
// The caller carries announces from the one to the other, fills in what only
// it knows (counters, port, peer id) and brings the result back.
//
// What it refuses to do: send an address of ours other than by the source of
// the packet, resolve host names found in peer lists, follow more than five
// redirects, read more than 2 MiB of an answer, believe an interval outside
// 30 seconds to 12 hours.
package tracker
