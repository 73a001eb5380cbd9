package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"btd/metainfo"
	"btd/piece"
	"btd/session/addrbook"
)

// torrent is an active torrent. run is the only goroutine that reads or
// writes the fields below in.
type torrent struct {
	e    *entry
	s    *Session
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{} // closed when run has returned and everything it started is gone
	in   *inbox

	ready  atomic.Bool // the loop runs: calls are answered soon
	awaits atomic.Bool // it waits for the metadata: some calls are
	wg     sync.WaitGroup
	ctx    context.Context // of the goroutines the loop starts; ended by stop

	now   time.Time // the one clock read of the batch
	rng   *rand.Rand
	wait  *collecting // while the metadata is missing; meta, geo, pick and disk are not set then
	meta  *metainfo.Metainfo
	geo   piece.Geometry
	pick  *piece.Picker
	book  *addrbook.Book
	disk  disk
	peers peers
	choke choking
	super super
	rare  rarity
	blame blame
	flow  flows
	pub   publisher
	clock deadlines
}

// deadlines are what the loop's timer is set from.
type deadlines struct {
	tick    time.Time // the next tick
	lastSec time.Time // the tick before
	idleAt  time.Time // since when there was nothing to do; zero while there is
	dialAt  time.Time // when the address book has an address again
	block   time.Time // when the last block came
	lookAt  time.Time // when to look for blocks that are late, if there are idlers
	idlers  bool      // peers had nothing to do in the endgame
	starved bool      // requests wait for block memory, or for pads to be supplied
	lonely  bool      // the trackers were told that we need peers
	met     bool      // there was a peer
}

const (
	tickEvery  = time.Second
	idleAfter  = 20 * time.Second      // a seeding torrent without peers goes to sleep
	idleSoon   = 2 * time.Second       // one that had none and knows of none
	starvedFor = 20 * time.Millisecond // between two looks for block memory
)

func newTorrent(s *Session, e *entry) *torrent {
	ctx, stop := context.WithCancel(s.ctx)
	e.log.restart()
	return &torrent{
		e: e, s: s, stop: stop, ctx: ctx,
		log:  s.log.With("torrent", e.hash.String()),
		done: make(chan struct{}),
		in:   newInbox(),
	}
}

// run is the torrent's loop, from loading its metainfo to its last sync.
func (t *torrent) run() {
	defer close(t.done)
	if !t.collect() || !t.s.follower.hold(t) || !t.load() {
		t.scatter()
		t.retire()
		return
	}
	t.ready.Store(true)
	t.catchUp()
	t.loop(t.advance, func() bool { return t.idle() && t.in.closeIfEmpty() })
	t.ready.Store(false)
	t.shutdown()
}

// loop applies what is posted to the torrent and does what advance finds due,
// until the torrent is stopped or over says so. advance returns when to look
// again.
func (t *torrent) loop(advance func() time.Time, over func() bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []event
	for t.ctx.Err() == nil && !over() {
		select {
		case <-t.ctx.Done():
		case <-timer.C:
		case <-t.in.wake:
		}
		batch = t.in.drain(batch)
		t.now = time.Now()
		for _, ev := range batch {
			ev.apply(t)
		}
		clear(batch)
		next := advance()
		t.flush()
		timer.Reset(max(0, t.lookAgain(next).Sub(t.now)))
	}
}

// advance does what is due and returns when to look again.
func (t *torrent) advance() time.Time {
	if !t.now.Before(t.clock.tick) {
		t.tick()
		t.clock.tick = t.now.Add(tickEvery)
	}
	next := t.clock.tick
	if at := t.advanceChokes(); at.Before(next) {
		next = at
	}
	if at := t.advanceSuper(); at.Before(next) {
		next = at
	}
	t.advanceDials()
	t.lookLate()
	if t.clock.starved {
		t.clock.starved = false
		t.feedFastest()
	}
	return next
}

// lookAgain is next, or sooner if requests that were just handed out are short
// of blocks or of memory.
func (t *torrent) lookAgain(next time.Time) time.Time {
	if t.clock.idlers && t.clock.lookAt.Before(next) {
		next = t.clock.lookAt
	}
	if at := t.now.Add(starvedFor); t.clock.starved && at.Before(next) {
		next = at
	}
	return next
}

// tick is the work of about once a second.
func (t *torrent) tick() {
	d := time.Duration(0)
	if !t.clock.lastSec.IsZero() {
		d = t.now.Sub(t.clock.lastSec)
	}
	t.clock.lastSec = t.now
	t.e.tot.active.Add(int64(d))
	if t.state() == StateSeeding {
		t.e.tot.seeding.Add(int64(d))
	}
	t.tickPeers()
	t.tickPEX()
	t.tickRare()
	t.tickDisk()
	t.tickChanges()
	t.flow.up.tick(t.now)
	t.flow.down.tick(t.now)
	t.checkSeedLimits()
	t.tickNames()
	t.askForPeers()
	t.publish()
	t.watchIdle()
}

// ending tells whether the loop takes nothing more, or will not for long.
func (t *torrent) ending() bool { return t.ctx.Err() != nil || t.in.isShut() }

// watchIdle notes since when a complete torrent has had nothing to do.
func (t *torrent) watchIdle() {
	busy := t.pick.Missing() > 0 || t.peers.count() > 0 || t.peers.dialling > 0 || t.disk.busy() ||
		!t.e.log.empty() || t.state() != StateSeeding
	t.clock.met = t.clock.met || t.peers.count() > 0
	switch {
	case busy:
		t.clock.idleAt = time.Time{}
	case t.clock.idleAt.IsZero():
		t.clock.idleAt = t.now
	}
}

// idle tells whether the loop may end: a handshake or an address from a
// tracker starts it again.
func (t *torrent) idle() bool {
	wait := idleAfter
	if t.disk.clean && !t.clock.met && t.book.Len() == 0 {
		wait = idleSoon
	}
	if t.clock.idleAt.IsZero() || t.now.Sub(t.clock.idleAt) < wait {
		return false
	}
	t.watchIdle() // somebody may have come since the last tick
	return !t.clock.idleAt.IsZero()
}

// state is the torrent's state as users know it.
func (t *torrent) state() State {
	switch {
	case t.wait != nil:
		return StateMetadata
	case t.disk.err != nil:
		return StateError
	case t.disk.check != nil:
		return StateChecking
	case t.disk.stuck():
		return StateError
	case t.pick.Missing() > 0:
		return StateDownloading
	}
	return StateSeeding
}

// ask runs f in the loop and waits for it. It fails with errGone if the loop
// ends first.
func (t *torrent) ask(ctx context.Context, f func(t *torrent)) error {
	done := make(chan struct{})
	if !t.in.post(call(func(t *torrent) { f(t); close(done) })) {
		return errGone
	}
	select {
	case <-done:
		return nil
	case <-t.done:
		select {
		case <-done:
			return nil
		default:
			return errGone
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tell runs f in the loop some time later.
func (t *torrent) tell(f func(t *torrent)) bool { return t.in.post(call(f)) }

// spawn runs f in a goroutine that shutdown waits for.
func (t *torrent) spawn(f func()) {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		f()
	}()
}
