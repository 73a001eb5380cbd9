package metafetch

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"net/netip"
	"slices"
	"time"
)

// candidate is a size that the dictionary may have, and what is here of it.
type candidate struct {
	size    int
	peers   int      // that claim it
	claim   []*peer  // those, by id, as of the last census
	pieces  [][]byte // nil where missing; all four lists are nil until something is to be asked for
	from    []uint32 // who sent each
	missing int
	first   int         // pieces before this one are here
	owed    []int       // how many peers were asked for each and have not answered
	latest  []time.Time // when one was last asked for it

	distrusted bool // was complete and wrong: comes from one peer alone
	alone      uint32
	until      time.Time // when the turn of that one ends, if there are others
	willing    int       // hosts of its peers that were not left alone of late
	turn       int       // the lower, the sooner; among the willing how many smaller ones a host claims
	tried      attempt   // the wrong one that several peers had sent
}

// attempt is who sent what of a wrong dictionary.
type attempt struct {
	from []uint32
	sums [][sha1.Size]byte
}

// candidate is the candidate of a size, made if there is none. There are no
// more of them than peers, and until one is to be fetched it takes next to no
// memory: however many sizes are claimed, no peer is left out for that.
func (f *Fetcher) candidate(size int) *candidate {
	for _, c := range f.candidates {
		if c.size == size {
			return c
		}
	}
	c := &candidate{size: size}
	c.empty()
	f.candidates = append(f.candidates, c)
	return c
}

// count is the number of pieces.
func (c *candidate) count() int { return (c.size + PieceSize - 1) / PieceSize }

// empty forgets the pieces.
func (c *candidate) empty() {
	c.pieces, c.from, c.owed, c.latest = nil, nil, nil, nil
	c.missing, c.first = c.count(), 0
}

// begin makes the lists. What is owed already counts.
func (c *candidate) begin() {
	if c.pieces != nil {
		return
	}
	n := c.count()
	c.pieces, c.from = make([][]byte, n), make([]uint32, n)
	c.owed, c.latest = make([]int, n), make([]time.Time, n)
	for _, p := range c.claim {
		for piece, at := range p.asked {
			c.owed[piece]++
			if at.After(c.latest[piece]) {
				c.latest[piece] = at
			}
		}
	}
}

// settled notes that a peer owes a piece no longer.
func (c *candidate) settled(piece int) {
	if c.owed != nil {
		c.owed[piece]--
	}
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

// census notes who claims which candidate.
func (f *Fetcher) census() {
	for _, c := range f.candidates {
		c.claim = c.claim[:0]
	}
	for _, p := range f.peers {
		if p.c != nil {
			p.c.claim = append(p.c.claim, p)
		}
	}
}

// affordable are the candidates to fetch now. What they can take of memory
// together is bounded by twice the largest dictionary. Half of that goes to the
// smallest, which are likely and cost little. The rest goes to the hosts of
// peers that answer, one candidate for each before one has two, and first to what
// most of them claim; what is left, to those that were tried least often. So
// neither claims alone nor many of one host keep others from being tried.
func (f *Fetcher) affordable() []*candidate {
	all, room := slices.Clone(f.candidates), 2*f.cfg.MaxSize
	slices.SortStableFunc(all, func(a, b *candidate) int { return cmp.Compare(a.size, b.size) })
	small, sum := 0, 0
	for small < len(all) && sum+all[small].size <= f.cfg.MaxSize {
		sum += all[small].size
		small++
	}
	if small < len(all) {
		rank(all, small)
		slices.SortStableFunc(all[small:], func(a, b *candidate) int {
			return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(b.willing, a.willing))
		})
	}
	return slices.DeleteFunc(all, func(c *candidate) bool {
		if c.size <= room {
			room -= c.size
			return false
		}
		if c.missing < c.count() {
			f.restart(c)
		}
		c.empty()
		return true
	})
}

// unwilling is a turn that comes after those of all that are willing.
const unwilling = 1 << 20

// rank notes how many hosts may answer for each candidate, and whose turn it is.
// The candidates are in order of their size; the first of them have room already,
// which counts as a turn of their hosts.
func rank(all []*candidate, first int) {
	before := map[netip.Addr]int{} // turns of each host
	for i, c := range all {
		hosts, pauses := map[netip.Addr]bool{}, unwilling
		for _, p := range c.claim {
			if pauses = min(pauses, p.pauses); p.pauses == 0 || i < first {
				hosts[p.host] = true
			}
		}
		c.willing, c.turn = len(hosts), unwilling
		for h := range hosts {
			c.turn = min(c.turn, before[h])
			before[h]++
		}
		if c.willing == 0 {
			c.turn = unwilling + pauses
		}
	}
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
