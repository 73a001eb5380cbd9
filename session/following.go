package session

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"btd/dht"
	"btd/metainfo"
	"btd/session/dhtpace"
	"btd/storage/resume"
)

// FollowOptions say how to follow a key.
type FollowOptions struct {
	Dir     string // "" means the session's download directory, or leaves it as it is
	KeepOld *bool  // old versions stay; nil means no, or leaves it as it is
}

// Version is a torrent that an item of the DHT named. Without a hash there is
// none.
type Version struct {
	Hash metainfo.Hash
	Seq  int64
}

// Followed is a picture of a key that is followed (BEP 46).
type Followed struct {
	Target  [20]byte // of its item: names it among all that are followed
	Key     []byte   // ed25519 public key
	Salt    []byte
	Name    string // of the link, "" if it has none
	Dir     string // download directory
	KeepOld bool   // old versions stay
	Added   time.Time

	Current Version // the version in use
	Next    Version // the one whose metadata is being fetched
	Looked  time.Time
	Looks   int    // since the daemon's start
	Bad     int64  // items with a wrong signature, since then
	Refused int64  // items that were old, or named no torrent, since then
	Problem string // why it does not get on
}

// Follow follows the key that a magnet link names (BEP 46): the torrent of its
// newest item is downloaded, and that of each newer one in its place. If it is
// followed already, its options change and existed is true.
func (s *Session) Follow(ctx context.Context, link string, o FollowOptions) (v Followed, existed bool, err error) {
	m, err := metainfo.ParseMagnet(link)
	switch {
	case s.closing.Load():
		return v, false, ErrClosed
	case err != nil:
		return v, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	case m.Key == nil:
		return v, false, fmt.Errorf("%w: the link names no key (xs=urn:btpk:...)", ErrInvalid)
	case !m.Secret.IsZero() || m.Scope != metainfo.ScopeInternet:
		return v, false, fmt.Errorf("%w: a key is looked for in the DHT, in public, and the link is for a closed swarm or a local network", ErrInvalid)
	case o.Dir != "" && !filepath.IsAbs(o.Dir):
		return v, false, fmt.Errorf("%w: download directory %q is not an absolute path", ErrInvalid, o.Dir)
	}
	if _, err := s.dhtNode(); err != nil {
		return v, false, err
	}
	rec := resume.Follow{Item: resume.Item{Key: [32]byte(m.Key), Salt: m.Salt}, Link: linkOf(m), Dir: s.cfg.Dir, Added: time.Now()}
	f := s.follower
	f.admin.Lock()
	defer f.admin.Unlock()
	x := newErrand(&rec.Item)
	if old := f.find(f.follows, x.target.AsByteArray()); old != nil {
		x, existed = old, true
	}
	if err := f.seize(ctx, x); err != nil {
		return v, existed, err
	}
	defer func() { <-x.busy }()
	if existed {
		rec = f.recordOf(x)
		if m.Name != "" || len(m.Trackers) > 0 {
			rec.Link = linkOf(m)
		}
	}
	if o.Dir != "" {
		rec.Dir = filepath.Clean(o.Dir)
	}
	if o.KeepOld != nil {
		rec.Keep = *o.KeepOld
	}
	if err := f.record(x, &rec); err != nil {
		return v, existed, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !existed {
		f.follows[x.target.AsByteArray()] = x
		f.schedule(x)
	}
	f.rouse()
	return x.followed(), existed, nil
}

func (f *follower) find(m map[[20]byte]*errand, target [20]byte) *errand {
	f.mu.Lock()
	defer f.mu.Unlock()
	return m[target]
}

func (f *follower) recordOf(x *errand) resume.Follow {
	f.mu.Lock()
	defer f.mu.Unlock()
	return x.follow
}

// seize interrupts what is being done for x, and takes its place.
func (f *follower) seize(ctx context.Context, x *errand) error {
	f.mu.Lock()
	if x.working {
		x.halt()
	}
	f.mu.Unlock()
	return x.take(ctx)
}

// take waits for x.busy, which the caller gives back.
func (x *errand) take(ctx context.Context) error {
	select {
	case x.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Follows pictures all that is followed, the oldest first.
func (s *Session) Follows() []Followed {
	return pictures(s.follower, s.follower.follows, func(x *errand) time.Time { return x.follow.Added }, (*errand).followed)
}

// pictures makes a list of errands, by when they were added.
func pictures[T any](f *follower, all map[[20]byte]*errand, added func(*errand) time.Time, of func(*errand) T) []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	order := slices.SortedFunc(maps.Values(all), func(a, b *errand) int {
		if c := added(a).Compare(added(b)); c != 0 {
			return c
		}
		return bytes.Compare(a.target.Bytes(), b.target.Bytes())
	})
	out := make([]T, len(order))
	for i, x := range order {
		out[i] = of(x)
	}
	return out
}

// followed is the picture of x. The caller holds follower.mu.
func (x *errand) followed() Followed {
	rec := &x.follow
	v := Followed{
		Target: x.target.AsByteArray(), Key: bytes.Clone(rec.Key[:]), Salt: rec.Salt, Dir: rec.Dir, KeepOld: rec.Keep,
		Added: rec.Added, Current: versionOf(rec.Current), Next: versionOf(rec.Next),
		Looked: x.looked, Looks: x.ended, Bad: x.bad, Refused: x.refused, Problem: x.problem,
	}
	if m, err := metainfo.ParseMagnet(rec.Link); err == nil {
		v.Name = m.Name
	}
	if x.failed != "" {
		v.Problem = x.failed
	}
	return v
}

func versionOf(v resume.Version) Version {
	if !some(v) {
		return Version{}
	}
	return Version{Hash: hashOf(v), Seq: v.Seq}
}

// LookNow asks the DHT for the newest item of what is followed, and waits until
// the answer is here and recorded.
func (s *Session) LookNow(ctx context.Context, target [20]byte) (Followed, error) {
	f := s.follower
	x := f.find(f.follows, target)
	if x == nil {
		return Followed{}, fmt.Errorf("%w: nothing like that is followed", ErrMissing)
	}
	if err := f.await(ctx, x); err != nil {
		return Followed{}, err
	}
	for {
		f.mu.Lock()
		v, moved := x.followed(), f.changed
		through := x.gone || x.failed != "" || x.news == nil && !x.taking
		f.mu.Unlock()
		if through {
			return v, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return v, context.Cause(ctx)
		case <-f.s.ctx.Done():
			return v, ErrClosed
		}
	}
}

// await looks at x now and waits until that is over.
func (f *follower) await(ctx context.Context, x *errand) error {
	if _, err := f.s.dhtNode(); err != nil {
		return err
	}
	for want := 0; ; {
		f.mu.Lock()
		if want == 0 && x.turn != nil {
			want = x.begun + 1 // one under way may have passed what is asked for
			x.wanted = max(x.wanted, want)
			f.pace.Now(x.turn, time.Now())
			f.rouse()
		}
		over, done, gone := x.over, want > 0 && x.ended >= want, x.gone || f.closed
		f.mu.Unlock()
		switch {
		case done:
			return nil
		case gone:
			return fmt.Errorf("%w: it was ended at the same moment", ErrMissing)
		}
		select {
		case <-over:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.s.ctx.Done():
			return ErrClosed
		}
	}
}

// Unfollow ends following. The version in use stays as an ordinary torrent.
func (s *Session) Unfollow(ctx context.Context, target [20]byte) error {
	f := s.follower
	f.admin.Lock()
	defer f.admin.Unlock()
	x := f.find(f.follows, target)
	if x == nil {
		return fmt.Errorf("%w: nothing like that is followed", ErrMissing)
	}
	if err := f.seize(ctx, x); err != nil {
		return err
	}
	defer func() { <-x.busy }()
	rec := f.recordOf(x)
	if some(rec.Next) {
		if err := f.dropNext(ctx, x, &rec); err != nil {
			return err
		}
	}
	if err := s.db.RemoveFollow(rec.Key, rec.Salt); err != nil {
		return fmt.Errorf("forgetting what is followed: %w", err)
	}
	f.mu.Lock()
	delete(f.follows, target)
	cancel := f.retire(x)
	x.gone = true
	f.moved()
	f.mu.Unlock()
	cancel()
	return nil
}

// retire ends looking at x. The caller holds f.mu, and calls cancel without it.
func (f *follower) retire(x *errand) (cancel func()) {
	if x.turn != nil {
		f.pace.Remove(x.turn)
		x.turn = nil
	}
	close(x.over)
	x.over = make(chan struct{})
	if cancel = x.cancel; cancel == nil {
		cancel = func() {}
	}
	return cancel
}

// pacedNow makes sure that x is looked at, and at once. The caller holds f.mu.
func (f *follower) pacedNow(x *errand) {
	f.schedule(x)
	if x.turn != nil {
		f.pace.Set(x.turn, dhtpace.Steady, time.Now())
	}
}

// compare looks at an item of something published: it is news if it is newer
// than what is published here. The caller holds f.mu.
func (f *follower) compare(x *errand, i *dht.Item) {
	switch {
	case i.Seq > x.pub.Seq:
		x.news = i
		f.todo[x] = time.Time{}
	case i.Seq == x.pub.Seq && !bytes.Equal(i.V, x.pub.V):
		x.refused++
		x.failed = fmt.Sprintf("somebody published another version %d: publish the next one", i.Seq)
	default:
		x.failed = ""
	}
}
