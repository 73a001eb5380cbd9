// Package store holds what a node of the DHT keeps for others, and decides how
// much it does for them:
//
//   - [Peers]: who announced which torrent (BEP 5), with the filters of BEP 33
//     and the samples of BEP 51;
//   - [Items]: immutable and mutable values (BEP 44);
//   - [Tokens]: the proof that an announcing node owns its address;
//   - [Limits]: queries for each address, and reply bytes a second.
//
// It is pure: now and a random source come in as arguments. The random source
// must be one that outsiders cannot foresee (ChaCha8 with a seed from
// crypto/rand), since secrets are made from it.
//
// Everything has a cap, and strangers cannot make it grow beyond. What has to go
// when there is no room:
//
//   - a peer: the one of the same torrent that announced itself longest ago. One
//     address may hold 4 ports of a torrent (64 if it is a local one), where the
//     newest replaces the oldest;
//   - a torrent: one of those with the fewest peers, and of these the one
//     farthest from our id, which others are more responsible for. If that is the
//     new one, it is not stored. An address that is the only peer of more than 64
//     torrents loses one of those instead;
//   - an item: one that the fewest addresses have put, and of these the one
//     farthest from our id; an address that has put more than a sixteenth of all
//     items loses one of its own.
package store
