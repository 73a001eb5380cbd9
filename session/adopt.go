package session

import (
	"context"
	"slices"
	"time"

	"btd/metainfo"
	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
)

// Small content that is there already when its torrent is added is looked at
// before the torrent is recorded. So it is recorded once, as complete, and
// needs no loop: somebody who brings thousands of them has them all at once.
const (
	adoptBytes = 512 << 10   // more is verified in the background
	adoptFiles = 64          // likewise
	adoptTime  = time.Second // so long an answer to an add may be held up, unless Config says otherwise
	adoptions  = 4           // at a time
)

// adopt tells what to record of a new torrent whose content is there, and
// good; nil if that cannot be said in a moment. rec is made to say so.
func (s *Session) adopt(ctx context.Context, m *metainfo.Metainfo, rec *resume.Record, o AddOptions) *resume.Commit {
	if o.Stopped || o.Only != nil || len(o.Peers) > 0 || m.Total > adoptBytes || len(m.Files) > adoptFiles {
		return nil
	}
	for _, f := range m.Files {
		if f.Pad || f.Symlink || f.Length == 0 {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.adoptTime)
	defer cancel()
	found := make(chan *resume.Commit, 1)
	dir := rec.Dir
	s.wg.Add(1)
	go func() { // a disk that hangs must not hold up the answer
		defer s.wg.Done()
		var c *resume.Commit
		_ = s.adoptions.do(ctx, func() error {
			c = s.examine(ctx, m, dir)
			return nil
		})
		found <- c
	}()
	var c *resume.Commit
	select {
	case c = <-found:
	case <-ctx.Done():
	}
	if c != nil {
		asComplete(rec)
	}
	return c
}

// examine verifies the content of m below dir.
func (s *Session) examine(ctx context.Context, m *metainfo.Metainfo, dir string) *resume.Commit {
	files, err := s.store.Open(storage.Options{Info: &m.Info, Dir: dir})
	if err != nil {
		return nil
	}
	defer files.Close()
	before, err := files.Stat()
	if err != nil {
		return nil
	}
	for i, st := range before {
		if !st.Exists || st.Size != m.Files[i].Length {
			return nil
		}
	}
	good := allPieces(m.Pieces())
	err = files.Verify(ctx, nil, func(i piece.Index, ok bool) {
		if !ok {
			good.Clear(i)
		}
	})
	if err != nil || !good.All() {
		return nil
	}
	if err := files.Sync(); err != nil { // it may have been copied here a moment ago
		return nil
	}
	after, err := files.Stat()
	if err != nil || !slices.Equal(before, after) {
		return nil // somebody writes to it
	}
	return storedAll(m, after)
}
