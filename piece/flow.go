package piece

import (
	"math"
	"time"
)

const (
	flowWindow = 20 * time.Millisecond  // shorter ones are not measured
	flowMemory = 60 * time.Millisecond  // what is older counts for little
	flowUnseen = 100 * time.Millisecond // latency of a peer that has sent nothing so far
	flowSlow   = time.Minute            // between two blocks, at most
)

// Flow measures how fast a peer delivers what is requested from it. It looks
// at a fraction of a second, so that it knows what to expect in transfers that
// are over before a rate by the second is known. The zero value is a peer that
// has delivered nothing.
type Flow struct {
	latency time.Duration // the shortest there was
	rate    float64       // blocks a second; 0 is unknown
	from    time.Time     // start of the window that is being measured
	count   int           // blocks in it
	last    time.Time     // when the last one came, or the first request went out
}

// Asked says that blocks are requested from a peer that owed none.
func (f *Flow) Asked(now time.Time) {
	f.from, f.last, f.count = now, now, 0
}

// Arrived says that a block came that was requested at the time asked.
func (f *Flow) Arrived(now, asked time.Time) {
	if d := max(now.Sub(asked), time.Microsecond); f.latency == 0 || d < f.latency {
		f.latency = d
	}
	f.last = now
	f.count++
	d := now.Sub(f.from)
	if d < flowWindow {
		return
	}
	r := float64(f.count) / d.Seconds()
	if f.rate > 0 {
		r = f.rate + (r-f.rate)*(1-math.Exp(-d.Seconds()/flowMemory.Seconds()))
	}
	f.rate, f.from, f.count = r, now, 0
}

// Rate is what the peer delivers while blocks are requested from it, blocks a
// second. It is 0 if that is not known.
func (f *Flow) Rate(now time.Time) float64 {
	if f.rate > 0 || f.count == 0 {
		return f.rate
	}
	return float64(f.count) / max(now.Sub(f.from).Seconds(), 1e-3)
}

// Pace is what is to be expected of the peer; owes tells whether blocks are
// requested from it. A peer that has fallen silent is expected to be so for as
// long again.
func (f *Flow) Pace(now time.Time, owes bool) Pace {
	e := Pace{Latency: f.latency}
	if f.latency == 0 {
		e.Latency = flowUnseen
	}
	if r := f.Rate(now); r > 0 {
		e.Each = min(flowSlow, time.Duration(float64(time.Second)/r))
	}
	if owes {
		e.Delay = max(0, now.Sub(f.last)-f.latency-e.Each)
	}
	return e
}

// Fair is how many blocks to keep requested from the peer where left are
// missing and all peers together deliver all a second: half of its part of
// what is left, so that peers which turn out faster than expected get more of
// the rest, but no less than it needs to be busy. So all are through at the same
// time, and few blocks have to be requested twice.
func (f *Flow) Fair(now time.Time, left int, all float64) int {
	rate := f.Rate(now)
	part := float64(left) * min(1, rate/all)
	busy := 2 * rate * f.latency.Seconds()
	return int(max(part/2, min(part, busy)))
}

// Near tells whether the peer has ever answered within d.
func (f *Flow) Near(d time.Duration) bool { return f.latency > 0 && f.latency < d }
