package table

import "time"

// Failing reports whether more than a fifth of the last ten nodes that Upkeep
// asked, and that were good before, did not answer while our link works. It
// stays so until all nodes that were good then have been asked.
func (t *Table) Failing() bool { return !t.keeper.sweep.IsZero() }

// report notes how a query of upkeep ended. Only nodes that answered not long
// before say something about the table.
func (t *Table) report(e *entry, ok bool) {
	k := &t.keeper
	if e.probing && e.fails == 0 && e.live && e.asked.Sub(e.answered) < freshLarge*2 {
		k.results[k.counted%window] = !ok
		k.counted++
		if ok {
			k.streak++
		} else {
			if k.streak >= longStreak {
				k.turned = e.asked
			}
			k.streak = 0
		}
	}
	e.probing = false
}

// alarm begins a sweep if too many queries failed.
func (t *Table) alarm(now time.Time) {
	k := &t.keeper
	if k.counted < window || t.LinkDown() {
		return
	}
	failed := 0
	for _, f := range k.results {
		if f {
			failed++
		}
	}
	switch {
	case failed*5 <= window:
	case !t.Failing():
		k.sweep, k.before = now, t.good
	case k.turned.After(k.sweep):
		k.sweep = k.turned // those who answered before may be dead as well
	}
}

// calm ends a sweep: everybody was asked. If many are missing, others may be
// looked for faster than otherwise for a while.
func (t *Table) calm(now time.Time) {
	k := &t.keeper
	k.sweep, k.counted = time.Time{}, 0
	if t.good*10 < k.before*9 {
		k.began = now.Add(-starting)
	}
}
