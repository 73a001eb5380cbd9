package storage

import (
	"os"
	"sync"
)

// handle is an open file. It is used by those who hold a reference.
type handle struct {
	f        *os.File
	t        *Torrent
	file     int // number of the file in the torrent, or partsFile
	writable bool

	// Guarded by handles.mu.
	refs       int
	stale      bool // taken out of the list: closed with the last reference
	used       uint64
	prev, next *handle
}

// handles keeps open files of all torrents, least recently used last.
type handles struct {
	mu    sync.Mutex
	max   int
	n     int
	ticks uint64
	ring  handle // sentinel: next is the most recently used
	trees map[*tree]uint64
}

func (c *handles) init(most int) {
	c.max = most
	c.ring.next, c.ring.prev = &c.ring, &c.ring
	c.trees = make(map[*tree]uint64)
}

func (c *handles) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *handles) unlink(h *handle) {
	h.prev.next, h.next.prev = h.next, h.prev
	h.prev, h.next = nil, nil
}

func (c *handles) front(h *handle) {
	h.next, h.prev = c.ring.next, &c.ring
	h.next.prev, h.prev.next = h, h
	h.used = c.ticks
}

// find is an open handle good for the purpose, with a reference taken.
func (c *handles) find(t *Torrent, file int, write bool) *handle {
	h := t.open[file]
	if h == nil || write && !h.writable {
		return nil
	}
	h.refs++
	c.unlink(h)
	c.front(h)
	return h
}

// detach takes h out of the cache. The caller closes it if nobody uses it.
func (c *handles) detach(h *handle) (unused bool) {
	delete(h.t.open, h.file)
	c.unlink(h)
	c.n--
	h.stale = true
	return h.refs == 0
}

// dirtyTicks is how many ticks longer a file stays open that waits for Sync, if
// there is room: the system may tell of a lost write only those who had the
// file open.
const dirtyTicks = 6

// victim detaches the least recently used handle that nobody uses and that was
// not used in the last age ticks.
func (c *handles) victim(age uint64) *handle {
	for h := c.ring.prev; h != &c.ring; h = h.prev {
		if age > 0 && h.used+age > c.ticks {
			return nil
		}
		waits := age > 0 && h.used+age+dirtyTicks > c.ticks && h.t.flag(h.file).Load()&flagDirty != 0
		if h.refs == 0 && !waits {
			c.detach(h)
			return h
		}
	}
	return nil
}

// closeIdle closes what was not used for age ticks, and tells how many files
// and directories stay open.
func (c *handles) closeIdle(age uint64) (left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticks++
	for h := c.victim(age); h != nil; h = c.victim(age) {
		c.mu.Unlock()
		h.f.Close()
		c.mu.Lock()
	}
	for d, used := range c.trees {
		if used+age <= c.ticks {
			delete(c.trees, d)
			c.mu.Unlock()
			d.close()
			c.mu.Lock()
		}
	}
	return c.n + len(c.trees)
}

// acquire is file open for reading, or for writing too, with a reference that
// release gives back. Writing makes the file if the torrent may.
func (t *Torrent) acquire(file int, write bool) (*handle, error) {
	c := &t.s.handles
	c.mu.Lock()
	h := c.find(t, file, write)
	if h == nil {
		c.trees[&t.tree] = c.ticks
	}
	c.mu.Unlock()
	if h != nil {
		t.s.cfg.Busy()
		return h, nil
	}
	f, err := t.openAny(file, write)
	if err != nil && tooManyFiles(err) {
		c.closeIdle(0)
		f, err = t.openAny(file, write)
	}
	if err != nil {
		return nil, err
	}
	t.s.busy()

	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.find(t, file, write); h != nil { // somebody else was faster
		c.mu.Unlock()
		f.Close()
		c.mu.Lock()
		return h, nil
	}
	var closing *handle
	if old := t.open[file]; old != nil && c.detach(old) {
		closing = old
	}
	h = &handle{f: f, t: t, file: file, writable: write, refs: 1}
	t.open[file] = h
	c.front(h)
	c.n++
	for {
		if closing == nil && c.n > c.max {
			closing = c.victim(0)
		}
		if closing == nil {
			return h, nil
		}
		c.mu.Unlock()
		closing.f.Close()
		c.mu.Lock()
		closing = nil
	}
}

// release gives back a reference.
func (t *Torrent) release(h *handle) {
	c := &t.s.handles
	c.mu.Lock()
	h.refs--
	closing := h.stale && h.refs == 0
	c.mu.Unlock()
	if closing {
		h.f.Close()
	}
}

// forget closes t's open files, each as soon as nobody uses it, and its
// directories.
func (t *Torrent) forget() {
	c := &t.s.handles
	c.mu.Lock()
	var unused []*handle
	for _, h := range t.open {
		if c.detach(h) {
			unused = append(unused, h)
		}
	}
	delete(c.trees, &t.tree)
	c.mu.Unlock()
	for _, h := range unused {
		h.f.Close()
	}
	t.tree.close()
}

// keepTree notes that t's directories are in use, so that they are closed when
// they are idle.
func (t *Torrent) keepTree() {
	c := &t.s.handles
	c.mu.Lock()
	c.trees[&t.tree] = c.ticks
	c.mu.Unlock()
	t.s.busy()
}
