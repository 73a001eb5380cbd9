package session

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestLateLoop has readers give up on a loop that answers a second later: what
// it then writes is not what they have returned. Who changes something waits.
func TestLateLoop(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 100000, "b": 100000})
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	s.byWire(c.meta.Hash.Wire()).running().tell(func(*torrent) { time.Sleep(askTimeout + time.Second) })
	var wg sync.WaitGroup
	wg.Go(func() {
		if p, err := s.Peers(c.meta.Hash); err != nil || p == nil || len(p) != 0 {
			t.Errorf("peers %v, %v", p, err)
		}
	})
	wg.Go(func() {
		if have, _, err := s.Pieces(c.meta.Hash); err != nil || have.Len() != c.meta.Pieces() || have.Count() != 0 {
			t.Errorf("pieces %v, %v", have, err)
		}
	})
	wg.Go(func() {
		if err := s.SetPriorities(t.Context(), c.meta.Hash, map[int]Priority{1: Skip}); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	if f, err := s.Files(c.meta.Hash); err != nil || f[1].Priority != Skip {
		t.Errorf("files %+v, %v", f, err)
	}
	await(t, s, c, "one file to be skipped", func(v Torrent) bool { return v.Wanted == 100000 })
}

// TestPrioritiesOfWhoGaveUp has a user go away while the loop is late: what was
// recorded reaches the loop all the same.
func TestPrioritiesOfWhoGaveUp(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 100000, "b": 100000})
	s := open(t, nil)
	add(t, s, c, AddOptions{}) // it finds nobody
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	e := s.byWire(c.meta.Hash.Wire())
	for deadline := time.Now().Add(time.Minute); !e.running().ready.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the loop is not ready")
		}
	}
	gate := make(chan struct{})
	e.running().tell(func(*torrent) { <-gate })
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- s.SetPriorities(ctx, c.meta.Hash, map[int]Priority{1: Skip}) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if r, _ := e.record(); r.Priorities != nil {
			break
		}
		if time.Now().After(deadline) {
			close(gate)
			t.Fatal("the priorities are not recorded")
		}
	}
	cancel()
	if err := <-gone; err == nil {
		t.Error("a loop that does not answer has taken them")
	}
	close(gate)
	await(t, s, c, "one file to be skipped", func(v Torrent) bool { return v.Wanted == 100000 })
}

// TestStopWhilePrioritiesWait stops a torrent whose loop has priorities to take
// over, while somebody who changes them waits for that loop.
func TestStopWhilePrioritiesWait(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 100000, "b": 100000})
	s := open(t, nil)
	add(t, s, c, AddOptions{})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	e := s.byWire(c.meta.Hash.Wire())
	e.arranging.Lock() // as SetPriorities does until the loop has answered or ended
	defer e.arranging.Unlock()
	inLoop(t, s, c, func(t *torrent) { t.arrangeSoon() })
	over := make(chan error, 1)
	go func() { over <- s.Stop(t.Context(), c.meta.Hash) }()
	until(t, "end of the loop", func() bool { return e.running() == nil })
	if err := <-over; err != nil {
		t.Error(err)
	}
}
