package peerwire

import "btd/piece"

// bulk is what a Reader needs to read runs of blocks by one call.
type bulk struct {
	segs  []segment // 2 per block, and one more
	heads [][pieceHead]byte
	spare []*piece.Buffer // block memory that is ready to be read into
}

func newBulk(blocks int) *bulk {
	return &bulk{
		segs:  make([]segment, 0, 2*blocks+1),
		heads: make([][pieceHead]byte, blocks),
		spare: make([]*piece.Buffer, 0, blocks+2),
	}
}

// drop gives spare memory back, all but n blocks.
func (k *bulk) drop(n int, free func(*piece.Buffer)) {
	for len(k.spare) > n {
		last := len(k.spare) - 1
		free(k.spare[last])
		k.spare[last], k.spare = nil, k.spare[:last]
	}
}

// alloc is memory for one block.
func (r *Reader) alloc() *piece.Buffer {
	if k := r.bulk; k != nil && len(k.spare) > 0 {
		last := len(k.spare) - 1
		b := k.spare[last]
		k.spare[last], k.spare = nil, k.spare[:last]
		return b
	}
	return r.cfg.Alloc()
}

// take copies bytes that were read to dst, where they are wanted, and says
// how many. It is less than len(dst) only if there are no more.
func (r *Reader) take(dst []byte) (n int) {
	for n < len(dst) && r.left > 0 {
		k := copy(dst[n:], r.segs[r.si].b[r.pos:])
		n += k
		r.consume(k)
	}
	return n
}

// discard throws away what is to be skipped of the bytes that were read.
func (r *Reader) discard() {
	for r.skip > 0 && r.left > 0 {
		k := min(r.skip, len(r.segs[r.si].b)-r.pos)
		r.skip -= k
		r.consume(k)
	}
}

// consume moves on by n bytes of the current segment.
func (r *Reader) consume(n int) {
	r.left -= n
	if r.pos += n; r.pos < len(r.segs[r.si].b) {
		return
	}
	s := &r.segs[r.si]
	if s.own != nil {
		r.bulk.spare = append(r.bulk.spare, s.own)
	}
	*s = segment{}
	r.si, r.pos = r.si+1, 0
}

// adopt makes block memory that was read into the block that begins, if the
// data of the block came to stand at its start, and nothing else is in it.
func (r *Reader) adopt() bool {
	if r.left == 0 || r.pos != 0 {
		return false
	}
	s := &r.segs[r.si]
	if s.own == nil || len(s.b) > r.blen {
		return false
	}
	r.blk, r.bn, s.own = s.own, len(s.b), nil
	r.consume(len(s.b))
	return true
}

// peek copies bytes that were read to dst without moving on.
func (r *Reader) peek(dst []byte) (n int) {
	pos := r.pos
	for i := r.si; i < len(r.segs) && n < len(dst); i++ {
		n += copy(dst[n:], r.segs[i].b[pos:])
		pos = 0
	}
	return n
}

// direct is the memory in which the message that has begun wants the very
// next bytes, nil if it does not matter.
func (r *Reader) direct() []byte {
	switch r.state {
	case inBlock:
		return r.blk[r.bn:r.blen]
	case inPayload:
		r.grow()
		return r.body[len(r.body):min(cap(r.body), r.size)]
	}
	return nil
}

// arrived accounts for n bytes that were read, first into direct and then
// into the segments.
func (r *Reader) arrived(n int, direct []byte) {
	r.read.Add(int64(n))
	d := min(n, len(direct))
	switch r.state {
	case inBlock:
		r.bn += d
	case inPayload:
		r.body = r.body[:len(r.body)+d]
	}
	r.si, r.pos, r.left = 0, 0, n-d
	n -= d
	for i := range r.segs {
		s := &r.segs[i]
		k := min(n, len(s.b))
		n -= k
		if k == 0 && s.own != nil {
			r.bulk.spare = append(r.bulk.spare, s.own)
			s.own = nil
		}
		s.b = s.b[:k]
	}
}
