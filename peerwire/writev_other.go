//go:build !linux

package peerwire

import "net"

// output is for systems where this package has no writev.
type output struct {
	flat flatOutput
	bufs net.Buffers
}

func (o *output) init(net.Conn) {}

// shrink gives memory back.
func (o *output) shrink() { o.bufs, o.flat.buf = nil, nil }

// send writes the arena with the data in between.
func (o *output) send(conn net.Conn, arena []byte, data []span) (n int64, err error) {
	if _, ok := conn.(*net.TCPConn); !ok {
		return o.flat.send(conn, arena, data)
	}
	at := 0
	o.bufs = o.bufs[:0]
	for _, s := range data {
		o.bufs = append(o.bufs, arena[at:s.at], s.data)
		at = s.at
	}
	o.bufs = append(o.bufs, arena[at:])
	bufs := o.bufs // WriteTo consumes it
	n, err = bufs.WriteTo(conn)
	clear(o.bufs)
	return n, err
}
