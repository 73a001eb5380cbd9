package lookup

import (
	"math"
	"time"
)

// Bounds of the stall time.
const (
	minStall   = 150 * time.Millisecond
	maxStall   = time.Second
	firstStall = 500 * time.Millisecond // until enough replies were seen
	enough     = 16
)

// The histogram's bins: each is a twelfth wider than the one before.
const (
	bins     = 80
	firstBin = 4 * time.Millisecond
	binRatio = 13.0 / 12
	memory   = 256 // replies, before their weight is halved
)

// RTT estimates how long replies take, from the recent ones. One is shared by
// all searches of a node and family. The zero value is ready.
type RTT struct {
	count [bins]uint32
	total uint32
	seen  uint64
	stall time.Duration // of the counts as they are; 0 is not computed
}

// Add tells of the time that one reply took, late ones too.
func (r *RTT) Add(rtt time.Duration) {
	at := 0
	if rtt > firstBin {
		at = min(bins-1, 1+int(math.Log(float64(rtt)/float64(firstBin))/math.Log(binRatio)))
	}
	r.count[at]++
	r.total++
	r.seen++
	r.stall = 0
	if r.total < memory {
		return
	}
	r.total = 0
	for i := range r.count {
		r.count[i] /= 2
		r.total += r.count[i]
	}
}

// Quantile is the time that a share q of the recent replies took at most; 0 if
// there was none yet.
func (r *RTT) Quantile(q float64) time.Duration {
	if r.total == 0 {
		return 0
	}
	need := uint32(math.Ceil(q * float64(r.total)))
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

// Stall is how long a query may take before its place is given to another:
// 1.25 times what nine in ten replies take, between 150 ms and 1 s.
func (r *RTT) Stall() time.Duration {
	if r.seen < enough {
		return firstStall
	}
	if r.stall == 0 {
		r.stall = min(max(r.Quantile(0.9)*5/4, minStall), maxStall)
	}
	return r.stall
}
