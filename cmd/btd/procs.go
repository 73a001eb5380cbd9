package main

import (
	"context"
	"log/slog"
	"math"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	lookEvery  = 100 * time.Millisecond // while content is moved
	quietLooks = 10                     // without, before nobody looks any more

	// spareShare is the part of the machine that is free at least where
	// nothing has to be saved.
	spareShare = 0.15

	// wellUsed is how far each processor that btd runs on should be used, so
	// that there is room to see that it wants more.
	wellUsed = 0.6

	lowLooks   = 3    // in a row that say fewer, before there are
	trialLooks = 5    // after which it shows whether that was right
	lostShare  = 0.65 // of what btd had; if it gets less than that with fewer, it was not
	againLooks = 100  // then all are used for so long; and where it was right, it is tried again after as many
)

// procs holds Go code to as many processors as btd has use for while the
// machine is busy and others wait. Where seven btds share two processors, each with two of its own,
// they take work from each other's caches. See docs/decisions/0016.
type procs struct {
	moved  atomic.Bool   // content was, since the last look
	wakeup chan struct{} // capacity 1
	full   func() int    // processors that there are for the process
	read   func() (usage, error)
	set    func(n int) // 0 is all
	log    *slog.Logger
}

// usage is what was used since the start of something, each only to be compared
// with itself.
type usage struct {
	at          time.Time
	own         time.Duration // processor time of this process
	free, total time.Duration // of all processors of the machine: idle, and all
}

// newProcs is ready to run, or nil if there is nothing to decide: one processor, a
// number that the user set, or a system that does not tell.
func newProcs(log *slog.Logger) *procs {
	read := usageReader()
	if read == nil || runtime.GOMAXPROCS(0) < 2 || os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return &procs{
		wakeup: make(chan struct{}, 1), log: log, read: read,
		full: func() int { return runtime.GOMAXPROCS(0) },
		set: func(n int) {
			if n == 0 {
				runtime.SetDefaultGOMAXPROCS() // which also follows the limits of a container
			} else {
				runtime.GOMAXPROCS(n)
			}
		},
	}
}

// wake says that content is moved. It never blocks, and may be called for each
// block.
func (p *procs) wake() {
	if p.moved.Load() || p.moved.Swap(true) {
		return
	}
	select {
	case p.wakeup <- struct{}{}:
	default:
	}
}

// begin runs p until ctx ends or end is called, which waits for it.
func (p *procs) begin(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// run looks at the machine as long as content is moved, until ctx ends.
func (p *procs) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wakeup:
		}
		if err := p.watch(ctx); err != nil {
			p.log.Debug("the machine does not tell how busy it is", "err", err)
			return
		}
	}
}

// watch looks until nothing was moved for a while, and gives back what it took.
func (p *procs) watch(ctx context.Context) error {
	c := choice{full: p.full()}
	c.now = c.full
	defer func() {
		if c.now != c.full {
			p.set(0)
		}
	}()
	last, err := p.read()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for quiet := 0; quiet < quietLooks; quiet++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		select { // first: who moves something after the next line may not be missed
		case <-p.wakeup:
		default:
		}
		if p.moved.Swap(false) {
			quiet = 0
		}
		u, err := p.read()
		if err != nil {
			return err
		}
		own, free := last.until(u)
		last = u
		before := c.now
		if c.now == c.full {
			c.full = p.full() // it may have changed
			c.now = c.full
		}
		switch c.look(own, free) {
		case before:
			continue
		case c.full:
			p.set(0)
		default:
			p.set(c.now)
		}
		p.log.Debug("processors that are used", "n", c.now, "use", own, "machine free", free)
	}
	return nil
}

// until is how many processors the process used from u to v, and which part of
// the machine was free.
func (u usage) until(v usage) (own, free float64) {
	d := max(v.at.Sub(u.at), time.Millisecond)
	free = 1 // nothing was counted
	if all := v.total - u.total; all > 0 {
		free = max(0, float64(v.free-u.free)/float64(all)) // what waits for disks may go back, says proc(5)
	}
	return float64(v.own-u.own) / float64(d), free
}

// choice is how many processors are used.
type choice struct {
	full int // that there are
	now  int // that are used

	low   int     // looks in a row that said fewer
	lowed float64 // what they saw used, together
	had   float64 // what was used with all
	looks int     // since there are fewer
	got   float64 // what they saw used, together
	rest  int     // looks before there may be fewer again
}

// look takes in how many processors the process used and which part of the
// machine was free since the last look. More are used at once, fewer when
// several looks say so. If the process then gets less than it had, since others
// want all that there is, it was wrong. Whether it is right is tried again
// after a while.
func (c *choice) look(own, free float64) int {
	want := c.full
	if free < spareShare {
		want = min(c.full, max(1, int(math.Ceil(own/wellUsed))))
	}
	c.rest = max(0, c.rest-1)
	if c.now < c.full {
		c.looks++
		c.got += own
		switch {
		case c.looks == trialLooks && c.got < lostShare*c.had*trialLooks:
			c.rest, want = againLooks, c.full
		case c.looks == againLooks:
			want = c.full
		}
	}
	if want >= c.now || c.rest > 0 || c.now < c.full && c.looks < trialLooks {
		c.now, c.low, c.lowed = max(c.now, want), 0, 0
		return c.now
	}
	c.low++
	c.lowed += own
	if c.low < lowLooks {
		return c.now
	}
	if c.now == c.full {
		c.had = c.lowed / lowLooks
	}
	c.now, c.low, c.lowed = want, 0, 0
	c.looks, c.got = 0, 0
	return c.now
}
