package server

import (
	"context"
	"sync"
	"time"
)

// A tracker that should be on from the start may find its port taken, by a
// program that is about to end or by one that stays; one that is on may lose a
// socket. It is tried again soon, then less and less often.
const (
	firstRetry = 5 * time.Second
	mostRetry  = 5 * time.Minute
)

// retry is what is left to do of a start that failed, or of a tracker that did.
type retry struct {
	at      time.Time          // of the next attempt; zero if there is none
	cancel  context.CancelFunc // nil if there is none
	running sync.WaitGroup
}

// end gives it up, or says that it is done. The caller holds Host.mu.
func (r *retry) end() {
	if r.cancel != nil {
		r.cancel()
	}
	r.at, r.cancel = time.Time{}, nil
}

// mend has a tracker started again that has stopped by itself.
func (h *Host) mend(r *run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == r && h.retry.cancel == nil { // nobody has stopped or started it meanwhile
		h.startLater()
	}
}

// startLater tries again to start, and calls late once that has worked. The
// caller holds h.mu.
func (h *Host) startLater() {
	late := h.late
	ctx, cancel := context.WithCancel(context.Background())
	h.retry.cancel, h.retry.at = cancel, time.Now().Add(firstRetry)
	h.retry.running.Go(func() {
		defer cancel()
		wait := firstRetry
		for started := false; !started; {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			wait = min(2*wait, mostRetry)
			started = h.startAgain(ctx, wait)
		}
		if late != nil {
			late()
		}
	})
}

// startAgain is one attempt, which is followed by another one in wait. It does
// nothing once ctx is done.
func (h *Host) startAgain(ctx context.Context, wait time.Duration) (started bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil { // it was stopped, or somebody else has started it
		return false
	}
	if err := h.start(); err != nil {
		h.retry.at = time.Now().Add(wait)
		h.log.Debug("the tracker still cannot listen", "listen", h.cfg.Listen, "err", err, "again in", wait)
		return false
	}
	return true
}
