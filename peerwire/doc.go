// Package peerwire turns bytes into peer messages and back. It knows the
// wire and nothing of torrents or policy: it does not know how many pieces
// there are, who is choked, or what is worth asking for.
//
//	handshake  <19> "BitTorrent protocol" <reserved 8> <info-hash 20> <peer id 20>     BEP 3
//	message    <length 4> <id 1> <payload length-1>        a length of 0 is a keep-alive
//
//	 0 choke   1 unchoke   2 interested   3 not interested                             BEP 3
//	 4 have <piece 4>              5 bitfield <bits>
//	 6 request <piece 4> <begin 4> <length 4>               8 cancel, 16 reject: the same
//	 7 piece <piece 4> <begin 4> <data>
//	 9 port <2>                                                                        BEP 5
//	13 suggest <piece 4>   14 have all   15 have none   17 allowed fast <piece 4>      BEP 6
//	20 extended <extended id 1> <payload>                                              BEP 10
//
// Payloads of extended messages have types with Parse and Append of their
// own: [ExtHandshake], [Metadata] (BEP 9), [PEX] (BEP 11).
//
// All integers are big-endian. [Reader] and [Writer] are the block path: a
// Reader receives payload straight into block buffers with few system calls
// and a Writer sends it by reference, and neither allocates for a block.
// [Decode] and the Append functions work on memory alone.
//
// What a peer may make us do is bounded before it is done: a length is
// checked before memory is taken for it, memory for long messages grows only
// as their bytes arrive, payload that nobody asked for is thrown away as it
// comes in. Whatever no well-behaved peer sends is an error that wraps
// [ErrMalformed] and says what was wrong; the caller closes the connection.
package peerwire
