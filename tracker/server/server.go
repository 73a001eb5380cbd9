package server

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"maps"
	"net/netip"
	"strings"
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

	Listed bool   // only torrents that are registered are tracked, and those announced with the token
	Token  string // as the first part of the path of an announce URL it has any torrent tracked; "" means none
	// TorrentFile is served at /t/HASH.torrent for registered torrents; nil
	// means that none is. An error is answered by 404.
	TorrentFile func(hash [20]byte) ([]byte, error)
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

	mu         sync.Mutex
	store      *store
	registered map[[20]byte]bool
	answered   [2]transportCounts // by transport
	refused    map[string]int64
}

type transport uint8

const (
	overHTTP transport = iota
	overUDP
)

type transportCounts struct{ announces, scrapes int64 }

// Stats is a picture of a tracker.
type Stats struct {
	Torrents    int // that have peers
	Peers       int // seeds included
	Seeds       int
	Announces   map[string]int64   // answered, by transport: http, udp
	PerSecond   map[string]float64 // announces over the last ten seconds, by transport
	Scrapes     map[string]int64   // answered, by transport
	Refused     map[string]int64   // requests, by reason
	Connections int                // over HTTP, now
	Memory      int64              // bytes that torrents and peers take up
}

// Stats is a picture of the tracker.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{
		Torrents: len(s.store.swarms), Peers: s.store.peers,
		Announces: map[string]int64{"http": s.answered[overHTTP].announces, "udp": s.answered[overUDP].announces},
		PerSecond: map[string]float64{"http": 0, "udp": 0},
		Scrapes:   map[string]int64{"http": s.answered[overHTTP].scrapes, "udp": s.answered[overUDP].scrapes},
		Refused:   maps.Clone(s.refused),
	}
	for _, sw := range s.store.swarms {
		seeds, _, _ := sw.counts()
		out.Seeds += seeds
	}
	return out
}

// Register has a torrent tracked where Config.Listed is set.
func (s *Server) Register(hash [20]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registered[hash] = true
}

// Unregister takes that back, and forgets the peers of the torrent.
func (s *Server) Unregister(hash [20]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.registered, hash)
	if sw := s.store.swarms[hash]; sw != nil && s.cfg.Listed {
		for range len(sw.peers) {
			s.store.remove(sw, sw.recent.Front().Value.(*peer))
		}
	}
}

// isRegistered tells whether the torrent's file may be served.
func (s *Server) isRegistered(hash [20]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registered[hash]
}

// knowsToken tells whether the path of an announce URL begins with the token.
func (s *Server) knowsToken(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return s.cfg.Token != "" && subtle.ConstantTimeCompare([]byte(first), []byte(s.cfg.Token)) == 1
}

// New makes a tracker.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, store: newStore(cfg), registered: map[[20]byte]bool{}, refused: map[string]int64{}}
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
	via          transport
	token        bool // it came with the tracker's token
}

// answer is what an announce is answered with.
type answer struct {
	seeds, leechers, downloads int
	peers                      []netip.AddrPort
	ids                        [][20]byte // of peers
}

// errFull is what clients are told when there is no room.
var errFull = errors.New("this tracker is full")

// errUnregistered is what clients are told of torrents that are not tracked.
var errUnregistered = errors.New("this torrent is not registered with this tracker")

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
	if s.cfg.Listed && !a.token && !s.registered[a.hash] {
		s.refused["unregistered"]++
		return answer{}, errUnregistered
	}
	sw, full := s.store.update(a, time.Now())
	if full {
		s.refused["full"]++
		return answer{}, errFull
	}
	s.answered[a.via].announces++
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
