package peerwire

import "btd/piece"

// Sizes of read memory, bytes. An idle peer's is Reader.small.
const (
	busyRead = 4 << 10  // for a peer that sends much, but no data we asked for
	flatRead = 64 << 10 // for a fast peer where it goes to one place
)

// shrinkAfter is how many small reads in a row give memory back.
const shrinkAfter = 8

// fill waits for bytes. Nothing is left to parse when it is called.
func (r *Reader) fill() error {
	direct := r.direct()
	if r.scatter != nil {
		r.prepare()
	} else {
		direct = r.prepareFlat(direct)
	}
	var n int
	var err error
	switch {
	case r.scatter != nil:
		n, err = r.scatter(direct, r.segs)
	case len(direct) > 0:
		n, err = r.conn.Read(direct)
	default:
		n, err = r.conn.Read(r.segs[0].b)
	}
	room := len(direct)
	for i := range r.segs {
		room += len(r.segs[i].b)
	}
	r.arrived(n, direct)
	if n > 0 {
		// An error that came with bytes comes again without them.
		r.adapt(n, room)
		return nil
	}
	if err == nil {
		return nil
	}
	return r.readError(err)
}

// prepare chooses the segments for one call: headers and blocks in turn as far
// as blocks are expected, and a little memory for what comes after them.
func (r *Reader) prepare() {
	k := 0
	if r.win > 0 && r.expectsBlocks() {
		k = r.credit(r.win)
	}
	if k == 0 {
		if r.bulk != nil {
			r.bulk.drop(0, r.cfg.Free)
			if r.win == 0 {
				r.bulk = nil
				r.shrink()
			}
		}
		r.one[0] = segment{b: r.buffer(busyRead)}
		r.segs = r.one[:]
		return
	}
	if r.bulk == nil {
		r.bulk = newBulk(r.maxWindow())
	}
	b := r.bulk
	segs := b.segs[:0]
	for i := range k {
		head := b.heads[i][:]
		if i == 0 && r.state == inHead {
			head = head[r.hn:]
		}
		own := r.alloc()
		segs = append(segs, segment{b: head}, segment{b: own[:], own: own})
	}
	b.drop(0, r.cfg.Free)
	r.segs = append(segs, segment{b: r.small[:]})
}

// idle gives back what was prepared for a run of blocks, because nothing came
// of it yet: a peer that falls silent must not hold memory. It returns how many
// segments are left: enough for the next block.
func (r *Reader) idle() int {
	const keep = 2
	for i := keep; i < len(r.segs); i++ {
		if own := r.segs[i].own; own != nil {
			r.cfg.Free(own)
		}
		r.segs[i] = segment{}
	}
	r.segs = r.segs[:min(keep, len(r.segs))]
	return len(r.segs)
}

// prepareFlat chooses the one place that the connection's own Read fills:
// the message that has begun if much of it is missing, else a buffer.
func (r *Reader) prepareFlat(direct []byte) []byte {
	limit := busyRead
	if r.credit(1) > 0 {
		limit = min(flatRead, r.cfg.BufferSize)
	}
	buf := r.buffer(limit)
	if len(direct) >= len(buf) {
		r.segs = nil
		return direct
	}
	r.one[0] = segment{b: buf}
	r.segs = r.one[:]
	return nil
}

// expectsBlocks tells whether the next bytes can be the end of a block or
// the head of one.
func (r *Reader) expectsBlocks() bool {
	switch r.state {
	case inBlock:
		return true
	case inHead:
		return r.hn < 5 || ID(r.head[4]) == Piece
	}
	return false
}

// maxWindow is the largest number of blocks to read ahead.
func (r *Reader) maxWindow() int {
	return min(max(1, r.cfg.BufferSize/piece.BlockSize), maxWindow)
}

// buffer is read memory of the size that the peer was seen to fill, at most
// limit bytes.
func (r *Reader) buffer(limit int) []byte {
	size := min(r.want, limit)
	if size <= len(r.small) {
		r.big = nil
		return r.small[:]
	}
	if len(r.big) != size {
		r.big = make([]byte, size)
	}
	return r.big
}

// adapt learns from a read of n bytes for which there was room.
func (r *Reader) adapt(n, room int) {
	switch {
	case n == room:
		r.low = 0
		if r.scatter == nil {
			r.want = min(max(busyRead, 4*r.want), flatRead)
		} else if r.credit(1) > 0 {
			r.win = min(max(1, 2*r.win), r.maxWindow())
		} else {
			r.want = busyRead
		}
	case n > room/4:
		r.low = 0
	default:
		if r.low++; r.low < shrinkAfter {
			return
		}
		r.low = 0
		if r.win /= 2; r.win == 0 {
			r.want /= 4
		}
	}
}
