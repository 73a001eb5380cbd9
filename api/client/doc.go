// Package client holds the JSON types of btd's API and a Go client for it.
//
// The types are the API: the server encodes and decodes these very structs.
// Units are the same everywhere: sizes are bytes, rates are payload bytes per
// second, durations are whole seconds and times are RFC 3339. A torrent's id
// is its info-hash in lower-case hex.
//
// The package depends on the standard library alone, so that other programs
// can use it without taking in the daemon.
package client
