package piece

// request is one block that is requested from one peer. Requests live in one
// slice and are linked by their numbers, 0 is none.
type request struct {
	peer       *Peer
	piece      Index
	block      int32
	same       int32 // the next request for the same block
	prev, next int32 // of the same peer, older and newer
}

// requests are all outstanding requests. The zero value is empty.
type requests struct {
	all   []request
	spare int32 // first unused one, linked by same
}

// add notes a request and returns its number. It comes after head, the first
// request for the same block, if that is not 0.
func (r *requests) add(pr *Peer, i Index, k int, head int32) int32 {
	n := r.spare
	if n != 0 {
		r.spare = r.all[n].same
	} else {
		if len(r.all) == 0 {
			r.all = append(r.all, request{}) // number 0
		}
		n = int32(len(r.all))
		r.all = append(r.all, request{})
	}
	q := &r.all[n]
	*q = request{peer: pr, piece: i, block: int32(k), prev: pr.last}
	if head > 0 {
		q.same = r.all[head].same
		r.all[head].same = n
	}
	if pr.last != 0 {
		r.all[pr.last].next = n
	} else {
		pr.first = n
	}
	pr.last = n
	pr.outstanding++
	return n
}

// end removes request n from its peer's list and frees it. It returns the
// next request for the same block.
func (r *requests) end(n int32) (same int32) {
	q := &r.all[n]
	pr := q.peer
	if q.prev != 0 {
		r.all[q.prev].next = q.next
	} else {
		pr.first = q.next
	}
	if q.next != 0 {
		r.all[q.next].prev = q.prev
	} else {
		pr.last = q.prev
	}
	pr.outstanding--
	same = q.same
	*q = request{same: r.spare}
	r.spare = n
	return same
}

// endAll ends the requests for one block from head on.
func (r *requests) endAll(head int32) {
	for n := head; n != 0; {
		n = r.end(n)
	}
}

// endOne ends the peer's request among those for one block. It returns the
// new head and whether there was such a request.
func (r *requests) endOne(head int32, pr *Peer) (int32, bool) {
	var before int32
	for n := head; n != 0; before, n = n, r.all[n].same {
		if r.all[n].peer != pr {
			continue
		}
		same := r.end(n)
		if before == 0 {
			return same, true
		}
		r.all[before].same = same
		return head, true
	}
	return head, false
}

// Received says that a block arrived from pr, requested or not. The block is
// fresh if it is to be stored: it is wanted and was not here yet, and its
// piece is not another peer's to deliver. cancel are the other peers that the
// block was requested from; these requests are forgotten. The slice is valid
// until the next call.
//
// A nil pr says that the block is our own making, like the zeros of a pad
// file: then it does not matter whose piece it is.
func (p *Picker) Received(pr *Peer, blk Block) (fresh bool, cancel []*Peer) {
	i, k := blk.Piece, blk.Number()
	b := p.lookup(i)
	foreign := pr != nil && p.state[i]&statusFailed != 0 && (b == nil || b.holder != pr)
	if foreign || !p.wanted.Has(i) {
		p.Dropped(pr, blk)
		return false, nil
	}
	if b == nil {
		b = p.begin(i)
	}
	p.cancel = p.cancel[:0]
	switch head := b.who[k]; head {
	case arrived:
		return false, nil
	case free:
		b.take(k)
		p.list(b)
	default:
		b.requested--
		p.asking--
		for n := head; n != 0; {
			if other := p.requests.all[n].peer; other != pr {
				p.cancel = append(p.cancel, other)
			}
			n = p.requests.end(n)
		}
	}
	b.who[k] = arrived
	p.here++
	return true, p.cancel
}

// Dropped says that pr will not deliver the block: the request was rejected,
// cancelled or took too long. It does nothing if there is no such request.
func (p *Picker) Dropped(pr *Peer, blk Block) {
	b := p.lookup(blk.Piece)
	if b == nil {
		return
	}
	k := blk.Number()
	if b.who[k] <= 0 {
		return
	}
	head, ok := p.requests.endOne(b.who[k], pr)
	if !ok {
		return
	}
	b.who[k] = head
	if head == 0 && !p.unrequested(b, k) {
		return
	}
	if b.holder == pr && !p.asked(pr, b.piece) {
		p.setHolder(b, nil)
		if p.workOf(pr) == b {
			p.setWork(pr, nil)
		}
	}
}

// asked tells whether a block of piece i is requested from pr.
func (p *Picker) asked(pr *Peer, i Index) bool {
	for n := pr.first; n != 0; n = p.requests.all[n].next {
		if p.requests.all[n].piece == i {
			return true
		}
	}
	return false
}

// unrequested makes block k, whose last request was dropped, free. A piece of
// which nothing is requested or here any more is not begun: then it returns
// false.
func (p *Picker) unrequested(b *begun, k int) bool {
	b.giveBack(k)
	b.requested--
	p.asking--
	if b.free == b.blocks {
		p.end(b)
		p.reopen(b.piece)
		return false
	}
	p.list(b)
	return true
}

// DroppedAll says that pr will deliver nothing of what is requested from it:
// it choked us. It takes time in proportion to the requests.
func (p *Picker) DroppedAll(pr *Peer) {
	p.setWork(pr, nil)
	for pr.first != 0 {
		q := p.requests.all[pr.first]
		b := p.lookup(q.piece)
		k := int(q.block)
		b.who[k], _ = p.requests.endOne(b.who[k], pr)
		if b.who[k] == 0 {
			p.unrequested(b, k)
		}
	}
	p.LetGo(pr, true)
}

// LetGo leaves to others what is pr's alone to deliver and of which nothing is
// requested from it: all of that, or else pieces that it does not have any
// more. It tells whether there was any.
func (p *Picker) LetGo(pr *Peer, all bool) (any bool) {
	for n := 0; n < len(p.begun) && p.held > 0; n++ {
		b := p.begun[n]
		if b.holder != pr || !all && pr.Has(b.piece) || p.asked(pr, b.piece) {
			continue
		}
		p.setHolder(b, nil)
		if p.workOf(pr) == b {
			p.setWork(pr, nil)
		}
		any = true
	}
	return any
}
