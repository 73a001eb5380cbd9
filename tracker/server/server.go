package server

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config holds the tracker's settings. The zero value is valid, and tracks
// whatever is announced.
type Config struct {
	Interval    time.Duration // between announces; 0 means 30 min
	MinInterval time.Duration // told to clients, not enforced; 0 means not told
	Expire      time.Duration // a peer silent for this long is forgotten; 0 means twice Interval
	NumWant     int           // addresses in an answer where the client does not say; 0 means 50
	MaxNumWant  int           // addresses in an answer; 0 means 200, more than 500 means 500
	MaxTorrents int           // with peers; 0 means 500,000; announces for more are refused
	MaxPeers    int           // of all torrents; 0 means 2,000,000; more are refused
	PerSource   int           // peers that one IPv4 address or IPv6 network (/64) may enter; 0 means 5,000; in networks of ours each address by itself
	Rate, Burst int           // requests a second of one such source, and at once; 0 means 100 and 2,000
	TrackerID   string        // "tracker id" in answers over HTTP; "" means none

	Listed bool   // only torrents that are registered are tracked, and those announced with the token
	Token  string // as the first part of the path of an announce URL it has any torrent tracked; "" means none

	// Port is that of the daemon which this tracker is part of; 0 means none.
	// A peer with this port and an address of this machine is the daemon
	// itself, and each asker is told the address by which it reaches us.
	Port uint16
	// TorrentFile is served at /t/HASH.torrent for registered torrents; nil
	// means that none is. An error is answered by 404.
	TorrentFile func(hash [20]byte) ([]byte, error)
	// MayFetch tells whether that file is for somebody with an address; nil
	// means that it is for everybody. Others are answered by 404.
	MayFetch func(hash [20]byte, who netip.Addr) bool
}

func (c Config) withDefaults() Config {
	if c.Interval <= 0 {
		c.Interval = 30 * time.Minute
	}
	if c.Expire <= 0 {
		c.Expire = 2 * c.Interval
	}
	for _, d := range []struct {
		v    *int
		zero int
	}{
		{&c.NumWant, 50},
		{&c.MaxNumWant, 200},
		{&c.MaxTorrents, 500_000},
		{&c.MaxPeers, 2_000_000},
		{&c.PerSource, 5000},
		{&c.Rate, 100},
		{&c.Burst, 2000},
	} {
		if *d.v <= 0 {
			*d.v = d.zero
		}
	}
	c.MaxNumWant = min(c.MaxNumWant, 500)
	return c
}

// Server is a tracker. It is safe for concurrent use and starts no goroutine
// of its own.
type Server struct {
	cfg    Config
	began  time.Time
	expire uint32 // seconds
	seed   maphash.Seed
	ids    sipKey // connection ids of BEP 15 are made with it
	own    ownAddrs
	routes routes
	meter  *meter
	census *census

	shards   [shards]shard
	torrents atomic.Int64
	peers    atomic.Int64
	conns    atomic.Int64 // over HTTP
	refused  [reasons]atomic.Int64
	handlers sync.Pool // of *handler; they hold nothing between requests
	files    *files
	takers   places // of the files, by who takes them
}

// New makes a tracker.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, began: time.Now(), expire: uint32(max(1, cfg.Expire/time.Second)), seed: maphash.MakeSeed(),
		own: ownAddrs{list: listOwn}, meter: newMeter(cfg.Rate, cfg.Burst), census: &census{seed: maphash.MakeSeed()},
		handlers: sync.Pool{New: newHandler}, files: newFiles(cfg.TorrentFile), takers: places{most: maxFilesOne},
	}
	var key [16]byte
	rand.Read(key[:]) // never fails
	s.ids = sipKey{binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])}
	for i := range s.shards {
		s.shards[i].init()
	}
	return s
}

// clock is the server's: seconds since it began, from 1 on, and milliseconds.
func (s *Server) clock(now time.Time) (seconds, millis uint32) {
	passed := now.Sub(s.began)
	return uint32(passed/time.Second) + 1, uint32(passed / time.Millisecond)
}

// Register has a torrent tracked where Config.Listed is set.
func (s *Server) Register(hash [20]byte) {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.registered[hash] = struct{}{}
}

// Unregister takes that back, and forgets the peers of the torrent.
func (s *Server) Unregister(hash [20]byte) {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.registered, hash)
	if sw := sh.swarms[hash]; sw != nil && s.cfg.Listed {
		s.clear(sh, hash, sw)
	}
}

// isRegistered tells whether the torrent's file may be served.
func (s *Server) isRegistered(hash [20]byte) bool {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, ok := sh.registered[hash]
	return ok
}

// knowsToken tells whether the path of an announce URL begins with the token.
func (s *Server) knowsToken(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return s.cfg.Token != "" && subtle.ConstantTimeCompare([]byte(first), []byte(s.cfg.Token)) == 1
}

// Counts returns the number of peers of a torrent, and of completed events.
func (s *Server) Counts(hash [20]byte) (seeds, leechers, downloads int) {
	now, _ := s.clock(time.Now())
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.current(sh, hash, now).counts()
}
