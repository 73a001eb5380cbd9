package session

import (
	"context"
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
)

// persister writes progress to the resume database: data is synced first and
// claimed afterwards, all torrents in one update a second.
type persister struct {
	s    *Session
	wake chan struct{} // capacity 1

	wg sync.WaitGroup // writes under way

	mu      sync.Mutex
	pending map[*entry]*storage.Torrent
	records map[*entry]bool // records to be written again
}

func newPersister(s *Session) *persister {
	return &persister{s: s, wake: make(chan struct{}, 1), pending: map[*entry]*storage.Torrent{}, records: map[*entry]bool{}}
}

// touch notes that e's journal has something to record.
func (p *persister) touch(e *entry, files *storage.Torrent) {
	p.mu.Lock()
	p.pending[e] = files
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

// run writes what is pending, at most once a second, until ctx ends.
func (p *persister) run(ctx context.Context) {
	stats := time.NewTicker(statsEvery)
	defer stats.Stop()
	for {
		select {
		case <-ctx.Done():
			p.writePieces()
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
		p.writePieces()
		p.writeRecords()
	}
}

// writePieces syncs and claims the pieces of every torrent that has some, each
// in a goroutine of its own: a disk that hangs holds up its own torrents only.
// The database puts their commits together.
func (p *persister) writePieces() {
	p.mu.Lock()
	pending := p.pending
	p.pending = map[*entry]*storage.Torrent{}
	p.mu.Unlock()
	for e, files := range pending {
		if !e.flushing.TryLock() {
			p.touch(e, files) // its last round is not through yet
			continue
		}
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			defer e.flushing.Unlock()
			if err := p.write(e, files, false); err != nil {
				p.failed(err)
			}
		}()
	}
}

// unsynced handles pieces whose data the system could not write out: nothing
// is claimed, and they are verified again. Until then no file counts as clean,
// since a later sync that works proves nothing.
func (p *persister) unsynced(e *entry, pieces []piece.Index, err error) {
	e.tainted.Store(true)
	p.failed(err)
	t := e.running()
	if t == nil {
		return
	}
	t.tell(func(t *torrent) {
		again := piece.NewBitfield(t.geo.Pieces())
		for _, i := range pieces {
			again.Set(i)
			t.losePiece(i)
		}
		t.disk.later(again)
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

// write does what flush says. The caller holds e.flushing.
func (p *persister) write(e *entry, files *storage.Torrent, clean bool) error {
	good, lost := e.log.take()
	if len(lost) > 0 {
		// What is not there must not wait for a disk to be unclaimed.
		if err := p.s.db.Commit([]resume.Commit{{Hash: e.hash, Lost: lost}}); err != nil {
			return p.again(e, files, good, lost, err)
		}
	}
	var unsynced error
	if len(good) > 0 || clean {
		unsynced = files.Sync()
	}
	if unsynced != nil {
		p.unsynced(e, good, unsynced)
		good = nil
	}
	clean = clean && !e.tainted.Load()
	c := resume.Commit{Hash: e.hash, Changed: good, Stats: e.counters()}
	if clean {
		stats, err := files.Stat()
		if err != nil {
			return p.again(e, files, good, nil, err)
		}
		for i, st := range stats {
			f := resume.Clean{File: i, Size: st.Size, ModTime: st.ModTime}
			if !st.Exists {
				f.Size, f.ModTime = -1, 0
			}
			c.Clean = append(c.Clean, f)
		}
	}
	if err := p.s.db.Commit([]resume.Commit{c}); err != nil {
		return p.again(e, files, good, nil, err)
	}
	switch {
	case clean:
		files.Unmark()
	case unsynced != nil:
		return fmt.Errorf("syncing files: %w", unsynced)
	}
	return nil
}

// again gives back what could not be recorded, to be tried once more.
func (p *persister) again(e *entry, files *storage.Torrent, good, lost []piece.Index, err error) error {
	e.log.giveBack(good, lost)
	p.touch(e, files)
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
