package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"btd/metainfo"
	"btd/peerwire"
	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
)

// changes is how the torrent deals with files that somebody else writes to
// while it is shared. storage notices that before such a byte goes out. Then
// nobody is served until the pieces of those files were hashed; peers connect
// again and are told what is left. A file that changes again soon is not hashed
// each time: its pieces are withdrawn until it has been left alone for a while.
//
// Pieces that no longer fit are not fetched again by themselves, for that would
// overwrite what somebody has done on purpose: their files are held, until
// they are as they were or the user has the torrent verified.
type changes struct {
	found    bool            // a file changed: nothing is read until it is known which
	looking  bool            // that is being found out
	next     time.Time       // when held files are looked at; what changes before is restless
	suspect  []int           // files that are verified because they changed
	held     []int           // changed files of which pieces do not fit any more, or may not
	restless []int           // those of them that were written to since they were verified
	had      *piece.Bitfield // pieces of all those that were here before; nil counts as all
	vain     int             // how often in a row a change was found that is not there
	text     string          // about held, for users
}

// mostVain is after how many changes that are not there nobody looks any more.
const mostVain = 3

// changeEvery is the time between two looks at files that change or are held.
const changeEvery = 30 * time.Second

// stuck tells whether nothing may be written now.
func (d *disk) stuck() bool { return d.err != nil || len(d.changes.held) > 0 }

// problem is what is wrong, for users; "" if nothing is.
func (d *disk) problem() string {
	if d.err == nil {
		return d.changes.text
	}
	return storage.Describe(d.err)
}

// onChanged handles a piece that was not read for a peer since its file is not
// what it was.
func (t *torrent) onChanged(err error) {
	c := &t.disk.changes
	if c.found {
		return
	}
	c.found = true
	t.log.Warn("a file was changed while it is shared: its pieces are verified", "err", err)
	for _, p := range t.peers.all {
		t.chokePeer(p)
	}
	t.tickChanges()
}

// tickChanges looks at the files if that is due.
func (t *torrent) tickChanges() {
	c := &t.disk.changes
	due := c.found || len(c.held) > 0 && !t.now.Before(c.next)
	if !due || c.looking || t.disk.err != nil || t.disk.check != nil {
		return
	}
	c.looking = true
	files := t.disk.files
	t.spawn(func() {
		changed, now, err := files.Changed()
		t.tell(func(t *torrent) { t.looked(changed, now, err) })
	})
}

// looked verifies the files that changed, or those that change no more.
func (t *torrent) looked(changed []int, now []storage.FileStat, err error) {
	c := &t.disk.changes
	c.looking = false
	if err != nil {
		t.fail(err, true) // c.found stays: looked again once that is over
		return
	}
	found, soon := c.found, t.now.Before(c.next)
	c.found = false
	c.next = t.now.Add(t.s.cfg.changeEvery)
	t.choke.next = t.now
	switch {
	case len(changed) > 0:
		c.vain = 0
		t.disk.files.Seal(now)
	case found && now != nil:
		// The file was another one by then; or this file system says one thing
		// of a name and another of the file when it is open.
		if c.vain++; c.vain == mostVain {
			t.log.Warn("this file system does not tell reliably when files change: it is not asked any more")
			t.disk.files.Seal(nil)
		}
	}
	switch {
	case found && !soon:
		t.checkFiles(changed)
	case len(changed) > 0:
		t.setAside(changed)
	case !found:
		t.checkFiles(c.restless)
	}
}

// checkFiles verifies files that changed.
func (t *torrent) checkFiles(files []int) {
	if len(files) == 0 {
		return
	}
	c := &t.disk.changes
	t.noteHad(files)
	c.suspect, c.restless = join(c.suspect, files), nil
	want := piece.NewBitfield(t.geo.Pieces())
	for _, i := range files {
		t.disk.each(i, func(n piece.Index) { want.Set(n) })
	}
	t.log.Info("verifying changed files", "files", len(files), "first", t.meta.Files[files[0]].Path, "pieces", want.Count())
	t.startCheck(want)
}

// setAside withdraws files that change again and again. Peers that cannot be
// told so have to connect again.
func (t *torrent) setAside(files []int) {
	c := &t.disk.changes
	t.noteHad(files)
	c.restless = join(c.restless, files)
	c.suspect = join(c.suspect, files)
	for _, i := range files {
		t.disk.each(i, t.losePiece)
	}
	for k := len(t.peers.all) - 1; k >= 0; k-- {
		if p := t.peers.all[k]; p.ext.M[peerwire.ExtDontHave] == 0 {
			t.drop(p, errNotReady)
		}
	}
	t.judge()
	if t.pick.Missing() > 0 {
		t.incomplete()
	}
	t.publishNow()
}

// noteHad notes which pieces of files that changed are here: only of these can
// it be said that they do not fit any more. Others are still to be fetched.
func (t *torrent) noteHad(files []int) {
	c := &t.disk.changes
	switch {
	case c.had != nil:
	case len(c.suspect)+len(c.held) > 0: // found at the start: nobody knows of them
		c.had = allPieces(t.geo.Pieces())
	default:
		c.had = piece.NewBitfield(t.geo.Pieces())
	}
	for _, i := range files {
		t.disk.each(i, func(n piece.Index) {
			if t.pick.Have().Has(n) {
				c.had.Set(n)
			}
		})
	}
}

func join(a, b []int) []int {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// judge decides, after pieces were verified, which changed files are held.
func (t *torrent) judge() {
	c := &t.disk.changes
	old := c.held
	all := join(c.suspect, old)
	c.suspect, c.held, c.text = nil, nil, ""
	lost := piece.NewBitfield(t.geo.Pieces())
	for _, i := range all {
		if t.disk.prio[i] == Skip {
			continue // nobody fetches it again
		}
		bad := false
		t.disk.each(i, func(n piece.Index) {
			if !t.pick.Have().Has(n) && (c.had == nil || c.had.Has(n)) {
				lost.Set(n)
				bad = true
			}
		})
		if bad {
			c.held = append(c.held, i)
		}
	}
	if len(c.held) > 0 {
		c.text = t.heldText(lost.Count())
	} else {
		c.had = nil
	}
	if slices.Equal(old, c.held) && (len(c.held) > 0 || !t.e.hold.noted.Load()) {
		return
	}
	t.saveHeld()
	if len(c.held) == 0 {
		t.log.Info("the changed files are as they were")
		return
	}
	t.log.Error("files were changed while they are shared", "problem", c.text)
	t.publishNow()
	t.s.hub.publish(EventError, t.e.hash, t.e.view.Load(), c.text)
}

// heldText says what became of the files that are held.
func (t *torrent) heldText(pieces int) string {
	const most = 3
	held := t.disk.changes.held
	names := make([]string, 0, most)
	for _, i := range held[:min(most, len(held))] {
		names = append(names, t.meta.Files[i].Path)
	}
	text, have := strings.Join(names, ", "), "has"
	if more := len(held) - len(names); more > 0 {
		text = fmt.Sprintf("%s and %d more", text, more)
	}
	if len(held) > 1 {
		have = "have"
	}
	if len(t.disk.changes.restless) > 0 {
		return fmt.Sprintf("%s %s changed again soon after the content was verified: %d of %d pieces are not offered "+
			"until nobody has written to what changes for a while", text, have, pieces, t.geo.Pieces())
	}
	return fmt.Sprintf("%s %s changed since the content was verified: %d of %d pieces do not fit any more and are not offered. "+
		"Nothing is written over that; verify the torrent to fetch what it was", text, have, pieces, t.geo.Pieces())
}

// release lets held files be written to again. What the files are now is
// about to be verified.
func (t *torrent) release() {
	t.disk.files.Seal(nil)
	c := &t.disk.changes
	held := len(c.held) > 0
	c.suspect, c.held, c.restless, c.had, c.text = nil, nil, nil, nil, ""
	if held {
		t.saveHeld()
	}
}

// whileShared picks, of the files that are not what the resume database says,
// those that were changed while this daemon runs. What happened to others
// before that is repaired: a file system that lost writes, say.
func (t *torrent) whileShared(changed []int, stats []storage.FileStat) []int {
	if t.e.hold.looked.Load() {
		return changed
	}
	began := t.s.began.UnixNano()
	return slices.DeleteFunc(changed, func(i int) bool { return stats[i].ModTime < began })
}

// hold is which files of a torrent are held, in the resume database.
type hold struct {
	looked atomic.Bool // this daemon has had the torrent loaded before
	newest atomic.Int64
	noted  atomic.Bool // the database may have something
	mu     sync.Mutex  // held while it is written
}

// heldNote is how the database has it.
type heldNote struct {
	Added int64 `json:"added"` // of the torrent, ns since 1970: another one with this hash is not meant
	Files []int `json:"files"` // by number
}

const maxHeld = 1000 // files that are remembered: one is enough to hold the torrent

func heldKey(h metainfo.Hash) string { return "held/" + h.String() }

// saveHeld records which files are held.
func (t *torrent) saveHeld() {
	e, db := t.e, t.s.db
	rec, _ := e.record()
	var val []byte
	if held := t.disk.changes.held; len(held) > 0 {
		val, _ = json.Marshal(heldNote{rec.Added.UnixNano(), held[:min(len(held), maxHeld)]}) // numbers are always marshalled
	}
	n := e.hold.newest.Add(1)
	e.hold.noted.Store(true)
	t.spawn(func() {
		e.hold.mu.Lock()
		defer e.hold.mu.Unlock()
		if e.hold.newest.Load() != n {
			return // there is newer news
		}
		if err := db.Put(heldKey(e.hash), val); err != nil {
			t.log.Error("recording which files are held", "err", err)
			return
		}
		e.hold.noted.Store(val != nil)
	})
}

// loadHeld is which files were held when the torrent last ran.
func (t *torrent) loadHeld(rec *resume.Record) ([]int, error) {
	val, err := t.s.db.Get(heldKey(t.e.hash))
	if err != nil || val == nil {
		return nil, err
	}
	t.e.hold.noted.Store(true)
	var note heldNote
	if err := json.Unmarshal(val, &note); err != nil || note.Added != rec.Added.UnixNano() {
		return nil, nil
	}
	return slices.DeleteFunc(note.Files, func(i int) bool { return i < 0 || i >= len(t.meta.Files) }), nil
}

// forgetHeld takes a removed torrent's note away.
func (s *Session) forgetHeld(e *entry) error {
	if !e.hold.noted.Load() {
		return nil
	}
	e.hold.newest.Add(1)
	e.hold.mu.Lock()
	defer e.hold.mu.Unlock()
	return s.db.Put(heldKey(e.hash), nil)
}

// isChanged tells whether a run was not read since its file changed.
func isChanged(err error) bool { return errors.Is(err, storage.ErrChanged) }
