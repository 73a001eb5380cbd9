package peerwire

import "net"

// flatWrite is the size of the writes to connections that take one piece of
// memory at a time, bytes.
const flatWrite = 64 << 10

// flatOutput sends by plain Write calls. It copies into one buffer, because
// each call may be costly (encryption, packets).
type flatOutput struct {
	buf []byte
}

// send writes the arena with the data in between.
func (o *flatOutput) send(conn net.Conn, arena []byte, data []span) (n int64, err error) {
	if o.buf == nil {
		o.buf = make([]byte, 0, flatWrite)
	}
	at := 0
	for _, s := range data {
		if err = o.add(conn, arena[at:s.at], &n); err == nil {
			err = o.add(conn, s.data, &n)
		}
		if err != nil {
			return n, err
		}
		at = s.at
	}
	if err = o.add(conn, arena[at:], &n); err == nil {
		err = o.flush(conn, &n)
	}
	return n, err
}

func (o *flatOutput) add(conn net.Conn, b []byte, n *int64) error {
	for len(b) > 0 {
		k := copy(o.buf[len(o.buf):cap(o.buf)], b)
		o.buf, b = o.buf[:len(o.buf)+k], b[k:]
		if len(o.buf) == cap(o.buf) {
			if err := o.flush(conn, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *flatOutput) flush(conn net.Conn, n *int64) error {
	k, err := conn.Write(o.buf)
	*n += int64(k)
	o.buf = o.buf[:0]
	return err
}
