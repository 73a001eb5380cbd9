package session

import (
	"context"
	"errors"
	"testing"
)

// within runs f in the loop of c, which is woken if it sleeps. f must not end the test.
func within(t *testing.T, s *Session, c content, f func(t *torrent)) {
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
