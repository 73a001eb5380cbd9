// Package metainfo reads and makes .torrent files (BEP 3, 5, 12, 19, 27, 47)
// and magnet links (BEP 9, 46, 53), and the secrets of closed swarms.
//
// It takes bytes and returns checked values. It never opens a file (package
// create does, for new torrents), never trusts a path, and bounds depth, sizes and
// counts before it decodes, because torrents come from strangers.
//
// Reading goes in three steps. A strict scan walks the whole input once: at
// most 64 levels, canonical integers and lengths, no key twice in a
// dictionary, nothing after the end. Keys out of order are accepted, because
// torrents like that exist and the info-hash is taken from the bytes as they
// stand. Then the values of the keys that matter are handed, one by one and
// with their kind checked, to the bencode library, but for the list of files,
// which is read from the scanned bytes; what nobody asked for is never
// decoded. At last the meaning is checked: sizes add up, and every
// path can be created on any common file system without touching another.
//
// # Names
//
// A name is refused if it is empty, "." or "..", nothing but dots and spaces,
// longer than 255 bytes, or a device of Windows (NUL, COM1, aux.c), and if it
// holds a slash, a backslash or a control character. Names that end in a dot
// or a space are accepted, since real torrents have them, but "a" and "a. "
// count as the same name. So do names that differ only in letter case, by
// Unicode simple folding. Characters that only Windows forbids (":", "?", "*"
// and so on) are accepted; storage refuses them there.
//
// path.utf-8 and name.utf-8 win over path and name. Bytes that are not UTF-8
// are written as %XX, so that old torrents in other encodings can be used and
// every name can be printed.
//
// Pad files (BEP 47) are never written, so their paths are replaced by
// .pad/LENGTH and may repeat.
package metainfo
