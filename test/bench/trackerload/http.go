//go:build linux

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// http announces over HTTP for a time: with a connection for each announce, or
// over connections that stay. Each connection has a thread of its own.
func (l *load) http(port int, during time.Duration, keep bool) (rate, error) {
	hashes := l.hashes()
	var answered, peers atomic.Int64
	errs := make([]error, l.conns)
	var busy sync.WaitGroup
	began := time.Now()
	for i := range l.conns {
		busy.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			c := &webClient{load: l, hashes: hashes, port: port, keep: keep, fd: -1}
			defer c.close()
			rng := newRand()
			for time.Since(began) < during {
				if err := c.announce(rng.IntN(l.peers)); err != nil {
					errs[i] = err
					break
				}
			}
			answered.Add(c.answered)
			peers.Add(c.peers)
		})
	}
	busy.Wait()
	took := time.Since(began).Seconds()
	n := answered.Load()
	var err error
	for _, e := range errs {
		err = cmp.Or(err, e)
	}
	return rate{n: n, rate: float64(n) / took, peers: float64(peers.Load()) / float64(max(1, n))}, err
}

// webClient announces one after another.
type webClient struct {
	load     *load
	hashes   [][20]byte
	port     int
	keep     bool
	fd       int
	request  []byte
	reply    [4096]byte
	asked    int
	answered int64
	peers    int64
}

// perConn is how many announces go over a connection that stays: no source
// is to reach the limit for one.
const perConn = 500

func (c *webClient) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

func (c *webClient) dial(source int) (err error) {
	if c.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	tv := unix.NsecToTimeval(int64(10 * time.Second))
	return errors.Join(
		unix.SetsockoptInt(c.fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Bind(c.fd, &unix.SockaddrInet4{Addr: sourceAddr(source)}),
		unix.Connect(c.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: c.port}),
	)
}

func (c *webClient) announce(n int) error {
	p := c.load.peer(n)
	if c.fd < 0 {
		if err := c.dial(p.source); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	b := append(c.request[:0], "GET /announce?info_hash="...)
	for _, x := range c.hashes[p.torrent] {
		b = append(b, '%', "0123456789ABCDEF"[x>>4], "0123456789ABCDEF"[x&15])
	}
	b = append(b, "&peer_id=-LD0001-"...)
	b = append(b, "abcdefghijkl&port="...)
	b = strconv.AppendUint(b, uint64(p.port), 10)
	b = append(b, "&uploaded=0&downloaded=0&left="...)
	b = strconv.AppendUint(b, p.left, 10)
	b = append(b, "&compact=1&numwant="...)
	b = strconv.AppendInt(b, int64(c.load.want), 10)
	b = append(b, " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: trackerload/1\r\nAccept-Encoding: gzip\r\n"...)
	if !c.keep {
		b = append(b, "Connection: close\r\n"...)
	}
	c.request = append(b, "\r\n"...)
	for rest := c.request; len(rest) > 0; {
		n, err := unix.Write(c.fd, rest)
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		rest = rest[n:]
	}
	err := c.read()
	if c.asked++; !c.keep || c.asked%perConn == 0 {
		c.close()
	}
	return err
}

// read takes one answer: to its end, or, without a connection that stays, to
// the end of the connection.
func (c *webClient) read() error {
	n := 0
	for {
		got, err := unix.Read(c.fd, c.reply[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		n += got
		head, body, ok := bytes.Cut(c.reply[:n], []byte("\r\n\r\n"))
		if got == 0 || c.keep && ok && len(body) >= contentLength(head) {
			if !ok || !bytes.Contains(head, []byte(" 200 ")) || bytes.HasPrefix(body, []byte("d14:failure")) || !bytes.HasPrefix(body, []byte("d")) {
				return fmt.Errorf("answer %.300q", c.reply[:n])
			}
			c.answered++
			if _, list, ok := bytes.Cut(body, []byte("5:peers")); ok {
				size, _, _ := bytes.Cut(list, []byte(":"))
				n, _ := strconv.Atoi(string(size))
				c.peers += int64(n / 6)
			}
			return nil
		}
		if n == len(c.reply) {
			return errors.New("a long answer")
		}
	}
}

func contentLength(head []byte) int {
	_, rest, ok := bytes.Cut(head, []byte("Content-Length: "))
	if !ok {
		return 1 << 30
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	n, _ := strconv.Atoi(string(digits))
	return n
}
