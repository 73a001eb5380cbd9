package session

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"btd/dht"
	"btd/metainfo"
	"btd/session/follow"
	"btd/storage/resume"
)

// Published is a picture of an item that is kept alive in the DHT (BEP 46). Its
// private key is not here: the same signature is stored again and again.
type Published struct {
	Target  [20]byte // of the item: names it among all that are published
	Key     []byte   // ed25519 public key
	Salt    []byte
	Name    string // of the torrent when it was published, "" if it was not here
	Version        // the newest
	Stopped bool   // not kept alive any more
	Added   time.Time

	Looked  time.Time // when it was last stored again, or that was tried
	Stored  int       // nodes that took it then
	Problem string
}

// Publish stores an item that names a torrent in the DHT, waits for the
// result, and keeps it alive from then on: it is stored again each hour. It
// takes the place of an older one of the same key and salt. The error wraps
// ErrNewer if there is a newer one, or another one of the same number. If
// nobody could be reached, Problem says so and it is tried again.
func (s *Session) Publish(ctx context.Context, i DHTItem) (Published, error) {
	item := i.item()
	hash, ok := follow.ReadValue(i.V)
	err := item.Check()
	switch {
	case s.closing.Load():
		return Published{}, ErrClosed
	case err != nil:
		return Published{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	case !item.Mutable():
		return Published{}, fmt.Errorf("%w: the item has no key", ErrInvalid)
	case !ok:
		return Published{}, fmt.Errorf("%w: the value does not name a torrent, as {\"ih\": 20 bytes}", ErrInvalid)
	}
	if _, err := s.dhtNode(); err != nil {
		return Published{}, err
	}
	rec := resume.Publication{Item: itemOf(item), Added: time.Now()}
	if e := s.byWire(hash); e != nil && e.await() {
		r, _ := e.record()
		if closed(&r) {
			return Published{}, fmt.Errorf("%w: the torrent is private, or for a closed swarm or a local network: it is not for the DHT", ErrInvalid)
		}
		rec.Name = r.Name
	}
	f := s.follower
	x, err := f.enter(ctx, rec)
	if err != nil {
		return Published{}, err
	}
	if err := f.await(ctx, x); err != nil {
		return Published{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if newest := x.newestOf(); newest.Seq > rec.Seq || x.refused > 0 && x.failed != "" {
		return x.publication(), fmt.Errorf("%w: the DHT holds version %d, and this is %d", ErrNewer, newest.Seq, rec.Seq)
	}
	return x.publication(), nil
}

// closed tells whether a torrent is not for everybody.
func closed(r *resume.Record) bool {
	return r.Private || r.Scope != metainfo.ScopeInternet || !r.Secret.IsZero()
}

// newestOf is the newest item known. The caller holds follower.mu.
func (x *errand) newestOf() *dht.Item {
	if x.news != nil && x.news.Seq > x.item.Seq {
		return x.news
	}
	return x.item
}

// enter records a publication and has it looked at.
func (f *follower) enter(ctx context.Context, rec resume.Publication) (*errand, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	x := newErrand(&rec.Item)
	at := x.target.AsByteArray()
	old := f.find(f.pubs, at)
	if old != nil {
		x = old
	}
	if err := x.take(ctx); err != nil { // else what remember writes could take the place of this
		return nil, err
	}
	defer func() { <-x.busy }()
	if old != nil {
		f.mu.Lock()
		known := x.pub
		f.mu.Unlock()
		if rec.Seq < known.Seq || rec.Seq == known.Seq && !bytes.Equal(rec.V, known.V) {
			return nil, fmt.Errorf("%w: version %d was published here, and this is %d", ErrNewer, known.Seq, rec.Seq)
		}
	}
	if err := f.s.db.PutPublication(rec); err != nil {
		return nil, fmt.Errorf("recording what is published: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x.published, x.pub, x.news, x.fresh, x.failed, x.refused = true, rec, nil, true, "", 0
	x.hold(&rec.Item)
	f.pubs[at] = x
	f.pacedNow(x)
	return x, nil
}

// remember records a newer item of a key that we publish for: its owner
// published it elsewhere. That is the one to keep alive. The caller holds
// x.busy.
func (f *follower) remember(x *errand) error {
	f.mu.Lock()
	rec, news := x.pub, x.news
	f.mu.Unlock()
	hash, ok := [20]byte{}, false
	if news != nil {
		hash, ok = follow.ReadValue(news.V)
	}
	if news == nil || news.Seq <= rec.Seq {
		return nil
	}
	rec.Item, rec.Name = itemOf(news), ""
	if e := f.s.byWire(hash); ok && e != nil {
		r, _ := e.record()
		rec.Name = r.Name
	}
	if err := f.s.db.PutPublication(rec); err != nil {
		return fmt.Errorf("recording what is published: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x.pub = rec
	x.hold(&rec.Item)
	if x.news == news { // else there is a newer one by now, for which this is done again
		x.news = nil
	}
	return nil
}

// Publications pictures all that was published, the oldest first.
func (s *Session) Publications() []Published {
	return pictures(s.follower, s.follower.pubs, func(x *errand) time.Time { return x.pub.Added }, (*errand).publication)
}

// publication is the picture of x. The caller holds follower.mu.
func (x *errand) publication() Published {
	rec := &x.pub
	v := Published{
		Target: x.target.AsByteArray(), Key: bytes.Clone(rec.Key[:]), Salt: rec.Salt, Name: rec.Name, Stopped: rec.Stopped,
		Added: rec.Added, Version: Version{Seq: rec.Seq}, Looked: x.looked, Stored: x.stored, Problem: x.problem,
	}
	if hash, ok := follow.ReadValue(rec.V); ok {
		v.Hash = metainfo.V1(hash)
	}
	if x.failed != "" {
		v.Problem = x.failed
	}
	return v
}

// Unpublish ends keeping an item alive: others forget it within two hours. Its
// number is remembered, since whoever follows the key takes no lower one.
func (s *Session) Unpublish(ctx context.Context, target [20]byte) error {
	f := s.follower
	f.admin.Lock()
	defer f.admin.Unlock()
	x := f.find(f.pubs, target)
	if x == nil {
		return fmt.Errorf("%w: nothing like that is published", ErrMissing)
	}
	if err := x.take(ctx); err != nil {
		return err
	}
	defer func() { <-x.busy }()
	f.mu.Lock()
	rec := x.pub
	f.mu.Unlock()
	rec.Stopped = true
	if err := s.db.PutPublication(rec); err != nil {
		return fmt.Errorf("recording what is published: %w", err)
	}
	f.mu.Lock()
	x.pub.Stopped = true
	cancel := f.retire(x)
	f.mu.Unlock()
	cancel()
	return nil
}
