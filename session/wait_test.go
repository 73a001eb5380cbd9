package session

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must come: far longer than it
// takes on a machine that has something else to do.
const patience = 60 * time.Second

// patient looks until cond is true, and says whether it ever was. Time in which
// nobody looked counts little: the whole process may have had no turn.
func patient(cond func() bool) bool {
	const atMost = 5 * time.Second // between two looks
	spent, last := time.Duration(0), time.Now()
	for !cond() {
		if spent > patience {
			return false
		}
		time.Sleep(5 * time.Millisecond)
		now := time.Now()
		spent += min(now.Sub(last), atMost)
		last = now
	}
	return true
}

// until waits for a condition that some other goroutine brings about.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !patient(cond) {
		t.Fatalf("still waiting for the %s", what)
	}
}

// await waits until c is in the state that ok describes. That has to be a state
// that stays: one that passes may have passed before it is looked at.
func await(t *testing.T, s *Session, c content, what string, ok func(Torrent) bool) Torrent {
	t.Helper()
	var v Torrent
	seen := patient(func() bool {
		var err error
		if v, err = s.Torrent(c.meta.Hash); err != nil {
			t.Fatal(err)
		}
		return ok(v)
	})
	if !seen {
		t.Fatalf("still waiting for %s: %+v", what, v)
	}
	return v
}

func complete(v Torrent) bool { return v.State == StateSeeding && v.HaveWanted == v.Wanted }

// awaitCounter waits until a counter of s has the value n: connections are
// closed before they are counted.
func awaitCounter(t *testing.T, s *Session, name string, n int64) {
	t.Helper()
	var got int64
	patient(func() bool {
		got = s.Stats().Counters[name]
		return got >= n
	})
	if got != n {
		t.Errorf("%s: %d counted, want %d", name, got, n)
	}
}

// awaitStates waits until the torrents are in these states. More than one may
// be downloading only while one takes the place of another.
func awaitStates(t *testing.T, s *Session, all [3]content, want ...State) {
	t.Helper()
	var got []State
	single, looks := time.Now(), 0
	seen := patient(func() bool {
		same, active := true, 0
		got = got[:0]
		for i, c := range all {
			e := s.byWire(c.meta.Hash.Wire())
			v := e.view.Load()
			got = append(got, v.State)
			same = same && v.State == want[i]
			if t := e.running(); t != nil && v.State == StateDownloading {
				active++
			}
		}
		if looks++; active <= 1 {
			single, looks = time.Now(), 0
		} else if time.Since(single) > 20*time.Second && looks > 100 {
			t.Fatalf("%d torrents download at a time: %v", active, got)
		}
		return same
	})
	if !seen {
		t.Fatalf("states %v, want %v", got, want)
	}
}

// inLoop runs f in the loop of c, which is woken if it sleeps. f must not end
// the test.
func inLoop(t *testing.T, s *Session, c content, f func(t *torrent)) {
	t.Helper()
	e, err := s.find(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		loop := s.wake(e, false)
		if loop == nil {
			t.Fatalf("no loop may run: %+v", e.picture())
		}
		err := loop.ask(ctx, f)
		if err == nil {
			return
		}
		if !errors.Is(err, errGone) {
			t.Fatalf("the loop does not answer: %v", err)
		}
		<-loop.done
	}
}

// goroutines is the stacks of those that are there now.
func goroutines() []string {
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return strings.Split(string(buf[:n]), "\n\n")
		}
	}
}
