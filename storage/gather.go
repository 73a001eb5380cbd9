package storage

import "time"

const (
	// linger is how long a piece waits at most for others to be hashed with.
	linger = 100 * time.Millisecond

	// worthwhile is how many pieces have to come in that time for the wait to
	// pay.
	worthwhile = 8

	// longGap is what a longer time between two pieces counts as, so that one
	// pause is soon forgotten.
	longGap = linger / 4

	// lull is how many times the usual gap passes without a piece before the
	// wait ends, since no more seem to come; leastLull is the least of it.
	lull      = 4
	leastLull = 25 * time.Millisecond
)

// gather decides when pieces that are queued go to a worker: at once, or, while
// they come so fast that it pays, when there are enough to be hashed side by
// side. It is guarded by queue.mu.
type gather struct {
	enough int           // pieces that need not wait
	gap    time.Duration // between pieces that were queued, a moving average
	first  time.Time     // when the one was queued that waits longest
	last   time.Time     // when one was queued
	due    bool          // what is queued may be taken
	rush   int           // those who wait until all that is queued was taken
	armed  bool          // the timer runs
	timer  *time.Timer
	ripe   func() // called when the timer runs out
}

func (g *gather) init(lanes int, ripe func()) {
	g.enough = lanes
	g.gap = longGap
	g.ripe = ripe
}

// came notes that a piece was queued, that there are so many now, whether it is
// another one than that before it, and whether it is in a hurry. It tells whether
// what is queued is due. More of the same piece does not count: the next of it
// comes when this was hashed.
func (g *gather) came(now time.Time, queued int, other, hurry bool) bool {
	if g.enough > 1 && other {
		g.gap += (min(now.Sub(g.last), longGap) - g.gap) / 8
		g.last = now
	}
	if queued == 1 {
		g.first = now
	}
	g.due = g.due || hurry || g.rush > 0 || g.enoughOf(queued)
	if !g.due && !g.armed {
		g.arm(g.patience(now))
	}
	return g.due
}

// took notes that a worker took pieces, how many are left, and whether those are
// in a hurry. Else they wait for more like those before them.
func (g *gather) took(now time.Time, queued int, hurry bool) {
	if queued == 0 {
		g.due = false
		return
	}
	g.first = now
	d := g.patience(now)
	g.due = hurry || g.rush > 0 || g.enoughOf(queued) || d <= 0
	if !g.due && !g.armed {
		g.arm(d)
	}
}

// hurry makes all due that is queued, and what will be, until calm is called.
func (g *gather) hurry() {
	g.due = true
	g.rush++
}

func (g *gather) calm() { g.rush-- }

// enoughOf tells whether n pieces need not wait for more.
func (g *gather) enoughOf(n int) bool {
	return n >= g.enough || g.gap*worthwhile > linger
}

// patience is how long what is queued waits yet; no more if it is not above 0.
func (g *gather) patience(now time.Time) time.Duration {
	quiet := max(lull*g.gap, leastLull)
	return min(linger-now.Sub(g.first), quiet-now.Sub(g.last))
}

func (g *gather) arm(d time.Duration) {
	g.armed = true
	if g.timer == nil {
		g.timer = time.AfterFunc(d, g.ripe)
	} else {
		g.timer.Reset(d)
	}
}

// rang notes that the timer ran out while pieces are queued. It tells whether
// they are due; if not, it rings again.
func (g *gather) rang(now time.Time) bool {
	g.armed = false
	if d := g.patience(now); !g.due && d > 0 {
		g.arm(d)
		return false
	}
	g.due = true
	return true
}
