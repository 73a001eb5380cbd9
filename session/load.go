package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"btd/choker"
	"btd/metainfo"
	"btd/piece"
	"btd/session/addrbook"
	"btd/storage"
	"btd/storage/resume"
)

// load brings the torrent's metainfo and resume state into memory. While that
// fails it waits and tries again; it returns false once the torrent was
// stopped.
func (t *torrent) load() bool {
	wait := probeFirst
	for {
		if t.ctx.Err() != nil {
			return false
		}
		t.s.holders.begin(t.e)
		plan, err := t.open()
		if err == nil {
			t.begin(plan)
			return true
		}
		t.s.holders.end(t.e)
		t.e.setProblem(t.s, storage.Describe(err))
		t.turnAway()
		t.log.Error("torrent could not be opened", "err", err)
		select {
		case <-t.ctx.Done():
			return false
		case <-time.After(wait):
			wait = min(2*wait, probeMost)
		}
	}
}

// turnAway closes the connections that wait in the inbox of a torrent that
// cannot serve them. What else waits there goes on waiting.
func (t *torrent) turnAway() {
	for _, ev := range t.in.drain(nil) {
		if j, ok := ev.(*joined); ok {
			j.conn.Close()
			if j.dialed {
				t.peers.dialling--
				t.book.Failed(j.addr, addrbook.Ours, time.Now())
			}
		} else {
			t.in.post(ev)
		}
	}
}

// open does the part of load that can fail.
func (t *torrent) open() (plan recovery, err error) {
	h := t.e.hash
	if t.meta = t.e.takeMeta(); t.meta == nil {
		if t.meta, err = t.s.metainfo(t.e); err != nil {
			return plan, fmt.Errorf("reading the torrent from the resume database: %w", err)
		}
	}
	if t.geo, err = piece.NewGeometry(t.meta.Total, t.meta.PieceLength); err != nil {
		return plan, err
	}
	rec, suspect := t.e.record()
	t.disk = disk{layout: layout{&t.meta.Info, t.geo}, prio: priorities(rec.Priorities, len(t.meta.Files))}
	for _, f := range t.meta.Files {
		t.disk.pads = t.disk.pads || f.Pad
	}
	claimed, err := t.s.db.Pieces(h, t.geo.Pieces())
	if err != nil {
		return plan, err
	}
	for _, i := range t.e.log.losses() { // an earlier loop could not record them
		claimed.Clear(i)
	}
	known, err := t.s.db.Files(h, len(t.meta.Files))
	if err != nil {
		return plan, err
	}
	fresh := claimed.Count() == 0
	for _, k := range known {
		fresh = fresh && !k.Known && !k.Dirty
	}
	skip := skips(t.disk.prio)
	if !rec.Complete { // else there is nothing to write
		skip, t.disk.others = t.s.leave(t.e, t.meta, t.disk.prio)
	}
	t.disk.files, err = t.s.store.Open(storage.Options{
		Info: &t.meta.Info, Dir: rec.Dir, Prealloc: t.s.cfg.Prealloc, Create: fresh, Skip: skip,
		Foreign: func(file int) bool {
			theirs := t.s.foreign(t.e, t.meta)
			return theirs != nil && theirs[file]
		},
		MarkDirty: func(files []int) error {
			defer t.in.post(marked{})
			return t.s.persist.markDirty(t.e, files)
		},
		Done: func(r storage.Result) { t.in.post(written(r)) },
	})
	if err != nil {
		return plan, err
	}
	stats := make([]storage.FileStat, len(t.meta.Files))
	if !fresh || !nothingAt(rec.Dir, t.meta.Name) {
		if stats, err = t.disk.files.Stat(); err != nil {
			t.disk.files.Close()
			return plan, err
		}
	}
	held, err := t.loadHeld(&rec)
	if err != nil {
		t.disk.files.Close()
		return plan, err
	}
	if suspect {
		return recovery{have: claimed, check: allPieces(t.geo.Pieces()), released: held}, nil
	}
	plan = recoverPieces(t.disk.layout, t.disk.prio, claimed, known, stats)
	if !rec.Complete && held == nil {
		plan.changed = nil // what a download has not got yet is fetched
	}
	plan.changed, plan.stats = join(t.whileShared(plan.changed, stats), held), stats
	for _, i := range held { // they may be as they were
		t.disk.each(i, plan.doubt)
	}
	return plan, nil
}

// nothingAt tells whether there is surely nothing of a torrent called name in
// dir: no need to look for each of its files then.
func nothingAt(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return errors.Is(err, fs.ErrNotExist)
}

// recovery is what the resume state and the files together say.
type recovery struct {
	have     *piece.Bitfield // trusted without a look at the data
	check    *piece.Bitfield // to be hashed before anything else
	unproved *piece.Bitfield // those of check that the database claims
	clean    bool            // the database says of every file what it is

	stats    []storage.FileStat // what the files are
	changed  []int              // files that somebody wrote to since they were complete
	released []int              // files that were held, before the user had everything verified
}

// doubt has a piece hashed, whether it is claimed or not.
func (r *recovery) doubt(n piece.Index) {
	r.check.Set(n)
	if r.have.Clear(n) {
		r.unproved.Set(n)
	}
}

// recoverPieces decides which pieces are trusted and which are hashed.
//
//   - A file that was being written when the daemon died is dirty. Its claimed
//     pieces were synced before they were claimed, and are trusted as far as
//     the file goes; all others are hashed, so that what was finished since the
//     last sync is found.
//   - A file that was closed properly must have the size and time that were
//     recorded then. If it has not, somebody changed it: its pieces are hashed.
//   - A file that was never seen but exists was there before: it is hashed.
//   - A file whose claims were in doubt when the daemon died is forgotten: all
//     that is claimed of it is hashed, dirty or not, be it there or not.
func recoverPieces(l layout, prio []Priority, claimed *piece.Bitfield, known []resume.FileStat, stats []storage.FileStat) recovery {
	count := l.geo.Pieces()
	r := recovery{have: claimed, check: piece.NewBitfield(count), unproved: piece.NewBitfield(count), clean: true}
	for i, f := range l.info.Files {
		first, last, ok := l.span(i)
		if !ok || f.Pad {
			continue
		}
		k, st := known[i], stats[i]
		same := k.Known && st.Exists && k.Size == st.Size && k.ModTime == st.ModTime
		if k.Known && !k.Dirty && st.Exists && !same {
			r.changed = append(r.changed, i)
		}
		r.clean = r.clean && !k.Dirty && (same || !k.Known && !k.Forgotten && !st.Exists)
		// A skipped file's share of pieces is in the parts file.
		parts := !st.Exists && !k.Known && !k.Forgotten && prio[i] == Skip
		for n := first; n <= last; n++ {
			switch {
			case same && !k.Dirty, parts && !k.Dirty:
			case k.Dirty && st.Exists && !k.Forgotten:
				if !claimed.Has(n) || l.ends(i, n) > st.Size {
					r.check.Set(n)
				}
			case st.Exists || claimed.Has(n):
				r.check.Set(n)
			}
		}
	}
	for n := range r.check.Indexes() {
		r.doubt(n)
	}
	if !slices.ContainsFunc(l.info.Files, func(f metainfo.File) bool { return f.Pad }) {
		return r
	}
	for n := range piece.Index(l.geo.Pieces()) {
		if !r.have.Has(n) && l.allPad(n) {
			r.check.Set(n) // zeros: nobody is asked for it
		}
	}
	return r
}

func priorities(stored []uint8, files int) []Priority {
	p := make([]Priority, files)
	for i := range p {
		p[i] = Normal
		if i < len(stored) {
			p[i] = Priority(stored[i])
		}
	}
	return p
}

// begin sets the loop's state up from what was loaded.
func (t *torrent) begin(plan recovery) {
	t.now = time.Now()
	t.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	t.pick = piece.NewPicker(t.geo, t.rng)
	t.applyPriorities()
	rec, _ := t.e.record()
	t.pick.SetSequential(rec.Sequential)
	for i := range plan.have.Indexes() {
		t.pick.Passed(i)
	}
	t.disk.recount(t.pick.Have())
	t.e.tot.left.Store(t.disk.bytes.wanted - t.disk.bytes.haveWanted)
	if t.wait == nil {
		t.book = addrbook.New(addrbook.Config{Scope: rec.Scope}, t.rng)
		t.peers.init()
	}
	t.peers.room = t.s.store.Stats().Capacity * 3 / 4 // more is called tight
	t.blame = newBlame()
	t.choke.policy = choker.New(choker.Config{Slots: t.s.cfg.UploadSlotsPerTorrent}, t.rng)
	t.flow.init(t, Limits{Up: rec.LimitUp, Down: rec.LimitDown})
	t.e.clearProblem()
	t.disk.clean, t.disk.unproved = plan.clean, plan.unproved
	t.e.checking.Store(false)
	if t.e.log.lacks() {
		t.disk.clean = false
		t.s.persist.touch(t.e, t.disk.files)
	}
	t.disk.changes.held = plan.released
	t.release()
	t.e.hold.looked.Store(true)
	if t.disk.changes.suspect = plan.changed; plan.clean || len(plan.changed) > 0 {
		t.disk.files.Seal(plan.stats)
	}
	for _, ip := range t.s.bans.list() {
		t.book.Ban(ip)
	}
	if t.wait != nil {
		t.takeOver()
	}
	t.recallPeers()
	defer t.replay()
	if plan.check.Count() > 0 {
		t.startCheck(plan.check)
		return
	}
	t.judge()
	t.afterCheck()
}

// applyPriorities turns file priorities into piece priorities: a piece has
// the highest of the files that it overlaps.
func (t *torrent) applyPriorities() {
	want := make([]uint8, t.geo.Pieces())
	for i, f := range t.meta.Files {
		first, last, ok := t.disk.span(i)
		if !ok || f.Pad {
			continue
		}
		for n := first; n <= last; n++ {
			want[n] = max(want[n], uint8(t.disk.prio[i]))
		}
	}
	for n, p := range want {
		t.pick.SetPriority(piece.Index(n), p)
	}
}

// afterCheck starts the torrent's proper work.
func (t *torrent) afterCheck() {
	rec, _ := t.e.record()
	if rec.Stopped { // only a check was wanted
		t.e.setComplete(t.s, t.pick.Missing() == 0)
		t.stop()
		return
	}
	if t.pick.Missing() == 0 {
		t.complete()
	} else {
		t.incomplete()
		t.contend()
	}
	t.s.announcer.start(t.e)
	if !t.meta.Private && t.e.inDHT() {
		t.s.seeker.addHosts(t.meta.Nodes)
	}
	t.clock.dialAt = t.now
	t.publishNow()
}

// incomplete notes that something wanted is missing.
func (t *torrent) incomplete() {
	t.disk.synced = false
	t.book.SetSeeding(false, t.now)
	t.e.setComplete(t.s, false)
	t.s.queue.touch(t.e)
}

// complete handles the moment when nothing that is wanted is missing.
func (t *torrent) complete() {
	if t.disk.synced {
		return
	}
	t.disk.synced = true
	t.s.holders.begin(t.e) // it may have lost, and does not want that file any more
	downloaded := t.flow.down.meter.total > 0
	first := t.e.setComplete(t.s, true)
	files, clean := t.disk.files, t.disk.clean
	t.spawn(func() {
		if err := files.CreateEmpty(); err != nil {
			t.tell(func(t *torrent) { t.fail(err, false) })
			return
		}
		if clean {
			t.e.settle(t.s)
			return
		}
		if t.s.together(t.ctx) {
			t.tell(func(t *torrent) { t.recordComplete() })
		}
	})
	t.book.SetSeeding(true, t.now)
	for _, p := range t.peers.all {
		t.updateInterest(p)
	}
	t.choke.next = t.now
	t.publishNow()
	if downloaded {
		t.s.announcer.completed(t.e)
	}
	if first {
		t.log.Info("complete", "name", t.meta.Name)
		t.s.hub.publish(EventCompleted, t.e.hash, t.e.view.Load(), "")
	}
	t.s.queue.touch(t.e)
}

// recordEvery is how often torrents that became complete are recorded as
// such: all of them in one go.
const recordEvery = 500 * time.Millisecond

// together waits for the next moment at which that is done. It returns false
// if ctx ends first.
func (s *Session) together(ctx context.Context) bool {
	timer := time.NewTimer(recordEvery - time.Since(s.began)%recordEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// recordSoon has recordComplete run at the next moment at which that is done.
func (t *torrent) recordSoon() {
	t.spawn(func() {
		if t.s.together(t.ctx) {
			t.tell(func(t *torrent) { t.recordComplete() })
		}
	})
}

// recordComplete records a complete torrent's files as they are, unless
// something is missing again. If the loop ends before, shutdown does it.
func (t *torrent) recordComplete() {
	if !t.disk.synced || t.disk.clean || t.disk.check != nil {
		return
	}
	files, marks := t.disk.files, t.disk.marks
	t.spawn(func() {
		err := t.s.persist.flush(t.e, files, true)
		if errors.Is(err, errChecking) {
			return // it is complete once more after that, or not
		}
		if err != nil {
			t.log.Warn("recording the completed torrent", "err", err)
			return
		}
		t.e.settle(t.s)
		t.tell(func(t *torrent) { t.disk.clean = t.disk.synced && t.disk.marks == marks })
	})
}

// shutdown ends everything that the loop started and records what there is.
func (t *torrent) shutdown() {
	t.stop()
	t.rememberPeers()
	for len(t.peers.all) > 0 {
		t.drop(t.peers.all[0], errStopping)
	}
	t.wg.Wait()
	t.settleEvents(t.in.drain(nil))
	t.disk.files.Flush()
	t.settleEvents(t.in.close())
	if !t.disk.clean {
		clean := t.disk.err == nil && t.disk.check == nil && t.disk.todo == nil && !t.disk.redo
		if err := t.s.persist.flush(t.e, t.disk.files, clean); err != nil {
			t.log.Error("recording progress at the end", "err", err)
		} else if clean && t.pick.Missing() == 0 {
			t.e.settle(t.s)
		}
	}
	if err := t.disk.files.Close(); err != nil {
		t.log.Warn("closing files", "err", err)
	}
	t.flow.close()
	t.s.slots.resize(t.choke.held, 0)
	t.publishNow()
	t.retire()
}

// settleEvents applies what arrived after the loop ended: pieces that were
// still being written count, everything else is given back.
func (t *torrent) settleEvents(left []event) {
	for _, ev := range left {
		switch ev := ev.(type) {
		case written:
			if ev.OK && ev.Err == nil {
				t.gotPiece(ev.Piece)
			}
		case marked:
			t.disk.unclean()
		case *batch:
			for i := range ev.msgs {
				if ev.msgs[i].Buf != nil {
					t.s.store.Free(ev.msgs[i].Buf)
				}
			}
		case *joined:
			ev.conn.Close()
		case *checked:
			if ev.c == t.disk.check {
				for _, i := range ev.good {
					t.gotPiece(i)
				}
				for _, i := range ev.bad {
					t.losePiece(i)
				}
			}
		}
	}
}

// retire takes the torrent off its entry. Only now may another loop start.
func (t *torrent) retire() {
	t.stop()
	for _, ev := range t.in.close() {
		if j, ok := ev.(*joined); ok {
			j.conn.Close()
		}
	}
	t.s.holders.end(t.e)
	t.e.retired(t)
}
