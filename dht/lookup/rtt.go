package lookup

import (
	"math"
	"time"
)

// The times that follow from nine in ten replies having come, and their bounds.
const (
	usual      = 0.9                    // share of the replies
	firstUsual = 400 * time.Millisecond // until enough replies were seen
	enough     = 16
	stallPart  = 0.75 // of the usual time: then the place of a query is free
	lostPart   = 1.65 // of the usual time: then the end of a search does not wait for it
	minStall   = 150 * time.Millisecond
	maxStall   = time.Second
	minLost    = 300 * time.Millisecond
	maxLost    = 2 * time.Second
)

// The histogram's bins: each is a twelfth wider than the one before.
const (
	bins     = 80
	firstBin = 4 * time.Millisecond
	binRatio = 13.0 / 12
	memory   = 256 // replies
)

// RTT estimates how long replies take, from the last 256. One is shared by all
// searches of a node and family. The zero value is ready.
type RTT struct {
	count  [bins]uint16
	recent [memory]uint8 // the bin of each reply, a ring
	seen   int
	usual  time.Duration // of the counts as they are; 0 is not computed
}

// Add tells of the time that one reply took, late ones too.
func (r *RTT) Add(rtt time.Duration) {
	at := 0
	if rtt > firstBin {
		at = min(bins-1, 1+int(math.Log(float64(rtt)/float64(firstBin))/math.Log(binRatio)))
	}
	slot := &r.recent[r.seen%memory]
	if r.seen >= memory {
		r.count[*slot]--
	}
	*slot = uint8(at)
	r.count[at]++
	r.seen++
	r.usual = 0
}

// Quantile is the time that a share q of the recent replies took at most; 0 if
// there was none yet.
func (r *RTT) Quantile(q float64) time.Duration {
	total := min(r.seen, memory)
	if total == 0 {
		return 0
	}
	need := uint16(math.Ceil(q * float64(total)))
	limit := float64(firstBin)
	for _, n := range r.count {
		if need <= n {
			break
		}
		need -= n
		limit *= binRatio
	}
	return time.Duration(limit)
}

// Usual is the time in which nine in ten replies come; 400 ms while little is
// known.
func (r *RTT) Usual() time.Duration {
	if r.seen < enough {
		return firstUsual
	}
	if r.usual == 0 {
		r.usual = r.Quantile(usual)
	}
	return r.usual
}

// Stall is how long a query may take before its place is given to another:
// three quarters of the usual time, between 150 ms and 1 s.
func (r *RTT) Stall() time.Duration {
	return min(max(time.Duration(stallPart*float64(r.Usual())), minStall), maxStall)
}

// Lost is how long the end of a search waits for a query: 1.65 times the usual
// time, between 300 ms and 2 s. Of the replies that come at all, all but two
// or three in a hundred have come by then.
func (r *RTT) Lost() time.Duration {
	return min(max(time.Duration(lostPart*float64(r.Usual())), minLost), maxLost)
}
