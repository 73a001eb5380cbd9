package peerwire

import "net"

// Eager is a connection that has bytes in memory of its own, of which it can
// tell whether there are any: one that decrypts.
type Eager interface {
	net.Conn
	// ReadNow is Read without waiting: 0 and no error if there is nothing.
	ReadNow(b []byte) (int, error)
}

// eager reads from such a connection into many places.
type eager struct {
	conn Eager
	idle func() int // as vector has it
}

// read waits for bytes, and fills direct and then the segments as far as there
// are any.
func (v *eager) read(direct []byte, segs []segment) (total int, err error) {
	for i := -1; i < len(segs); i++ {
		b := direct
		if i >= 0 {
			b = segs[i].b
		}
		for len(b) > 0 {
			n, err := v.conn.ReadNow(b)
			if n == 0 && err == nil && total == 0 {
				segs = segs[:v.idle()]
				n, err = v.conn.Read(b)
			}
			total += n
			if n == 0 || err != nil {
				if total > 0 {
					err = nil // it comes again
				}
				return total, err
			}
			b = b[n:]
		}
	}
	return total, nil
}
