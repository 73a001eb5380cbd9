package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
)

const (
	persistEvery = time.Second
	statsEvery   = 30 * time.Second

	syncTime  = 2 * time.Second // how long a sync should take: a stop waits for it
	syncLeast = 16 << 20        // bytes that are never worth a sync of their own
)

// persister writes progress to the resume database: data is synced first and
// claimed afterwards. Once a second it looks which torrents are due, and writes
// what is due in one update. A sync makes the disk busy, and what is not
// claimed costs no more than a look at the data after a crash. So pieces wait
// for Config.SyncEvery, unless there are many.
type persister struct {
	s    *Session
	wake chan struct{} // capacity 1

	wg sync.WaitGroup // writes under way

	mu      sync.Mutex
	pending map[*entry]waiting
	records map[*entry]bool // records to be written again
}

// waiting is a torrent whose journal has something to record.
type waiting struct {
	files *storage.Torrent
	since time.Time // of the first of it; zero means that it is due
}

func newPersister(s *Session) *persister {
	return &persister{s: s, wake: make(chan struct{}, 1), pending: map[*entry]waiting{}, records: map[*entry]bool{}}
}

// touch notes that e's journal has something to record.
func (p *persister) touch(e *entry, files *storage.Torrent) {
	p.mu.Lock()
	w, known := p.pending[e]
	if !known {
		w.since = time.Now()
	}
	w.files = files // those of an earlier loop are closed
	p.pending[e] = w
	p.mu.Unlock()
	p.kick()
}

// putBack notes that w is still to be recorded.
func (p *persister) putBack(e *entry, w waiting) {
	p.mu.Lock()
	p.pending[e] = w
	p.mu.Unlock()
	p.kick()
}

// touchRecord notes that e's record changed.
func (p *persister) touchRecord(e *entry) {
	p.mu.Lock()
	p.records[e] = true
	p.mu.Unlock()
	p.kick()
}

func (p *persister) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run writes what is due, at most once a second, until ctx ends.
func (p *persister) run(ctx context.Context) {
	stats := time.NewTicker(statsEvery)
	defer stats.Stop()
	for {
		select {
		case <-ctx.Done():
			p.writePieces(true)
			p.wg.Wait()
			p.writeRecords()
			p.writeStats(true)
			return
		case <-stats.C:
			p.writeStats(false)
			continue
		case <-p.wake:
		}
		select {
		case <-ctx.Done():
		case <-time.After(persistEvery):
		}
		if p.writePieces(false) {
			p.kick()
		}
		p.writeRecords()
	}
}

// writePieces syncs and claims the pieces of every torrent that is due, each
// in a goroutine of its own: a disk that hangs holds up its own torrents only.
// The database puts their commits together. It tells whether any are not due
// yet; with all set, they are written as well.
func (p *persister) writePieces(all bool) (more bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for e, w := range p.pending {
		due := all || p.due(e, w, now)
		// A round that is not through yet must be over first.
		if !due && !e.log.lacks() || !e.flushing.TryLock() {
			more = true
			continue
		}
		if due {
			delete(p.pending, e)
		} else {
			more = true
		}
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			defer e.flushing.Unlock()
			if err := p.writeDue(e, w.files, due); err != nil {
				p.failed(err)
			}
		}()
	}
	return more
}

// due tells whether w has waited long enough, or is so much that syncing it
// will take long.
func (p *persister) due(e *entry, w waiting, now time.Time) bool {
	bytes, rate := e.log.size()
	most := p.s.cfg.SyncBytes
	if rate > 0 {
		most = min(most, max(int64(rate*syncTime.Seconds()), syncLeast))
	}
	return w.since.IsZero() || now.Sub(w.since) >= p.s.cfg.SyncEvery || bytes >= most
}

func (p *persister) writeDue(e *entry, files *storage.Torrent, due bool) error {
	if due {
		return p.write(e, files, false)
	}
	return p.writeLost(e, files)
}

// unsynced handles pieces whose data the system could not write out: nothing
// is claimed, and they are verified again. Until then no file counts as clean,
// since a later sync that works proves nothing.
func (p *persister) unsynced(e *entry, pieces []piece.Index, err error) {
	e.tainted.Store(true)
	e.log.shake()
	p.failed(err)
	t := e.running()
	if t == nil {
		return
	}
	t.tell(func(t *torrent) {
		for len(t.peers.all) > 0 {
			t.drop(t.peers.all[0], errNotReady)
		}
		t.doubt(pieces)
		t.abandonAll()
		t.fail(fmt.Errorf("syncing files: %w", err), false)
	})
}

func (p *persister) failed(err error) {
	p.s.count("resume_failures")
	p.s.log.Error("progress could not be recorded, trying again", "err", err)
}

// flush syncs and claims the pieces of one torrent now. With clean set, the
// files are recorded as they are, so that the next start trusts them without
// a look at the data; no write may be under way then.
func (p *persister) flush(e *entry, files *storage.Torrent, clean bool) error {
	e.flushing.Lock()
	defer e.flushing.Unlock()
	p.mu.Lock()
	delete(p.pending, e)
	p.mu.Unlock()
	return p.write(e, files, clean)
}

// writeLost takes back claims: what is not there must not wait for a disk.
func (p *persister) writeLost(e *entry, files *storage.Torrent) error {
	e.claiming.Lock()
	defer e.claiming.Unlock()
	if err := p.takeBack(e); err != nil {
		p.putBack(e, waiting{files: files})
		return err
	}
	return nil
}

// takeBack does what writeLost says. The caller holds e.claiming.
func (p *persister) takeBack(e *entry) error {
	lost := e.log.takeLost()
	if len(lost) == 0 {
		return nil
	}
	err := p.s.db.Commit([]resume.Commit{{Hash: e.hash, Lost: lost}})
	if err != nil {
		e.log.giveBack(unsaved{lost: lost})
	}
	return err
}

// markDirty notes that files of e are about to be written to. The claims of a
// dirty file are trusted at the next start, so those that are wrong go first.
// While claims are being proved nobody knows which those are: a check that is
// cut short must be made again, so that the files are forgotten as well.
func (p *persister) markDirty(e *entry, files []int) error {
	e.claiming.Lock()
	defer e.claiming.Unlock()
	checking := e.checking.Load() // before takeBack: what a check found is in the journal when it ends
	if err := p.takeBack(e); err != nil {
		return err
	}
	if checking {
		if err := p.s.db.Commit([]resume.Commit{{Hash: e.hash, Clean: forgotten(files)}}); err != nil {
			return err
		}
	}
	return p.s.db.MarkDirty(e.hash, files)
}

// forgotten is how the resume database has files whose claims are in doubt.
func forgotten(files []int) []resume.Clean {
	out := make([]resume.Clean, len(files))
	for n, i := range files {
		out[n] = resume.Clean{File: i, Size: resume.Forgotten}
	}
	return out
}

// errChecking means that files were not recorded as they are, since they are
// being verified. What was synced is claimed.
var errChecking = errors.New("the content is being verified")

// write does what flush says. The caller holds e.flushing.
func (p *persister) write(e *entry, files *storage.Torrent, clean bool) error {
	if err := p.writeLost(e, files); err != nil {
		return err
	}
	if clean {
		defer files.Still()()
	}
	u := e.log.takeGood()
	var unsynced error
	if len(u.good) > 0 || clean {
		began := time.Now()
		unsynced = files.Sync()
		e.log.synced(u.bytes, time.Since(began))
	}
	if unsynced != nil {
		p.unsynced(e, e.log.landed(), unsynced)
		u = unsaved{}
	}
	var seal []storage.FileStat
	if clean = clean && !e.tainted.Load(); clean {
		// What was sealed is what was verified; a look now could find a file
		// that was changed since.
		if seal = files.Sealed(); seal == nil {
			var err error
			if seal, err = files.Stat(); err != nil {
				u.good = e.log.landed()
				return p.again(e, files, u, err)
			}
		}
	}
	known, err := p.claim(e, u.bytes, seal)
	switch {
	case err != nil:
		p.putBack(e, waiting{files: files})
		return err
	case known:
		files.Unmark()
		files.Seal(seal)
	case unsynced != nil:
		return fmt.Errorf("syncing files: %w", unsynced)
	case clean:
		return errChecking
	}
	return nil
}

// claim records the pieces that were synced, less those that were lost
// meanwhile, and what the files are: known says that this was done too.
func (p *persister) claim(e *entry, bytes int64, seal []storage.FileStat) (known bool, err error) {
	e.claiming.Lock()
	defer e.claiming.Unlock()
	good := e.log.landed()
	c := resume.Commit{Hash: e.hash, Changed: good, Stats: e.counters()}
	if known = seal != nil && !e.checking.Load(); known {
		c.Clean = asClean(seal)
	}
	if err = p.s.db.Commit([]resume.Commit{c}); err != nil {
		e.log.giveBack(unsaved{good: good, bytes: bytes})
	}
	return known, err
}

// asClean is how the resume database has files that are synced and closed.
func asClean(stats []storage.FileStat) []resume.Clean {
	out := make([]resume.Clean, len(stats))
	for i, st := range stats {
		out[i] = resume.Clean{File: i, Size: st.Size, ModTime: st.ModTime}
		if !st.Exists {
			out[i].Size, out[i].ModTime = -1, 0
		}
	}
	return out
}

// again gives back what could not be recorded, to be tried once more soon.
func (p *persister) again(e *entry, files *storage.Torrent, u unsaved, err error) error {
	e.log.giveBack(u)
	p.putBack(e, waiting{files: files})
	return err
}

// writeRecords writes the records that changed.
func (p *persister) writeRecords() {
	p.mu.Lock()
	records := p.records
	p.records = map[*entry]bool{}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for e := range records {
		wg.Add(1)
		e.saveSoon(p.s.db, func(err error) {
			defer wg.Done()
			if err != nil {
				p.failed(err)
				p.touchRecord(e)
			}
		})
	}
	wg.Wait()
}

// writeStats records the counters that changed since they were last written.
// Those of idle torrents change all the time in their seconds only, which are
// written now and then; with all set, everything is.
func (p *persister) writeStats(all bool) {
	var batch []resume.Commit
	for _, e := range p.s.entries() {
		if c, due := e.dueCounters(all); due {
			batch = append(batch, resume.Commit{Hash: e.hash, Stats: c})
		}
	}
	if len(batch) == 0 {
		return
	}
	if err := p.s.db.Commit(batch); err != nil {
		p.failed(err)
	}
}
