package server

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"unsafe"
)

// ip is an address of one family, as it is sent (BEP 7, BEP 23).
type ip interface{ [4]byte | [16]byte }

// record is a peer. It holds no pointer, and lists of it are all that a swarm
// takes up.
type record[A ip] struct {
	addr  A
	port  uint16
	id    [20]byte
	heard uint32 // its bits, and when it announced last, in seconds of the server's clock
}

// Bits of record.heard.
const (
	doneBit  = 1 << 31 // its completed event was counted
	aloneBit = 1 << 30 // it counts as a source of its own: see source.alone
	flagBits = doneBit | aloneBit
)

func (r *record[A]) at() uint32 { return r.heard &^ flagBits }

// peers is the peers of one torrent that have addresses of one family: seeds
// first, in no order otherwise. A long list has an index, so that finding,
// adding and removing one takes the same time in every swarm.
type peers[A ip] struct {
	list   []record[A]
	index  []uint32 // open addressing: 1 + place in list; nil while list is short
	seeds  uint32   // how many of list
	oldest uint32   // no peer was heard of before
	swept  uint32   // when silent ones were looked for
	loop   uint32   // how many of list are loopback addresses
	link   uint32   // how many of list are link-local addresses
}

const shortList = 16 // peers that are looked through

func (p *peers[A]) hash(seed maphash.Seed, addr *A, port uint16) uint32 {
	var b [18]byte
	n := copy(b[:], unsafe.Slice((*byte)(unsafe.Pointer(addr)), unsafe.Sizeof(*addr)))
	binary.BigEndian.PutUint16(b[n:], port)
	return uint32(maphash.Bytes(seed, b[:n+2]))
}

// find is the place of a peer, -1 if it is not here.
func (p *peers[A]) find(seed maphash.Seed, addr *A, port uint16) int {
	if p.index == nil {
		for i := range p.list {
			if r := &p.list[i]; r.port == port && r.addr == *addr {
				return i
			}
		}
		return -1
	}
	slot := p.slot(seed, addr, port)
	return int(p.index[slot]) - 1
}

// slot is where the index has a peer, or the free place where it belongs.
func (p *peers[A]) slot(seed maphash.Seed, addr *A, port uint16) uint32 {
	mask := uint32(len(p.index) - 1)
	for s := p.hash(seed, addr, port) & mask; ; s = (s + 1) & mask {
		if p.index[s] == 0 {
			return s
		}
		if r := &p.list[p.index[s]-1]; r.port == port && r.addr == *addr {
			return s
		}
	}
}

// reindex makes an index of a size that suits the list.
func (p *peers[A]) reindex(seed maphash.Seed) {
	if len(p.list) <= shortList/2 {
		p.index = nil
		return
	}
	p.index = make([]uint32, 1<<bits.Len(uint(2*len(p.list))))
	for i := range p.list {
		p.index[p.slot(seed, &p.list[i].addr, p.list[i].port)] = uint32(i + 1)
	}
}

// add takes in a peer that is not here. It counts as a leecher.
func (p *peers[A]) add(seed maphash.Seed, r record[A], c class) int {
	if len(p.list) == cap(p.list) {
		grown := make([]record[A], len(p.list), len(p.list)+max(2, len(p.list)/4))
		copy(grown, p.list)
		p.list = grown
	}
	if len(p.list) == 0 || r.at() < p.oldest {
		p.oldest = r.at()
	}
	p.list = append(p.list, r)
	at := len(p.list) - 1
	switch {
	case p.index == nil && len(p.list) > shortList, p.index != nil && len(p.list)*3 > len(p.index)*2:
		p.reindex(seed)
	case p.index != nil:
		p.index[p.slot(seed, &r.addr, r.port)] = uint32(at + 1)
	}
	p.count(c, 1)
	return at
}

func (p *peers[A]) count(c class, by int32) {
	switch c {
	case loopback:
		p.loop += uint32(by)
	case linkLocal:
		p.link += uint32(by)
	}
}

// hidden is how many peers are not for an asker of that class.
func (p *peers[A]) hidden(asker class) int {
	n := 0
	if asker != loopback {
		n += int(p.loop)
	}
	if asker != linkLocal {
		n += int(p.link)
	}
	return n
}

func (p *peers[A]) swap(seed maphash.Seed, i, j int) {
	if i == j {
		return
	}
	a, b := &p.list[i], &p.list[j]
	if p.index != nil {
		s, t := p.slot(seed, &a.addr, a.port), p.slot(seed, &b.addr, b.port)
		p.index[s], p.index[t] = uint32(j+1), uint32(i+1)
	}
	*a, *b = *b, *a
}

// setSeed makes the peer at a place a seed, or a leecher.
func (p *peers[A]) setSeed(seed maphash.Seed, at int, on bool) {
	switch was := at < int(p.seeds); {
	case on && !was:
		p.swap(seed, at, int(p.seeds))
		p.seeds++
	case !on && was:
		p.seeds--
		p.swap(seed, at, int(p.seeds))
	}
}

// remove drops the peer at a place.
func (p *peers[A]) remove(seed maphash.Seed, at int, c class) {
	if at < int(p.seeds) {
		p.seeds--
		p.swap(seed, at, int(p.seeds))
		at = int(p.seeds)
	}
	last := len(p.list) - 1
	p.swap(seed, at, last)
	if p.index != nil {
		p.unindex(seed, last)
	}
	p.list = p.list[:last]
	p.count(c, -1)
	switch {
	case last == 0:
		p.list, p.index = nil, nil
	case last*4 < cap(p.list) && cap(p.list) > shortList:
		p.list = append(make([]record[A], 0, last*3/2), p.list...)
		if p.index != nil {
			p.reindex(seed)
		}
	}
}

// unindex takes the peer at a place out of the index and closes the gap, so
// that whoever was pushed on by it is found.
func (p *peers[A]) unindex(seed maphash.Seed, at int) {
	mask := uint32(len(p.index) - 1)
	gap := p.slot(seed, &p.list[at].addr, p.list[at].port)
	for s := gap; ; {
		p.index[gap] = 0
		for {
			s = (s + 1) & mask
			if p.index[s] == 0 {
				return
			}
			r := &p.list[p.index[s]-1]
			home := p.hash(seed, &r.addr, r.port) & mask
			if (s-home)&mask >= (s-gap)&mask {
				break
			}
		}
		p.index[gap] = p.index[s]
		gap = s
	}
}

// sweep drops peers that were not heard of since a time, and tells of each.
func (p *peers[A]) sweep(seed maphash.Seed, now, since uint32, gone func(*record[A]) class) {
	p.swept, p.oldest = now, now
	for i := len(p.list) - 1; i >= 0; i-- { // what remove moves to place i was looked at already
		if at := p.list[i].at(); at >= since {
			p.oldest = min(p.oldest, at)
			continue
		}
		p.remove(seed, i, gone(&p.list[i]))
	}
}

// memory is what the peers take up, in bytes.
func (p *peers[A]) memory() int64 {
	return int64(cap(p.list))*int64(unsafe.Sizeof(record[A]{})) + int64(cap(p.index))*4
}

// draw calls take with n peers of list[from:to] but the one at place but,
// drawn at random without repetition (Floyd), or with all if there are fewer.
func (p *peers[A]) draw(d *drawer, from, to, but, n int, take func(*record[A])) {
	m := to - from
	if from <= but && but < to {
		m--
	} else {
		but = to
	}
	place := func(i int) *record[A] {
		if i += from; i >= but {
			i++
		}
		return &p.list[i]
	}
	if n >= m {
		for i := range m {
			take(place(i))
		}
		return
	}
	d.begin()
	for j := m - n; j < m; j++ {
		i := d.rng.Uint32N(uint32(j + 1))
		if !d.add(i) {
			i = uint32(j)
			d.add(i)
		}
		take(place(int(i)))
	}
}

// drawer is the chance and the memory of draw. It is for one goroutine.
type drawer struct {
	rng   *rand.Rand
	round uint32
	seen  [1024]struct{ round, n uint32 }
}

const maxDraw = 512 // peers at a time, for which seen is large enough

func newDrawer() *drawer {
	return &drawer{rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

func (d *drawer) begin() {
	if d.round++; d.round == 0 {
		clear(d.seen[:])
		d.round = 1
	}
}

// add tells whether n was not there yet.
func (d *drawer) add(n uint32) bool {
	for s := n * 2654435761 >> 22; ; s = (s + 1) % uint32(len(d.seen)) {
		switch e := &d.seen[s]; {
		case e.round != d.round:
			e.round, e.n = d.round, n
			return true
		case e.n == n:
			return false
		}
	}
}
