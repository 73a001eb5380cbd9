package storage

import (
	"io/fs"
	"sync"
	"sync/atomic"
)

// wrote notes that a file has changed. It is called after the write and before
// its Result: a Sync that began in between leaves the file for the next one.
func (t *Torrent) wrote(file int) {
	flags := t.flag(file)
	if flags.Load()&flagDirty != 0 {
		return
	}
	t.dirtyMu.Lock()
	if flags.Or(flagDirty)&flagDirty == 0 {
		t.dirty = append(t.dirty, file)
	}
	t.dirtyMu.Unlock()
}

// takeDirty empties the list of changed files.
func (t *Torrent) takeDirty() []int {
	t.dirtyMu.Lock()
	defer t.dirtyMu.Unlock()
	files := t.dirty
	t.dirty = nil
	for _, i := range files {
		t.flag(i).And(^uint32(flagDirty))
	}
	return files
}

// Sync makes everything durable that was written before the call: every piece
// whose good Result had come, the parts file and new directories included.
//
// It returns an error too if a file or the download directory has lost its
// name meanwhile. After an error nothing written since the last Sync is known
// to be durable, not even after a later Sync: the system reports a lost write
// only once. Those pieces are to be verified.
func (t *Torrent) Sync() error {
	if err := t.gate.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	t.syncing.Lock()
	defer t.syncing.Unlock()
	files := t.takeDirty()
	if len(files) == 0 && !t.tree.changed() {
		return nil
	}
	err := t.syncFiles(files)
	if err == nil {
		err = t.tree.moved()
	}
	if err == nil {
		err = t.tree.syncDirs()
	}
	if err != nil {
		for _, i := range files {
			t.wrote(i)
		}
		t.failed(err)
	}
	return err
}

// syncWidth is how many files are synced at once: file systems with a journal
// serve several with one commit.
const syncWidth = 4

// syncFiles syncs each of the files and returns the first error. Writing all
// of them out before waiting for any halves the time for many small files.
func (t *Torrent) syncFiles(files []int) error {
	switch len(files) {
	case 0:
		return nil
	case 1:
		return t.syncFile(files[0])
	}
	for _, i := range files {
		if h, err := t.acquire(i, false); err == nil {
			startSync(h.f)
			t.release(h)
		}
	}
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		once  sync.Once
		first error
	)
	for range min(syncWidth, len(files)) {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(files)); n = next.Add(1) - 1 {
				if err := t.syncFile(files[n]); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	wg.Wait()
	return first
}

func (t *Torrent) syncFile(file int) error {
	h, err := t.acquire(file, false)
	if err != nil {
		return err
	}
	defer t.release(h)
	if t.s.fault != nil {
		err = t.s.fault("sync", t.path(file))
	}
	if err == nil {
		err = syncData(h.f)
	}
	if err == nil && unlinked(h.f) {
		err = fs.ErrNotExist
	}
	return wrap("sync", t.tree.dir, t.path(file), err)
}
