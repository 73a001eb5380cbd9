package server

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	maxConns    = 2048 // over HTTP; more wait to be accepted
	maxPerHost  = 256  // of them of one address; more are closed
	requestTime = 10 * time.Second
	idleTime    = 20 * time.Second
	maxHeader   = 16 << 10 // bytes
)

// Serve answers HTTP requests on a listener until ctx ends. It closes the
// listener and waits for requests under way, up to two seconds.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	h := &http.Server{
		Handler:        s,
		ReadTimeout:    requestTime,
		WriteTimeout:   requestTime,
		IdleTimeout:    idleTime,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(io.Discard, "", 0), // it complains of what clients do
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if h.Shutdown(limit) != nil {
			h.Close()
		}
	})
	err := h.Serve(&limited{Listener: ln, server: s, room: make(chan struct{}, maxConns), closed: make(chan struct{})})
	if !stop() {
		<-done
		return nil
	}
	return fmt.Errorf("serving the tracker: %w", err)
}

// limited is a listener with a bounded number of open connections, and of
// those of one address.
type limited struct {
	net.Listener
	server *Server
	room   chan struct{}
	once   sync.Once
	closed chan struct{}

	mu    sync.Mutex
	hosts map[netip.Addr]int
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.room
			return nil, err
		}
		host := l.server.hostOf(conn)
		if !l.enter(host) {
			conn.Close()
			l.server.refuse(becauseConnections)
			continue
		}
		l.server.conns.Add(1)
		return &limitedConn{Conn: conn, free: sync.OnceFunc(func() {
			l.server.conns.Add(-1)
			l.leave(host)
			<-l.room
		})}, nil
	}
}

// hostOf is the address of the other side, or its network, as the limits go.
func (s *Server) hostOf(conn net.Conn) netip.Addr {
	at, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a := at.AddrPort().Addr().Unmap().WithZone("")
	if a.Is4() || s.standsAlone(a, time.Now()) {
		return a
	}
	net64, _ := a.Prefix(64) // has that many bits
	return net64.Addr()
}

func (l *limited) enter(host netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host] >= maxPerHost {
		return false
	}
	if l.hosts == nil {
		l.hosts = map[netip.Addr]int{}
	}
	l.hosts[host]++
	return true
}

func (l *limited) leave(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host]--; l.hosts[host] <= 0 {
		delete(l.hosts, host)
	}
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	free func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.free()
	return err
}
