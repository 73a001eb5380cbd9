package peerwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"

	"btd/piece"
)

// ReaderConfig holds a Reader's settings. Alloc and Free are required.
type ReaderConfig struct {
	// Alloc gives memory for one block; it never returns nil and does not
	// block. Free takes it back. They are called only from Next and Release.
	Alloc func() *piece.Buffer
	Free  func(*piece.Buffer)

	// Credit is the number of blocks that are asked for and not here yet.
	// The caller adds to it BEFORE it sends requests and takes off what it
	// gave up; the Reader takes one for each piece message whose data it
	// keeps. At 0 the data of a piece message is thrown away. The Reader
	// never holds more than Credit + 2 block buffers. Nil means no limit.
	Credit *atomic.Int64

	// MaxMessage bounds the length prefix of every message but "piece", in
	// bytes; 0 means 1 MiB. It has to cover a bitfield (1 + pieces/8) and
	// the longest extended message (2 + 16 KiB and a little).
	MaxMessage int

	// BufferSize is how much a fast peer's data may be read by one system
	// call, in bytes; 0 means 256 KiB. Between blocks of a fast peer the
	// Reader holds that much in block buffers, an idle peer's Reader holds
	// at most 4 KiB.
	BufferSize int

	// Pending is what was already read from the connection beyond the
	// handshake. It is parsed first and must not change meanwhile.
	Pending []byte
}

func (c ReaderConfig) withDefaults() ReaderConfig {
	if c.MaxMessage <= 0 {
		c.MaxMessage = defaultMaxMessage
	}
	if c.BufferSize <= 0 {
		c.BufferSize = 512 << 10
	}
	return c
}

// Reader receives the messages of one connection. It is used by one
// goroutine at a time.
//
// On Linux one call reads straight into where the bytes belong: the rest of
// the block that has begun, then, because answers come one after another, as
// many [13-byte header][16 KiB block] pairs as the peer was seen to fill.
// What came otherwise is moved to its place. From [Eager] connections it reads
// in the same way. Elsewhere, and on other connections, it reads into a buffer that grows
// with the peer's speed.
type Reader struct {
	conn net.Conn
	cfg  ReaderConfig
	read atomic.Int64 // bytes from the connection
	err  error        // what ended it

	// scatter reads into direct and then the segments by one call, shrink
	// gives back what long runs needed. Nil where there is no such call.
	scatter func(direct []byte, segs []segment) (int, error)
	shrink  func()

	// The message that has begun.
	state state
	head  [17]byte // its fixed part
	hn    int      // bytes of head that are here
	keep  bool     // state is skip: the message is returned all the same
	skip  int      // bytes of it still to throw away
	blk   *piece.Buffer
	bn    int    // bytes of blk that are here
	blen  int    // bytes that belong into blk
	body  []byte // payload that is here
	size  int    // bytes of payload

	// What was read and is not parsed yet. All of it is parsed before more
	// is read, since every unfinished message has its own memory above.
	segs []segment
	si   int // the segment at which parsing goes on
	pos  int // and the offset in it
	left int // bytes not parsed

	one   [1]segment // segs of a slow peer
	small [512]byte  // read memory of an idle peer
	big   []byte     // and of a busy one, nil while idle
	want  int        // the size of big that would be filled, bytes
	bulk  *bulk      // for runs of blocks, nil until a peer is fast
	win   int        // blocks to expect beyond the one that has begun
	low   int        // reads in a row that were much smaller than prepared for
}

// segment is memory that was read into.
type segment struct {
	b   []byte
	own *piece.Buffer // b is its start, nil if b is other memory
}

type state uint8

const (
	inHead    state = iota // reading the fixed part
	inBlock                // reading data into blk
	inPayload              // reading payload into body
	inSkip                 // throwing bytes away
)

// keepBody is the payload memory that a Reader may hold between messages,
// bytes.
const keepBody = 4 << 10

// NewReader is a Reader of what follows the handshake on conn.
func NewReader(conn net.Conn, cfg ReaderConfig) *Reader {
	r := &Reader{conn: conn, cfg: cfg.withDefaults()}
	if len(cfg.Pending) > 0 {
		r.one[0] = segment{b: cfg.Pending}
		r.segs, r.left = r.one[:], len(cfg.Pending)
		r.cfg.Pending = nil
	}
	if e, ok := conn.(Eager); ok {
		r.scatter, r.shrink = (&eager{e, r.idle}).read, func() {}
	} else {
		r.scatter, r.shrink = newVector(conn, r.idle)
	}
	return r
}

// Next waits for the next message and stores it in m. Keep-alives are
// returned, so that the caller sees that the peer lives; messages with
// unknown ids are skipped.
//
// An error ends the stream, with one exception: after a deadline of the
// connection passed (os.ErrDeadlineExceeded) Next may be called again and
// goes on where it was. io.EOF means that the peer closed the connection
// between two messages.
func (r *Reader) Next(m *Message) error {
	if r.err != nil {
		return r.err
	}
	if cap(r.body) > keepBody && r.state != inPayload {
		r.body = nil
	}
	for {
		done, err := r.step(m)
		if done {
			return nil
		}
		if err == nil {
			err = r.fill()
		}
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				r.err = err
				r.Release()
			}
			return err
		}
	}
}

// Buffered tells whether Next will return without a system call: with a
// message that is here as a whole, or with an error.
func (r *Reader) Buffered() bool {
	if r.err != nil {
		return true
	}
	if r.state != inHead || r.hn != 0 || r.left < 4 {
		return false
	}
	var h [5]byte
	n := r.peek(h[:])
	size := int64(binary.BigEndian.Uint32(h[:]))
	return size == 0 || n == len(h) && int64(r.left) >= 4+size && ID(h[4]).Known()
}

// BytesRead is the number of bytes that came from the connection. It may be
// called from any goroutine.
func (r *Reader) BytesRead() int64 { return r.read.Load() }

// Release gives all memory back and ends the Reader. It must not be called
// while Next runs: close the connection first, then wait for Next to fail.
func (r *Reader) Release() {
	if r.err == nil {
		r.err = net.ErrClosed
	}
	if r.blk != nil {
		r.cfg.Free(r.blk)
		r.blk = nil
	}
	for i := range r.segs {
		if own := r.segs[i].own; own != nil {
			r.cfg.Free(own)
		}
		r.segs[i] = segment{}
	}
	if r.bulk != nil {
		r.bulk.drop(0, r.cfg.Free)
	}
	r.segs, r.si, r.pos, r.left = nil, 0, 0, 0
	r.body, r.big, r.bulk = nil, nil, nil
}

// step parses what is here. It is done when m holds a whole message.
func (r *Reader) step(m *Message) (done bool, err error) {
	for {
		switch r.state {
		case inHead:
			need, err := r.headNeed()
			if err != nil {
				return false, err
			}
			if r.hn < need {
				if r.left == 0 {
					return false, nil
				}
				r.hn += r.take(r.head[r.hn:need])
				continue
			}
			if r.begin(need) {
				return r.finish(m), nil
			}
		case inBlock:
			if r.bn < r.blen {
				r.bn += r.take(r.blk[r.bn:r.blen])
			}
			if r.bn < r.blen {
				return false, nil
			}
			r.finish(m)
			m.Buf, r.blk = r.blk, nil
			return true, nil
		case inPayload:
			for len(r.body) < r.size && r.left > 0 {
				r.grow()
				r.body = r.body[:len(r.body)+r.take(r.body[len(r.body):min(cap(r.body), r.size)])]
			}
			if len(r.body) < r.size {
				return false, nil
			}
			r.finish(m)
			m.Payload = r.body
			return true, nil
		case inSkip:
			r.discard()
			if r.skip > 0 {
				return false, nil
			}
			if r.keep {
				return r.finish(m), nil
			}
			r.state, r.hn = inHead, 0
		}
	}
}

// headNeed is how many bytes of the head are needed, as far as can be told
// from those that are here.
func (r *Reader) headNeed() (int, error) {
	if r.hn < 4 {
		return 4, nil
	}
	size := binary.BigEndian.Uint32(r.head[:])
	if size == 0 {
		return 4, nil
	}
	if r.hn < 5 {
		return 5, nil
	}
	return headLen(ID(r.head[4]), size, uint32(r.cfg.MaxMessage))
}

// begin decides where the rest of a message goes whose head is here. It is
// done if there is no rest.
func (r *Reader) begin(head int) (done bool) {
	if head == 4 {
		return true // keep-alive
	}
	id, rest := ID(r.head[4]), 4+int(binary.BigEndian.Uint32(r.head[:]))-head
	switch {
	case id == Piece:
		if rest > piece.BlockSize || !r.spend() {
			r.state, r.skip, r.keep = inSkip, rest, true
			return false
		}
		r.state, r.bn, r.blen = inBlock, 0, rest
		if !r.adopt() {
			r.blk = r.alloc()
		}
		return false
	case id == Bitfield || id == Extended:
		r.state, r.size, r.body = inPayload, rest, r.body[:0]
		return false
	case rest > 0:
		r.state, r.skip, r.keep = inSkip, rest, false
		return false
	case !id.Known():
		r.hn = 0
		return false
	}
	return true
}

// finish stores the message whose head and rest are here, but for memory
// that belongs to it, and makes ready for the next.
func (r *Reader) finish(m *Message) bool {
	if r.hn == 4 {
		*m = Message{ID: KeepAlive}
	} else {
		m.setHead(ID(r.head[4]), r.head[:])
	}
	r.state, r.hn = inHead, 0
	return true
}

// spend takes one from the credit, if there is any.
func (r *Reader) spend() bool {
	if r.cfg.Credit == nil {
		return true
	}
	for {
		n := r.cfg.Credit.Load()
		if n <= 0 {
			return false
		}
		if r.cfg.Credit.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// credit is how many blocks are expected, at most most.
func (r *Reader) credit(most int) int {
	if r.cfg.Credit == nil {
		return most
	}
	return int(max(0, min(int64(most), r.cfg.Credit.Load())))
}

// grow makes room in body if it is full and the message is not. Room doubles
// as bytes arrive: a length alone takes no more than keepBody.
func (r *Reader) grow() {
	if len(r.body) < cap(r.body) || len(r.body) == r.size {
		return
	}
	room := min(max(2*cap(r.body), keepBody), max(r.size, 64))
	r.body = append(make([]byte, 0, room), r.body...)
}

// readError words an error of the connection.
func (r *Reader) readError(err error) error {
	if err == io.EOF {
		if r.state == inHead && r.hn == 0 {
			return io.EOF
		}
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading from peer: %w", err)
}
