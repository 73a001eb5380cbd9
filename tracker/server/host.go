package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Keeper remembers values over restarts of the program.
type Keeper interface {
	Get(key string) ([]byte, error)                // nil is none
	Put(key string, val []byte) error              // nil removes
	List(prefix string) (map[string][]byte, error) // by what follows the prefix
}

// HostConfig says what a Host serves and where.
type HostConfig struct {
	Tracker Config // Listed and Token are the Host's to set
	Listen  string // host:port of HTTP and of UDP; "" means ":6969"; port 0 takes any that is free for both
	Enabled bool   // serve from Begin on, whatever happened before
	Open    bool   // track every torrent, not only those that are registered
	Keeper  Keeper
	Log     *slog.Logger // nil discards

	listen func(at string) (net.Listener, net.PacketConn, error) // nil means listenBoth; tests have another
}

// Host is the tracker of a daemon: it can be switched on and off, and it
// remembers which torrents are registered.
type Host struct {
	cfg   HostConfig
	log   *slog.Logger
	token string

	mu      sync.Mutex            // held while the tracker is switched, and while something is remembered
	names   map[[20]byte]string   // of what is registered
	shared  map[[20]byte][20]byte // by the torrent of the daemon's that it is for, what of that is announced here
	run     *run                  // nil while the tracker is off
	problem string
	retry   retry
	late    func() // called when the tracker is on that could not be at once; may be nil
}

// run is one time between on and off.
type run struct {
	server *Server
	addr   netip.AddrPort
	cancel context.CancelFunc
	served sync.WaitGroup
	broken atomic.Pointer[string] // why a socket is gone
}

// Keys of what is remembered.
const (
	keyOn         = "on"
	keyToken      = "token"
	keyRegistered = "torrent/"
)

// NewHost reads what an earlier run left. Nothing is served yet.
func NewHost(cfg HostConfig) (*Host, error) {
	if cfg.Listen == "" {
		cfg.Listen = ":6969"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.listen == nil {
		cfg.listen = listenBoth
	}
	h := &Host{cfg: cfg, log: cfg.Log, names: map[[20]byte]string{}, shared: map[[20]byte][20]byte{}}
	if err := h.recall(); err != nil {
		return nil, err
	}
	v, err := cfg.Keeper.Get(keyToken)
	if err == nil && len(v) == tokenLen {
		h.token = string(v)
		return h, nil
	}
	h.token = newToken()
	if err := cfg.Keeper.Put(keyToken, []byte(h.token)); err != nil {
		return nil, fmt.Errorf("keeping the tracker's token: %w", err)
	}
	return h, nil
}

const tokenLen = 22 // 128 bits in base64url

func newToken() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Begin serves if the configuration or the last run wants it. It is called
// once, when the program starts. Where that fails, and where a socket fails
// later, it is tried again until it works, and then late, which may be nil, is
// called; or until the tracker is stopped.
func (h *Host) Begin(late func()) error {
	v, err := h.cfg.Keeper.Get(keyOn)
	if err != nil {
		h.log.Warn("whether the tracker was on cannot be read", "err", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late = late
	if !h.cfg.Enabled && v == nil {
		return nil
	}
	if err = h.start(); err != nil {
		h.startLater()
	}
	return err
}

// Start switches the tracker on, now and at the next start of the program.
func (h *Host) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.start(); err != nil {
		return err
	}
	return h.keep(keyOn, []byte{1})
}

// Stop switches the tracker off and forgets its peers. Where it is enabled by
// the configuration it is on again after the next start of the program.
func (h *Host) Stop() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stop()
	h.retry.end()
	h.problem = "" // it is off because somebody wants that
	return h.keep(keyOn, nil)
}

// Close ends what is served. What is remembered stays.
func (h *Host) Close() {
	h.mu.Lock()
	h.retry.end()
	h.stop()
	h.mu.Unlock()
	h.retry.running.Wait()
}

func (h *Host) keep(key string, val []byte) error {
	if err := h.cfg.Keeper.Put(key, val); err != nil {
		return fmt.Errorf("keeping the tracker's state: %w", err)
	}
	return nil
}

func (h *Host) start() error {
	if h.live() != nil {
		return nil
	}
	lost := h.run != nil
	h.stop() // what is left of one that broke
	ln, conn, err := h.cfg.listen(h.cfg.Listen)
	if err != nil {
		h.problem = err.Error()
		if lost && h.retry.cancel == nil { // mend would find it gone
			h.startLater()
		}
		return fmt.Errorf("starting the tracker: %w", err)
	}
	cfg := h.cfg.Tracker
	cfg.Listed, cfg.Token = !h.cfg.Open, h.token
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{server: New(cfg), addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), cancel: cancel}
	for hash := range h.names {
		r.server.Register(hash)
	}
	h.run, h.problem = r, ""
	h.retry.end()
	serve := func(transport string, fn func() error) {
		r.served.Go(func() {
			if err := fn(); err != nil {
				h.log.Error("the tracker has stopped serving", "transport", transport, "err", err)
				why := err.Error()
				r.broken.Store(&why)
				cancel()
				h.retry.running.Go(func() { h.mend(r) })
			}
		})
	}
	serve("http", func() error { return r.server.Serve(ctx, ln) })
	serve("udp", func() error { return r.server.ServeUDP(ctx, conn) })
	h.log.Info("tracker listening", "addr", r.addr.String(), "open", h.cfg.Open, "registered", len(h.names))
	return nil
}

// live is the run that serves, nil if there is none.
func (h *Host) live() *run {
	if h.run == nil || h.run.broken.Load() != nil {
		return nil
	}
	return h.run
}

func (h *Host) stop() {
	if h.run == nil {
		return
	}
	h.run.cancel()
	h.run.served.Wait()
	h.run = nil
	h.log.Info("tracker stopped")
}

// listenBoth opens TCP and UDP on one port.
func listenBoth(at string) (net.Listener, net.PacketConn, error) {
	for try := 0; ; try++ {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			return nil, nil, err
		}
		host, port, err := net.SplitHostPort(at)
		if err != nil {
			ln.Close()
			return nil, nil, err
		}
		taken := ln.Addr().(*net.TCPAddr).AddrPort().Port()
		conn, err := net.ListenPacket("udp", net.JoinHostPort(host, fmt.Sprint(taken)))
		if err == nil {
			return ln, conn, nil
		}
		ln.Close()
		if port != "0" || try == 20 {
			return nil, nil, err
		}
	}
}

// URLs are the announce URLs of the tracker, at most maxURLs: one for each
// address by which other machines may reach this one. There are none while
// the tracker is off.
func (h *Host) URLs() []string {
	h.mu.Lock()
	r := h.live()
	h.mu.Unlock()
	if r == nil {
		return nil
	}
	addrs := []netip.Addr{r.addr.Addr()}
	if r.addr.Addr().IsUnspecified() {
		addrs = lanAddrs(r.addr.Addr().Is4())
	}
	urls := make([]string, 0, len(addrs))
	for _, a := range addrs {
		urls = append(urls, "http://"+netip.AddrPortFrom(a, r.addr.Port()).String()+"/announce")
	}
	return urls
}

// HostStats is a picture of a Host.
type HostStats struct {
	On         bool
	Problem    string    // why it is off though it should be on
	Retry      time.Time // when it is tried again after a problem; zero if it is not
	Open       bool
	Listen     netip.AddrPort // invalid while it is off
	Token      string         // who has it in the path of the announce URL may have any torrent tracked
	Registered int
	Stats
}

// Stats is a picture of the tracker.
func (h *Host) Stats() HostStats {
	h.mu.Lock()
	r := h.live()
	s := HostStats{On: r != nil, Problem: h.problem, Retry: h.retry.at, Open: h.cfg.Open, Token: h.token, Registered: len(h.names)}
	if h.run != nil && r == nil {
		s.Problem = *h.run.broken.Load()
	}
	h.mu.Unlock()
	if r != nil {
		s.Listen = r.addr
		s.Stats = r.server.Stats()
	}
	return s
}
