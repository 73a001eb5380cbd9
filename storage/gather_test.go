package storage

import (
	"testing"
	"time"
)

// TestGather: pieces wait for each other only while many come in a short time.
func TestGather(t *testing.T) {
	now := time.Unix(0, 0)
	ripe := make(chan bool, 1)
	var g gather
	g.init(16, func() { ripe <- true })
	feed := func(n int, gap time.Duration) (waited int) {
		queued := 0
		for range n {
			now = now.Add(gap)
			queued++
			if !g.came(now, queued, false) {
				waited++
				continue
			}
			queued = 0
			g.took(now, queued)
		}
		return waited
	}
	if n := feed(100, linger); n != 0 {
		t.Errorf("%d of 100 pieces waited that came every %s", n, linger)
	}
	feed(48, linger/20)
	if n := feed(160, linger/20); n != 150 {
		t.Errorf("%d of 160 pieces waited that came every %s, want all but every 16th", n, linger/20)
	}
	if !g.came(now.Add(linger/20), 1, true) {
		t.Error("a piece in a hurry waits")
	}
	g.due = false
	if g.came(now.Add(linger/20), 1, false) {
		t.Error("a piece does not wait for the others that come")
	}
	select {
	case <-ripe:
	case <-time.After(time.Minute):
		t.Error("the wait never ends")
	}
	feed(100, linger)
	if n := feed(20, linger); n != 0 {
		t.Errorf("%d pieces wait though few come", n)
	}

	// The wait goes on while pieces come, but not for ever.
	feed(64, linger/20)
	begin := now
	for now.Sub(begin) < linger {
		if g.due = false; g.came(now, 1+int(now.Sub(begin)/(linger/20))%15, false) {
			t.Fatalf("a piece is due %s after the first", now.Sub(begin))
		}
		g.first = begin
		if now = now.Add(linger / 20); now.Sub(begin) < linger && g.rang(now) {
			t.Fatalf("the wait ended after %s though pieces come every %s", now.Sub(begin), linger/20)
		}
	}
	if !g.rang(now) {
		t.Errorf("a piece waits for more than %s", linger)
	}
	// It ends when no more come.
	g.due = false
	if g.came(now, 1, false) {
		t.Error("a piece does not wait for the others that come")
	}
	if now = now.Add((lull - 1) * linger / 20); g.rang(now) {
		t.Errorf("the wait ended with a lull of %s", (lull-1)*linger/20)
	}
	if now = now.Add(2 * linger / 20); !g.rang(now) {
		t.Errorf("the wait goes on in a lull of %s", (lull+1)*linger/20)
	}

	// What a worker leaves behind waits like the rest, unless there is enough
	// of it, or it is in a hurry.
	feed(64, linger/20)
	g.came(now, 19, false)
	if g.took(now, 3); g.due {
		t.Error("three pieces that are left do not wait")
	}
	g.came(now, 40, false)
	if g.took(now, 24); !g.due {
		t.Error("enough are left, and wait")
	}
	g.hurry()
	if g.took(now, 3); !g.due {
		t.Error("what is left waits in a hurry")
	}
	if g.took(now, 0); g.due || g.rush {
		t.Error("a hurry goes on when nothing is left")
	}

	var alone gather
	alone.init(1, nil)
	for i := range 100 {
		if !alone.came(now.Add(time.Duration(i)), 1, false) {
			t.Fatal("a piece waits where the processor has no lanes")
		}
	}
}
