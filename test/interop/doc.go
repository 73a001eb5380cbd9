// Package interop tests btd against the BitTorrent programs that people run:
// transmission-daemon, aria2, rtorrent, qbittorrent-nox, libtorrent,
// opentracker and mktorrent, as Debian packages them (test/install-clients.sh installs
// them).
//
// The tests have the build tag "interop" and need Linux and root, because
// every program gets a network namespace of its own with real addresses:
//
//	go test -tags interop -timeout 25m ./test/interop
//
// The network is that of test/netns, with the trackers on its hub; where there
// is no tracker, with a DHT of twelve nodes there. Nothing leaves the machine.
package interop
