package session

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"btd/dht"
	"btd/metainfo"
	"btd/session/follow"
	"btd/storage/resume"
)

// A follow moves on in steps, each of which is recorded before the next one
// begins, and each of which may be done again after a crash:
//
//	a newer item is recorded, with the torrent that it names as the next version
//	the next version is added as a magnet link; its metadata is fetched
//	its loop is held until it may use its files (hold)
//	the old version ends, or is left alone; what is unchanged is taken over (handOver)
//	the next version is recorded as the current one, and let go

func trackOf(rec *resume.Follow) follow.Track {
	return follow.Track{
		Current: follow.Version{Hash: rec.Current.Hash, Seq: rec.Current.Seq},
		Next:    follow.Version{Hash: rec.Next.Hash, Seq: rec.Next.Seq},
	}
}

func some(v resume.Version) bool { return v.Hash != [20]byte{} }

func hashOf(v resume.Version) metainfo.Hash { return metainfo.V1(v.Hash) }

func itemOf(i *dht.Item) resume.Item {
	return resume.Item{Key: [32]byte(i.K), Salt: i.Salt, Seq: i.Seq, V: i.V, Sig: i.Sig}
}

// pursue takes in what was found and does the next steps. The caller holds
// x.busy.
func (f *follower) pursue(ctx context.Context, x *errand) error {
	f.mu.Lock()
	rec, news := x.follow, x.news
	x.news, x.taking = nil, x.news != nil
	f.mu.Unlock()
	if news != nil {
		if err := f.takeIn(ctx, x, &rec, news); err != nil {
			f.mu.Lock()
			if x.news == nil {
				x.news = news
			}
			f.mu.Unlock()
			return err
		}
	}
	if !some(rec.Next) {
		return nil
	}
	e := f.s.byWire(rec.Next.Hash)
	if e == nil {
		return f.add(ctx, x, &rec)
	}
	if !e.await() {
		return errors.New("the torrent was removed at the same moment")
	}
	if r, _ := e.record(); r.Magnet != "" {
		return nil // hold calls again
	}
	return f.moves.do(ctx, func() error { return f.handOver(ctx, x, &rec, e) })
}

// takeIn records an item that is newer than the one known.
func (f *follower) takeIn(ctx context.Context, x *errand, rec *resume.Follow, i *dht.Item) error {
	track, before := trackOf(rec), rec.Next
	news := track.Found(i.Seq, i.V)
	if news != follow.Fresh && news != follow.Renewed {
		return nil
	}
	if some(before) && before.Hash != track.Next.Hash {
		if err := f.dropNext(ctx, x, rec); err != nil {
			return err
		}
	}
	rec.Item = itemOf(i)
	rec.Current.Seq = track.Current.Seq
	if !track.Next.Some() {
		rec.Next = resume.Version{}
	} else if rec.Next.Seq = track.Next.Seq; rec.Next.Hash != track.Next.Hash {
		rec.Next = resume.Version{Hash: track.Next.Hash, Seq: track.Next.Seq, Owned: f.s.byWire(track.Next.Hash) == nil}
	}
	if err := f.record(x, rec); err != nil {
		return err
	}
	if news == follow.Fresh {
		f.tell(rec.Next, nil, "version %d of %s is known", i.Seq, nameOf(rec))
	}
	return nil
}

// tell publishes an event about a version.
func (f *follower) tell(v resume.Version, t *Torrent, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	f.s.log.Info(text, "torrent", hashOf(v).String())
	f.s.hub.publish(EventVersion, hashOf(v), t, text)
}

// nameOf is how a follow is called: by its link, else by its key.
func nameOf(rec *resume.Follow) string {
	if m, err := metainfo.ParseMagnet(rec.Link); err == nil && m.Name != "" {
		return m.Name
	}
	return hex.EncodeToString(rec.Key[:])
}

// record writes where a follow stands, and takes it over. The caller holds
// x.busy.
func (f *follower) record(x *errand, rec *resume.Follow) error {
	if err := f.s.db.PutFollow(*rec); err != nil {
		return fmt.Errorf("recording what is followed: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x.follow, x.taking = *rec, false
	x.hold(&rec.Item)
	f.moved()
	return nil
}

// moved lets loops that are held look again. The caller holds f.mu.
func (f *follower) moved() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// dropNext forgets the torrent of a version that is not to come any more. It
// has no data yet. The version in use goes on if it was stopped for it.
func (f *follower) dropNext(ctx context.Context, x *errand, rec *resume.Follow) error {
	v := rec.Next
	if e := f.s.byWire(v.Hash); e != nil && v.Owned && !f.needed(v.Hash, x) {
		if err := f.s.remove(ctx, e, false); err != nil {
			return fmt.Errorf("removing version %d: %w", v.Seq, err)
		}
	}
	if old := f.s.byWire(rec.Current.Hash); v.Halted && old != nil {
		if err := f.s.start(old); err != nil {
			return fmt.Errorf("starting version %d again: %w", rec.Current.Seq, err)
		}
	}
	return nil
}

// needed tells whether anything followed but x has the torrent.
func (f *follower) needed(hash [20]byte, x *errand) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.follows {
		if o != x && (o.follow.Current.Hash == hash || o.follow.Next.Hash == hash) {
			return true
		}
	}
	return false
}

// add adds the torrent of the next version. It takes over trackers, peers and
// limits of the old one.
func (f *follower) add(ctx context.Context, x *errand, rec *resume.Follow) error {
	if !rec.Next.Owned { // a user had it, and removed it
		rec.Next.Owned = true
		if err := f.record(x, rec); err != nil {
			return err
		}
	}
	link, err := metainfo.ParseMagnet(rec.Link)
	if err != nil {
		return err
	}
	link.Hash, link.Key, link.Salt = hashOf(rec.Next), nil, nil
	o := AddOptions{Dir: rec.Dir}
	var patch OptionsPatch
	if old := f.s.byWire(rec.Current.Hash); old != nil && old.await() {
		r, _ := old.record()
		o.Sequential, o.Limits = r.Sequential, Limits{Up: r.LimitUp, Down: r.LimitDown}
		patch.RatioLimit, patch.SeedTime = &r.RatioLimit, &r.SeedTime
		o.Scope = r.Scope
		if !closed(&r) {
			for _, tier := range r.Trackers {
				link.Trackers = union(link.Trackers, tier, 64)
			}
		}
		var peers []netip.AddrPort
		if f.s.peek(old, func(t *torrent) {
			for _, p := range t.peers.all {
				if !p.incoming && !closed(&r) {
					peers = append(peers, p.addr)
				}
			}
		}) {
			o.Peers = append(o.Peers, peers...)
		}
	}
	if _, _, err = f.s.AddMagnet(ctx, link.String(), o); err != nil {
		return fmt.Errorf("adding version %d: %w", rec.Next.Seq, err)
	}
	return f.s.SetOptions(ctx, hashOf(rec.Next), patch)
}

// hold waits while t is a next version that must not touch its files yet. It
// returns false once the torrent was stopped. It also tells whoever follows it
// that its metadata is here.
func (f *follower) hold(t *torrent) bool {
	for first := true; ; first = false {
		wait := f.held(t.e.hash.Wire(), first)
		if wait == nil {
			return true
		}
		select {
		case <-wait:
		case <-t.ctx.Done():
			return false
		}
	}
}

// held is a channel that is closed when it is to be asked again, nil if no
// follow keeps the torrent from its files.
func (f *follower) held(hash [20]byte, arrived bool) (wait chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.follows {
		if x.follow.Next.Hash != hash {
			continue
		}
		if x.follow.Next.Owned {
			wait = f.changed
		}
		if _, waits := f.todo[x]; arrived && !waits {
			f.todo[x] = time.Time{}
			f.rouse()
		}
	}
	return wait
}

// versionDir is the directory of a version that does not take another's place.
func versionDir(rec *resume.Follow) string {
	return filepath.Join(rec.Dir, "version-"+strconv.FormatInt(rec.Next.Seq, 10))
}

// linkOf is a link as a follow keeps it: what all versions have in common.
func linkOf(m *metainfo.Magnet) string {
	kept := metainfo.Magnet{Key: m.Key, Salt: m.Salt, Name: m.Name, Trackers: m.Trackers, Peers: m.Peers}
	if len(kept.String()) > metainfo.MaxMagnet {
		kept.Trackers = nil
	}
	return kept.String()
}
