package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"btd/metainfo"
	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
	"btd/tracker"
)

// errGone is what ask returns if the loop ended before it answered.
var errGone = errors.New("the torrent's loop ended")

// askTimeout bounds how long a reader waits for a loop.
const askTimeout = 5 * time.Second

// look runs f in e's loop, if one is ready, and tells whether it did.
func (s *Session) look(e *entry, f func(t *torrent)) bool {
	t := e.running()
	return t != nil && t.ready.Load() && s.inLoop(t, f)
}

// peek is look for what makes sense without metainfo too: the loop may still
// wait for it.
func (s *Session) peek(e *entry, f func(t *torrent)) bool {
	t := e.running()
	return t != nil && (t.ready.Load() || t.awaits.Load()) && s.inLoop(t, f)
}

// inLoop runs f in t's loop and tells whether it did. If not, a loop that is
// very late may still run f some time after: what f writes to is then the
// loop's, not the caller's.
func (s *Session) inLoop(t *torrent, f func(t *torrent)) bool {
	ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
	defer cancel()
	return t.ask(ctx, f) == nil
}

// Files pictures a torrent's files.
func (s *Session) Files(h metainfo.Hash) ([]File, error) {
	e, err := s.find(h)
	if err != nil {
		return nil, err
	}
	var out []File
	if s.look(e, func(t *torrent) { out = t.fileViews() }) {
		return out, nil
	}
	l, have, err := s.atRest(e)
	if errors.Is(err, errNoMetadata) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec, _ := e.record()
	return fileViews(l, priorities(rec.Priorities, len(l.info.Files)), have), nil
}

// atRest reads what the resume database knows of a torrent without a loop.
func (s *Session) atRest(e *entry) (layout, *piece.Bitfield, error) {
	m, err := s.metainfo(e)
	if err != nil {
		return layout{}, nil, err
	}
	geo, err := piece.NewGeometry(m.Total, m.PieceLength)
	if err != nil {
		return layout{}, nil, err
	}
	have, err := s.db.Pieces(e.hash, geo.Pieces())
	if err != nil {
		return layout{}, nil, err
	}
	for _, i := range e.log.losses() { // its last loop could not record them
		have.Clear(i)
	}
	return layout{&m.Info, geo}, have, nil
}

// fileViews pictures files.
func fileViews(l layout, prio []Priority, have *piece.Bitfield) []File {
	out := make([]File, len(l.info.Files))
	for i, f := range l.info.Files {
		out[i] = File{Index: i, Path: f.Path, Size: f.Length, Have: haveOf(l, i, have), Priority: prio[i], Pad: f.Pad}
	}
	return out
}

// Peers pictures a torrent's connected peers.
func (s *Session) Peers(h metainfo.Hash) ([]Peer, error) {
	e, err := s.find(h)
	if err != nil {
		return nil, err
	}
	var out []Peer
	if !s.peek(e, func(t *torrent) { out = t.peerViews() }) {
		return []Peer{}, nil
	}
	return out, nil
}

// Pieces says which pieces a torrent has, and how many connected peers have
// each (nil while it does not run).
func (s *Session) Pieces(h metainfo.Hash) (have *piece.Bitfield, availability []uint16, err error) {
	e, err := s.find(h)
	if err != nil {
		return nil, nil, err
	}
	var pieces *piece.Bitfield
	var counts []uint16
	ok := s.look(e, func(t *torrent) {
		pieces = t.pick.Have().Clone()
		counts = make([]uint16, t.geo.Pieces())
		for i := range counts {
			counts[i] = uint16(min(t.pick.Availability(piece.Index(i)), 1<<16-1))
		}
	})
	if ok {
		return pieces, counts, nil
	}
	_, have, err = s.atRest(e)
	if errors.Is(err, errNoMetadata) {
		return piece.NewBitfield(0), nil, nil
	}
	return have, nil, err
}

// SetPriorities changes the priorities of some files, by their index.
func (s *Session) SetPriorities(ctx context.Context, h metainfo.Hash, want map[int]Priority) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	m, err := s.metainfo(e)
	if err != nil {
		return err
	}
	for i, p := range want {
		switch {
		case i < 0 || i >= len(m.Files):
			return fmt.Errorf("%w: file %d: the torrent has files 0 to %d", ErrInvalid, i, len(m.Files)-1)
		case p < Skip || p > High:
			return fmt.Errorf("%w: priority %d of file %d: want 0 (skip) to %d (high)", ErrInvalid, p, i, High)
		}
	}
	e.arranging.Lock()
	defer e.arranging.Unlock()
	var prio []Priority
	e.setComplete(s, false) // nobody knows before the pieces were counted anew
	e.edit(func(r *resume.Record) {
		prio = priorities(r.Priorities, len(m.Files))
		for i, p := range want {
			prio[i] = p
		}
		r.Priorities = make([]uint8, len(prio))
		for i, p := range prio {
			r.Priorities[i] = uint8(p)
		}
	})
	shown, err := s.showChoice(e, prio) // first, since what is shown is recorded too
	if err := errors.Join(err, e.save(s.db)); err != nil {
		return err
	}
	defer s.queue.touch(e)
	var files *storage.Torrent
	t := e.running()
	if t == nil || !t.ready.Load() { // the next loop begins with the new priorities
		if !shown {
			err = s.showLate(e, prio)
		}
		return err
	}
	switch err := t.ask(ctx, func(t *torrent) { files = t.disk.files }); {
	case errors.Is(err, errGone):
		return s.showLate(e, prio) // the same
	case err != nil:
		t.tell(func(t *torrent) { // they are recorded
			t.arranged(t.disk.prio, t.disk.others, nil) // else nobody counts whether it is complete if they are what they were
			t.catchUp()
		})
		return fmt.Errorf("setting priorities: %w", err)
	}
	others, moved := t.arrange(files, prio) // files that became wanted get what is in the parts file
	if !s.look(e, func(t *torrent) { t.arranged(prio, others, moved) }) {
		return s.showLate(e, prio)
	}
	return nil
}

// showChoice shows what is wanted of a torrent, and is here of that, by new file
// priorities. It returns false if a loop is ready, which does so itself. The
// caller holds e.arranging.
func (s *Session) showChoice(e *entry, prio []Priority) (shown bool, err error) {
	switch t := e.running(); {
	case t == nil:
	case t.ending(): // its last picture would take the place of this one
		ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
		defer cancel()
		select {
		case <-t.done:
		case <-ctx.Done():
		}
	case t.ready.Load():
		return false, nil
	}
	l, have, err := s.atRest(e)
	if err != nil {
		return false, fmt.Errorf("counting what is wanted: %w", err)
	}
	b := bytesBy(l, prio, have)
	old, v := e.choose(b.wanted, b.haveWanted)
	if old == nil {
		return false, nil
	}
	switch {
	case e.running() != nil: // it tells of it
	case v.State != old.State:
		s.hub.publish(EventState, e.hash, v, v.Error)
	default:
		s.hub.publish(EventProgress, e.hash, v, "")
	}
	return true, nil
}

// showLate is showChoice after a loop ended that was to do it.
func (s *Session) showLate(e *entry, prio []Priority) error {
	_, err := s.showChoice(e, prio)
	s.persist.touchRecord(e)
	return err
}

// arranged takes over new file priorities after the files were moved to where
// they belong, as far as that went well; others tells that wanted ones were not,
// being another torrent's.
func (t *torrent) arranged(prio []Priority, others bool, moved error) {
	was := t.disk.err
	if moved != nil {
		t.fail(moved, false)
	}
	t.disk.prio, t.disk.others = prio, others
	t.applyPriorities()
	t.disk.recount(t.pick.Have())
	t.e.tot.left.Store(t.disk.bytes.wanted - t.disk.bytes.haveWanted)
	t.disk.synced = false
	if t.disk.check == nil {
		switch {
		case t.pick.Missing() > 0:
			t.incomplete()
			t.contend()
		case moved == nil: // else a file is not there yet: when the error is over
			t.complete()
		}
	}
	if shared := (*sharedError)(nil); errors.As(was, &shared) {
		t.disk.probe.next = t.now // it may not want the file any more
	}
	for _, p := range t.peers.all {
		t.updateInterest(p)
	}
	t.clock.dialAt = t.now
	t.publishNow()
}

// rearrange has the files moved to where they belong by the priorities that are
// recorded, which may have met an error before. It runs outside the loop.
func (t *torrent) rearrange() error {
	if !t.e.arranging.TryLock() {
		return nil // somebody does that now, and tells the loop how it went
	}
	defer t.e.arranging.Unlock()
	rec, _ := t.e.record()
	others, err := t.arrange(t.disk.files, priorities(rec.Priorities, len(t.meta.Files)))
	if err == nil {
		t.tell(func(t *torrent) { t.disk.others = others })
	}
	return err
}

// Stats pictures the session.
func (s *Session) Stats() Stats {
	st := s.store.Stats()
	out := Stats{
		Torrents: map[State]int{}, ListenPort: int(s.port()), Uptime: time.Since(s.began),
		MemoryLeased: int64(st.Leased+st.Buffers) * piece.BlockSize, OpenFiles: st.OpenFiles, Counters: s.counters.snapshot(),
	}
	out.ResumeFailures = out.Counters["resume_failures"]
	dht := s.DHTStats()
	out.DHTNodes, out.DHT = dht.Nodes(), dht.Status()
	out.LSD = s.near.status()
	for _, e := range s.entries() {
		v := e.view.Load()
		out.Torrents[v.State]++
		out.Peers += v.Peers
		out.RateUp += v.RateUp
		out.RateDown += v.RateDown
		out.Uploaded += e.tot.up.Load()
		out.Downloaded += e.tot.down.Load()
		out.Corrupt += e.tot.corrupt.Load()
	}
	return out
}

func trackerViews(views []tracker.View) []Tracker {
	out := make([]Tracker, len(views))
	for i, v := range views {
		out[i] = Tracker{
			URL: v.URL, Tier: v.Tier, Status: v.Status, Error: v.Error, Warning: v.Warning,
			Announces: v.Announces, Failures: v.Failures, Peers: v.Peers,
			Swarm: SwarmCounts(v.Swarm), Last: v.Last, Next: v.Next,
		}
	}
	return out
}

// catchUp takes over settings that changed while the torrent was loading, or by
// somebody who did not wait for its loop.
func (t *torrent) catchUp() {
	rec, _ := t.e.record()
	t.flow.setLimits(t, Limits{Up: rec.LimitUp, Down: rec.LimitDown})
	t.pick.SetSequential(rec.Sequential)
	prio := priorities(rec.Priorities, len(t.meta.Files))
	if slices.Equal(prio, t.disk.prio) {
		return
	}
	t.e.setComplete(t.s, false)
	t.arrangeSoon()
}

// arrangePause is how often arrangeSoon looks whether it may begin.
const arrangePause = 20 * time.Millisecond

// arrangeSoon takes over the file priorities that are recorded.
func (t *torrent) arrangeSoon() {
	files := t.disk.files
	t.spawn(func() {
		// Who has it may wait for the end of this loop, which waits for us.
		for !t.e.arranging.TryLock() {
			select {
			case <-t.ctx.Done():
				return // the next loop begins with what is recorded
			case <-time.After(arrangePause):
			}
		}
		defer t.e.arranging.Unlock()
		rec, _ := t.e.record()
		prio := priorities(rec.Priorities, len(t.meta.Files))
		others, moved := t.arrange(files, prio)
		t.tell(func(t *torrent) { t.arranged(prio, others, moved) })
	})
}

// skips says which files are not wanted.
func skips(prio []Priority) []bool {
	skip := make([]bool, len(prio))
	for i, p := range prio {
		skip[i] = p == Skip
	}
	return skip
}
