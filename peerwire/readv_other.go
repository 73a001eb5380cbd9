//go:build !linux

package peerwire

import "net"

// maxWindow is unused without readv.
const maxWindow = 1

// newVector is nil: this package has no readv here.
func newVector(net.Conn, func() int) (scatter func([]byte, []segment) (int, error), shrink func()) {
	return nil, nil
}
