// Btctl controls a running btd over its API. It has no logic of its own: it
// reads words, asks the daemon (for torrent files and links: package metainfo)
// and lays out what comes back. Data goes to stdout, words to stderr; the exit
// codes are in exit.go and in the help.
package main
