package world

import (
	"math/bits"
	"slices"
)

// bucket appends the ranks in bucket c of the table of the node with this id:
// up to eight of those that have c bits in common with it and differ in the
// next.
func (n *Network) bucket(id uint64, c int, dst []int) []int {
	if c > 63 {
		return dst
	}
	lo, hi := n.block(id^1<<(63-c), c+1)
	if hi-lo <= k {
		for r := lo; r < hi; r++ {
			dst = append(dst, r)
		}
		return dst
	}
	from := len(dst)
	for i := uint64(0); len(dst)-from < k; i++ {
		r := lo + int(n.hash(forTable, mix(id, uint64(c)<<32|i))%uint64(hi-lo))
		if !slices.Contains(dst[from:], r) {
			dst = append(dst, r)
		}
	}
	return dst
}

// closestOf appends the ranks of the count nodes closest to target in the
// table of the node with this id, the nearest first.
func (n *Network) closestOf(id, target uint64, count int, dst []int) []int {
	own := bits.LeadingZeros64(id ^ target)
	dst = n.sorted(target, n.bucket(id, own, dst), 0)
	if len(dst) < count {
		from := len(dst)
		for c := own + 1; c < 64; c++ {
			if lo, hi := n.block(id, c); hi-lo <= 1 {
				break
			}
			dst = n.bucket(id, c, dst)
		}
		dst = n.sorted(target, dst, from)
	}
	for c := own - 1; c >= 0 && len(dst) < count; c-- {
		from := len(dst)
		dst = n.sorted(target, n.bucket(id, c, dst), from)
	}
	return dst[:min(len(dst), count)]
}

// sorted sorts dst[from:] by distance.
func (n *Network) sorted(target uint64, dst []int, from int) []int {
	slices.SortFunc(dst[from:], func(a, b int) int {
		if n.ids[a]^target < n.ids[b]^target {
			return -1
		}
		return 1
	})
	return dst
}

// Closest appends the ranks of the count nodes of all that are closest to
// target: of the living ones if alive is true.
func (n *Network) Closest(target uint64, count int, alive bool, dst []int) []int {
	for first := n.depth(target); ; first-- {
		lo, hi := n.block(target, first)
		dst = dst[:0]
		for r := lo; r < hi; r++ {
			if !alive || !n.Dead(r) && !n.Hostile(r) {
				dst = append(dst, r)
			}
		}
		if len(dst) >= count || first == 0 {
			dst = n.sorted(target, dst, 0)
			return dst[:min(len(dst), count)]
		}
	}
}

// depth is a number of bits that some nodes share with target.
func (n *Network) depth(target uint64) int {
	for first := bits.Len(uint(len(n.ids))); first > 0; first-- {
		if lo, hi := n.block(target, first); hi > lo {
			return first
		}
	}
	return 0
}
