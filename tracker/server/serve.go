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
	maxFilesOne = 8    // torrent files on their way to one address, which may be slow on purpose; more are refused
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
	err := h.Serve(&limited{Listener: ln, server: s, room: make(chan struct{}, maxConns), closed: make(chan struct{}), hosts: places{most: maxPerHost}})
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
	hosts  places
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
		if !l.hosts.enter(host) {
			conn.Close()
			l.server.refuse(becauseConnections)
			continue
		}
		l.server.conns.Add(1)
		return &limitedConn{Conn: conn, free: sync.OnceFunc(func() {
			l.server.conns.Add(-1)
			l.hosts.leave(host)
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
	return s.netOf(at.AddrPort().Addr().Unmap().WithZone(""))
}

func (s *Server) netOf(a netip.Addr) netip.Addr {
	if a.Is4() || s.standsAlone(a, time.Now()) {
		return a
	}
	net64, _ := a.Prefix(64) // has that many bits
	return net64.Addr()
}

// places is how many of something each host has at the moment, at most most.
type places struct {
	most int
	mu   sync.Mutex
	used map[netip.Addr]int
}

func (p *places) enter(host netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[host] >= p.most {
		return false
	}
	if p.used == nil {
		p.used = map[netip.Addr]int{}
	}
	p.used[host]++
	return true
}

func (p *places) leave(host netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[host]--; p.used[host] <= 0 {
		delete(p.used, host)
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
