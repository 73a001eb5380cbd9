package session

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"btd/metainfo"
	"btd/storage/resume"
)

// errNoMetadata is what is said of a torrent that is known by its link only.
var errNoMetadata = fmt.Errorf("%w: the torrent's metadata is not here yet", ErrInvalid)

// errUnusable marks metadata that has the right hash and is of no use.
var errUnusable = errors.New("the torrent's metadata cannot be used")

// AddMagnet adds the torrent that a magnet link names (BEP 9). Its metadata is
// fetched from peers; until then its state is StateMetadata. If the torrent is
// here already, the trackers, peers and files of the link are merged and
// existed is true.
func (s *Session) AddMagnet(ctx context.Context, link string, o AddOptions) (t Torrent, existed bool, err error) {
	if s.closing.Load() {
		return Torrent{}, false, ErrClosed
	}
	m, err := metainfo.ParseMagnet(link)
	if err != nil {
		return Torrent{}, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if m.Hash.IsZero() {
		return Torrent{}, false, fmt.Errorf("%w: the link names a key (urn:btpk) and no torrent: follow it", ErrInvalid)
	}
	if m.Secret, err = joinSecrets(m.Secret, o.Secret); err != nil {
		return Torrent{}, false, err
	}
	if !m.Secret.IsZero() && m.Key != nil {
		return Torrent{}, false, fmt.Errorf("%w: the link names a key, whose item would be looked for in public, and the torrent is to have a secret", ErrInvalid)
	}
	if m.Only, err = spansOf(o.Only, m.Only); err != nil {
		return Torrent{}, false, err
	}
	rec := s.magnetRecord(m, o)
	if !filepath.IsAbs(rec.Dir) {
		return Torrent{}, false, fmt.Errorf("%w: download directory %q is not an absolute path", ErrInvalid, rec.Dir)
	}
	if e := s.byWire(m.Hash.Wire()); e != nil {
		return s.mergeMagnet(ctx, e, m, o)
	}
	e := newEntry(rec)
	e.hints = o.Peers
	added, err := s.enlist(e, rec, nil, nil)
	switch {
	case err != nil:
		return Torrent{}, false, err
	case added == nil:
		return s.mergeMagnet(ctx, s.byWire(m.Hash.Wire()), m, o)
	}
	return *added, false, nil
}

// magnetRecord is the record of a torrent of which only the link is known. It
// goes by its v1 hash, also if the link names both.
func (s *Session) magnetRecord(m *metainfo.Magnet, o AddOptions) resume.Record {
	dir := o.Dir
	if dir == "" {
		dir = s.cfg.Dir
	}
	v1, _ := m.Hash.V1()
	rec := resume.Record{
		Hash: metainfo.V1(v1), Name: m.Name, Dir: filepath.Clean(dir), Magnet: stored(m),
		Added: time.Now(), Stopped: o.Stopped, Sequential: o.Sequential, Scope: max(o.Scope, m.Scope), Secret: m.Secret,
		LimitUp: o.Limits.Up, LimitDown: o.Limits.Down, Trackers: m.Tiers(),
	}
	if rec.Name == "" {
		rec.Name = rec.Hash.String()
	}
	return rec
}

// stored is a link as it is recorded: without its trackers, which have a place
// of their own, as has its secret, and short enough to be read back, however much
// it has to escape.
func stored(m *metainfo.Magnet) string {
	kept := *m
	kept.Trackers, kept.Secret = nil, metainfo.Secret{}
	link := kept.String()
	for len(link) > metainfo.MaxMagnet && len(kept.WebSeeds) > 0 {
		kept.WebSeeds = kept.WebSeeds[:len(kept.WebSeeds)/2]
		link = kept.String()
	}
	return link
}

// spansOf is the wanted files as a link has them: those of the call, if it
// names any, else those of the link.
func spansOf(only []int, link []metainfo.Span) ([]metainfo.Span, error) {
	if only == nil {
		return link, nil
	}
	var spans []metainfo.Span
	for _, i := range slices.Sorted(slices.Values(only)) {
		if i < 0 {
			return nil, fmt.Errorf("%w: file %d: indexes begin at 0", ErrInvalid, i)
		}
		spans = append(spans, metainfo.Span{First: i, Last: i})
	}
	return metainfo.MergeSpans(spans), nil
}

// mergeMagnet adds what a link says to a torrent that is here already.
func (s *Session) mergeMagnet(ctx context.Context, e *entry, m *metainfo.Magnet, o AddOptions) (Torrent, bool, error) {
	if e == nil || !e.await() {
		return Torrent{}, false, fmt.Errorf("%w: it was removed at the same moment: add it again", ErrNotFound)
	}
	if err := errors.Join(e.checkSecret(m.Secret), e.checkScope(max(o.Scope, m.Scope))); err != nil {
		return Torrent{}, true, err
	}
	rec, _ := e.record()
	if !rec.Private {
		for _, tier := range m.Tiers() {
			if err := s.AddTrackers(ctx, e.hash, len(rec.Trackers), tier); err != nil {
				return Torrent{}, true, err
			}
			rec, _ = e.record()
		}
	}
	// Before the peers: as long as nothing is missing a seed is of no use, and not
	// dialled for a while.
	if err := s.wantMore(ctx, e, m); err != nil {
		return Torrent{}, true, err
	}
	if !rec.Private {
		s.deliver(e, call(func(t *torrent) { t.resolvePeers(m.Peers) }))
	}
	if err := s.AddPeers(ctx, e.hash, o.Peers); err != nil {
		return Torrent{}, true, err
	}
	return *e.view.Load(), true, nil
}

// wantMore adds the files that a link selects to those that are downloaded
// (BEP 53, "What if the magnet link is already added?"). One that selects
// nothing changes nothing.
func (s *Session) wantMore(ctx context.Context, e *entry, link *metainfo.Magnet) error {
	if waits, err := s.joinLink(e, link); waits || err != nil || link.Only == nil {
		return err
	}
	m, err := s.metainfo(e)
	if err != nil {
		return err
	}
	rec, _ := e.record()
	prio, want := priorities(rec.Priorities, len(m.Files)), map[int]Priority{}
	for _, i := range metainfo.Indexes(link.Only, len(m.Files)) {
		if prio[i] == Skip {
			want[i] = Normal
		}
	}
	if len(want) == 0 {
		return nil
	}
	return s.SetPriorities(ctx, e.hash, want)
}

// joinLink adds a link to that of a torrent that waits for its metadata. It
// returns false for any other.
func (s *Session) joinLink(e *entry, link *metainfo.Magnet) (waits bool, err error) {
	e.arranging.Lock() // the metadata may come at this moment
	defer e.arranging.Unlock()
	rec, _ := e.record()
	if rec.Magnet == "" {
		return false, nil
	}
	return true, e.change(s.db, func(r *resume.Record) {
		if old, err := metainfo.ParseMagnet(r.Magnet); err == nil {
			r.Magnet = stored(joinLinks(old, link))
		}
	})
}

// joinLinks adds the peers, web seeds and files of a second link to a torrent
// to the first.
func joinLinks(old, more *metainfo.Magnet) *metainfo.Magnet {
	out := *old
	out.Peers = union(old.Peers, more.Peers, 64)
	out.WebSeeds = union(old.WebSeeds, more.WebSeeds, 64)
	if old.Only != nil { // else every file is wanted already
		out.Only = metainfo.MergeSpans(slices.Concat(old.Only, more.Only))
	}
	return &out
}

// union is a and what b has beside it, at most limit of them unless a has more.
func union(a, b []string, limit int) []string {
	a = slices.Clone(a)
	for _, s := range b {
		if len(a) < limit && !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// supply gives a torrent that waits for its metadata that of a .torrent file.
func (s *Session) supply(e *entry, m *metainfo.Metainfo) error {
	if rec, _ := e.record(); rec.Magnet == "" {
		return nil
	}
	if t := e.running(); t != nil && t.tell(func(t *torrent) { t.supplied(m) }) {
		return nil
	}
	if _, err := s.fulfil(e, m.Raw, m.WebSeeds); err != nil {
		return err
	}
	s.near.learned(e)
	if t := e.running(); t != nil { // it began meanwhile, and may still wait
		t.tell(func(t *torrent) { t.supplied(m) })
	}
	return nil
}

// fulfil turns a torrent that waits for its metadata into an ordinary one. It
// gives nil if it is one already. Errors wrap errUnusable if trying again is
// of no use.
func (s *Session) fulfil(e *entry, raw []byte, webSeeds []string) (*metainfo.Metainfo, error) {
	e.arranging.Lock()
	defer e.arranging.Unlock()
	old, _ := e.record()
	if old.Magnet == "" {
		return nil, nil
	}
	link, err := metainfo.ParseMagnet(old.Magnet)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	info, err := metainfo.ParseInfo(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if want, ok := link.Hash.V2(); ok {
		if got, _ := info.Hash.V2(); got != want {
			return nil, fmt.Errorf("%w: the two hashes of the link are of different torrents", errUnusable)
		}
	}
	file := (&metainfo.Metainfo{
		Info: *info, Raw: raw, Trackers: old.Trackers, WebSeeds: append(slices.Clone(link.WebSeeds), webSeeds...),
	}).Bytes()
	m, err := metainfo.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	fresh := s.newRecord(m, AddOptions{Dir: old.Dir})
	if link.Only != nil {
		want := metainfo.Indexes(link.Only, len(m.Files))
		if len(want) == 0 || choose(&fresh, m, want) != nil {
			s.hub.publish(EventWarning, e.hash, nil, "the link selects files that the torrent does not have: all are downloaded")
		}
	}
	// The record is changed and queued for writing at once, so that no older
	// picture of it can be written later.
	done := make(chan error, 1)
	e.mu.Lock()
	before := e.rec
	r := &e.rec
	r.Name, r.Size, r.Pieces, r.PieceLength = fresh.Name, fresh.Size, fresh.Pieces, fresh.PieceLength
	r.Wanted, r.Single, r.Private, r.Priorities, r.Magnet = fresh.Wanted, fresh.Single, fresh.Private, fresh.Priorities, ""
	rec := e.rec
	e.tot.store(&rec)
	s.db.CompleteAsync(rec, file, func(err error) { done <- err })
	e.mu.Unlock()
	err = <-done
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		r.Name, r.Size, r.Pieces, r.PieceLength = before.Name, before.Size, before.Pieces, before.PieceLength
		r.Wanted, r.Single, r.Private, r.Priorities, r.Magnet = before.Wanted, before.Single, before.Private, before.Priorities, before.Magnet
		return nil, fmt.Errorf("recording the torrent: %w", err)
	}
	v := e.idleView()
	if e.run != nil {
		e.meta = m
		v.State = StateChecking // until its loop knows more
	}
	e.view.Store(v)
	return m, nil
}
