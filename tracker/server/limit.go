package server

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// meter holds how many requests each source may still make: a bucket that
// fills again with time. It takes the same memory whoever asks: who has not
// asked for long makes room, and begins with a full bucket again.
type meter struct {
	seed        maphash.Seed
	rate, burst float32 // requests a second; requests at once
	sets        []bucketSet
}

const (
	meterSets = 1 << 13
	meterWays = 7 // buckets that share a lock; with it they take 120 bytes
)

type bucketSet struct {
	mu      sync.Mutex
	buckets [meterWays]bucket
}

type bucket struct {
	tag  uint64 // hash of the source; 0 is a free bucket
	at   uint32 // when left was true, in milliseconds of the server's clock
	left float32
}

func newMeter(rate, burst int) *meter {
	return &meter{seed: maphash.MakeSeed(), rate: float32(rate), burst: float32(burst), sets: make([]bucketSet, meterSets)}
}

// allow takes one request of a source out of its bucket; false means that the
// bucket is empty.
func (m *meter) allow(key sourceKey, now uint32) bool {
	tag := hashKey(m.seed, key) | 1
	set := &m.sets[tag>>32%meterSets]
	set.mu.Lock()
	defer set.mu.Unlock()
	b := &set.buckets[0]
	for i := range set.buckets {
		if o := &set.buckets[i]; o.tag == tag {
			b = o
			break
		} else if passed(o.at, now) > passed(b.at, now) || o.tag == 0 && b.tag != 0 {
			b = o
		}
	}
	if b.tag != tag {
		*b = bucket{tag: tag, at: now, left: m.burst}
	}
	if ms := passed(b.at, now); ms > 0 {
		b.left = min(m.burst, b.left+float32(ms)/1000*m.rate)
		b.at = now
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// passed is how many milliseconds there are from at to now, on a clock that
// begins anew each 49 days. Other goroutines may have read it later: at is after
// now if it is by less than a minute, and then it is 0.
func passed(at, now uint32) uint32 {
	if d := now - at; d <= ^uint32(0)-60_000 {
		return d
	}
	return 0
}

func hashKey(seed maphash.Seed, key sourceKey) uint64 {
	var b [17]byte
	b[0] = key.kind
	binary.LittleEndian.PutUint64(b[1:], key.network)
	binary.LittleEndian.PutUint64(b[9:], key.host)
	return maphash.Bytes(seed, b[:])
}

// census estimates how many peers each source has entered, in memory that does
// not grow (a count-min sketch): never too few, and too many by as much as
// chance puts other sources into the same four cells.
type census struct {
	seed  maphash.Seed
	cells [censusRows][censusCells]atomic.Uint32
}

const (
	censusRows  = 4
	censusCells = 1 << 16
)

func (c *census) each(key sourceKey, do func(*atomic.Uint32)) {
	h := hashKey(c.seed, key)
	for row := range c.cells {
		do(&c.cells[row][h>>(16*row)%censusCells])
	}
}

// count is about how many peers a source has.
func (c *census) count(key sourceKey) int {
	least := ^uint32(0)
	c.each(key, func(n *atomic.Uint32) { least = min(least, n.Load()) })
	return int(least)
}

func (c *census) add(key sourceKey)  { c.each(key, func(n *atomic.Uint32) { n.Add(1) }) }
func (c *census) drop(key sourceKey) { c.each(key, func(n *atomic.Uint32) { n.Add(^uint32(0)) }) }
