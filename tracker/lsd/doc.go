// Package lsd finds peers in the local network by multicast: local service
// discovery (BEP 14).
//
// An announce is a UDP packet to 239.192.152.143:6771 or [ff15::efc0:988f]:6771
// that looks like HTTP:
//
//	BT-SEARCH * HTTP/1.1
//	Host: 239.192.152.143:6771
//	Port: 6881
//	Infohash: 0123456789abcdef0123456789abcdef01234567
//	cookie: 5f1c...
//
// with \r\n behind each line, and two empty ones behind the last. The peer is at
// the packet's source, at the port that it names. Infohash may come several
// times. By the cookie a sender knows its own packets.
//
// Parse, Append and the Pacer are pure: what a packet says, and when which
// torrent is announced. A Service gives them sockets on every interface that can
// multicast, looks for new ones once a minute, and hands what is heard to its
// owner. It knows hashes, not torrents: which of them must not be announced,
// those of private torrents for a start (BEP 27), is its owner's business.
//
// A link-local IPv6 address keeps its zone, without which nobody can connect to it.
package lsd
