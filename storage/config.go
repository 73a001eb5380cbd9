package storage

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"btd/piece"
)

// Config holds the limits that all torrents of a Store share. The zero value
// is valid.
type Config struct {
	Workers      int          // goroutines that hash and write, and that verify; 0 means GOMAXPROCS
	MaxOpenFiles int          // open files kept at most, in all torrents; 0 means 256
	Memory       int64        // bytes for requests outstanding plus blocks in memory; 0 means 32 MiB
	RunBytes     int          // bytes of a piece that are gathered before they are written; 0 means 1 MiB
	Busy         func()       // called whenever memory or a file is put to use; must be quick, and not block; nil is nobody
	Log          *slog.Logger // nil means no log
}

func (c Config) withDefaults() Config {
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.MaxOpenFiles <= 0 {
		c.MaxOpenFiles = 256
	}
	if c.Memory <= 0 {
		c.Memory = 32 << 20
	}
	if c.RunBytes <= 0 {
		c.RunBytes = 1 << 20
	}
	if c.Busy == nil {
		c.Busy = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store owns what torrents share: block buffers, workers, open files. Its
// methods may be called from any goroutine.
type Store struct {
	cfg     Config
	pool    pool
	handles handles
	queue   queue
	tokens  chan *checker // one per Verify worker; carries its memory
	fault   func(op, path string) error

	idle janitor
	wg   sync.WaitGroup // write workers

	read, written, readBack atomic.Int64
}

// New makes a Store. It starts nothing and opens nothing before the first use.
func New(cfg Config) *Store {
	cfg = cfg.withDefaults()
	s := &Store{cfg: cfg}
	s.pool.init(cfg.Memory, s.busy)
	s.handles.init(cfg.MaxOpenFiles)
	s.queue.init(cfg.RunBytes, s.pool.capacity, cfg.Workers, func() { s.wg.Go(s.work) })
	s.tokens = make(chan *checker, cfg.Workers)
	for range cfg.Workers {
		s.tokens <- nil
	}
	s.idle.init(s.trim)
	return s
}

// Close stops the workers. Every Torrent must be closed before.
func (s *Store) Close() error {
	s.queue.close()
	s.wg.Wait()
	s.idle.stop()
	s.handles.closeIdle(0)
	s.pool.close()
	return nil
}

// Alloc is the memory for one block. It never blocks and never fails: beyond
// the budget it comes from the heap.
func (s *Store) Alloc() *piece.Buffer { return s.pool.alloc() }

// Free gives a block's memory back. A nil buffer is ignored.
func (s *Store) Free(b *piece.Buffer) {
	if b != nil {
		s.pool.free(b)
	}
}

// Lease reserves memory for up to n blocks about to be requested and tells how
// many were granted (0 to n). Buffers that are out (Alloc to Free, blocks being
// written included) count against the same budget, so a lease is given back
// with Unlease as soon as its block has arrived or will not come any more.
func (s *Store) Lease(n int) (granted int) { return s.pool.lease(n) }

// Unlease gives n leases back.
func (s *Store) Unlease(n int) { s.pool.unlease(n) }

// Tight tells whether more than three quarters of the memory budget are taken:
// then slow peers should hold little of it.
func (s *Store) Tight() bool { return s.pool.tight() }

// Stats is a snapshot of a Store's counters.
type Stats struct {
	Capacity  int   // blocks that Memory has room for
	Leased    int   // requests outstanding, blocks
	Buffers   int   // block buffers that are out
	Held      int   // blocks that wait to be written
	Queued    int   // pieces that wait for a worker
	OpenFiles int   // open files
	Read      int64 // bytes read for uploads
	Written   int64 // bytes written
	ReadBack  int64 // bytes read again to be hashed, because they were written out of order
}

// Stats tells what the Store holds now.
func (s *Store) Stats() Stats {
	var st Stats
	st.Capacity, st.Leased, st.Buffers = s.pool.stats()
	st.Held, st.Queued = s.queue.stats()
	st.OpenFiles = s.handles.count()
	st.Read, st.Written, st.ReadBack = s.read.Load(), s.written.Load(), s.readBack.Load()
	return st
}

// idleTick is how often idle memory and files are looked at. A file or buffer
// is given back when it was not used for one to two ticks.
const idleTick = 5 * time.Second

// janitor runs a function every idleTick while there is something to tidy. It
// owns no goroutine, and no timer while the Store is idle.
type janitor struct {
	mu      sync.Mutex
	armed   atomic.Bool
	stopped bool
	timer   *time.Timer
	tidy    func() (more bool)
}

func (j *janitor) init(tidy func() bool) { j.tidy = tidy }

// wake arms the timer if it is not.
func (j *janitor) wake() {
	if j.armed.Load() {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped || j.armed.Swap(true) {
		return
	}
	if j.timer == nil {
		j.timer = time.AfterFunc(idleTick, j.tick)
	} else {
		j.timer.Reset(idleTick)
	}
}

func (j *janitor) tick() {
	j.armed.Store(false)
	if j.tidy() {
		j.wake()
	}
}

func (j *janitor) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopped = true
	if j.timer != nil {
		j.timer.Stop()
	}
}

func (s *Store) busy() {
	s.idle.wake()
	s.cfg.Busy()
}

// trim gives back what was idle for a tick and tells whether anything is left.
func (s *Store) trim() bool {
	more := s.pool.trim()
	if s.trimVerify() {
		more = true
	}
	if s.handles.closeIdle(2) > 0 {
		more = true
	}
	return more
}
