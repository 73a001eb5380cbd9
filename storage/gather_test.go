package storage

import (
	"testing"
	"time"

	"btd/piece"
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
			if !g.came(now, queued, true, false) {
				waited++
				continue
			}
			queued = 0
			g.took(now, queued, false)
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
	if !g.came(now.Add(linger/20), 1, true, true) {
		t.Error("a piece in a hurry waits")
	}
	g.due = false
	if g.came(now.Add(linger/20), 1, true, false) {
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
		if g.due = false; g.came(now, 1+int(now.Sub(begin)/(linger/20))%15, true, false) {
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
	if g.came(now, 1, true, false) {
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
	g.came(now, 19, true, false)
	if g.took(now, 3, false); g.due {
		t.Error("three pieces that are left do not wait")
	}
	g.came(now, 40, true, false)
	if g.took(now, 24, false); !g.due {
		t.Error("enough are left, and wait")
	}
	g.hurry()
	if g.took(now, 3, false); !g.due {
		t.Error("what is left waits in a hurry")
	}
	if g.took(now, 0, false); g.due {
		t.Error("nothing is left, and due")
	}
	if !g.came(now, 1, true, false) {
		t.Error("what comes while somebody is in a hurry waits")
	}
	g.calm()
	if g.took(now, 3, false); g.due {
		t.Error("a hurry goes on when it is over")
	}
	if g.took(now, 3, true); !g.due {
		t.Error("what is left waits though memory is short")
	}

	// One piece after another, each in many parts: nothing comes to be hashed with
	// the parts, however fast they come.
	var parts gather
	parts.init(16, func() {})
	for i := range 100 {
		now = now.Add(linger / 20)
		if parts.came(now, 1, i%16 == 0, false) {
			parts.took(now, 0, false)
		} else if parts.patience(now) > 0 {
			t.Fatalf("part %d waits", i)
		}
	}

	var alone gather
	alone.init(1, nil)
	for i := range 100 {
		if !alone.came(now.Add(time.Duration(i)), 1, true, false) {
			t.Fatal("a piece waits where the processor has no lanes")
		}
	}
}

// TestGatherPartsOfAPiece has waits that never end: what is behind and what is
// flushed must not begin one.
func TestGatherPartsOfAPiece(t *testing.T) {
	const parts = 8
	r := newRig(t, makeFixture(t, parts<<20, file{"fixture", 2 * parts << 20, false}), Config{Workers: 2}, Options{Create: true})
	q := &r.s.queue
	stand := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.gather.enough, q.gather.gap, q.gather.ripe = 1000, 0, func() {}
	}
	stand()
	r.write(0)
	q.mu.Lock()
	w := r.tor.work.pieces[0]
	if w == nil || w.where != workQueued || w.prefix != 0 {
		t.Error("the piece does not wait for others")
	}
	q.gather.due = true
	q.wake()
	q.mu.Unlock()
	all := r.geo.Blocks(0)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		hashed := w.prefix
		q.mu.Unlock()
		if hashed >= all-all/parts {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d blocks that wait are hashed", hashed, all)
		}
	}
	stand()
	r.write(piece.Index(1))
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		r.tor.Flush()
	}()
	select {
	case <-flushed:
	case <-time.After(time.Minute):
		t.Fatal("a flush waits for more pieces")
	}
	r.wantAll()
}
