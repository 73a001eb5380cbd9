package shaper

import (
	"time"
)

// Config holds the settings of a Shaper. The zero value is valid.
type Config struct {
	Limit int64         // bytes per second for all together; 0 is unlimited
	Step  int64         // least grant, unless less is wanted, bytes; 0 means 16,397, a block with its header
	Tick  time.Duration // shortest time between two ticks; 0 means 20 ms
}

// Shaper shares out the bytes of one direction.
type Shaper struct {
	step, tick int64 // bytes, nanoseconds
	bucket     bucket
	active     list[Flow] // want something; the next to be served first
	parked     list[Flow] // want something, but their own limit has nothing to give yet
	seq        uint64     // number of the tick
	grants     []Grant
}

// Grant is the right to transfer some bytes.
type Grant struct {
	Leaf  *Leaf
	Bytes int64
}

// New returns a shaper without flows.
func New(cfg Config) *Shaper {
	s := &Shaper{step: cfg.Step, tick: int64(cfg.Tick)}
	if s.step <= 0 {
		s.step = 16<<10 + 13
	}
	if s.tick <= 0 {
		s.tick = int64(20 * time.Millisecond)
	}
	s.bucket.plan(cfg.Limit, s.step)
	return s
}

// SetLimit changes the limit for all together, in bytes per second; 0 is
// unlimited. It holds from the next tick, which should come soon.
func (s *Shaper) SetLimit(bytesPerSec int64, now time.Time) {
	s.bucket.set(bytesPerSec, s.step, now)
}

// Limit is the limit for all together in bytes per second; 0 is unlimited.
func (s *Shaper) Limit() int64 { return s.bucket.limit }

// Tick shares out what the limits allow by now. Every leaf is named at most
// once. grants is used again by the next tick. next is when to call Tick
// again, the zero time if nobody waits for anything; a call before that does
// no harm.
func (s *Shaper) Tick(now time.Time) (grants []Grant, next time.Time) {
	s.seq++
	clear(s.grants) // closed leaves are not kept alive
	s.grants = s.grants[:0]
	s.unpark(now)
	if s.active.n > 0 {
		available := s.bucket.available(now)
		s.bucket.take(s.share(available, now), now)
	}
	return s.grants, s.next(now)
}

// unpark brings back the flows whose limit has something to give again.
func (s *Shaper) unpark(now time.Time) {
	for e, n := s.parked.root.next, s.parked.n; n > 0; n-- {
		f := e.val
		e = e.next
		if !f.notBefore.After(now) {
			f.move(&s.active)
		}
	}
}

// share grants bytes to the flows in turn, at most room, and returns how many
// it granted.
func (s *Shaper) share(room int64, now time.Time) (granted int64) {
	for s.active.n > 0 {
		turns := s.active.n
		quantum := s.quantum(room-granted, turns)
		for range turns {
			f := s.active.front()
			packet := f.leaves.front().packet(s.step)
			if packet > room-granted {
				return granted // f is the next to be served
			}
			if f.deficit < packet {
				f.deficit += quantum
			}
			n, limited := f.serve(room-granted, now)
			granted += n
			l := f.leaves.front()
			switch {
			case l == nil:
				f.move(nil)
			case limited:
				f.notBefore = f.bucket.until(l.packet(s.step), now)
				f.move(&s.parked)
			case f.deficit < l.packet(s.step):
				s.active.rotate()
			}
		}
	}
	return granted
}

// quantum is what each of n gets in one turn, if they share room: one step at
// least, and more where there is so much that a turn per step would cost time.
func (s *Shaper) quantum(room int64, n int) int64 {
	const most = 1 << 40 // so that deficits cannot overflow
	return s.step * max(1, min(room, most)/(s.step*int64(max(n, 1))))
}

// give notes a grant.
func (s *Shaper) give(l *Leaf, bytes int64) {
	if l.tick != s.seq {
		l.tick, l.grant = s.seq, len(s.grants)
		s.grants = append(s.grants, Grant{Leaf: l})
	}
	s.grants[l.grant].Bytes += bytes
}

// next is when there will be something to grant.
func (s *Shaper) next(now time.Time) time.Time {
	var next time.Time
	if f := s.active.front(); f != nil {
		next = s.bucket.until(f.leaves.front().packet(s.step), now)
	}
	for e, n := s.parked.root.next, s.parked.n; n > 0; e, n = e.next, n-1 {
		if t := e.val.notBefore; next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if earliest := now.Add(time.Duration(s.tick)); !next.IsZero() && next.Before(earliest) {
		return earliest
	}
	return next
}

// Refund gives back bytes of a grant that were not used. They are shared out
// anew by later ticks.
func (s *Shaper) Refund(l *Leaf, bytes int64) {
	if bytes <= 0 {
		return
	}
	s.bucket.refund(bytes)
	l.flow.bucket.refund(bytes)
	l.flow.notBefore = time.Time{}
}
