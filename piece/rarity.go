package piece

import "math/rand/v2"

// status is what the picker keeps of a piece in one byte: its priority and
// two flags.
type status uint8

const (
	statusPriority status = 7
	statusOpen     status = 1 << 6 // wanted, missing, and no block of it is requested or here
	statusFailed   status = 1 << 7 // failed its hash and did not pass since
)

func (s status) prio() uint8 { return uint8(s & statusPriority) }

// segment is the run of rarity.order that holds the pieces of one priority
// and one availability: the open ones in [start, live), in random order, the
// others in [live, end).
type segment struct {
	start, live, end int32
}

// rarity keeps all pieces sorted by priority, highest first, and then by
// availability, lowest first. One more or one fewer copy moves a piece across
// one border between two segments, which takes a few swaps.
//
// The order exists only while somebody picks. It is rebuilt in O(pieces) when
// it is stale: at first, after a change of priorities, and when availability
// leaves the range that the last rebuild made room for.
type rarity struct {
	rng   *rand.Rand
	state []status // by piece, the picker's

	// The number of peers that have piece i is raw[i]+offset. A change that
	// touches all pieces alike, a seed that comes or goes, only moves offset.
	raw    []int32
	offset int32

	stale  bool
	order  []Index
	pos    []int32   // where a piece stands in order
	segs   []segment // 8 priorities, highest first, times levels
	levels int32     // availabilities per priority
	base   int32     // raw value of the first level
	low    [8]int32  // by priority: no open piece below this level
}

func newRarity(state []status, rng *rand.Rand) rarity {
	return rarity{rng: rng, state: state, raw: make([]int32, len(state)), stale: true}
}

// copies is the number of peers that have piece i.
func (r *rarity) copies(i Index) int { return int(r.raw[i] + r.offset) }

// drop gives the order's memory back until somebody needs it again.
func (r *rarity) drop() {
	r.stale = true
	r.order, r.pos, r.segs = nil, nil, nil
}

// group is the first segment of a priority.
func (r *rarity) group(prio uint8) int32 { return int32(7-prio) * r.levels }

// segment is the number of the segment that piece i belongs to.
func (r *rarity) segment(i Index) int32 {
	return r.group(r.state[i].prio()) + r.raw[i] - r.base
}

func (r *rarity) swap(a, b int32) {
	x, y := r.order[a], r.order[b]
	r.order[a], r.order[b] = y, x
	r.pos[x], r.pos[y] = b, a
}

// scatter swaps the open piece at position at with one at random in its
// segment: so equally rare pieces are in random order whatever the order of
// events was.
func (r *rarity) scatter(s *segment, at int32) {
	if n := s.live - s.start; n > 1 {
		r.swap(at, s.start+int32(r.rng.Uint32N(uint32(n))))
	}
}

// more notes one more copy of piece i.
func (r *rarity) more(i Index) {
	if r.stale {
		r.raw[i]++
		return
	}
	at, s := r.pos[i], r.segment(i)
	r.raw[i]++
	level := r.raw[i] - r.base
	if level >= r.levels {
		r.stale = true
		return
	}
	a, b := &r.segs[s], &r.segs[s+1]
	if at >= a.live {
		// To the border, then past the open pieces on the other side.
		r.swap(at, a.end-1)
		a.end--
		b.start--
		b.live--
		r.swap(b.start, b.live)
		return
	}
	a.live--
	r.swap(at, a.live)
	a.end--
	r.swap(a.live, a.end)
	b.start--
	r.scatter(b, b.start)
	r.lower(i, level)
}

// fewer notes one copy fewer of piece i.
func (r *rarity) fewer(i Index) {
	if r.stale {
		r.raw[i]--
		return
	}
	at, s := r.pos[i], r.segment(i)
	r.raw[i]--
	level := r.raw[i] - r.base
	if level < 0 {
		r.stale = true
		return
	}
	a, b := &r.segs[s], &r.segs[s-1]
	if at >= a.live {
		r.swap(at, a.live)
		r.swap(a.live, a.start)
		a.start++
		a.live++
		b.end++
		return
	}
	r.swap(at, a.start)
	a.start++
	b.end++
	r.swap(b.end-1, b.live)
	b.live++
	r.scatter(b, b.live-1)
	r.lower(i, level)
}

// open puts piece i among those that can be begun.
func (r *rarity) open(i Index) {
	r.state[i] |= statusOpen
	if r.stale {
		return
	}
	s := &r.segs[r.segment(i)]
	r.swap(r.pos[i], s.live)
	s.live++
	r.scatter(s, s.live-1)
	r.lower(i, r.raw[i]-r.base)
}

// lower notes that there is an open piece i at level.
func (r *rarity) lower(i Index, level int32) {
	low := &r.low[r.state[i].prio()]
	*low = min(*low, level)
}

// close takes piece i from those that can be begun.
func (r *rarity) close(i Index) {
	r.state[i] &^= statusOpen
	if r.stale {
		return
	}
	s := &r.segs[r.segment(i)]
	s.live--
	r.swap(r.pos[i], s.live)
}

// refresh rebuilds the order if it is stale.
func (r *rarity) refresh() {
	if !r.stale {
		return
	}
	n := len(r.raw)
	if r.order == nil {
		r.order = make([]Index, n)
		for i := range r.order {
			r.order[i] = Index(i)
		}
		r.rng.Shuffle(n, func(a, b int) { r.order[a], r.order[b] = r.order[b], r.order[a] })
		r.pos = make([]int32, n)
	}
	r.layout()
	// A stable sort by segment, open pieces first: what was in random order
	// before is so afterwards.
	old := append([]Index(nil), r.order...)
	next := make([]segment, len(r.segs)) // where the next open and the next other piece go
	for s := range r.segs {
		next[s] = segment{start: r.segs[s].start, live: r.segs[s].live}
	}
	for _, i := range old {
		s := &next[r.segment(i)]
		at := &s.live
		if r.state[i]&statusOpen != 0 {
			at = &s.start
		}
		r.order[*at], r.pos[i] = i, *at
		*at++
	}
	r.low = [8]int32{}
	r.stale = false
}

// layout sizes the segments for the pieces as they are, with some levels to
// spare on both sides.
func (r *rarity) layout() {
	least, most := r.raw[0], r.raw[0]
	for _, x := range r.raw {
		least, most = min(least, x), max(most, x)
	}
	spare := 8 + (most-least)/2
	r.base = least - spare
	r.levels = most - least + 1 + 2*spare
	if n := int(8 * r.levels); cap(r.segs) >= n {
		r.segs = r.segs[:n]
		clear(r.segs)
	} else {
		r.segs = make([]segment, n)
	}
	for i := range r.raw {
		s := &r.segs[r.segment(Index(i))]
		s.end++
		if r.state[i]&statusOpen != 0 {
			s.live++
		}
	}
	var at int32
	for k := range r.segs {
		s := &r.segs[k]
		s.start, s.live, s.end = at, at+s.live, at+s.end
		at = s.end
	}
}
