package piece

import "math/bits"

// Values of begun.who beside the number of a request.
const (
	free    int32 = 0
	arrived int32 = -1
)

// begun is a piece of which a block is requested or here. It stays so until
// the piece passes or fails, or until its last request is dropped and nothing
// of it has arrived.
type begun struct {
	piece     Index
	blocks    int // in the piece
	free      int // blocks that are neither requested nor here
	requested int // blocks that are requested; the rest is here

	who  []int32  // by block: free, arrived, or the first of its requests
	bits []uint64 // the free blocks, bit k&63 of bits[k>>6]
	low  int      // no free block in the words below

	workers int    // peers that get their blocks from it
	slow    bool   // begun by a slow peer: other slow ones may join
	holder  *Peer  // the only peer it may be requested from
	stamp   uint64 // changes when the memory is used for another piece
	at      int    // position in Picker.begun

	in     *[]*begun // Picker.orphans, Picker.worked or nil
	listed int       // position in there
}

// mostBegun is how many blocks the begun pieces have at most, with and without
// free ones: 16 GiB of content. It bounds their memory where a few requests
// are all that many large pieces need, because the rest of them is padding.
const mostBegun = 1 << 20

// full tells whether no further piece may be begun until another one ends. Only
// a peer of which nothing is requested, and for which there is nothing begun,
// gets one all the same: there may be nobody left to end the others.
func (p *Picker) full() bool { return (len(p.begun)+1)*p.blocks > mostBegun }

// Begun tells whether a block of some piece that has not passed is requested or
// here.
func (p *Picker) Begun() bool { return len(p.begun) > 0 }

// lookup is the record of piece i if it is begun, else nil.
func (p *Picker) lookup(i Index) *begun {
	if at := p.begunAt[i]; at > 0 {
		return p.begun[at-1]
	}
	return nil
}

// arrived is the number of blocks that are here. Nothing is here of a piece
// that is not begun, nil.
func (b *begun) arrived() int {
	if b == nil {
		return 0
	}
	return b.blocks - b.free - b.requested
}

// begin makes piece i a begun one with all blocks free.
func (p *Picker) begin(i Index) *begun {
	if p.state[i]&statusOpen != 0 {
		p.shut(i)
	}
	var b *begun
	if n := len(p.spare); n > 0 {
		b = p.spare[n-1]
		p.spare = p.spare[:n-1]
	} else {
		b = &begun{who: make([]int32, p.blocks), bits: make([]uint64, (p.blocks+63)/64)}
	}
	n := p.geo.Blocks(i)
	*b = begun{
		piece: i, blocks: n, free: n, who: b.who[:n], bits: b.bits,
		stamp: b.stamp, at: len(p.begun),
	}
	clear(b.who)
	clear(b.bits)
	for w := range n / 64 {
		b.bits[w] = ^uint64(0)
	}
	if r := n % 64; r != 0 {
		b.bits[n/64] = 1<<r - 1
	}
	p.begun = append(p.begun, b)
	p.begunAt[i] = int32(len(p.begun))
	p.list(b)
	return b
}

// end forgets that b is begun. Its requests are gone already.
func (p *Picker) end(b *begun) {
	p.unlist(b)
	p.setHolder(b, nil)
	last := p.begun[len(p.begun)-1]
	p.begun[b.at] = last
	last.at = b.at
	p.begunAt[last.piece] = int32(b.at) + 1
	p.begunAt[b.piece] = 0
	p.begun[len(p.begun)-1] = nil
	p.begun = p.begun[:len(p.begun)-1]
	b.stamp++
	b.who = b.who[:cap(b.who)]
	p.spare = append(p.spare, b)
}

// forget drops all requests for piece i and all that is known of its blocks.
// It is left neither begun nor open.
func (p *Picker) forget(i Index) {
	b := p.lookup(i)
	if b == nil {
		return
	}
	if p.wanted.Has(i) {
		p.here -= b.arrived()
	}
	for k := 0; b.requested > 0; k++ {
		if b.who[k] > 0 {
			p.requests.endAll(b.who[k])
			b.requested--
			p.asking--
		}
	}
	p.end(b)
}

// list puts b into the list where it belongs now.
func (p *Picker) list(b *begun) {
	var in *[]*begun
	if b.free > 0 && p.wanted.Has(b.piece) {
		in = &p.orphans
		if b.workers > 0 {
			in = &p.worked
		}
	}
	if in == b.in {
		return
	}
	p.unlist(b)
	if in != nil {
		b.in, b.listed = in, len(*in)
		*in = append(*in, b)
	}
}

func (p *Picker) unlist(b *begun) {
	if b.in == nil {
		return
	}
	l := *b.in
	last := l[len(l)-1]
	l[b.listed] = last
	last.listed = b.listed
	l[len(l)-1] = nil
	*b.in = l[:len(l)-1]
	b.in = nil
}

// setHolder makes pr, or nobody, the only peer that b may be requested from.
func (p *Picker) setHolder(b *begun, pr *Peer) {
	if b.holder != nil {
		p.held--
	}
	if pr != nil {
		p.held++
	}
	b.holder = pr
}

// workOf is the piece that the peer gets its blocks from, or nil.
func (p *Picker) workOf(pr *Peer) *begun {
	if pr.work != nil && pr.work.stamp != pr.stamp {
		pr.work = nil
	}
	return pr.work
}

// setWork makes b, or nothing, the piece that the peer gets its blocks from.
func (p *Picker) setWork(pr *Peer, b *begun) {
	if old := p.workOf(pr); old != nil {
		old.workers--
		p.list(old)
	}
	pr.work = b
	if b == nil {
		return
	}
	pr.stamp, pr.reviewed = b.stamp, p.works
	pr.goOn = -1
	b.workers++
	p.list(b)
}

// isFree tells whether block k is neither requested nor here. Beyond the last
// block nothing is free.
func (b *begun) isFree(k int) bool {
	return k>>6 < len(b.bits) && b.bits[k>>6]&(1<<(k&63)) != 0
}

// nextFree is the first free block from k on, or -1.
func (b *begun) nextFree(k int) int {
	for b.low < len(b.bits) && b.bits[b.low] == 0 {
		b.low++
	}
	w := k >> 6
	if w < b.low {
		w, k = b.low, b.low<<6
	}
	if w >= len(b.bits) {
		return -1
	}
	x := b.bits[w] & (^uint64(0) << (k & 63))
	for x == 0 {
		if w++; w == len(b.bits) {
			return -1
		}
		x = b.bits[w]
	}
	return w<<6 + bits.TrailingZeros64(x)
}

// take makes a free block one that is not.
func (b *begun) take(k int) {
	b.bits[k>>6] &^= 1 << (k & 63)
	b.free--
}

// giveBack makes block k free.
func (b *begun) giveBack(k int) {
	b.who[k] = free
	b.bits[k>>6] |= 1 << (k & 63)
	b.free++
	b.low = min(b.low, k>>6)
}
