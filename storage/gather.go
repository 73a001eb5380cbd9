package storage

import "time"

const (
	// linger is how long a piece waits at most for others to be hashed with.
	linger = 25 * time.Millisecond

	// worthwhile is how many pieces have to come in that time for the wait to
	// pay.
	worthwhile = 5
)

// gather decides when pieces that are queued go to a worker: at once, or, while
// they come so fast that it pays, when there are enough to be hashed side by
// side. It is guarded by queue.mu.
type gather struct {
	enough int           // pieces that need not wait
	gap    time.Duration // between pieces that were queued, a moving average
	last   time.Time     // when one was queued
	due    bool          // what is queued may be taken
	armed  bool          // the timer runs
	timer  *time.Timer
	ripe   func() // called when the wait is over
}

func (g *gather) init(lanes int, ripe func()) {
	g.enough = max(lanes*3/4, min(lanes, 8))
	g.gap = 10 * linger
	g.ripe = ripe
}

// came notes that a piece was queued, that there are so many now, and whether
// it is in a hurry. It tells whether what is queued is due.
func (g *gather) came(now time.Time, queued int, hurry bool) bool {
	if g.enough > 1 {
		g.gap += (min(now.Sub(g.last), 10*linger) - g.gap) / 8
		g.last = now
	}
	g.due = g.due || hurry || queued >= g.enough || g.gap*worthwhile > linger
	if !g.due && !g.armed {
		g.armed = true
		if g.timer == nil {
			g.timer = time.AfterFunc(linger, g.ripe)
		} else {
			g.timer.Reset(linger)
		}
	}
	return g.due
}
