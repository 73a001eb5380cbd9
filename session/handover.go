package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"btd/metainfo"
	"btd/piece"
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
	if rec.Next.Owned && (running == nil || !running.ready.Load()) && (old != nil || !rec.Next.Placed) {
		if err := f.arrange(ctx, x, rec, e, next, old, drop); err != nil {
			return err
		}
	}
	if drop {
		// Without the old version nothing tells whose the files in the way are.
		rec.Next.Placed = true
		if err := f.record(x, rec); err != nil {
			return err
		}
		if err := s.remove(ctx, old, false); err != nil {
			return fmt.Errorf("removing version %d: %w", rec.Current.Seq, err)
		}
	}
	rec.Current, rec.Next = resume.Version{Hash: rec.Next.Hash, Seq: rec.Next.Seq, Owned: rec.Next.Owned}, resume.Version{}
	if err := f.record(x, rec); err != nil {
		return err
	}
	s.queue.touch(e)
	f.tell(rec.Current, e.view.Load(), "version %d of %s is the one in use", rec.Current.Seq, nameOf(rec))
	return nil
}

// arrange gives the next version its directory, and what is unchanged. With
// drop the old version ends: so nobody writes to files that both have.
func (f *follower) arrange(ctx context.Context, x *errand, rec *resume.Follow, e *entry, next *metainfo.Metainfo, old *entry, drop bool) error {
	var m *metainfo.Metainfo // of the old version
	var was resume.Record
	if old != nil {
		var err error
		if m, err = f.s.metainfo(old); err != nil && !errors.Is(err, errNoMetadata) {
			f.s.log.Warn("reading the old version", "torrent", old.hash.String(), "err", err)
		}
		was, _ = old.record()
	}
	r, _ := e.record()
	dir := r.Dir
	if own := versionDir(rec); dir != own { // else that was settled before
		dir = rec.Dir
		var theirs []metainfo.File // that the new version may write to
		if m != nil && was.Dir == dir && drop {
			theirs = m.Files
		}
		if rec.Keep || old != nil && !drop || f.foreign(dir, next, e, old) || !f.free(dir, next, theirs) {
			if dir = own; f.foreign(dir, next, e, nil) || !f.free(dir, next, nil) {
				return fmt.Errorf("version %d has no place: in %s there are other files in its way", rec.Next.Seq, own)
			}
		}
	}
	if r.Dir != dir {
		if err := e.change(f.s.db, func(r *resume.Record) { r.Dir = dir }); err != nil {
			return fmt.Errorf("recording the directory of version %d: %w", rec.Next.Seq, err)
		}
		f.s.refresh(e)
	}
	if drop {
		if !was.Stopped {
			rec.Next.Halted = true
			if err := f.record(x, rec); err != nil {
				return err
			}
		}
		if err := f.s.halted(ctx, old, "a newer version takes its place"); err != nil {
			return fmt.Errorf("stopping version %d: %w", rec.Current.Seq, err)
		}
	}
	if m != nil {
		if err := f.carry(ctx, m, was.Priorities, next, e); err != nil {
			return err
		}
		if err := f.takeOver(ctx, m, was.Dir, next, e); err != nil {
			return err
		}
	}
	return f.verify(ctx, e, next, dir)
}

// verify records which pieces of the next version are there. Its loop would find
// that out too, but not without closing the connections that it fetched the
// metadata from, and waiting until it may dial again. What goes wrong here is
// left to the loop.
func (f *follower) verify(ctx context.Context, e *entry, next *metainfo.Metainfo, dir string) error {
	if nothingAt(dir, next.Name) {
		return nil
	}
	files, err := f.s.store.Open(storage.Options{Info: &next.Info, Dir: dir})
	if err != nil {
		return nil
	}
	defer files.Close()
	c := resume.Commit{Hash: e.hash, Pieces: piece.NewBitfield(next.Pieces())}
	before, err := files.Stat()
	if err == nil {
		err = f.s.checks.do(ctx, func() error {
			return files.Verify(ctx, nil, func(i piece.Index, ok bool) {
				if ok {
					c.Pieces.Set(i)
				}
			})
		})
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = files.Sync() // before anything is claimed
	}
	if err != nil {
		return nil
	}
	after, err := files.Stat()
	if err != nil || !slices.Equal(before, after) {
		return nil // somebody writes to it
	}
	for i, st := range after {
		if st.Exists {
			c.Clean = append(c.Clean, resume.Clean{File: i, Size: st.Size, ModTime: st.ModTime})
		}
	}
	if err := f.s.db.Commit([]resume.Commit{c}); err != nil {
		return fmt.Errorf("recording what is there of the new version: %w", err)
	}
	return nil
}

// foreign tells whether another torrent than the two versions has a file where
// the next one would have one. Of the same length or not: it could be cut, or
// grow, with the version after that.
func (f *follower) foreign(dir string, next *metainfo.Metainfo, e, old *entry) bool {
	for range f.s.sharedIn(dir, next, nil, func(o *entry) (part, *piece.Bitfield) {
		if o == e || o == old {
			return partNone, nil
		}
		return partWanted, nil
	}) {
		return true
	}
	return false
}

// free tells whether a version can be in a directory without writing to what is
// not its own. Whoever publishes chooses the names: they must not lead to files
// of the user's. A file that is there has to be of the old version, or as long
// as the new one says.
func (f *follower) free(dir string, next *metainfo.Metainfo, theirs []metainfo.File) bool {
	if nothingAt(dir, next.Name) {
		return true
	}
	if follow.Collide(filesOf(theirs), filesOf(next.Files)) {
		return false
	}
	files, err := f.s.store.Open(storage.Options{Info: &next.Info, Dir: dir})
	if err != nil {
		return false
	}
	defer files.Close()
	stats, err := files.Stat()
	if err != nil {
		return false
	}
	own := make(map[string]bool, len(theirs))
	for _, x := range theirs {
		own[x.Path] = true
	}
	for i, x := range next.Files {
		if stats[i].Exists && !x.Pad && stats[i].Size != x.Length && !own[x.Path] {
			return false
		}
	}
	return true
}

// carry has the next version skip and prefer the files that the old one did,
// unless somebody has chosen among them already.
func (f *follower) carry(ctx context.Context, m *metainfo.Metainfo, was []uint8, next *metainfo.Metainfo, e *entry) error {
	if r, _ := e.record(); r.Priorities != nil {
		return nil
	}
	prio, want := priorities(was, len(m.Files)), map[int]Priority{}
	for i, j := range follow.Same(filesOf(m.Files), filesOf(next.Files)) {
		if j >= 0 && prio[j] != Normal {
			want[i] = prio[j]
		}
	}
	if len(want) == 0 {
		return nil
	}
	if err := f.s.SetPriorities(ctx, e.hash, want); err != nil {
		return fmt.Errorf("choosing the files of the new version: %w", err)
	}
	return nil
}

// takeOver makes what two versions have in common be where the next one wants
// it. Nothing is believed of it: the next version is verified before it is
// used. What cannot be taken over is fetched.
func (f *follower) takeOver(ctx context.Context, m *metainfo.Metainfo, from string, next *metainfo.Metainfo, e *entry) error {
	r, _ := e.record()
	to, prio := r.Dir, priorities(r.Priorities, len(next.Files))
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
	for i, j := range follow.Match(filesOf(m.Files), filesOf(next.Files)) {
		if j < 0 {
			continue
		}
		have, want := m.Files[j], next.Files[i]
		var err error
		switch {
		case from != to || have.Path != want.Path:
			if prio[i] != Skip {
				_, err = dst.Borrow(ctx, i, src, j)
			}
		case have.Length > want.Length && prio[i] != Skip: // a skipped one is nobody's but the user's
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
func filesOf(files []metainfo.File) []follow.File {
	out := make([]follow.File, len(files))
	for i, f := range files {
		out[i] = follow.File{Path: f.Path, Length: f.Length, Pad: f.Pad || f.Symlink}
	}
	return out
}
