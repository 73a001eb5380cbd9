// Load measures btd in ways that other clients cannot be measured in: how a
// daemon with many idle torrents costs, how soon a download begins, and how
// the API answers while both directions run at full speed. It starts the
// daemon with its shipped defaults, plays the tracker and the peers, and
// appends what it found to a JSON file that test/bench/report.py reads.
//
//	load idle      N seeding torrents: add, restart, idle, ls, blocks served, announces
//	load firstbyte from the POST of a torrent to the first payload byte
//	load api       requests at a fixed rate beside transfers of the reference peer
//
// It reads /proc, so it runs on Linux only. It starts no other program than
// the daemon and the reference peer, and ends those.
package main
