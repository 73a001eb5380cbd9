package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"btd/metainfo"
	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
)

// wakeable tells whether a loop may run for e. The caller holds e.mu.
func (e *entry) wakeable() bool { return !e.removed && !e.fresh && !e.rec.Stopped && !e.queued }

// serves tells whether peers may be answered for e.
func (e *entry) serves() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wakeable() && !e.failing
}

// crowded tells whether many events wait for a loop that is not ready yet: it
// may wait for a disk that hangs.
func (e *entry) crowded() bool {
	t := e.running()
	return t != nil && !t.ready.Load() && !t.awaits.Load() && t.in.len() > 16
}

// wake returns e's loop, started if it does not run. It returns nil if none
// may run. force starts it for a torrent that is stopped as well.
func (s *Session) wake(e *entry, force bool) *torrent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return s.rouse(e, force)
}

// rouse is wake for a caller that holds e.mu.
func (s *Session) rouse(e *entry, force bool) *torrent {
	if e.run != nil {
		return e.run
	}
	if s.closing.Load() || e.removed || e.fresh || !force && !e.wakeable() {
		return nil
	}
	e.run = newTorrent(s, e)
	go e.run.run()
	return e.run
}

// deliver hands ev to e's loop, waking it if need be. It returns false if
// the torrent does not run.
func (s *Session) deliver(e *entry, ev event) bool {
	for range 3 {
		t := s.wake(e, false)
		if t == nil {
			return false
		}
		if t.in.post(ev) {
			return true
		}
		select {
		case <-t.done: // it was about to end: try the next one
		case <-s.ctx.Done():
			return false
		}
	}
	return false
}

// halt ends e's loop, if one runs, and waits for it.
func (s *Session) halt(ctx context.Context, e *entry) error {
	t := e.running()
	if t == nil {
		return nil
	}
	t.stop()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// start makes a torrent run again after stop.
func (s *Session) start(e *entry) error {
	if err := e.change(s.db, func(r *resume.Record) { r.Stopped = false }); err != nil {
		return err
	}
	e.clearProblem()
	s.refresh(e)
	s.queue.touch(e)
	return nil
}

// halted records that a torrent is stopped, and stops it.
func (s *Session) halted(ctx context.Context, e *entry, why string) error {
	if err := e.change(s.db, func(r *resume.Record) { r.Stopped = true }); err != nil {
		return err
	}
	s.announcer.stop(e)
	e.mu.Lock()
	e.problem, e.failing, e.queued = why, false, false
	e.mu.Unlock()
	err := s.halt(ctx, e)
	s.announcer.stop(e) // the loop may have begun announcing meanwhile
	s.refresh(e)
	s.queue.touch(e)
	return err
}

// refresh renews the picture of a torrent whose loop does not run.
func (s *Session) refresh(e *entry) {
	e.mu.Lock()
	if e.run != nil {
		e.mu.Unlock()
		return
	}
	old := e.view.Load()
	v := e.idleView()
	e.view.Store(v)
	e.mu.Unlock()
	if old == nil || old.State != v.State {
		s.hub.publish(EventState, e.hash, v, v.Error)
	}
}

// restate renews the picture of a torrent whose loop does not run if its state
// is no longer what it shows.
func (s *Session) restate(e *entry) {
	e.mu.Lock()
	v := e.view.Load()
	same := e.run != nil || v != nil && v.State == e.idleState()
	e.mu.Unlock()
	if !same {
		s.refresh(e)
	}
}

// remove forgets a torrent, and deletes its files if asked to.
func (s *Session) remove(ctx context.Context, e *entry, data bool) error {
	e.mu.Lock()
	twice := e.removed
	e.removed = true
	e.mu.Unlock()
	if twice { // somebody else is about it, or it is done
		return ErrNotFound
	}
	s.announcer.stop(e)
	if err := s.halt(ctx, e); err != nil {
		e.mu.Lock()
		e.removed = false
		e.mu.Unlock()
		s.queue.touch(e)
		return fmt.Errorf("stopping the torrent: %w", err)
	}
	s.announcer.stop(e) // the loop may have begun announcing meanwhile
	var gone error
	if data {
		gone = s.deleteFiles(e)
	}
	if err := s.db.Remove(e.hash); err != nil && !errors.Is(err, resume.ErrNotFound) {
		e.mu.Lock()
		e.removed = false
		e.mu.Unlock()
		s.queue.touch(e)
		return fmt.Errorf("forgetting the torrent: %w", err)
	}
	if err := s.db.Put(peersKey(e.hash), nil); err != nil {
		s.log.Warn("forgetting peers", "torrent", e.hash.String(), "err", err)
	}
	if err := s.db.Put(secretKey(e.hash), nil); err != nil {
		s.log.Warn("forgetting a secret", "torrent", e.hash.String(), "err", err)
	}
	s.dropScope(e)
	if err := s.forgetHeld(e); err != nil {
		s.log.Warn("forgetting held files", "torrent", e.hash.String(), "err", err)
	}
	if f := s.onRemove.Load(); f != nil {
		(*f)(e.hash)
	}
	s.reg.remove(e)
	s.vault.release(e)
	s.hub.publish(EventRemoved, e.hash, nil, "")
	s.queue.touch(e)
	return gone
}

func (s *Session) deleteFiles(e *entry) error {
	rec, _ := e.record()
	m, err := s.metainfo(e)
	if errors.Is(err, errNoMetadata) {
		return nil // nothing was written
	}
	if err != nil {
		return err
	}
	if shared := s.sharing(e, m, priorities(rec.Priorities, len(m.Files))); shared != nil {
		return fmt.Errorf("the torrent is removed, its files are kept: %s belongs to torrent %s as well", shared.path, shared.other)
	}
	theirs := s.foreign(e, m) // of those that are skipped
	users, err := s.neverHad(e, m, priorities(rec.Priorities, len(m.Files)))
	if err != nil {
		return fmt.Errorf("the torrent is removed, its files are kept: %w", err)
	}
	files, err := s.store.Open(storage.Options{
		Info: &m.Info, Dir: rec.Dir, Foreign: func(i int) bool { return users[i] || theirs != nil && theirs[i] },
	})
	if err != nil {
		return err
	}
	defer files.Close()
	if err := files.Remove(); err != nil {
		return fmt.Errorf("the torrent is removed, but not all of its files: %w", err)
	}
	return nil
}

// neverHad says of which skipped files a torrent has nothing: what is at their
// paths may be the user's own. Files that were wanted before are not among them.
func (s *Session) neverHad(e *entry, m *metainfo.Metainfo, prio []Priority) ([]bool, error) {
	geo, err := piece.NewGeometry(m.Total, m.PieceLength)
	if err != nil {
		return nil, err
	}
	have, err := s.db.Pieces(e.hash, geo.Pieces())
	if err != nil {
		return nil, err
	}
	known, err := s.db.Files(e.hash, len(m.Files))
	if err != nil {
		return nil, err
	}
	l := layout{&m.Info, geo}
	never := skips(prio)
	for i := range never {
		if known[i].Known || known[i].Dirty {
			never[i] = never[i] && !l.hasOf(i, have)
		}
	}
	return never, nil
}

// checkSeedLimits stops a torrent that has seeded enough.
func (t *torrent) checkSeedLimits() {
	if t.state() != StateSeeding {
		return
	}
	if why := t.s.seededEnough(t.e); why != "" {
		t.s.stopSoon(t.e, why)
	}
}

// seededEnough says which limit a complete torrent has reached, if any.
func (s *Session) seededEnough(e *entry) string {
	e.mu.Lock()
	ratio, seedTime, size := e.rec.RatioLimit, e.rec.SeedTime, e.rec.Size
	e.mu.Unlock()
	if ratio == 0 {
		ratio = s.cfg.RatioLimit
	}
	if seedTime == 0 {
		seedTime = s.cfg.SeedTime
	}
	switch {
	case ratio > 0 && size > 0 && float64(e.tot.up.Load()) >= ratio*float64(size):
		return fmt.Sprintf("stopped at ratio %.2f", ratio)
	case seedTime > 0 && time.Duration(e.tot.seeding.Load()) >= seedTime:
		return fmt.Sprintf("stopped after seeding for %s", seedTime)
	}
	return ""
}

// stopSoon stops a torrent from within its own loop.
func (s *Session) stopSoon(e *entry, why string) {
	if !e.stopping.CompareAndSwap(false, true) {
		return
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer e.stopping.Store(false)
		s.log.Info(why, "torrent", e.hash.String())
		if err := s.halted(s.ctx, e, why); err != nil {
			s.log.Warn("stopping a torrent", "torrent", e.hash.String(), "err", err)
		}
	}()
}
