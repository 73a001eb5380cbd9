// Package krpc has the messages of the Mainline DHT: KRPC of BEP 5, with the
// extensions of BEP 32 (IPv6), 33 (scrapes), 42 (ip), 43 (read-only), 44
// (items) and 51 (samples).
//
// A packet is one bencoded dictionary:
//
//	query     d 1:a d 2:id 20:.. .. e 1:q 4:ping 1:t 2:.. 1:v 4:.. 1:y 1:q e
//	reply     d 2:ip 6:.. 1:r d 2:id 20:.. .. e 1:t 2:.. 1:v 4:.. 1:y 1:r e
//	error     d 1:e l i203e 4:text e 1:t 2:.. 1:y 1:e e
//
// [Message.Decode] fills a [Message] that can be used again and again. Its
// byte slices point into the packet, so nothing is allocated and nothing may be
// kept beyond the packet. [Message.Append] is the way back, keys sorted.
//
// The decoder is strict about what would hurt: every length is checked, nesting
// is bounded, a query has arguments, an id has 20 bytes, compact addresses have
// one of their sizes, a port is not 0. What it refuses, it names by a [Fault],
// so that faults can be counted. It is lenient about the rest: unknown keys are
// skipped, keys may be unsorted, and a key may come twice if it says the same
// both times.
package krpc
