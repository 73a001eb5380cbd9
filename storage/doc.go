// Package storage keeps the content of torrents on disk: it gathers blocks
// into large runs, hashes them while they are hot in the cache, writes them,
// reads them back for uploads and checks what is already there.
//
//	Write(block) -> pieces under construction -> queue -> worker: SHA-1 of the
//	contiguous prefix, one pwritev per run -> Result
//
// Rules it keeps:
//
//   - Every file is opened beneath the download directory (os.Root), and no
//     component below that directory may be a symbolic link. A path that
//     holds anything but a regular file is an error that names it.
//   - An existing file is never truncated; one that is longer than the torrent
//     says keeps its tail. Only Cut shortens one, of the length it is told.
//   - A file that was there once and has vanished is an error, never made anew:
//     the pieces that were claimed in it are gone (Verify starts afresh).
//   - Skipped files are never created. Their bytes of shared pieces live in
//     one hidden parts file until the file is wanted.
//   - Pad files (BEP 47) are zeros: never written, never read.
//   - Results are true: after Sync returns nil, every piece whose good Result
//     came before the call survives a power cut.
//
// A Store is shared by all torrents of a process. It owns the block buffers,
// the workers and the open files, each within a fixed limit, and gives memory
// and files back when they are idle. The package decides nothing about which
// pieces to have, and knows no peers.
package storage
