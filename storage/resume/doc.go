// Package resume is the database from which btd carries on after a stop: what
// was added, where it lives, which pieces are stored, which files may have
// been written to since they were last known, and the counters.
//
// # The promise
//
// A claimed piece is one whose data was synced to disk before the claim was
// written, so a claim can be served after kill -9 or a power cut. A piece
// without a claim is not missing, it is unknown: it has to be checked. The
// caller keeps the order:
//
//  1. MarkDirty for a file returns before the first write to it.
//  2. Data is written and synced.
//  3. Commit claims the pieces; one call covers every torrent.
//  4. At a clean stop Commit also records the size and modification time of
//     every file (Clean), which removes its dirty mark.
//
// At start a file that is not dirty must have the recorded size and
// modification time, or else its claims are worth nothing. A dirty file was
// open when we died: its claims hold, and every unclaimed piece that has data
// on disk must be hashed. That is so only if nothing was in doubt when it was
// marked: while claims are being proved, files are Forgotten first.
//
// # Format
//
// The file is a bbolt database with these buckets; KEY is the torrent's
// identity (one byte that says which hashes follow, then the hashes), CHUNK a
// big-endian uint32:
//
//	meta      "schema"    the version of this layout, 4 bytes big-endian: 1, or 2 once
//	                      a torrent had a secret or was of scope lan
//	torrent   KEY         Record without its counters
//	metainfo  KEY         the .torrent file, written once; empty until it is here
//	stats     KEY         Counters
//	bits      KEY CHUNK   claims for 16,384 pieces
//	dirty     KEY CHUNK   dirty marks for 16,384 files
//	files     KEY CHUNK   size and modification time of 64 files; 1<<62 bytes: forgotten
//	kv        any         small values of other parts of btd
//	kv        "follow " "publish "  and key and salt of a mutable item: Follow, Publication
//
// Every value but the schema is sealed: CRC-32C of key, version and payload
// (4 bytes little-endian), version (1 byte), payload. A value that does not
// open costs what it said and nothing more: a bad Record means that torrent
// is checked again, a bad chunk means its pieces are not claimed.
//
// # Rules
//
// One goroutine owns all writes; concurrent callers share its transactions.
// Read transactions are short and never span a call into the caller's code.
// A file that this package cannot read, or that a newer btd wrote, is refused
// and left exactly as it is.
package resume
