package session

import (
	"context"
	"slices"

	"btd/metainfo"
	"btd/storage"
	"btd/storage/resume"
)

// vouched tells what to record of a new torrent whose files whoever adds it
// has hashed and describes by a fingerprint; nil if they are not, or no longer,
// the files that it speaks of, or cannot be read: then they are looked at as
// any others are. rec is made to say so.
//
// Nothing is believed that could not be found out later: the record has each
// file's size and time, as after a check of our own, so that a file which
// changes is hashed at the next start, and what peers get has hashes.
func (s *Session) vouched(ctx context.Context, m *metainfo.Metainfo, rec *resume.Record, o AddOptions) *resume.Commit {
	if o.Seen.IsZero() || o.Only != nil {
		return nil
	}
	files, err := s.store.Open(storage.Options{Info: &m.Info, Dir: rec.Dir})
	if err != nil {
		return nil
	}
	defer files.Close()
	before, err := files.Accept(ctx)
	if err != nil {
		return nil
	}
	seen, _ := m.Fingerprint(func(i int) (size, modTime int64, err error) { return before[i].Size, before[i].ModTime, nil })
	if seen != o.Seen {
		s.log.Info("the files are not as they were when they were hashed: they are verified", "torrent", m.Hash.String(), "dir", rec.Dir)
		return nil
	}
	for i, st := range before {
		if f := &m.Files[i]; !f.Pad && (!st.Exists || st.Size != f.Length) {
			return nil
		}
	}
	if err := files.Sync(); err != nil {
		return nil
	}
	after, err := files.Stat()
	if err != nil || !slices.Equal(before, after) {
		return nil
	}
	asComplete(rec)
	return storedAll(m, after)
}

// asComplete makes the record of a new torrent say that everything is here.
func asComplete(rec *resume.Record) {
	rec.Complete, rec.Completed = true, rec.Added
	rec.Have, rec.HaveWanted, rec.PiecesHave = rec.Size, rec.Size, rec.Pieces
}

// storedAll is what to record of files whose content is right and synced.
func storedAll(m *metainfo.Metainfo, stats []storage.FileStat) *resume.Commit {
	c := &resume.Commit{Hash: m.Hash, Pieces: allPieces(m.Pieces())}
	for i, st := range stats {
		if !m.Files[i].Pad {
			c.Clean = append(c.Clean, resume.Clean{File: i, Size: st.Size, ModTime: st.ModTime})
		}
	}
	return c
}
