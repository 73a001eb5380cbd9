package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
)

// disk is the torrent's side of storage: what is had, what is wanted, and
// what is wrong.
type disk struct {
	layout
	files  *storage.Torrent
	prio   []Priority      // per file
	others bool            // storage leaves wanted files alone that are another torrent's
	pads   bool            // the torrent has pad files
	check  *check          // under way, or nil
	redo   bool            // check everything once the present check ends
	todo   *piece.Bitfield // of a check that an error ended
	lone   bool            // todo is one piece that could not be read for a peer
	err    error           // why nothing can be written (or read), or nil
	blind  bool            // err concerns reading as well
	probe  probe
	bytes  haveBytes

	// unproved are pieces that the resume database claims and that are not had
	// until they were hashed. The claim of one that is bad is taken back.
	unproved *piece.Bitfield

	changes changes
	synced  bool // the end of the download was handled
	clean   bool // the resume database says of every file what it is now
	marks   int  // how often it was told of writes to files
}

// haveBytes counts content without pad files.
type haveBytes struct {
	size, have         int64
	wanted, haveWanted int64
}

// probe is how an error state ends: the cause is looked at now and then.
type probe struct {
	next    time.Time
	wait    time.Duration
	running bool
	ended   time.Time // when the last error was over
}

const (
	probeFirst = 2 * time.Second
	probeMost  = 30 * time.Second
)

func (d *disk) readable() bool {
	return d.check == nil && !(d.err != nil && d.blind) && !d.changes.found
}

func (d *disk) busy() bool {
	return d.check != nil || d.stuck() || d.probe.running || d.changes.found || d.changes.looking
}

func (d *disk) isPad(b piece.Block) bool { return d.pads && d.files.Pad(b) }

func (d *disk) isWanted(file int) bool {
	return d.prio[file] != Skip && !d.info.Files[file].Pad
}

// later notes pieces to be verified once the torrent's error is gone.
func (d *disk) later(f *piece.Bitfield) {
	if f == nil || f.Count() == 0 {
		return
	}
	d.lone = false
	if d.todo == nil {
		d.todo = f.Clone()
		return
	}
	for i := range f.Indexes() {
		d.todo.Set(i)
	}
}

// count adds or takes away the bytes of piece i.
func (d *disk) count(i piece.Index, sign int64) {
	d.bytes.have += sign * d.bytesOf(i, func(f int) bool { return !d.info.Files[f].Pad })
	d.bytes.haveWanted += sign * d.bytesOf(i, d.isWanted)
}

// bytesBy counts what pieces in have come to by file priorities.
func bytesBy(l layout, prio []Priority, have *piece.Bitfield) haveBytes {
	d := disk{layout: l, prio: prio}
	d.recount(have)
	return d.bytes
}

// recount starts over after the priorities changed.
func (d *disk) recount(have *piece.Bitfield) {
	d.bytes = haveBytes{}
	for i, f := range d.info.Files {
		if f.Pad {
			continue
		}
		d.bytes.size += f.Length
		if d.prio[i] != Skip {
			d.bytes.wanted += f.Length
		}
	}
	if have.All() {
		d.bytes.have, d.bytes.haveWanted = d.bytes.size, d.bytes.wanted
		return
	}
	for i := range have.Indexes() {
		d.count(i, 1)
	}
}

// written is what storage reports of a piece.
type written storage.Result

func (w written) apply(t *torrent) {
	switch {
	case w.Err != nil:
		t.blame.forget(w.Piece)
		t.disk.files.Abandon(w.Piece)
		t.pick.Lost(w.Piece) // nobody is to blame: not exclusive, as a failed piece is
		t.fail(w.Err, false)
	case !w.OK:
		t.onFailed(w.Piece, w.Blocks)
	default:
		t.gotPiece(w.Piece)
		t.settle(w.Piece)
		t.broadcastHave(w.Piece)
		if t.pick.Missing() == 0 {
			t.complete()
		}
	}
}

// marked is posted after the resume database was told of writes to files.
// Usually those are of pieces; but files that become wanted may have all of
// their bytes in the parts file.
type marked struct{}

func (marked) apply(t *torrent) {
	t.disk.unclean()
	if t.disk.synced {
		t.recordSoon()
	}
}

// unclean notes that the resume database does not say any more what the files
// are.
func (d *disk) unclean() {
	d.clean = false
	d.marks++
}

// gotPiece counts a piece whose hash is good and whose bytes are written.
func (t *torrent) gotPiece(i piece.Index) {
	if t.pick.Have().Has(i) {
		return
	}
	t.pick.Passed(i)
	t.disk.count(i, 1)
	t.disk.synced, t.disk.clean = false, false
	t.e.tot.left.Store(t.disk.bytes.wanted - t.disk.bytes.haveWanted)
	t.e.log.add(i, t.geo.Length(i))
	t.s.persist.touch(t.e, t.disk.files)
	t.pub.dirty = true
}

// losePiece takes back a piece that turned out not to be there.
func (t *torrent) losePiece(i piece.Index) {
	if !t.pick.Have().Has(i) {
		if u := t.disk.unproved; u != nil && u.Clear(i) {
			t.disk.clean = false
			t.e.log.revoke(i)
			t.s.persist.touch(t.e, t.disk.files)
		}
		return
	}
	t.pick.Lost(i)
	t.withdrawPiece(i)
	t.disk.count(i, -1)
	t.disk.synced, t.disk.clean = false, false
	t.e.tot.left.Store(t.disk.bytes.wanted - t.disk.bytes.haveWanted)
	t.e.log.drop(i)
	t.s.persist.touch(t.e, t.disk.files)
	t.pub.dirty = true
}

// doubt takes pieces back until they were verified.
func (t *torrent) doubt(pieces []piece.Index) {
	again := piece.NewBitfield(t.geo.Pieces())
	for _, i := range pieces {
		again.Set(i)
		t.losePiece(i)
	}
	t.disk.later(again)
}

// abandonAll forgets the blocks of all unfinished pieces: their data on disk
// is in doubt. No peer may be connected.
func (t *torrent) abandonAll() {
	for n := range t.geo.Pieces() {
		if i := piece.Index(n); !t.pick.Have().Has(i) {
			t.abandon(i)
		}
	}
}

// abandon forgets the blocks of a piece that is not had.
func (t *torrent) abandon(i piece.Index) {
	t.blame.forget(i)
	t.disk.files.Abandon(i)
	t.pick.Lost(i)
}

// fail puts the torrent into the error state. What it has is kept; it goes
// on by itself when the cause is gone.
func (t *torrent) fail(err error, reading bool) {
	if t.disk.err != nil {
		t.disk.blind = t.disk.blind || reading
		return
	}
	t.disk.err, t.disk.blind = err, reading
	t.disk.synced = false
	wait := probeFirst
	if p := t.disk.probe; t.now.Sub(p.ended) < time.Minute {
		wait = min(2*max(p.wait, probeFirst), probeMost) // it comes back: no hurry
	}
	t.disk.probe = probe{next: t.now.Add(wait), wait: wait}
	t.log.Error("torrent stopped by a storage error", "err", storage.Describe(err))
	for _, p := range t.peers.all {
		t.updateInterest(p)
		if reading {
			t.chokePeer(p)
		}
	}
	t.publishNow()
	t.s.hub.publish(EventError, t.e.hash, t.e.view.Load(), storage.Describe(err))
}

// onUnreadable handles a piece that could not be read for a peer.
func (t *torrent) onUnreadable(i piece.Index, err error) {
	t.log.Warn("piece could not be read", "piece", i, "err", err)
	bad := piece.NewBitfield(t.geo.Pieces())
	bad.Set(i)
	todo := t.disk.todo
	lone := todo == nil || t.disk.lone && todo.Has(i)
	t.disk.later(bad)
	t.disk.lone = lone
	t.fail(fmt.Errorf("reading piece %d: %w", i, err), true)
}

// tickDisk looks whether the cause of an error is gone.
func (t *torrent) tickDisk() {
	d := &t.disk
	if d.err == nil || d.check != nil || d.probe.running || t.now.Before(d.probe.next) {
		return
	}
	d.probe.running = true
	blind, lacking, prio, idle := d.blind, t.pick.Missing() > 0, d.prio, !t.fetching()
	t.spawn(func() {
		d.files.Flush() // what came to the journal until now may be in doubt
		err := d.files.Probe()
		if err == nil && lacking {
			err = t.clashAgain(prio, idle)
		}
		if err == nil {
			err = t.rearrange()
		}
		var changed *piece.Bitfield
		if err == nil && blind {
			changed, err = t.changedPieces()
		}
		t.tell(func(t *torrent) { t.probed(err, changed) })
	})
}

// probed ends the error state if err is nil. Pieces of files that changed
// meanwhile are verified again.
func (t *torrent) probed(err error, changed *piece.Bitfield) {
	d := &t.disk
	d.probe.running = false
	if err != nil {
		d.probe.wait = min(2*d.probe.wait, probeMost)
		d.probe.next = t.now.Add(d.probe.wait)
		d.err = err
		if shared := (*sharedError)(nil); errors.As(err, &shared) {
			t.giveWay()
		}
		return
	}
	t.log.Info("the storage error is gone, going on")
	d.err, d.blind, d.probe.ended = nil, false, t.now
	d.later(changed)
	t.doubt(t.e.log.doubtful())
	if todo, lone := d.todo, d.lone; todo != nil {
		d.todo, d.lone = nil, false
		t.startCheck(todo)
		if d.check.want == todo { // else everything is being checked
			d.check.lone = lone
		}
	} else if t.pick.Missing() == 0 {
		t.complete()
	} else {
		t.contend() // what is wanted may have changed
	}
	for _, p := range t.peers.all {
		t.updateInterest(p)
	}
	t.feedAll()
	t.choke.next = t.now
	t.publishNow()
}

// changedPieces are the had pieces of files that are not as they were when
// last seen. It runs outside the loop.
func (t *torrent) changedPieces() (*piece.Bitfield, error) {
	stats, err := t.disk.files.Stat()
	if err != nil {
		return nil, err
	}
	var have *piece.Bitfield
	if err := t.ask(t.ctx, func(t *torrent) { have = t.pick.Have().Clone() }); err != nil {
		return nil, err
	}
	out := piece.NewBitfield(t.geo.Pieces())
	for i := range t.meta.Files {
		first, last, ok := t.disk.span(i)
		if !ok || t.meta.Files[i].Pad || stats[i].Exists && stats[i].Size >= t.meta.Files[i].Length {
			continue
		}
		for n := first; n <= last; n++ {
			if !have.Has(n) {
				continue
			}
			if !stats[i].Exists {
				return allPieces(t.geo.Pieces()), nil
			}
			out.Set(n)
		}
	}
	return out, nil
}

// check is a verification under way.
type check struct {
	want  *piece.Bitfield // read by the verifying goroutine
	left  *piece.Bitfield // still without a result; the loop's
	total int
	lone  bool // of one piece that could not be read for a peer
	began time.Time
}

// checked is a group of results of a check.
type checked struct {
	c    *check
	good []piece.Index
	bad  []piece.Index
	end  bool
	err  error
}

// startCheck verifies the pieces of want in the background. No peer is
// spoken to meanwhile.
func (t *torrent) startCheck(want *piece.Bitfield) {
	if t.disk.check != nil {
		t.disk.redo = true
		return
	}
	for len(t.peers.all) > 0 {
		t.drop(t.peers.all[0], errNotReady)
	}
	t.disk.clean, t.disk.synced = false, false
	t.e.checking.Store(true)
	t.s.holders.begin(t.e) // until it is known again what it has, and lacks
	c := &check{want: want, left: want.Clone(), total: want.Count(), began: t.now}
	t.disk.check = c
	files := t.disk.files
	t.spawn(func() {
		files.Flush() // what is being written is older news than what is read
		if files.Sealed() == nil {
			// What is found is true of the files as they are now. If they cannot
			// be looked at, verify says so.
			if stats, err := files.Stat(); err == nil {
				files.Seal(stats)
			}
		}
		if err := t.forgetFiles(); err != nil {
			t.log.Warn("a restart would cut this check short", "err", err)
		}
		err := t.s.checks.do(t.ctx, func() error { return verify(t.ctx, t, files, c) })
		t.in.post(&checked{c: c, end: true, err: err})
	})
	t.publishNow()
}

// forgetFiles makes a check of everything outlive the daemon: files of which
// nothing is known are hashed at the next start.
func (t *torrent) forgetFiles() error {
	if _, suspect := t.e.record(); !suspect {
		return nil
	}
	all := make([]int, len(t.meta.Files))
	for i := range all {
		all[i] = i
	}
	t.e.claiming.Lock() // what was about to be recorded of the files is older
	defer t.e.claiming.Unlock()
	return t.s.db.Commit([]resume.Commit{{Hash: t.e.hash, Clean: forgotten(all)}})
}

// verify hashes the pieces of c and posts results in groups.
func verify(ctx context.Context, t *torrent, files *storage.Torrent, c *check) error {
	group := &checked{c: c}
	last := time.Now()
	want := c.want
	if want.All() {
		want = nil // takes the disk as it is: files may have vanished
	}
	err := files.Verify(ctx, want, func(i piece.Index, ok bool) {
		if ok {
			group.good = append(group.good, i)
		} else {
			group.bad = append(group.bad, i)
		}
		if now := time.Now(); now.Sub(last) > 200*time.Millisecond {
			t.in.post(group)
			group, last = &checked{c: c}, now
		}
	})
	t.in.post(group)
	return err
}

func (g *checked) apply(t *torrent) {
	if t.disk.check != g.c {
		return
	}
	// What was received of unfinished pieces counts for nothing now: the check
	// was made since the files may not be what was written to them.
	for _, i := range g.good {
		g.c.left.Clear(i)
		if !t.pick.Have().Has(i) {
			t.abandon(i)
		}
		t.gotPiece(i)
	}
	for _, i := range g.bad {
		g.c.left.Clear(i)
		t.losePiece(i)
		t.abandon(i)
	}
	t.pub.dirty = true
	if !g.end {
		return
	}
	t.disk.check = nil
	lost := t.ctx.Err() == nil && t.loseUnreadable(g)
	t.e.checking.Store(g.c.left.Count() > 0)
	if g.err == nil {
		if !t.disk.redo {
			t.e.verified()
		}
		t.disk.probe.next = t.now // an error that there was may be gone
	}
	switch {
	case t.ctx.Err() != nil:
		t.disk.later(g.c.left) // the files do not count as known
		return
	case g.err != nil && !lost:
		t.disk.later(g.c.left) // goes on when the cause of the error is gone
		t.disk.lone = g.c.lone
		t.fail(g.err, true)
		return
	case t.disk.redo:
		t.disk.redo = false
		t.startCheck(allPieces(t.geo.Pieces()))
		return
	}
	t.log.Info("verified", "pieces", g.c.total, "have", t.pick.Have().Count(), "took", t.now.Sub(g.c.began).Round(time.Millisecond))
	t.judge()
	t.afterCheck()
}

// loseUnreadable tells whether a check was of one piece that could not be read
// for a peer and cannot be read again. It is fetched anew rather than holding up
// all others. Nothing is lost while the directory is away: that is not a matter
// of the piece.
func (t *torrent) loseUnreadable(g *checked) bool {
	if g.err == nil || !g.c.lone || storage.InDirectory(g.err) {
		return false
	}
	for i := range g.c.want.Indexes() {
		g.c.left.Clear(i)
		t.losePiece(i)
		t.abandon(i)
	}
	return true
}

func allPieces(n int) *piece.Bitfield {
	f := piece.NewBitfield(n)
	f.Fill()
	return f
}
