package session

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"btd/metainfo"
	"btd/piece"
	"btd/storage"
)

// sharedError says that a file belongs to two torrents which want different
// bytes in it. Nothing is written then: one would destroy the other's data.
type sharedError struct {
	path  string
	other metainfo.Hash
}

func (e *sharedError) Error() string {
	return fmt.Sprintf("file %s belongs to torrent %s as well and holds other data: give one of them another directory, or verify this torrent once the other is complete", e.path, e.other)
}

// holders is which torrents may write to their files, of those with a loop.
//
// A loop begins as one that may, before anything is known of its files, and with
// each check again: others must not write where its data is still to be found.
// Once it knows what it lacks it asks. If another torrent has one of its files
// then, it has lost, and asks again from time to time. What it does not have counts
// as its own until nothing of it is being written any more. So of two that have the
// same file the first one to ask loses as long as neither knows what it has, and
// the other one wins. Of one that has lost nothing counts that the other has as
// well: else two torrents of the same bytes would both lose, for good.
type holders struct {
	mu sync.Mutex // held while one of them asks, so that never two at a time win
	of map[*entry]claim
}

// claim is that of a torrent with a loop. It may write unless it has lost.
type claim struct {
	lost bool
	have *piece.Bitfield // what it had when it asked; nil before that
}

// begin is for a loop that is about to look at its files.
func (c *holders) begin(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[*entry]claim{}
	}
	c.of[e] = claim{}
}

// end is for a loop that will not write any more.
func (c *holders) end(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, e)
}

// part is how many of a torrent's files count as its own.
type part int8

const (
	partNone   part = iota
	partHad         // those that it has pieces of, or may have
	partWanted      // all that it does not skip
)

// against is what of o counts against e, which wants to write, and which pieces
// o has; nil is what the resume database says. The caller holds c.mu.
func (c *holders) against(e, o *entry) (part, *piece.Bitfield) {
	its, runs := c.of[o]
	switch {
	case o == e:
		return partNone, nil
	case its.lost: // what it only wishes for does not count: two could lose against each other
		return partHad, its.have
	case !runs:
		return partHad, nil
	}
	return partWanted, nil
}

// clash is an error if the torrent, which lacks pieces, would write to
// another's file to get them; else nobody else writes to its files from now on.
// have is what it has, nil if that is not known; still tells that this does not
// change any more. As long as it may be writing its files count as before. It may
// run outside the loop.
func (t *torrent) clash(prio []Priority, have *piece.Bitfield, still bool) error {
	c := &t.s.holders
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range t.s.rivals(t.e, t.meta, have) {
		if prio[i] != Skip {
			if still {
				c.of[t.e] = claim{lost: true, have: have}
			}
			return &sharedError{path: t.meta.Files[i].Path, other: o.hash}
		}
	}
	c.of[t.e] = claim{have: have}
	return nil
}

// foreign says which files of e are another's at this moment, skipped or not;
// nil if none is. What it has itself counts from when it was told that it may
// write.
func (s *Session) foreign(e *entry, m *metainfo.Metainfo) []bool {
	s.holders.mu.Lock()
	defer s.holders.mu.Unlock()
	var have *piece.Bitfield
	if mine := s.holders.of[e]; !mine.lost {
		have = mine.have
	}
	var files []bool
	for i := range s.rivals(e, m, have) {
		if files == nil {
			files = make([]bool, len(m.Files))
		}
		files[i] = true
	}
	return files
}

// rivals gives the files of e, which has these pieces (nil: nobody knows), that
// another torrent has too. The caller holds s.holders.mu.
func (s *Session) rivals(e *entry, m *metainfo.Metainfo, have *piece.Bitfield) iter.Seq2[int, *entry] {
	rec, _ := e.record()
	return s.sharedIn(rec.Dir, m, have, func(o *entry) (part, *piece.Bitfield) { return s.holders.against(e, o) })
}

// leave says which files storage is to treat as skipped: those that are, and
// those that are another's, which others tells of. They are read where they are,
// since the bytes may be the same, and not written to.
func (s *Session) leave(e *entry, m *metainfo.Metainfo, prio []Priority) (skip []bool, others bool) {
	skip = skips(prio)
	for i, theirs := range s.foreign(e, m) {
		if theirs && !skip[i] {
			skip[i], others = true, true
		}
	}
	return skip, others
}

// arrange has storage move files to where they belong by prio. It runs outside
// the loop; whoever calls it holds e.arranging.
func (t *torrent) arrange(files *storage.Torrent, prio []Priority) (others bool, err error) {
	skip, others := t.s.leave(t.e, t.meta, prio)
	return others, files.SetSkip(skip)
}

// contend is for a torrent that lacks pieces: it fails if it would have to
// write to another's file.
func (t *torrent) contend() {
	still := t.disk.err == nil && !t.fetching() // else something given up may be on its way to the disk
	if err := t.clash(t.disk.prio, t.pick.Have().Clone(), still); err != nil {
		t.fail(err, false)
		t.giveWay()
		return
	}
	t.takeFiles()
}

// fetching tells whether blocks are asked for, or something of a piece is here.
func (t *torrent) fetching() bool {
	return t.pick.Begun() || slices.ContainsFunc(t.peers.all, func(p *peer) bool { return len(p.down.reqs) > 0 })
}

// giveWay is for a torrent that lost, and is in the error state: it gives up what
// it fetches, since others may write there. They may as soon as a probe has
// waited for what is being written.
func (t *torrent) giveWay() {
	if !t.fetching() {
		return
	}
	for len(t.peers.all) > 0 {
		t.drop(t.peers.all[0], errNotReady)
	}
	t.abandonAll()
	t.disk.probe.next = t.now
}

// clashAgain is clash in a probe, after what was being written. idle tells
// whether nothing was fetched before that. It runs outside the loop.
func (t *torrent) clashAgain(prio []Priority, idle bool) error {
	var have *piece.Bitfield
	err := t.ask(t.ctx, func(t *torrent) {
		if t.disk.check == nil {
			have = t.pick.Have().Clone()
		}
	})
	if err != nil {
		return err
	}
	return t.clash(prio, have, idle && have != nil)
}

// takeFiles has storage write to files that were another's and are not now.
func (t *torrent) takeFiles() {
	if t.disk.others {
		t.disk.others = false
		t.arrangeSoon()
	}
}

// sharing finds a file of m, not skipped, that another torrent of the session
// with the same download directory has too, and has something of.
func (s *Session) sharing(e *entry, m *metainfo.Metainfo, prio []Priority) *sharedError {
	rec, _ := e.record()
	for i, o := range s.sharedIn(rec.Dir, m, nil, func(o *entry) (part, *piece.Bitfield) {
		if o == e || o.view.Load().Have == 0 {
			return partNone, nil
		}
		return partWanted, nil
	}) {
		if prio[i] != Skip {
			return &sharedError{path: m.Files[i].Path, other: o.hash}
		}
	}
	return nil
}
