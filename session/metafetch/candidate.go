package metafetch

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"slices"
	"time"
)

// candidate is a size that the dictionary may have, and what is here of it.
type candidate struct {
	size    int
	peers   int      // that claim it
	pieces  [][]byte // nil where missing
	from    []uint32 // who sent each
	missing int
	first   int         // pieces before this one are here
	owed    []int       // how many peers were asked for each and have not answered
	latest  []time.Time // when one was last asked for it

	distrusted bool // was complete and wrong: comes from one peer alone
	alone      uint32
	until      time.Time // when the turn of that one ends, if there are others
	willing    int       // of its peers, that were not left alone of late
	tried      attempt   // the wrong one that several peers had sent
}

// attempt is who sent what of a wrong dictionary.
type attempt struct {
	from []uint32
	sums [][sha1.Size]byte
}

// candidate is the candidate of a size, made if there is none; nil if there
// are too many.
func (f *Fetcher) candidate(size int) *candidate {
	for _, c := range f.candidates {
		if c.size == size {
			return c
		}
	}
	if len(f.candidates) >= maxCandidates {
		return nil
	}
	c := &candidate{size: size}
	c.empty()
	f.candidates = append(f.candidates, c)
	return c
}

// empty forgets the pieces.
func (c *candidate) empty() {
	n := (c.size + PieceSize - 1) / PieceSize
	c.pieces, c.from = make([][]byte, n), make([]uint32, n)
	c.owed, c.latest = make([]int, n), make([]time.Time, n)
	c.missing, c.first = n, 0
}

// restart begins anew. Answers that are still to come do not count.
func (f *Fetcher) restart(c *candidate) {
	for _, p := range f.peers {
		if p.c == c {
			p.forget()
		}
	}
	c.alone = 0
	c.empty()
}

// length is that of a piece in bytes, 0 if there is none of that number.
func (c *candidate) length(piece int) int {
	return max(0, min(PieceSize, c.size-piece*PieceSize))
}

func (c *candidate) put(piece int, from uint32, data []byte) {
	c.pieces[piece], c.from[piece] = bytes.Clone(data), from
	c.missing--
	for c.first < len(c.pieces)-1 && c.pieces[c.first] != nil {
		c.first++
	}
}

// affordable are the candidates to fetch now. What they can take of memory
// together is bounded by twice the largest dictionary. Half of that goes to the
// smallest, which are likely and cost little, the rest to those of most peers that
// answer: a claim alone is cheap, and must not keep others from being tried.
func (f *Fetcher) affordable() []*candidate {
	for _, c := range f.candidates {
		c.willing = 0
	}
	for _, p := range f.peers {
		if p.c != nil && p.pauses == 0 {
			p.c.willing++
		}
	}
	all := slices.Clone(f.candidates)
	slices.SortStableFunc(all, func(a, b *candidate) int { return cmp.Compare(a.size, b.size) })
	small, sum := 0, 0
	for small < len(all) && sum+all[small].size <= f.cfg.MaxSize {
		sum += all[small].size
		small++
	}
	slices.SortStableFunc(all[small:], func(a, b *candidate) int { return cmp.Compare(b.willing, a.willing) })
	room := 2 * f.cfg.MaxSize
	return slices.DeleteFunc(all, func(c *candidate) bool {
		if c.size > room {
			if c.missing < len(c.pieces) {
				f.restart(c)
			}
			return true
		}
		room -= c.size
		return false
	})
}

// judge hashes a complete candidate.
func (f *Fetcher) judge(c *candidate) (r Result) {
	info := bytes.Join(c.pieces, nil)
	if sha1.Sum(info) == f.hash {
		f.done = true
		r.Info, r.Liars = info, c.liars()
		return r
	}
	if from := slices.Compact(slices.Clone(c.from)); len(from) == 1 {
		r.Liars = from
		f.restart(c)
		if _, p := f.find(from[0]); p != nil {
			f.unclaim(p)
		}
		return r
	}
	c.tried = attempt{from: c.from}
	for _, p := range c.pieces {
		c.tried.sums = append(c.tried.sums, sha1.Sum(p))
	}
	c.distrusted = true
	f.restart(c)
	return r
}

// liars are those whose pieces of the wrong attempt differ from the right
// ones.
func (c *candidate) liars() (ids []uint32) {
	for n, sum := range c.tried.sums {
		if sum != sha1.Sum(c.pieces[n]) {
			ids = append(ids, c.tried.from[n])
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
