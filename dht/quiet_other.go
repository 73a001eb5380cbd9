//go:build !linux

package dht

import (
	"errors"
	"net"
	"net/netip"
)

// quiet is a way to a socket that the runtime does not watch: there is none on
// this system.
type quiet struct{}

func newQuiet(*net.UDPConn, bool) (*quiet, error) { return nil, nil }

var errNoQuiet = errors.New("dht: no other way to a socket")

func (*quiet) watched() (*net.UDPConn, error) { return nil, errNoQuiet }

func (*quiet) recv([]byte) (n int, from netip.AddrPort, ok bool, err error) {
	return 0, from, true, errNoQuiet
}

func (*quiet) send([]byte, netip.AddrPort) error { return errNoQuiet }

func (*quiet) close() {}
