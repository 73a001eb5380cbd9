package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"btd/metainfo"
	"btd/storage/resume"
	"btd/tracker"
)

// Add adds the torrent described by a .torrent file. If it is here already, its
// trackers are merged, the files of o.Only are wanted as well, and existed is
// true.
func (s *Session) Add(ctx context.Context, file []byte, o AddOptions) (t Torrent, existed bool, err error) {
	if s.closing.Load() {
		return Torrent{}, false, ErrClosed
	}
	m, err := metainfo.Parse(file)
	if err != nil {
		return Torrent{}, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	rec := s.newRecord(m, o)
	if !filepath.IsAbs(rec.Dir) {
		return Torrent{}, false, fmt.Errorf("%w: download directory %q is not an absolute path", ErrInvalid, rec.Dir)
	}
	if err := choose(&rec, m, o.Only); err != nil {
		return Torrent{}, false, err
	}
	if e := s.byWire(m.Hash.Wire()); e != nil {
		return s.merge(ctx, e, m, o)
	}
	stored := s.vouched(ctx, m, &rec, o)
	if stored == nil {
		stored = s.adopt(ctx, m, &rec, o)
	}
	if stored != nil && !m.Private && rec.Scope == metainfo.ScopeInternet && rec.Secret.IsZero() { // others say it when they are loaded
		s.seeker.addHosts(m.Nodes)
	}
	e := newEntry(rec)
	e.hints, e.meta = o.Peers, m // for its first loop, if it is to have one soon
	added, err := s.enlist(e, rec, file, stored)
	switch {
	case err != nil:
		return Torrent{}, false, err
	case added == nil:
		return s.merge(ctx, s.byWire(m.Hash.Wire()), m, o)
	}
	return *added, false, nil
}

// enlist takes a new torrent in, records it and returns its picture: nil if
// there is one with this hash.
func (s *Session) enlist(e *entry, rec resume.Record, file []byte, stored *resume.Commit) (*Torrent, error) {
	e.fresh = true           // until it is recorded
	e.queued = !rec.Complete // until the queue gives it a place
	e.recorded = make(chan struct{})
	defer close(e.recorded)
	if !s.reg.add(e) {
		return nil, nil
	}
	rec.Queue = e.place
	err := s.vault.hold(e)
	if err == nil {
		err = s.keepSecret(&rec)
	}
	if err == nil {
		err = s.keepScope(&rec)
	}
	if err == nil {
		err = s.record(rec, file, stored)
	}
	if err != nil {
		e.mu.Lock()
		e.removed = true
		e.mu.Unlock()
		s.reg.remove(e)
		s.vault.release(e)
		return nil, fmt.Errorf("recording the torrent: %w", err)
	}
	v := e.view.Load()
	s.hub.publish(EventAdded, e.hash, v, "")
	s.log.Info("added", "torrent", e.hash.String(), "name", rec.Name, "dir", rec.Dir)
	if rec.Complete {
		s.hub.publish(EventCompleted, e.hash, v, "")
		s.log.Info("complete", "torrent", e.hash.String(), "name", rec.Name)
	}
	// A loop may begin from here on: whatever it tells comes after that it was added.
	e.mu.Lock()
	e.fresh = false
	e.mu.Unlock()
	s.queue.touch(e)
	return v, nil
}

// record writes a new torrent to the resume database, in one transaction with
// what is stored of it.
func (s *Session) record(rec resume.Record, file []byte, stored *resume.Commit) error {
	write := func() error {
		if stored != nil {
			return s.db.AddStored(rec, file, *stored)
		}
		return s.db.Add(rec, file)
	}
	err := write()
	if errors.Is(err, resume.ErrExists) {
		// What is left of a torrent that could not be brought back.
		if err = s.db.Remove(rec.Hash); err == nil {
			err = write()
		}
	}
	return err
}

func (s *Session) newRecord(m *metainfo.Metainfo, o AddOptions) resume.Record {
	dir := o.Dir
	if dir == "" {
		dir = s.cfg.Dir
	}
	var size int64
	for _, f := range m.Files {
		if !f.Pad {
			size += f.Length
		}
	}
	return resume.Record{
		Hash: m.Hash, Name: m.Name, Dir: filepath.Clean(dir), Size: size, Pieces: m.Pieces(), PieceLength: m.PieceLength,
		Wanted: size, Single: m.Single,
		Added: time.Now(), Stopped: o.Stopped, Sequential: o.Sequential, Private: m.Private, Scope: o.Scope, Secret: o.Secret,
		LimitUp: o.Limits.Up, LimitDown: o.Limits.Down,
		Trackers: m.Trackers,
	}
}

// choose makes the record of a new torrent say which files are wanted; nil means
// all.
func choose(rec *resume.Record, m *metainfo.Metainfo, want []int) error {
	prio, err := only(want, len(m.Files))
	if err != nil || prio == nil {
		return err
	}
	rec.Priorities, rec.Wanted = prio, 0
	for i, f := range m.Files {
		if !f.Pad && Priority(prio[i]) != Skip {
			rec.Wanted += f.Length
		}
	}
	return nil
}

// only turns a list of wanted files into priorities.
func only(want []int, files int) ([]uint8, error) {
	if want == nil {
		return nil, nil
	}
	p := make([]uint8, files)
	for _, i := range want {
		if i < 0 || i >= files {
			return nil, fmt.Errorf("%w: file %d: the torrent has files 0 to %d", ErrInvalid, i, files-1)
		}
		p[i] = uint8(Normal)
	}
	return p, nil
}

// merge adds the trackers and peers of a torrent that is here already, and the
// files that are wanted now.
func (s *Session) merge(ctx context.Context, e *entry, m *metainfo.Metainfo, o AddOptions) (Torrent, bool, error) {
	if e == nil || !e.await() {
		return Torrent{}, false, fmt.Errorf("%w: it was removed at the same moment: add it again", ErrNotFound)
	}
	if err := errors.Join(e.checkSecret(o.Secret), e.checkScope(o.Scope)); err != nil {
		return Torrent{}, true, err
	}
	if rec, _ := e.record(); !m.Private || rec.Magnet != "" { // a link may lack a private torrent's trackers
		for tier, urls := range m.Trackers {
			if err := s.AddTrackers(ctx, e.hash, tier, urls); err != nil {
				return Torrent{}, true, err
			}
		}
	}
	spans, err := spansOf(o.Only, nil)
	if err == nil {
		err = s.wantMore(ctx, e, &metainfo.Magnet{Only: spans})
	}
	if err != nil {
		return Torrent{}, true, err
	}
	if err := s.AddPeers(ctx, e.hash, o.Peers); err != nil {
		return Torrent{}, true, err
	}
	if err := s.supply(e, m); err != nil {
		return Torrent{}, true, err
	}
	return *e.view.Load(), true, nil
}

// Torrents pictures all torrents, in the order of the queue.
func (s *Session) Torrents() []Torrent {
	all := s.entries()
	out := make([]Torrent, len(all))
	for i, e := range all {
		out[i] = e.picture()
	}
	return out
}

// Torrent pictures one torrent.
func (s *Session) Torrent(h metainfo.Hash) (Torrent, error) {
	e, err := s.find(h)
	if err != nil {
		return Torrent{}, err
	}
	return e.picture(), nil
}

// Start makes a stopped torrent run.
func (s *Session) Start(_ context.Context, h metainfo.Hash) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	return s.start(e)
}

// Stop ends a torrent's activity until Start.
func (s *Session) Stop(ctx context.Context, h metainfo.Hash) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	return s.halted(ctx, e, "")
}

// Remove forgets a torrent. With data set, its files are deleted.
func (s *Session) Remove(ctx context.Context, h metainfo.Hash, data bool) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	return s.remove(ctx, e, data)
}

// Verify hashes all of a torrent's data again. It returns when that has begun,
// or soon will.
func (s *Session) Verify(ctx context.Context, h metainfo.Hash) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	if rec, _ := e.record(); rec.Magnet != "" {
		return errNoMetadata
	}
	for range 3 {
		t, fresh := s.wakeSuspect(e)
		if t == nil {
			return ErrClosed
		}
		if fresh || s.tellSoon(ctx, t, func(t *torrent) { t.release(); t.startCheck(allPieces(t.geo.Pieces())) }) {
			return nil
		}
		<-t.done
	}
	return ErrClosed
}

// wakeSuspect returns e's loop, which is started if none runs: then it is fresh
// and begins with a check of everything, which is shown from now on.
func (s *Session) wakeSuspect(e *entry) (t *torrent, fresh bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fresh = e.run == nil
	e.suspect = true // until a check has ended well, in this loop or a later one
	if t = s.rouse(e, true); t != nil && fresh {
		v := *e.view.Load() // the loop shows nothing yet: it needs e.mu for that
		v.State, v.Checked, v.Error = StateChecking, 0, ""
		e.view.Store(&v)
	}
	return t, fresh
}

// tellSoon runs f in t's loop and waits for that a while, if the loop is ready.
// It returns false if the loop ended before.
func (s *Session) tellSoon(ctx context.Context, t *torrent, f func(t *torrent)) bool {
	if !t.ready.Load() {
		return t.tell(f)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return !errors.Is(t.ask(ctx, f), errGone) // if it is late it does so later
}

// Reannounce asks the trackers, as far as they allow it, and the DHT for peers
// now.
func (s *Session) Reannounce(_ context.Context, h metainfo.Hash) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	if !s.announcer.with(e, func(sc *tracker.Schedule, now time.Time) { sc.Reannounce(now) }) {
		return fmt.Errorf("%w: the torrent is not running: start it first", ErrInvalid)
	}
	s.seeker.again(e)
	return nil
}

// AddPeers gives a torrent addresses to connect to.
func (s *Session) AddPeers(_ context.Context, h metainfo.Hash, addrs []netip.AddrPort) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if !a.IsValid() || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
			return fmt.Errorf("%w: %s is not the address of a peer", ErrInvalid, a)
		}
		if a.Addr().Is6() && a.Addr().IsLinkLocalUnicast() && a.Addr().Zone() == "" {
			return fmt.Errorf("%w: %s is a link-local address, which needs a zone: [fe80::1%%eth0]:6881", ErrInvalid, a)
		}
		if !e.scope().Covers(a.Addr()) {
			return fmt.Errorf("%w: the torrent has scope lan, and %s is not in a local network", ErrInvalid, a)
		}
	}
	if len(addrs) > 0 && !s.deliver(e, call(func(t *torrent) { t.learn(addrs, FromUser) })) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.hints = append(e.hints, addrs...)
	}
	return nil
}

// AddTrackers adds announce URLs to a tier; those that are there already are
// left where they are.
func (s *Session) AddTrackers(_ context.Context, h metainfo.Hash, tier int, urls []string) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	for _, u := range urls {
		if err := tracker.CheckURL(u); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if tier < 0 {
		return fmt.Errorf("%w: tier %d", ErrInvalid, tier)
	}
	return s.editTrackers(e, func(tiers [][]string) [][]string {
		var fresh []string
		for _, u := range urls {
			if !listed(tiers, u) && !slices.Contains(fresh, u) {
				fresh = append(fresh, u)
			}
		}
		if len(fresh) == 0 {
			return tiers
		}
		tier = min(tier, len(tiers))
		if tier == len(tiers) {
			tiers = append(tiers, nil)
		}
		tiers[tier] = append(tiers[tier], fresh...)
		return tiers
	})
}

// RemoveTrackers removes announce URLs.
func (s *Session) RemoveTrackers(_ context.Context, h metainfo.Hash, urls []string) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	rec, _ := e.record()
	for _, u := range urls {
		if !listed(rec.Trackers, u) {
			return fmt.Errorf("%w: tracker %s", ErrNotFound, u)
		}
	}
	return s.editTrackers(e, func(tiers [][]string) [][]string {
		var out [][]string
		for _, t := range tiers {
			t = slices.DeleteFunc(t, func(u string) bool { return slices.Contains(urls, u) })
			if len(t) > 0 {
				out = append(out, t)
			}
		}
		return out
	})
}

// listed tells whether a URL is in one of the tiers.
func listed(tiers [][]string, url string) bool {
	return slices.ContainsFunc(tiers, func(t []string) bool { return slices.Contains(t, url) })
}

// editTrackers changes the trackers of e: what it announces to, at once, and
// then what is recorded.
func (s *Session) editTrackers(e *entry, f func([][]string) [][]string) error {
	e.edit(func(r *resume.Record) {
		tiers := make([][]string, len(r.Trackers))
		for i, t := range r.Trackers {
			tiers[i] = slices.Clone(t)
		}
		r.Trackers = f(tiers)
	})
	s.announcer.retrack(e)
	return e.save(s.db)
}

// SetLimits sets the rates of one torrent.
func (s *Session) SetLimits(_ context.Context, h metainfo.Hash, l Limits) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	e.changeSoon(s, func(r *resume.Record) { r.LimitUp, r.LimitDown = l.Up, l.Down })
	s.changed(e, func(t *torrent) { t.flow.setLimits(t, l) })
	return nil
}

func (l Limits) check() error {
	if l.Up < 0 || l.Down < 0 {
		return fmt.Errorf("%w: a limit cannot be negative (0 means unlimited)", ErrInvalid)
	}
	return nil
}

// changed applies a change to the loop, if one runs, and renews the picture.
func (s *Session) changed(e *entry, f func(t *torrent)) {
	if !s.look(e, func(t *torrent) { f(t); t.publishNow() }) {
		s.refresh(e)
	}
}

// SetOptions changes the options whose fields in p are not nil.
func (s *Session) SetOptions(_ context.Context, h metainfo.Hash, p OptionsPatch) error {
	e, err := s.find(h)
	if err != nil {
		return err
	}
	e.changeSoon(s, func(r *resume.Record) {
		if p.Sequential != nil {
			r.Sequential = *p.Sequential
		}
		if p.RatioLimit != nil {
			r.RatioLimit = *p.RatioLimit
		}
		if p.SeedTime != nil {
			r.SeedTime = *p.SeedTime
		}
	})
	s.changed(e, func(t *torrent) {
		if p.Sequential != nil {
			t.pick.SetSequential(*p.Sequential)
			t.feedAll()
		}
	})
	return nil
}

// Trackers pictures a torrent's trackers.
func (s *Session) Trackers(h metainfo.Hash) ([]Tracker, error) {
	e, err := s.find(h)
	if err != nil {
		return nil, err
	}
	var out []Tracker
	if s.announcer.with(e, func(sc *tracker.Schedule, _ time.Time) { out = trackerViews(sc.View()) }) {
		return out, nil
	}
	rec, _ := e.record()
	for tier, urls := range rec.Trackers {
		for _, u := range urls {
			out = append(out, Tracker{URL: u, Tier: tier, Status: "disabled", Swarm: SwarmCounts{-1, -1, -1}})
		}
	}
	return out, nil
}

// Subscribe follows what happens; see hub.
func (s *Session) Subscribe(since uint64) (events <-chan Event, cancel func(), lost bool) {
	return s.hub.subscribe(since)
}

// metainfo reads a torrent's metainfo back.
func (s *Session) metainfo(e *entry) (*metainfo.Metainfo, error) {
	if rec, _ := e.record(); rec.Magnet != "" {
		return nil, errNoMetadata
	}
	raw, err := s.db.Metainfo(e.hash)
	if err != nil {
		return nil, err
	}
	return metainfo.Parse(raw)
}
