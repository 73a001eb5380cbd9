package session

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"btd/metainfo"
	"btd/storage/resume"
)

// entry is what the session keeps of every torrent, active or not. It is
// small: thousands of them are normal.
type entry struct {
	hash  metainfo.Hash
	place int64 // in the queue
	view  atomic.Pointer[Torrent]
	tot   totals
	log   journal

	flushing sync.Mutex  // held while the journal is being written
	claiming sync.Mutex  // held while claims are made or taken back, so that they come in their order
	tainted  atomic.Bool // a sync failed and its pieces were not verified since
	checking atomic.Bool // the loop has pieces to verify: no file counts as known
	stopping atomic.Bool // a limit is stopping it

	arranging sync.Mutex    // held while file priorities change
	recorded  chan struct{} // closed once the torrent is in the resume database, or never will be
	hold      hold

	mu      sync.Mutex // guards the fields below; never held while waiting for the loop, or for the lock of a finder
	rec     resume.Record
	run     *torrent // nil while no loop runs
	problem string   // last error that is worth showing while no loop runs
	failing bool     // problem keeps the torrent from running
	removed bool
	suspect bool // hash everything before use
	settled bool // every piece that rec.Complete speaks of is recorded
	written resume.Counters
	queued  bool               // waits for a place
	fresh   bool               // not in the resume database yet
	hints   []netip.AddrPort   // given by users for the loop when it starts
	known   []netip.AddrPort   // from the last loop
	meta    *metainfo.Metainfo // as it was added, for the first loop; nil where that has to wait
}

func newEntry(rec resume.Record) *entry {
	e := &entry{hash: rec.Hash, place: rec.Queue, rec: rec, settled: rec.Complete, written: rec.Counters()}
	e.tot.load(rec)
	e.tot.left.Store(-1)
	if rec.Complete {
		e.tot.left.Store(0)
	}
	e.view.Store(e.idleView())
	e.recorded = alreadyRecorded
	return e
}

// alreadyRecorded is shared by the torrents that came from the resume database.
var alreadyRecorded = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// await waits until the torrent is recorded. It returns false if it never
// will be.
func (e *entry) await() bool {
	<-e.recorded
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.removed
}

// totals are counters that the loop writes and others read.
type totals struct {
	up, down, corrupt atomic.Int64 // bytes
	active, seeding   atomic.Int64 // nanoseconds
	left              atomic.Int64 // wanted bytes still missing; -1 means unknown
	upBase, downBase  int64        // up and down when the daemon started
}

func (c *totals) load(r resume.Record) {
	c.up.Store(r.Uploaded)
	c.upBase, c.downBase = r.Uploaded, r.Downloaded
	c.down.Store(r.Downloaded)
	c.corrupt.Store(r.Corrupt)
	c.active.Store(r.SecondsActive * int64(time.Second))
	c.seeding.Store(r.SecondsSeeding * int64(time.Second))
}

func (c *totals) store(r *resume.Record) {
	r.Uploaded = c.up.Load()
	r.Downloaded = c.down.Load()
	r.Corrupt = c.corrupt.Load()
	r.SecondsActive = c.active.Load() / int64(time.Second)
	r.SecondsSeeding = c.seeding.Load() / int64(time.Second)
}

// idleView is the picture of a torrent that has no loop. The caller holds
// e.mu.
func (e *entry) idleView() *Torrent {
	r := &e.rec
	v := &Torrent{
		Hash: e.hash, Name: r.Name, Dir: r.Dir, State: e.idleState(), Private: r.Private,
		Single: r.Single, Size: r.Size, Wanted: r.Wanted, Have: r.Have, HaveWanted: r.HaveWanted,
		Pieces: r.Pieces, PieceLength: r.PieceLength, PiecesHave: r.PiecesHave,
		Uploaded: e.tot.up.Load(), Downloaded: e.tot.down.Load(), Corrupt: e.tot.corrupt.Load(),
		SecondsActive:  e.tot.active.Load() / int64(time.Second),
		SecondsSeeding: e.tot.seeding.Load() / int64(time.Second),
		Swarm:          SwarmCounts{-1, -1, -1},
		Added:          r.Added, Completed: r.Completed,
		Options: optionsOf(r),
		Error:   e.problem,
	}
	if old := e.view.Load(); old != nil {
		v.PeersKnown, v.Swarm = old.PeersKnown, old.Swarm
	}
	if r.Magnet != "" {
		v.Waiting = &Waiting{}
	}
	return v
}

// idleState is the state of a torrent that has no loop. The caller holds e.mu.
func (e *entry) idleState() State {
	switch {
	case e.failing:
		return StateError
	case e.rec.Stopped:
		return StateStopped
	case e.queued:
		return StateQueued
	case e.rec.Complete:
		return StateSeeding
	}
	return StateQueued
}

func optionsOf(r *resume.Record) Options {
	return Options{
		Stopped: r.Stopped, Sequential: r.Sequential, Scope: r.Scope, Secret: !r.Secret.IsZero(),
		Limits:     Limits{Up: r.LimitUp, Down: r.LimitDown},
		RatioLimit: r.RatioLimit, SeedTime: r.SeedTime,
	}
}

// private tells whether the torrent is known to be private (BEP 27).
func (e *entry) private() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec.Private
}

// scope is where the torrent's peers may be.
func (e *entry) scope() metainfo.Scope {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec.Scope
}

// inDHT tells whether the torrent may be spoken of in the DHT: one that is
// private (BEP 27), stays in the local network or has a secret may not.
func (e *entry) inDHT() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.rec.Private && e.rec.Scope == metainfo.ScopeInternet && e.rec.Secret.IsZero()
}

// record is a copy of the resume record; suspect tells that it was damaged.
func (e *entry) record() (rec resume.Record, suspect bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec, e.suspect
}

// save writes the record, with the present counters.
func (e *entry) save(db *resume.DB) error {
	done := make(chan error, 1)
	e.saveSoon(db, func(err error) { done <- err })
	return <-done
}

// saveSoon is save for a caller that does not wait: done hears of the result.
func (e *entry) saveSoon(db *resume.DB, done func(error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.removed || e.fresh {
		done(nil)
		return
	}
	e.remember()
	rec := e.rec
	rec.Complete = rec.Complete && e.settled
	e.tot.store(&rec)
	db.UpdateAsync(rec, done)
}

// edit changes the record, which is to be written then. f runs under e.mu, so
// it takes no lock itself.
func (e *entry) edit(f func(r *resume.Record)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.rec)
}

// change edits the record and writes it.
func (e *entry) change(db *resume.DB, f func(r *resume.Record)) error {
	e.edit(f)
	return e.save(db)
}

// changeSoon edits the record, which is written within about a second: for
// what may be lost with the last second before a power cut.
func (e *entry) changeSoon(s *Session, f func(r *resume.Record)) {
	e.edit(f)
	s.persist.touchRecord(e)
}

// picture is the torrent as it is shown: its view, with the times of now.
func (e *entry) picture() Torrent {
	v := *e.view.Load()
	v.SecondsActive = e.tot.active.Load() / int64(time.Second)
	v.SecondsSeeding = e.tot.seeding.Load() / int64(time.Second)
	return v
}

// counters are the totals as the resume database keeps them.
func (e *entry) counters() *resume.Counters {
	var r resume.Record
	e.tot.store(&r)
	return &resume.Counters{
		Uploaded: r.Uploaded, Downloaded: r.Downloaded, Corrupt: r.Corrupt,
		SecondsActive: r.SecondsActive, SecondsSeeding: r.SecondsSeeding,
	}
}

// running is the torrent's loop, or nil.
func (e *entry) running() *torrent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.run
}

// setComplete notes whether everything wanted is here. It returns true the
// first time that it is.
func (e *entry) setComplete(s *Session, complete bool) (first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rec.Complete == complete {
		return false
	}
	e.rec.Complete = complete
	e.settled = false
	if complete && e.rec.Completed.IsZero() {
		e.rec.Completed, first = time.Now(), true
	}
	s.persist.touchRecord(e)
	return first
}

// settle notes that all pieces of a complete torrent are recorded. Only now
// may the record say that it is complete: otherwise a crash could leave a
// seed that lacks pieces.
func (e *entry) settle(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rec.Complete && !e.settled {
		e.settled = true
		s.persist.touchRecord(e)
	}
}

// dueCounters are the counters, and whether they are to be written now.
func (e *entry) dueCounters(all bool) (*resume.Counters, bool) {
	c := e.counters()
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.written
	idle := e.run == nil && !all && c.SecondsActive-old.SecondsActive < int64(time.Hour/time.Second)
	if idle {
		old.SecondsActive, old.SecondsSeeding = c.SecondsActive, c.SecondsSeeding
	}
	if *c == old || e.removed || e.fresh {
		return nil, false
	}
	e.written = *c
	return c, true
}

// setProblem shows why the torrent cannot run.
func (e *entry) setProblem(s *Session, problem string) {
	e.mu.Lock()
	news := !e.failing
	e.failing, e.problem = true, problem
	v := e.idleView()
	e.view.Store(v)
	e.mu.Unlock()
	if news {
		s.hub.publish(EventError, e.hash, v, problem)
	}
}

func (e *entry) clearProblem() {
	e.mu.Lock()
	e.failing, e.problem = false, ""
	e.mu.Unlock()
}

// retired takes the loop off the entry after its end.
func (e *entry) retired(t *torrent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run == t {
		e.run = nil
	}
	e.remember()
	e.view.Store(e.idleView())
	t.s.queue.touch(e) // somebody may have wished it to run again meanwhile
}

// takeMeta is the metainfo of a torrent that was just added, nil for others.
func (e *entry) takeMeta() *metainfo.Metainfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.meta
	e.meta = nil
	return m
}

// verified notes that a check ended without an error.
func (e *entry) verified() {
	e.mu.Lock()
	e.suspect = false
	e.mu.Unlock()
	e.tainted.Store(false)
}

// takePeers is the addresses that users gave while no loop ran, and those
// that the last loop knew.
func (e *entry) takePeers() (given, known []netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	given, known = e.hints, e.known
	e.hints, e.known = nil, nil
	return given, known
}

// remember takes what is shown of progress over into the record, so that it
// is shown after a restart as well. The caller holds e.mu.
func (e *entry) remember() {
	if v := e.view.Load(); v != nil {
		e.rec.Wanted, e.rec.Have, e.rec.HaveWanted, e.rec.PiecesHave = v.Wanted, v.Have, v.HaveWanted, v.PiecesHave
	}
}

// setSwarm shows what a tracker said of the swarm of a torrent without a loop.
func (e *entry) setSwarm(n SwarmCounts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.view.Load()
	if e.run != nil || old == nil || old.Swarm == n {
		return
	}
	v := *old
	v.Swarm = n
	e.view.Store(&v)
}

// choose shows how many bytes are wanted, and are here of those, and returns the
// pictures before and after. It does nothing if a loop is ready, which knows it
// better.
func (e *entry) choose(wanted, haveWanted int64) (old, v *Torrent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run != nil && e.run.ready.Load() {
		return nil, nil
	}
	if e.run == nil {
		e.tot.left.Store(wanted - haveWanted)
	}
	e.rec.Wanted, e.rec.HaveWanted = wanted, haveWanted
	for {
		old = e.view.Load()
		next := *old
		next.Wanted, next.HaveWanted = wanted, haveWanted
		if next.State == StateSeeding {
			next.State = e.idleState() // until a loop has counted
		}
		if e.view.CompareAndSwap(old, &next) { // else a loop that is nearly ready was faster
			return old, &next
		}
	}
}
