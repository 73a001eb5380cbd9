package session

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"btd/storage"
)

// Config holds the settings of a session. StateDir and Dir are required,
// every other zero value means the default.
type Config struct {
	StateDir string // resume database and keys
	Dir      string // where downloads go unless a torrent says otherwise
	Listen   string // TCP "host:port" for peers; "" means ":6881", port 0 means any free one
	Version  string // of the program, for the peer id and the extension handshake

	MaxPeers           int // connections in all; 0 means 500
	MaxPeersPerTorrent int // 0 means 80
	MaxHalfOpen        int // outgoing connections being made; 0 means 60
	MaxIncoming        int // incoming handshakes under way; 0 means 200

	UploadSlots           int // peers unchoked in all; 0 means 200
	UploadSlotsPerTorrent int // regular slots beside the optimistic one; 0 means 4

	ActiveDownloads int // torrents downloading at a time; 0 means 8, negative means no limit
	ActiveSeeds     int // torrents seeding to connected peers at a time; 0 means no limit
	ActiveChecks    int // torrents being verified at a time; 0 means 2

	SuperSeeding SuperSeeding // "" means SuperAuto

	Limits     Limits        // of the whole session; torrents that stay in the local network are outside of it
	FreeLocal  bool          // so are peers at private and link-local addresses, of whatever torrent
	RatioLimit float64       // stop seeding at uploaded/size; 0 means never
	SeedTime   time.Duration // stop seeding after this long; 0 means never

	DHT   DHTConfig
	LSD   LSDConfig
	NoPEX bool // peers are not told of each other, and what they tell is not taken (BEP 11)

	// Finished pieces are synced and recorded when the first of them has waited
	// for SyncEvery, or SyncBytes of one torrent wait: so much may be fetched
	// again after a power loss. A slow disk is given less at a time.
	SyncEvery time.Duration // 0 means 10 s; looked at once a second
	SyncBytes int64         // 0 means 4 GiB

	Prealloc bool // reserve the space of files before writing to them
	Storage  storage.Config

	pauses
	lookup func(ctx context.Context, host string) ([]netip.Addr, error) // of peers' hosts; nil asks the system

	AnnounceRate int          // first announces a second where many torrents start together; 0 means 50
	Log          *slog.Logger // nil means slog.Default()
}

// pauses are times that tests have others of than everybody else.
type pauses struct {
	changeEvery  time.Duration // between two looks at files that change
	scrapeLook   time.Duration // between two looks at what is to be scraped
	adoptTime    time.Duration // for a look at the content of a torrent that is added
	closeTimeout time.Duration // that Close waits for disks
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Listen == "" {
		c.Listen = ":6881"
	}
	if c.Version == "" {
		c.Version = "0.0.0"
	}
	def(&c.MaxPeers, 500)
	def(&c.MaxPeersPerTorrent, 80)
	def(&c.MaxHalfOpen, 60)
	def(&c.MaxIncoming, 200)
	def(&c.UploadSlots, 200)
	def(&c.UploadSlotsPerTorrent, 4)
	def(&c.ActiveDownloads, 8)
	def(&c.ActiveChecks, 2)
	def(&c.AnnounceRate, 50)
	if c.SuperSeeding == "" {
		c.SuperSeeding = SuperAuto
	}
	if c.SyncEvery == 0 {
		c.SyncEvery = 10 * time.Second
	}
	if c.SyncBytes == 0 {
		c.SyncBytes = 4 << 30
	}
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{{&c.changeEvery, changeEvery}, {&c.scrapeLook, scrapeLook}, {&c.adoptTime, adoptTime}, {&c.closeTimeout, closeTimeout}} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	if c.lookup == nil {
		c.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Storage.Log == nil {
		c.Storage.Log = c.Log
	}
	return c
}
