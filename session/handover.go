package session

import (
	"context"
	"errors"
	"fmt"

	"btd/metainfo"
	"btd/session/follow"
	"btd/storage"
	"btd/storage/resume"
)

// handOver lets the next version take the place of the current one. Its
// metadata is here.
func (f *follower) handOver(ctx context.Context, x *errand, rec *resume.Follow, e *entry) error {
	s := f.s
	next, err := s.metainfo(e)
	if err != nil {
		return fmt.Errorf("reading version %d: %w", rec.Next.Seq, err)
	}
	old := s.byWire(rec.Current.Hash)
	if old != nil && !old.await() {
		old = nil
	}
	drop := old != nil && !rec.Keep && rec.Current.Owned && !f.needed(rec.Current.Hash, x)
	running := e.running()
	if rec.Next.Owned && (running == nil || !running.ready.Load()) {
		if err := f.arrange(ctx, rec, e, next, old, drop); err != nil {
			return err
		}
	}
	if drop {
		if err := s.remove(ctx, old, false); err != nil {
			return fmt.Errorf("removing version %d: %w", rec.Current.Seq, err)
		}
	}
	rec.Current, rec.Next = rec.Next, resume.Version{}
	if err := f.record(x, rec); err != nil {
		return err
	}
	s.queue.touch(e)
	f.tell(rec.Current, e.view.Load(), "version %d of %s is the one in use", rec.Current.Seq, nameOf(rec))
	return nil
}

// arrange gives the next version its directory, and what is unchanged. With
// drop the old version ends: so nobody writes to files that both have.
func (f *follower) arrange(ctx context.Context, rec *resume.Follow, e *entry, next *metainfo.Metainfo, old *entry, drop bool) error {
	var m *metainfo.Metainfo // of the old version
	var was resume.Record
	if old != nil {
		var err error
		if m, err = f.s.metainfo(old); err != nil && !errors.Is(err, errNoMetadata) {
			f.s.log.Warn("reading the old version", "torrent", old.hash.String(), "err", err)
		}
		was, _ = old.record()
	}
	dir := rec.Dir
	if rec.Keep || old != nil && !drop || m != nil && was.Dir == dir && follow.Collide(filesOf(m), filesOf(next)) {
		dir = versionDir(rec)
	}
	if r, _ := e.record(); r.Dir != dir {
		if err := e.change(f.s.db, func(r *resume.Record) { r.Dir = dir }); err != nil {
			return fmt.Errorf("recording the directory of version %d: %w", rec.Next.Seq, err)
		}
		f.s.refresh(e)
	}
	if drop {
		if err := f.s.halted(ctx, old, "a newer version takes its place"); err != nil {
			return fmt.Errorf("stopping version %d: %w", rec.Current.Seq, err)
		}
	}
	if m == nil {
		return nil
	}
	return f.takeOver(ctx, m, was.Dir, next, dir)
}

// takeOver makes what two versions have in common be where the next one wants
// it. Nothing is believed of it: the next version is verified before it is
// used. What cannot be taken over is fetched.
func (f *follower) takeOver(ctx context.Context, m *metainfo.Metainfo, from string, next *metainfo.Metainfo, to string) error {
	src, err := f.s.store.Open(storage.Options{Info: &m.Info, Dir: from})
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := f.s.store.Open(storage.Options{Info: &next.Info, Dir: to, Create: true})
	if err != nil {
		return err
	}
	defer dst.Close()
	for i, j := range follow.Match(filesOf(m), filesOf(next)) {
		if j < 0 {
			continue
		}
		have, want := m.Files[j], next.Files[i]
		var err error
		switch {
		case from != to || have.Path != want.Path:
			_, err = dst.Borrow(ctx, i, src, j)
		case have.Length > want.Length:
			_, err = dst.Cut(i, have.Length)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			f.s.log.Warn("a file of the old version is not taken over", "file", want.Path, "err", storage.Describe(err))
		}
	}
	return nil
}

// filesOf are the files of a torrent as follow looks at them.
func filesOf(m *metainfo.Metainfo) []follow.File {
	out := make([]follow.File, len(m.Files))
	for i, f := range m.Files {
		out[i] = follow.File{Path: f.Path, Length: f.Length, Pad: f.Pad || f.Symlink}
	}
	return out
}
