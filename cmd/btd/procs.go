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
	quietLooks = 10                     // with next to nothing used, before nobody looks any more
	quietUse   = 0.05                   // processors that are next to nothing

	// spareShare is the part of the machine that is free at least where
	// nothing has to be saved.
	spareShare = 0.15

	// wellUsed is how far each processor that btd runs on should be used, so
	// that there is room to see that it wants more.
	wellUsed = 0.6
)

// procs holds Go code to as many processors as btd has use for while the
// machine is busy and others wait. Where seven btds share two processors, each with two of its own,
// they take work from each other's caches. See docs/decisions/0016.
type procs struct {
	awake  atomic.Bool
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
	if !p.awake.Load() && !p.awake.Swap(true) {
		p.wakeup <- struct{}{}
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
			return // and nobody wakes it again
		}
		p.awake.Store(false)
	}
}

// watch looks until nothing is moved any more, and then gives back what it took.
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
		u, err := p.read()
		if err != nil {
			return err
		}
		own, free := last.until(u)
		if last = u; own > quietUse {
			quiet = 0
		}
		before := c.now
		if c.look(own, free) == before {
			continue
		}
		p.log.Debug("processors that are used", "n", c.now, "use", own, "machine free", free)
		if c.now == c.full {
			p.set(0)
		} else {
			p.set(c.now)
		}
	}
	return nil
}

// until is how many processors the process used from u to v, and which part of
// the machine was free.
func (u usage) until(v usage) (own, free float64) {
	d := max(v.at.Sub(u.at), time.Millisecond)
	free = 1 // nothing was counted
	if all := v.total - u.total; all > 0 {
		free = float64(v.free-u.free) / float64(all)
	}
	return float64(v.own-u.own) / float64(d), free
}

// choice is how many processors are used.
type choice struct {
	full int  // that there are
	now  int  // that are used
	low  bool // the last look said fewer
}

// look takes in how many processors the process used and which part of the
// machine was free since the last look. More are used at once, fewer when two
// looks say so.
func (c *choice) look(own, free float64) int {
	want := c.full
	if free < spareShare {
		want = min(c.full, max(1, int(math.Ceil(own/wellUsed))))
	}
	low := want < c.now
	if want > c.now || low && c.low {
		c.now = want
	}
	c.low = low
	return c.now
}
