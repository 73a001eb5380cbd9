package shaper

import "time"

// Flow is the share of one torrent.
type Flow struct {
	Tag any // the caller's; not used here

	s         *Shaper
	bucket    bucket
	leaves    list[Leaf]  // those that want something, the next to be served first
	list      *list[Flow] // where the flow is: active, parked, or nil
	node      node[Flow]
	deficit   int64     // bytes that its turn still allows
	notBefore time.Time // when parked
	closed    bool
}

// Torrent adds a flow with a limit in bytes per second; 0 is unlimited.
func (s *Shaper) Torrent(limit int64) *Flow {
	f := &Flow{s: s}
	f.node.val = f
	f.bucket.plan(limit, s.step)
	return f
}

// SetLimit changes the flow's limit in bytes per second; 0 is unlimited. It
// holds from the next tick, which should come soon.
func (f *Flow) SetLimit(limit int64, now time.Time) {
	f.bucket.set(limit, f.s.step, now)
	f.notBefore = time.Time{}
}

// Limit is the flow's own limit in bytes per second; 0 is unlimited.
func (f *Flow) Limit() int64 { return f.bucket.limit }

// Unlimited tells whether neither the flow nor the shaper has a limit: its
// peers need not ask then.
func (f *Flow) Unlimited() bool { return f.bucket.limit == 0 && f.s.bucket.limit == 0 }

// Close ends the flow and all its leaves. It may be called twice.
func (f *Flow) Close() {
	f.closed = true
	for l := f.leaves.front(); l != nil; l = f.leaves.front() {
		l.Want(0)
	}
}

// move puts the flow into a list, or into none. One that ran out of demand
// during its turn, and wants something again, goes on with its turn: demand
// in small pieces gets as much as demand in large ones. What is left of a
// turn is one step at most by then, so that no long rest is made up for.
func (f *Flow) move(to *list[Flow]) {
	if f.list == to {
		return
	}
	if f.list != nil {
		f.list.remove(&f.node)
	}
	switch f.list = to; to {
	case nil:
		f.deficit = min(f.deficit, f.s.step)
	case &f.s.active:
		to.push(&f.node, f.deficit >= f.leaves.front().packet(f.s.step))
	default:
		f.deficit = 0 // what its limit does not let it use is not saved up
		to.push(&f.node, false)
	}
}

// Peer adds a leaf.
func (f *Flow) Peer() *Leaf {
	l := &Leaf{flow: f}
	l.node.val = l
	return l
}

// Leaf is the share of one peer.
type Leaf struct {
	Tag any // the caller's; not used here

	flow    *Flow
	node    node[Leaf]
	listed  bool   // in flow.leaves, which is so while want > 0
	want    int64  // bytes
	deficit int64  // bytes that its turn still allows
	tick    uint64 // when grant is valid
	grant   int    // its place among the grants of the tick
	closed  bool
}

// Want says how many bytes the peer could use now, instead of what was said
// before. Grants are taken off it. A leaf that begins to want something is
// served by the next tick, for which there may be no time set yet.
func (l *Leaf) Want(bytes int64) {
	f := l.flow
	if l.closed || f.closed {
		bytes = 0
	}
	l.want = max(bytes, 0)
	switch {
	case l.want > 0 && !l.listed:
		l.listed = true
		f.leaves.push(&l.node, l.deficit >= l.packet(f.s.step)) // as in Flow.move
		if f.list == nil {
			f.move(&f.s.active)
		}
	case l.want == 0 && l.listed:
		l.unlist()
		if f.leaves.n == 0 {
			f.move(nil)
		}
	}
}

// Wanted is how many bytes the peer still waits for.
func (l *Leaf) Wanted() int64 { return l.want }

// Unlimited tells whether the peer need not ask; see Flow.Unlimited.
func (l *Leaf) Unlimited() bool { return l.flow.Unlimited() }

// Close ends the leaf. It may be called twice.
func (l *Leaf) Close() {
	l.closed = true
	l.Want(0)
}

func (l *Leaf) unlist() {
	l.listed, l.deficit = false, min(l.deficit, l.flow.s.step)
	l.flow.leaves.remove(&l.node)
}

// packet is the least that may be granted now.
func (l *Leaf) packet(step int64) int64 { return min(l.want, step) }

// serve grants bytes to leaves in turn, within the flow's deficit and limit,
// and at most room. It returns what was granted, and whether the flow's own
// limit stopped it.
func (f *Flow) serve(room int64, now time.Time) (granted int64, limited bool) {
	s := f.s
	own := f.bucket.available(now)
	room = min(room, own, f.deficit)
	quantum := s.quantum(room, f.leaves.n)
	for left := room; f.leaves.n > 0; left = room - granted {
		l := f.leaves.front()
		p := l.packet(s.step)
		if p > left {
			break
		}
		if l.deficit < p {
			l.deficit += quantum
		}
		n := min(l.want, l.deficit)
		if n > left {
			n = left - left%s.step
		}
		n = max(n, p)
		s.give(l, n)
		granted += n
		l.want -= n
		l.deficit -= n
		switch {
		case l.want == 0:
			l.unlist()
		case l.deficit < l.packet(s.step):
			f.leaves.rotate()
		}
	}
	f.deficit -= granted
	f.bucket.take(granted, now)
	l := f.leaves.front()
	return granted, l != nil && own-granted < l.packet(s.step)
}
