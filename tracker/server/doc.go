// Package server is a small BitTorrent tracker that lives in memory: announce
// and scrape over HTTP (BEP 3, 7, 23, 24, 48) and over UDP (BEP 15).
//
// It serves a demo, a test, a home network. It keeps one entry for each
// address and port that announced, forgets it when it has been silent for
// too long, and never holds more than its configured number of entries. An
// address is always the source of the request: the "ip" parameter of BEP 3
// is ignored, so that nobody can enter somebody else.
package server
