// Package metainfo reads and makes .torrent files (BEP 3, 12, 19, 27, 47).
//
// It takes bytes and returns checked values. It never opens a file, never
// trusts a path, and bounds depth, sizes and counts before it decodes,
// because torrents come from strangers.
package metainfo
