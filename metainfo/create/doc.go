// Package create makes .torrent files (BEP 3, 12, 19, 27) of what is on disk.
//
// The same content makes the same info-hash on every machine: files are in the
// byte order of their paths, whatever the order in which a directory gives
// them, names are taken byte for byte, and nothing else that a file system
// knows of a file (time, mode, owner) goes in. Hidden files are like any other.
// Directories without a file in them leave no trace, as in every torrent.
//
// What can't be given to others as it is makes an error that names it: symbolic
// links (btd never follows one below a torrent), pipes, sockets, devices, files
// that may not be read, names that package metainfo refuses, and files that
// change or vanish meanwhile. All but the last two can be left out instead.
//
// # How it hashes
//
// Every core takes groups of pieces that follow each other and hashes them side
// by side, in the lanes of package piece/sha1x, reading 64 KiB of each in turn.
// So a core holds 1 MiB at a time, however long the pieces are.
//
// The package only reads. Where the .torrent goes is the caller's business.
package create
