package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"btd/metainfo"
	"btd/peerwire"
	"btd/storage"
	"btd/storage/resume"
	"btd/tracker"
)

// Session holds all torrents and what they share.
type Session struct {
	cfg    Config
	log    *slog.Logger
	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup // accept, finders, queue, pacers, persister, handshakes
	began  time.Time

	db       *resume.DB
	store    *storage.Store
	trackers *tracker.Client
	listener net.Listener
	peerID   [20]byte
	key      uint32
	external atomic.Pointer[netip.Addr] // our address, as a tracker told us

	reg     registry
	holders holders
	hub     *hub
	persist *persister
	queue   *queue
	pace    pace
	runBufs *runBuffers
	vault   *vault
	finders
	caps
	counters counters
	bans     bans
	limits   limitsNote
	closing  atomic.Bool
	onRemove atomic.Pointer[func(metainfo.Hash)]
}

// Open starts a session: it takes the lock of the state directory, listens,
// and brings every torrent back as it was.
func Open(cfg Config) (*Session, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	vault, err := newVault()
	if err != nil {
		return nil, err
	}
	db, err := resume.Open(filepath.Join(cfg.StateDir, "resume.db"), cfg.Log)
	if err != nil {
		return nil, err
	}
	l, udp, err := listenAll(cfg)
	if err != nil {
		db.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	s := &Session{
		cfg: cfg, log: cfg.Log, ctx: ctx, cancel: cancel, began: time.Now(),
		db: db, listener: l, store: storage.New(cfg.Storage),
		trackers: tracker.NewClient(tracker.Config{UserAgent: "btd/" + cfg.Version, Source: boundTo(l)}),
		peerID:   peerwire.PeerID(cfg.Version, rng),
		key:      rng.Uint32(),
		hub:      newHub(),
		runBufs:  &runBuffers{},
		vault:    vault,
		caps:     newCaps(cfg),
	}
	s.reg.init()
	s.persist = newPersister(s)
	s.finders = newFinders(s, udp)
	s.queue = newQueue(s)
	s.recallLimits()
	s.pace.init(s)
	if err := s.restore(); err != nil {
		cancel()
		s.finders.end()
		s.trackers.Close()
		l.Close()
		return nil, errors.Join(err, s.store.Close(), db.Close())
	}
	s.follower = newFollower(s)
	s.wg.Go(s.accept)
	for _, run := range append(s.finders.tasks(), s.persist.run, s.queue.run, s.pace.run) {
		s.wg.Go(func() { run(ctx) })
	}
	s.queue.kick()
	return s, nil
}

// restore makes an entry of every torrent in the resume database.
func (s *Session) restore() error {
	dirty, err := s.db.Dirty()
	if err != nil {
		return fmt.Errorf("reading the resume database: %w", err)
	}
	var damaged []metainfo.Hash
	var all []*entry
	err = s.db.Each(func(rec resume.Record, err error) bool {
		if err != nil {
			s.log.Error("a resume record is damaged, the torrent will be verified", "torrent", rec.Hash.String(), "err", err)
			damaged = append(damaged, rec.Hash)
			return true
		}
		// The daemon died while it wrote to these files: whether they are
		// complete is found out, not believed.
		rec.Complete = rec.Complete && !dirty[rec.Hash]
		all = append(all, newEntry(rec))
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the resume database: %w", err)
	}
	s.reg.load(all)
	for _, e := range all {
		if err := s.vault.hold(e); err != nil {
			return err
		}
	}
	for _, h := range damaged {
		s.rebuild(h)
	}
	return nil
}

// rebuild makes a new record for a torrent whose own is damaged. It is
// stopped if its metainfo is lost as well.
func (s *Session) rebuild(h metainfo.Hash) {
	raw, err := s.db.Metainfo(h)
	if err == nil {
		var m *metainfo.Metainfo
		if m, err = metainfo.Parse(raw); err == nil {
			secret, lost := s.keptSecret(h)
			rec := s.newRecord(m, AddOptions{Secret: secret, Scope: s.keptScope(h), Stopped: lost != nil})
			rec.Hash = h
			e := newEntry(rec)
			e.suspect = true
			if err = s.vault.hold(e); err == nil {
				s.reg.add(e)
			}
			if lost != nil {
				s.log.Error("a torrent's secret cannot be read, so it is stopped: if it had one, remove it and add it again with its secret", "torrent", h.String(), "err", lost)
			}
			if err == nil {
				return
			}
		}
	}
	s.log.Error("a torrent could not be brought back: add it again, data that is there will be used", "torrent", h.String(), "err", err)
}

// Close stops every torrent, tells the trackers, records everything and
// releases the state directory. It waits a few seconds at most for the network
// and for disks; after an error about disks the process should end.
func (s *Session) Close() error {
	if !s.closing.CompareAndSwap(false, true) {
		return nil
	}
	s.listener.Close()
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.finders.end()
	}()
	var torrents []*torrent
	for _, e := range s.entries() {
		if t := e.running(); t != nil {
			t.stop()
			torrents = append(torrents, t)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.closeTimeout)
	defer cancel()
	ended := awaitAll(ctx, torrents) && s.adoptions.end(ctx)
	<-told
	s.cancel()
	s.persist.writeRecords()
	s.persist.writeStats(true)
	if !ended {
		s.hub.close()
		return errors.Join(errStuck, s.db.Close())
	}
	s.wg.Wait()
	s.trackers.Close()
	s.hub.close()
	return errors.Join(s.store.Close(), s.db.Close())
}

// closeTimeout is how long Close waits for disks, unless Config says otherwise.
const closeTimeout = 7 * time.Second

var errStuck = errors.New("some torrents' disks did not answer: what was not recorded will be verified at the next start")

// awaitAll waits for loops to end and tells whether all did before ctx ended.
func awaitAll(ctx context.Context, torrents []*torrent) bool {
	for _, t := range torrents {
		select {
		case <-t.done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// port is the TCP port that peers reach us on.
func (s *Session) port() uint16 {
	return uint16(s.listener.Addr().(*net.TCPAddr).Port)
}

// Addr is where the session listens for peers.
func (s *Session) Addr() netip.AddrPort {
	return s.listener.Addr().(*net.TCPAddr).AddrPort()
}

// PeerID is how the session calls itself to peers and trackers (BEP 3, "peer_id").
func (s *Session) PeerID() [20]byte { return s.peerID }

// bound is the one address we listen on, invalid if it is every address.
func (s *Session) bound() netip.Addr { return boundTo(s.listener) }

func boundTo(l net.Listener) netip.Addr {
	a := l.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// clientName is how we call ourselves to peers (BEP 10, "v").
func (s *Session) clientName() string { return "btd " + s.cfg.Version }

func (s *Session) count(name string)            { s.counters.add(name, 1) }
func (s *Session) countN(name string, by int64) { s.counters.add(name, by) }

// counters count rare things by name.
type counters struct {
	mu sync.Mutex
	m  map[string]int64
}

func (c *counters) add(name string, by int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]int64{}
	}
	c.m[name] += by
}

func (c *counters) snapshot() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]int64, len(c.m))
	for k, v := range c.m {
		out[k] = v
	}
	return out
}
