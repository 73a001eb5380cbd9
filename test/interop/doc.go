// Package interop tests btd against the BitTorrent programs that people run:
// transmission-daemon, aria2, rtorrent, qbittorrent-nox, libtorrent and
// opentracker, as Debian packages them (test/install-clients.sh installs
// them).
//
// The tests have the build tag "interop" and need Linux and root, because
// every program gets a network namespace of its own with real addresses:
//
//	go test -tags interop -timeout 10m ./test/interop
//
//	  hub namespace: bridge 10.77.0.1 fd00:77::1, the trackers
//	     |            |             |
//	  10.77.0.2    10.77.0.3     10.77.0.4       one namespace per program
//	  fd00:77::2   fd00:77::3    fd00:77::4      own loopback for its API
//
// Nothing leaves the machine: no namespace has a route to the outside. The
// namespaces have no name and live only as long as the test process and its
// children, which die with it, so that a killed test leaves neither behind.
package interop
