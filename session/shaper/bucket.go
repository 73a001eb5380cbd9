package shaper

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

const (
	// unlimited is what a bucket without a limit has to give.
	unlimited = math.MaxInt64
	// burstTime is what a limit may save up while nobody wants anything.
	burstTime = 100 * time.Millisecond
	// burstMax keeps a burst within int on every machine, bytes.
	burstMax = 1 << 30
)

// bucket is a limit and what it has to give. The zero value is unlimited.
type bucket struct {
	limit  int64 // bytes per second, 0 is unlimited
	burst  int64 // bytes
	lim    *rate.Limiter
	credit int64 // bytes that came back
}

// set changes the limit. What was saved up stays, as far as the new burst
// allows it.
func (b *bucket) set(limit int64, step int64, now time.Time) {
	b.settle(now)
	b.plan(limit, step)
	switch {
	case b.limit == 0:
		b.lim, b.credit = nil, 0
	case b.lim == nil:
		b.start(now)
	default:
		b.lim.SetLimitAt(now, rate.Limit(b.limit))
		b.lim.SetBurstAt(now, int(b.burst))
		b.settle(now)
	}
}

// plan sets a limit that starts when it is first asked.
func (b *bucket) plan(limit, step int64) {
	b.limit = max(limit, 0)
	b.burst = min(max(4*step, int64(float64(b.limit)*burstTime.Seconds())), burstMax)
}

// start makes an empty bucket.
func (b *bucket) start(now time.Time) {
	b.lim = rate.NewLimiter(rate.Limit(b.limit), int(b.burst))
	b.lim.AllowN(now, int(b.burst))
}

// available is how many bytes may pass now.
func (b *bucket) available(now time.Time) int64 {
	if b.limit == 0 {
		return unlimited
	}
	if b.lim == nil {
		b.start(now)
	}
	return b.settle(now) + b.credit
}

// settle forgets bytes that came back beyond what may be saved up. It returns
// what the limiter has.
func (b *bucket) settle(now time.Time) int64 {
	if b.lim == nil {
		return 0
	}
	tokens := int64(b.lim.TokensAt(now))
	b.credit = min(b.credit, b.burst-tokens)
	return tokens
}

// take uses up n bytes of those available.
func (b *bucket) take(n int64, now time.Time) {
	if b.limit == 0 || n == 0 {
		return
	}
	c := min(n, max(b.credit, 0))
	b.credit -= c
	if n -= c; n > 0 && !b.lim.AllowN(now, int(n)) {
		b.credit -= n // rounding; it is owed
	}
}

// refund gives n bytes back.
func (b *bucket) refund(n int64) {
	if b.limit != 0 {
		b.credit += n
	}
}

// until is when n bytes will be available, if nobody takes any.
func (b *bucket) until(n int64, now time.Time) time.Time {
	missing := float64(n - b.available(now))
	if b.limit == 0 || missing <= 0 {
		return now
	}
	return now.Add(time.Duration(min(missing/float64(b.limit), 3600) * float64(time.Second)))
}
