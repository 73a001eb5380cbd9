package dht

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// gathering is how long packets are left in the socket while nobody waits
	// for what is in them.
	gathering = 20 * time.Millisecond
	atATime   = 1024 // packets that are read before others have their turn
)

// own is a socket that the loop reads from by itself.
type own struct {
	quiet   *quiet // nil where there is none
	answers *quiet // the same for the goroutine that reads

	mu     sync.Mutex
	conn   *net.UDPConn // the way that the runtime watches; nil while packets gather
	closed bool
}

// close ends reading.
func (o *own) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.conn != nil {
		o.conn.Close()
	}
}

// answer sends a packet. It is for the goroutine that reads.
func (o *own) answer(b []byte, to netip.AddrPort) {
	if o.answers != nil {
		_ = o.answers.send(b, to) // as if it had been lost on its way
		return
	}
	_, _ = o.conn.WriteToUDPAddrPort(b, to)
}

// unwatch lets packets gather.
func (o *own) unwatch() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn.Close()
	o.conn = nil
}

// watch is the opposite of unwatch.
func (o *own) watch() (*net.UDPConn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, net.ErrClosed
	}
	var err error
	o.conn, err = o.quiet.watched()
	return o.conn, err
}

// read reads from our own socket until it is closed.
func (l *loop) read(ctx context.Context) {
	b := make([]byte, maxPacketIn+1)
	conn, failed := l.own.conn, 0
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		switch {
		case err == nil:
			failed = 0
			l.take(b[:n], from)
			if l.calm.Load() {
				if conn = l.gather(ctx, b); conn == nil {
					return
				}
			}
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		// Some systems report here that an earlier packet was not delivered.
		if failed++; l.readFailed(ctx, err, failed) {
			return
		}
	}
}

// take hands a packet on to whom it is for.
func (l *loop) take(b []byte, from netip.AddrPort) {
	if l.foreign != nil && len(b) > 0 && b[0] != 'd' {
		if answer, took := l.foreign(b, from); took {
			if len(answer) > 0 {
				l.own.answer(answer, from)
			}
			return
		}
	}
	l.packet(b, from)
}

// readFailed counts an error, and waits where there are many. It reports
// whether all is over.
func (l *loop) readFailed(ctx context.Context, err error, failed int) (over bool) {
	l.readErrors.Add(1)
	if failed == 1 {
		l.server.cfg.Log.Debug("dht: reading", "err", err)
	}
	if failed <= 10 {
		return false
	}
	select {
	case <-ctx.Done():
		return true
	case <-time.After(min(time.Duration(failed)*10*time.Millisecond, time.Second)):
		return false
	}
}

// gather takes packets in fifty times a second until somebody waits for them.
// It returns what to read from afterwards, nil if all is over.
func (l *loop) gather(ctx context.Context, b []byte) *net.UDPConn {
	l.own.unwatch()
	tick := time.NewTicker(gathering)
	defer tick.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for range atATime {
			n, from, ok, err := l.own.quiet.recv(b)
			if err != nil {
				if failed++; l.readFailed(ctx, err, failed) {
					return nil
				}
				break
			}
			if !ok {
				break
			}
			failed = 0
			l.take(b[:n], from)
		}
		if l.calm.Load() {
			continue
		}
		conn, err := l.own.watch()
		switch {
		case err == nil:
			return conn
		case errors.Is(err, net.ErrClosed):
			return nil
		}
		if failed++; l.readFailed(ctx, err, failed) { // no file is left; packets still come in
			return nil
		}
	}
}
