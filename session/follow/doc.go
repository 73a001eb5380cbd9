// Package follow is the policy of torrents that are updated by mutable items
// of the DHT (BEP 46): how an item names a torrent, which item counts, and
// which files of one version may serve the next.
//
// The value of an item is a dictionary whose key ih is an info-hash:
//
//	d 2:ih 20:<info-hash> e
//
// A Track is where a follower stands. Its sequence number never goes back:
//
//	found a lower number           Old       ignored
//	the same number, other value   Conflict  ignored: the first one counts
//	a higher number, no torrent    Unusable  ignored, the number is not taken
//	a higher number, same torrent  Renewed   the number is taken
//	a higher number, new torrent   Fresh     it is the next version
//
// The next version becomes the current one when its metadata is here, which
// whoever uses the Track says with Switch. Until then the current one stays.
//
// It is pure: no signature is checked here, no file is touched, nobody is
// asked.
package follow
