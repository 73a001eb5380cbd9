package storage

import (
	"io/fs"
	"os"
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
		if len(t.dirty) == 0 {
			t.dirtySince = t.tree.opened.Load()
		}
		t.dirty = append(t.dirty, file)
	}
	t.dirtyMu.Unlock()
}

// takeDirty empties the list of changed files. since tells which opening of the
// root the first of them was written under.
func (t *Torrent) takeDirty() (files []int, since uint32) {
	t.dirtyMu.Lock()
	defer t.dirtyMu.Unlock()
	files, since = t.dirty, t.dirtySince
	t.dirty = nil
	for _, i := range files {
		t.flag(i).And(^uint32(flagDirty))
	}
	return files, since
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
	files, since := t.takeDirty()
	if len(files) == 0 && !t.tree.changed() {
		return nil
	}
	err := t.sync(files, since)
	if err != nil {
		for _, i := range files {
			t.forgetPages(i)
			if !t.deleted(i) { // else it would be missed at every Sync
				t.wrote(i)
			}
		}
		t.failed(err)
	}
	return err
}

// deleted tells whether a file is skipped and gone. What was in it is lost: a
// Sync has said so, and no other has to.
func (t *Torrent) deleted(file int) bool {
	t.layout.RLock()
	skipped := file != partsFile && t.skipped(file)
	t.layout.RUnlock()
	if !skipped {
		return false
	}
	_, err := t.tree.lstat(t.path(file))
	return missing(err) && !t.gone(err)
}

// manyFiles is how many files are synced with one call for their whole file
// system, where there is such a call: it costs as much as some tens of files,
// and writes out what others have written there.
const manyFiles = 64

func (t *Torrent) sync(files []int, since uint32) error {
	if len(files) >= manyFiles {
		if w := t.tree.watched(since); w != nil {
			defer t.tree.unwatch(w)
			return t.syncFileSystem(w, files)
		}
	}
	err := t.syncFiles(files)
	if err == nil {
		err = t.tree.moved()
	}
	if err == nil {
		err = t.tree.syncDirs()
	}
	return err
}

// syncFileSystem syncs the file system that the root is on, and then files and
// directories that are elsewhere.
func (t *Torrent) syncFileSystem(w *witness, files []int) error {
	fresh := t.tree.takeFresh()
	err := w.sync()
	if t.s.fault != nil && err == nil {
		err = t.s.fault("sync file system", "")
	}
	err = wrap("sync", t.tree.dir, "", err)
	var elsewhere []int
	for _, i := range files {
		if err != nil {
			break
		}
		var fi os.FileInfo
		if t.s.fault != nil {
			err = wrap("sync", t.tree.dir, t.path(i), t.s.fault("sync", t.path(i)))
		}
		if err == nil {
			fi, err = t.tree.lstat(t.path(i))
		}
		if err == nil && !w.holds(fi) {
			elsewhere = append(elsewhere, i)
		}
	}
	if err == nil {
		err = t.syncFiles(elsewhere)
	}
	if err == nil {
		err = t.tree.moved()
	}
	if err != nil || len(elsewhere) > 0 {
		t.tree.putBack(fresh)
	}
	if err == nil && len(elsewhere) > 0 {
		err = t.tree.syncDirs()
	}
	return err
}

// syncWidth is how many files are synced at once: file systems with a journal
// serve several with one commit.
const syncWidth = 4

// syncFiles syncs each of the files and returns the first error. Writing
// several out before waiting for any halves the time for many small files.
func (t *Torrent) syncFiles(files []int) error {
	group := min(max(t.s.cfg.MaxOpenFiles/4, 1), manyFiles)
	for len(files) > 0 {
		n := min(group, len(files))
		if err := t.syncGroup(files[:n]); err != nil {
			return err
		}
		files = files[n:]
	}
	return nil
}

func (t *Torrent) syncGroup(files []int) error {
	open := make([]*handle, 0, len(files))
	defer func() {
		for _, h := range open {
			t.release(h)
		}
	}()
	for _, i := range files {
		h, err := t.acquire(i, false)
		if err != nil {
			return err
		}
		open = append(open, h)
		if len(files) > 1 {
			startSync(h.f)
		}
	}
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		once  sync.Once
		first error
	)
	for range min(syncWidth, len(open)) {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(open)); n = next.Add(1) - 1 {
				if err := t.syncFile(open[n]); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	wg.Wait()
	return first
}

func (t *Torrent) syncFile(h *handle) (err error) {
	if t.s.fault != nil {
		err = t.s.fault("sync", t.path(h.file))
	}
	if err == nil {
		err = syncData(h.f)
	}
	if err == nil && unlinked(h.f) {
		err = fs.ErrNotExist
	}
	return wrap("sync", t.tree.dir, t.path(h.file), err)
}

// forgetPages has the system forget what it keeps of a file in memory. After a
// write to the disk that failed it may keep bytes that are not on the disk, and
// who verifies them must not be shown those.
func (t *Torrent) forgetPages(file int) {
	if h, err := t.acquire(file, false); err == nil {
		dropPages(h.f)
		t.release(h)
	}
}
