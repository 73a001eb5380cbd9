//go:build !linux

package server

import (
	"context"
	"net"
)

// serveBatches is for systems that take many packets in one call.
func (*Server) serveBatches(context.Context, *net.UDPConn) (done bool, err error) { return false, nil }
