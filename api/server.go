package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what to serve and where. Engine and at least one of Socket and
// TCP are needed.
type Config struct {
	Engine  Engine
	Tracker Tracker      // nil means that the daemon has none
	Version string       // of the daemon, for /v1/session/version
	Log     *slog.Logger // nil discards

	Socket    string // path of the unix socket (mode 0600); "" means none
	TCP       string // loopback host:port; "" means none, port 0 means any
	TokenFile string // where the token of TCP is kept (mode 0600, made where missing); needed with TCP

	Heartbeat time.Duration // between signs of life on an event stream; 0 means 15 s
	Grace     time.Duration // for requests in flight at the end; 0 means 3 s
	heed      time.Duration // for those of them that are then cancelled; 0 means Grace
	Streams   int           // event streams at a time; 0 means 128
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.Grace <= 0 {
		c.Grace = 3 * time.Second
	}
	if c.heed <= 0 {
		c.heed = c.Grace
	}
	if c.Streams <= 0 {
		c.Streams = 128
	}
	return c
}

// Server serves one Engine.
type Server struct {
	cfg   Config
	mux   *http.ServeMux
	epoch uint64 // added to the engine's event numbers, see events.go

	closing chan struct{} // closed when the event streams are to end
	streams atomic.Int32
	patches sync.Mutex   // held from reading limits to writing them
	running sync.RWMutex // read-locked by every request

	mu     sync.Mutex
	listen []*listener
}

// New makes a server. Nothing listens yet.
func New(cfg Config) *Server {
	s := &Server{
		cfg:     cfg.withDefaults(),
		mux:     http.NewServeMux(),
		epoch:   uint64(time.Now().UnixMicro()),
		closing: make(chan struct{}),
	}
	s.routes()
	return s
}

// listener is one open address and the guard that belongs to it.
type listener struct {
	net.Listener
	handler http.Handler
	cleanup func()
}

// Listen opens the addresses, so that a daemon can report what is wrong with
// them before it begins to work. Serve does it where it was not done.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listen) > 0 {
		return nil
	}
	if s.cfg.Socket == "" && s.cfg.TCP == "" {
		return errors.New("api: no address to listen on")
	}
	var opened []*listener
	fail := func(err error) error {
		for _, l := range opened {
			l.close()
		}
		return err
	}
	if s.cfg.Socket != "" {
		l, cleanup, err := listenUnix(s.cfg.Socket)
		if err != nil {
			return fail(fmt.Errorf("api: listen on %s: %w", s.cfg.Socket, err))
		}
		opened = append(opened, &listener{Listener: l, handler: s.mux, cleanup: cleanup})
	}
	if s.cfg.TCP != "" {
		l, err := s.listenTCP()
		if err != nil {
			return fail(fmt.Errorf("api: listen on %s: %w", s.cfg.TCP, err))
		}
		opened = append(opened, l)
	}
	s.listen = opened
	return nil
}

func (l *listener) close() {
	l.Listener.Close()
	if l.cleanup != nil {
		l.cleanup()
	}
}

// TCPAddr is the TCP address that is listened on, nil if there is none.
func (s *Server) TCPAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listen {
		if l.Addr().Network() == "tcp" {
			return l.Addr()
		}
	}
	return nil
}

// Serve answers requests until ctx is done, then ends the event streams, lets
// requests in flight finish within Config.Grace and removes the socket. It
// returns nil after such an end. A server serves once.
func (s *Server) Serve(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var servers []*http.Server
	for _, l := range s.listen {
		hs := s.newHTTP(l.handler)
		servers = append(servers, hs)
		s.cfg.Log.Info("api listening", "network", l.Addr().Network(), "addr", l.Addr().String())
		wg.Go(func() {
			if err := hs.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("api: serve on %s: %w", l.Addr(), err))
			}
		})
	}
	<-ctx.Done()
	close(s.closing)
	s.shutdown(servers)
	wg.Wait()
	s.wait()
	for _, l := range s.listen {
		l.close()
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       bodyTime, // until the body is read: see noDeadline
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 20, // ?ids= may name many
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) shutdown(servers []*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer cancel()
	var wg sync.WaitGroup
	for _, hs := range servers {
		wg.Go(func() {
			if err := hs.Shutdown(ctx); err != nil {
				hs.Close() // cancels the contexts of what still runs
			}
		})
	}
	wg.Wait()
}

// wait waits for the requests that were cancelled when their time was up.
// Those of an engine that does not heed that are left behind.
func (s *Server) wait() {
	done := make(chan struct{})
	go func() {
		s.running.Lock()
		close(done)
		s.running.Unlock()
	}()
	select {
	case <-done:
	case <-time.After(s.cfg.heed):
		s.cfg.Log.Warn("api requests are still running")
	}
}
