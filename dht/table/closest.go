package table

import (
	"math/bits"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// maxClosest is the most that Closest finds.
const maxClosest = 64

// Closest appends the n nodes closest to target that can be handed out, the
// nearest first. n is at most 64. It allocates nothing if dst has room.
func (t *Table) Closest(target krpc.ID, n int, dst []contact.Node) []contact.Node {
	var found [maxClosest]*entry
	for _, e := range found[:t.closest(contact.KeyOf(target), min(n, maxClosest), &found)] {
		dst = append(dst, e.node)
	}
	return dst
}

// ClosestPublic is Closest without the nodes of local networks, of which
// strangers are not told.
func (t *Table) ClosestPublic(target krpc.ID, n int, dst []contact.Node) []contact.Node {
	t.public = true
	dst = t.Closest(target, n, dst)
	t.public = false
	return dst
}

// closest is Closest with entries. All nodes of one step are nearer to target
// than all of the next: the bucket that target belongs to; then the deeper
// ones together; then the others, the deepest first.
func (t *Table) closest(target contact.Key, n int, found *[maxClosest]*entry) (count int) {
	if n <= 0 {
		return 0
	}
	own := t.self.Xor(target).Zeros()
	if own <= t.deepest {
		count = t.nearest(own, target, 0, n, found)
	}
	if count < n {
		from := count
		for i := own + 1; i <= t.deepest; i++ {
			count = t.merge(i, target, from, count, n, found)
		}
	}
	for i := min(own-1, t.deepest); i >= 0 && count < n; i-- {
		count = t.nearest(i, target, count, n, found)
	}
	return count
}

func (t *Table) nearest(i int, target contact.Key, from, n int, found *[maxClosest]*entry) int {
	return t.merge(i, target, from, from, n, found)
}

// merge sorts the nodes of a bucket into found[from:count] by distance, and
// keeps n altogether.
func (t *Table) merge(i int, target contact.Key, from, count, n int, found *[maxClosest]*entry) int {
	b := &t.buckets[i]
	for j, hi := range b.keys {
		if count == n && hi^target.Hi > t.near[n-1].Hi {
			continue
		}
		e := b.live[j]
		if e.fails > 0 || t.public && e.network == 0 {
			continue
		}
		d := e.key.Xor(target)
		if count == n {
			if !d.Less(t.near[n-1]) {
				continue
			}
		} else {
			count++
		}
		at := count - 1
		for ; at > from && d.Less(t.near[at-1]); at-- {
			t.near[at], found[at] = t.near[at-1], found[at-1]
		}
		t.near[at], found[at] = d, e
	}
	return count
}

// Known is a node to begin a search with.
type Known struct {
	contact.Node
	RTT  time.Duration // smoothed; 0 if unknown
	Live bool          // it can be handed out: else it is of an earlier run, or suspect
}

// Start appends up to n nodes to begin a search for target with, the nearest
// first: those that Closest gives and, only where these are fewer than n,
// others that may answer.
func (t *Table) Start(target krpc.ID, n int, dst []Known) []Known {
	var found [maxClosest]*entry
	n = min(n, maxClosest)
	count := t.closest(contact.KeyOf(target), n, &found)
	for _, e := range found[:count] {
		dst = append(dst, Known{e.node, e.rtt, true})
	}
	if count == n {
		return dst
	}
	begin := len(dst)
	key := contact.KeyOf(target)
	for i := range t.deepest + 1 {
		b := &t.buckets[i]
		for _, list := range [2][]*entry{b.spare, b.live} {
			for _, e := range list {
				if !e.live || e.fails > 0 {
					dst = insert(dst, begin, n-count, key, Known{e.node, e.rtt, false})
				}
			}
		}
	}
	return dst
}

// insert sorts k into dst[begin:] by distance and keeps at most n there.
func insert(dst []Known, begin, n int, target contact.Key, k Known) []Known {
	d := contact.KeyOf(k.ID).Xor(target)
	if len(dst)-begin == n {
		if n == 0 || !d.Less(contact.KeyOf(dst[len(dst)-1].ID).Xor(target)) {
			return dst
		}
	} else {
		dst = append(dst, k)
	}
	at := len(dst) - 1
	for ; at > begin && d.Less(contact.KeyOf(dst[at-1].ID).Xor(target)); at-- {
		dst[at] = dst[at-1]
	}
	dst[at] = k
	return dst
}

// Bits estimates log2 of how many nodes the network has, from how near the
// closest ones are to us; 0 if fewer than eight are known.
func (t *Table) Bits() int {
	var found [maxClosest]*entry
	n := t.closest(t.self, K, &found)
	if n < K {
		return 0
	}
	// As many as K nodes are within the distance of the last.
	return found[K-1].key.Xor(t.self).Zeros() + bits.Len(uint(K)) - 1
}
