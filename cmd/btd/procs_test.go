package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestProcessorsInUse: fewer are used where the machine is busy and btd has no use
// for them, and all again at once.
func TestProcessorsInUse(t *testing.T) {
	type look struct {
		own, free float64
		want      int
	}
	for name, c := range map[string]struct {
		full  int
		looks []look
	}{
		"one of many on a busy machine": {2, []look{{0.3, 0, 2}, {0.3, 0, 2}, {0.3, 0, 1}, {0.5, 0.1, 1}}},
		"a moment is not enough":        {2, []look{{0.3, 0, 2}, {0.3, 0, 2}, {0.3, 0.5, 2}, {0.3, 0, 2}, {0.3, 0, 2}, {1, 0, 2}, {0.3, 0, 2}}},
		"the machine has room":          {2, []look{{0.3, 0, 2}, {0.3, 0, 2}, {0.3, 0, 1}, {0.3, 0.2, 2}}},
		"it wants more":                 {2, []look{{0.3, 0, 2}, {0.3, 0, 2}, {0.3, 0, 1}, {0.7, 0, 2}}},
		"it uses what it has":           {2, []look{{1, 0, 2}, {1, 0, 2}, {1, 0, 2}, {1.9, 0, 2}}},
		"one of sixteen":                {16, []look{{3, 0, 16}, {3, 0, 16}, {3, 0, 5}, {4, 0, 7}, {15, 0, 16}}},
		"nothing was used":              {4, []look{{0, 0, 4}, {0, 0, 4}, {0, 0, 1}}},
	} {
		x := choice{full: c.full, now: c.full}
		for i, l := range c.looks {
			if n := x.look(l.own, l.free); n != l.want {
				t.Errorf("%s, look %d: %d processors, want %d", name, i, n, l.want)
			}
		}
	}
}

// TestShareOfABusyMachine: where others want all that there is and each thread gets
// the same, btd gets about what it would with all of its own; where it wants little,
// it keeps to one processor.
func TestShareOfABusyMachine(t *testing.T) {
	for name, c := range map[string]struct {
		full   int
		others float64 // threads that never rest
		wants  float64 // processors
		fewer  bool
	}{
		"two processors, five others":     {2, 5, 2, false},
		"two processors, twenty others":   {2, 20, 2, false},
		"sixteen processors, 32 others":   {16, 32, 16, false},
		"sixteen processors, 48 others":   {16, 48, 16, false},
		"a download of a fast line":       {2, 5, 0.15, true},
		"the same, on sixteen processors": {16, 32, 0.15, true},
	} {
		x := choice{full: c.full, now: c.full}
		share := func(n int) float64 {
			return min(c.wants, float64(n)*float64(c.full)/(float64(n)+c.others))
		}
		const looks = 10_000
		got, few := 0.0, 0
		for range looks {
			if x.now == 1 {
				few++
			}
			own := share(x.now)
			got += own
			x.look(own, 0)
		}
		if all := looks * share(c.full); got < 0.93*all {
			t.Errorf("%s: it gets %.2f of what it would with all processors", name, got/all)
		}
		if c.fewer && few < looks*9/10 {
			t.Errorf("%s: one processor in %d of %d looks", name, few, looks)
		}
	}
}

// TestWatchWhileContentMoves: nobody looks before content is moved, nor long after,
// and what was taken away is given back.
func TestWatchWhileContentMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{own: 0.3, n: 2}
		p := &procs{
			wakeup: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler),
			full: func() int { return 2 }, set: m.set, read: m.read,
		}
		end := p.begin(t.Context())
		time.Sleep(time.Hour)
		if _, looks := m.after(0); looks != 0 {
			t.Errorf("%d looks before content was moved", looks)
		}
		p.wake()
		p.wake() // of another block
		if n, looks := m.after(4*lookEvery + lookEvery/2); n != 1 || looks != 5 {
			t.Errorf("%d processors after %d looks, want 1 after 5", n, looks)
		}
		m.uses(1.2)
		if n, _ := m.after(lookEvery); n != 2 {
			t.Errorf("%d processors where 1.2 are used, want 2", n)
		}
		m.uses(0.01)
		if n, _ := m.after(4 * lookEvery); n != 1 {
			t.Errorf("%d processors where none is used, want 1", n)
		}
		for range 30 { // content that takes next to no time is content as well
			p.wake()
			_, before := m.after(0)
			if _, looks := m.after(lookEvery); looks != before+1 {
				t.Fatalf("%d looks while content was moved, want 1", looks-before)
			}
		}
		if n, looks := m.after(time.Hour); n != 2 || looks > 60 {
			t.Errorf("%d processors after %d looks when nothing is moved, want 2 after few", n, looks)
		}
		p.wake()
		if n, _ := m.after(5 * lookEvery); n != 1 {
			t.Errorf("%d processors when content is moved again, want 1", n)
		}
		end()
		if n, _ := m.after(0); n != 2 {
			t.Errorf("%d processors at the end, want 2", n)
		}
	})
}

// machine is one of two processors that are both busy.
type machine struct {
	mu    sync.Mutex
	own   float64 // processors that btd uses
	last  usage
	looks int
	n     int // processors that Go code runs on
}

func (m *machine) set(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n = n; n == 0 {
		m.n = 2
	}
}

func (m *machine) read() (usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	if now := time.Now(); m.last.at.IsZero() {
		m.last.at = now
	} else {
		d := now.Sub(m.last.at)
		m.last = usage{at: now, own: m.last.own + time.Duration(m.own*float64(d)), total: m.last.total + 2*d}
	}
	return m.last, nil
}

func (m *machine) uses(own float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own = own
}

func (m *machine) after(d time.Duration) (n, looks int) {
	time.Sleep(d)
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n, m.looks
}

// TestNoLookWithoutFigures: a system that does not tell is not asked again, and
// who moves content does not wait.
func TestNoLookWithoutFigures(t *testing.T) {
	looks := 0
	p := &procs{
		wakeup: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler), full: func() int { return 2 },
		set:  func(n int) { t.Errorf("set to %d", n) },
		read: func() (usage, error) { looks++; return usage{}, errors.New("no such file") },
	}
	end := p.begin(context.Background())
	p.wake()
	for range 100 {
		p.wake()
	}
	for deadline := time.Now().Add(time.Minute); len(p.wakeup) > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	end()
	if looks != 1 {
		t.Errorf("%d looks, want 1", looks)
	}
}
