package server

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Config holds the tracker's settings. The zero value is valid.
type Config struct {
	Interval    time.Duration // between announces; 0 means 30 min
	MinInterval time.Duration // told to clients, not enforced; 0 means not told
	Expire      time.Duration // a peer silent for this long is forgotten; 0 means twice Interval
	NumWant     int           // addresses in an answer where the client does not say; 0 means 50
	MaxNumWant  int           // addresses in an answer; 0 means 200
	MaxTorrents int           // 0 means 10,000; announces for more are refused
	SwarmPeers  int           // peers of one torrent; 0 means 5,000; a new one takes the place of the most silent
	MaxPeers    int           // peers of all torrents; 0 means 100,000; more are refused
	TrackerID   string        // "tracker id" in answers over HTTP; "" means none
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&c.Interval, 30 * time.Minute}, {&c.Expire, 0}} {
		if *d.v <= 0 {
			*d.v = d.zero
		}
	}
	if c.Expire == 0 {
		c.Expire = 2 * c.Interval
	}
	for _, d := range []struct {
		v    *int
		zero int
	}{{&c.NumWant, 50}, {&c.MaxNumWant, 200}, {&c.MaxTorrents, 10_000}, {&c.SwarmPeers, 5000}, {&c.MaxPeers, 100_000}} {
		if *d.v <= 0 {
			*d.v = d.zero
		}
	}
	return c
}

// Server is a tracker. It is safe for concurrent use and starts no goroutine
// of its own.
type Server struct {
	cfg    Config
	secret [32]byte // connection ids of BEP 15 are made with it

	mu    sync.Mutex
	store *store
}

// New makes a tracker.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, store: newStore(cfg)}
	rand.Read(s.secret[:]) // never fails
	return s
}

// Counts returns the number of peers of a torrent, and of completed events.
func (s *Server) Counts(infoHash [20]byte) (seeds, leechers, downloads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.current(infoHash, time.Now()).counts()
}

type event uint8

const (
	eventNone event = iota
	eventStarted
	eventCompleted
	eventStopped
)

// announce is a checked request.
type announce struct {
	hash, peerID [20]byte
	addr         netip.AddrPort // the source of the request, the port it states
	left         uint64
	event        event
	want         int // addresses; negative leaves it to the tracker
}

// answer is what an announce is answered with.
type answer struct {
	seeds, leechers, downloads int
	peers                      []netip.AddrPort
	ids                        [][20]byte // of peers
}

// errFull is what clients are told when there is no room.
var errFull = errors.New("this tracker is full")

// announce enters a peer and finds others for it. otherFamily adds addresses
// of the other family where there is room.
func (s *Server) announce(a announce, otherFamily bool) (answer, error) {
	want := a.want
	if want < 0 {
		want = s.cfg.NumWant
	}
	want = min(want, s.cfg.MaxNumWant)
	if a.event == eventStopped {
		want = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sw, full := s.store.update(a, time.Now())
	if full {
		return answer{}, errFull
	}
	var out answer
	out.seeds, out.leechers, out.downloads = sw.counts()
	if sw == nil || want == 0 {
		return out, nil
	}
	v6 := a.addr.Addr().Is6()
	found := s.store.sample(nil, sw, v6, a, want)
	if otherFamily && len(found) < want {
		found = s.store.sample(found, sw, !v6, a, want-len(found))
	}
	for _, p := range found {
		out.peers = append(out.peers, p.addr)
		out.ids = append(out.ids, p.id)
	}
	return out, nil
}
