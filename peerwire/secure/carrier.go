package secure

import (
	"net"
	"sync"
)

// maxRecord is the most that one TLS record holds, bytes.
const maxRecord = 16 << 10

// carried is how much goes between TLS and the socket by one call, bytes: TLS
// alone would have a call, or two, for each record.
const carried = 128 << 10

// carrier is the connection below TLS. It reads and writes many records at a
// time. Its buffers are borrowed for as long as there is something in them, so
// that a peer that is silent has none.
type carrier struct {
	net.Conn
	bufs *sync.Pool

	// Of the reading goroutine.
	lead   []byte // was read already
	room   int    // bytes that may still be read
	proved bool   // room is of no interest
	eager  bool   // errEmpty instead of waiting
	try    func(b []byte) (n int, err error)
	in     []byte  // was read and not passed on
	inBuf  *[]byte // memory of in

	// TLS writes from Read as well, now and then.
	mu     sync.Mutex
	corked bool
	out    []byte
	outBuf *[]byte // memory of out, nil if there is nothing
}

func newCarrier(raw net.Conn, lead []byte, bufs *sync.Pool) *carrier {
	return &carrier{Conn: raw, lead: lead, room: maxHandshake, bufs: bufs}
}

// prove notes that the other end is a member.
func (c *carrier) prove() {
	c.proved = true
	c.try = newTry(c.Conn)
}

// empty is the error of a Read that must not wait. TLS goes on after errors
// that say they are temporary.
type empty struct{}

func (empty) Error() string   { return "nothing is here yet" }
func (empty) Timeout() bool   { return true }
func (empty) Temporary() bool { return true }

// errEmpty is a net.Error.
var errEmpty error = empty{}

func (c *carrier) Read(b []byte) (int, error) {
	if !c.proved {
		return c.readFew(b)
	}
	if len(c.in) == 0 {
		switch {
		case !c.eager:
			return c.Conn.Read(b)
		case c.try == nil:
			return 0, errEmpty
		}
		buf := c.borrow()
		n, err := c.try(*buf)
		if n <= 0 || err != nil {
			c.bufs.Put(buf)
			return 0, err
		}
		c.in, c.inBuf = (*buf)[:n], buf
	}
	n := copy(b, c.in)
	if c.in = c.in[n:]; len(c.in) == 0 {
		c.bufs.Put(c.inBuf)
		c.in, c.inBuf = nil, nil
	}
	return n, nil
}

// readFew is Read while the other end is a stranger.
func (c *carrier) readFew(b []byte) (int, error) {
	if c.room <= 0 {
		return 0, errLong
	}
	b = b[:min(len(b), c.room)]
	n := 0
	var err error
	if len(c.lead) > 0 {
		n = copy(b, c.lead)
		c.lead = c.lead[n:]
	} else {
		n, err = c.Conn.Read(b)
	}
	c.room -= n
	return n, err
}

func (c *carrier) borrow() *[]byte {
	if b, ok := c.bufs.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, carried)
	return &b
}

// cork has records gathered until uncork.
func (c *carrier) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// uncork sends what was gathered.
func (c *carrier) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	err := c.flush()
	if c.outBuf != nil {
		c.bufs.Put(c.outBuf)
		c.out, c.outBuf = nil, nil
	}
	return err
}

// flush sends out. The caller holds mu.
func (c *carrier) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

func (c *carrier) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return c.Conn.Write(b)
	}
	if c.outBuf == nil {
		c.outBuf = c.borrow()
		c.out = (*c.outBuf)[:0]
	}
	if len(c.out)+len(b) > cap(c.out) {
		if err := c.flush(); err != nil {
			return 0, err
		}
		if len(b) > cap(c.out) {
			return c.Conn.Write(b)
		}
	}
	c.out = append(c.out, b...)
	return len(b), nil
}
