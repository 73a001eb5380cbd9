//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch     = 64
	replySize = 2048
	patience  = 200 * time.Millisecond // without any answer, after which what is under way counts as lost
)

// udp announces over UDP for a time, or, if that is 0, for every peer once.
func (l *load) udp(port int, during time.Duration) (rate, error) {
	hashes := l.hashes()
	var next, answered, lost, peers atomic.Int64
	var busy sync.WaitGroup
	errs := make([]error, l.workers)
	ready := make(chan struct{})
	var connected sync.WaitGroup
	for i := range l.workers {
		connected.Add(1)
		busy.Go(func() {
			s, err := newSender(l, port, hashes)
			if err == nil {
				defer unix.Close(s.fd)
				err = s.connect()
			}
			connected.Done()
			if err != nil {
				errs[i] = err
				return
			}
			<-ready
			rng := newRand()
			pick := func() int {
				if during > 0 {
					return rng.IntN(l.peers)
				}
				n := int(next.Add(1)) - 1
				if n >= l.peers {
					return -1
				}
				return n
			}
			errs[i] = s.announce(pick, during, rng)
			answered.Add(s.answered)
			lost.Add(s.lost)
			peers.Add(s.peers)
		})
	}
	connected.Wait()
	began := time.Now()
	close(ready)
	busy.Wait()
	took := time.Since(began).Seconds()
	n := answered.Load()
	r := rate{n: n, rate: float64(n) / took, lost: lost.Load(), peers: float64(peers.Load()) / float64(max(1, n))}
	return r, errors.Join(errs...)
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// sender is one socket, which sends from all sources.
type sender struct {
	load   *load
	fd     int
	hashes [][20]byte
	ids    []uint64 // connection ids, by source

	out, in         [batch]mmsghdr
	outVec, inVec   [batch]unix.Iovec
	name            unix.RawSockaddrInet4
	control         [batch][32]byte
	packets         [batch][98]byte
	replies         [batch][replySize]byte
	answered        int64
	lost, sent      int64
	peers, refusals int64
}

func newSender(l *load, port int, hashes [][20]byte) (*sender, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // where we may
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20)
	tv := unix.NsecToTimeval(int64(patience))
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv), unix.Bind(fd, &unix.SockaddrInet4{})); err != nil {
		return nil, err
	}
	s := &sender{load: l, fd: fd, hashes: hashes, ids: make([]uint64, l.sources)}
	s.name = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&s.name.Port))[:], uint16(port))
	for i := range batch {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[i][0]))
		h.Level, h.Type = unix.SOL_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		s.outVec[i].Base = &s.packets[i][0]
		o := &s.out[i].hdr
		o.Name, o.Namelen = (*byte)(unsafe.Pointer(&s.name)), unix.SizeofSockaddrInet4
		o.Control, o.Iov = &s.control[i][0], &s.outVec[i]
		o.SetControllen(len(s.control[i]))
		o.SetIovlen(1)
		s.inVec[i].Base = &s.replies[i][0]
		s.inVec[i].SetLen(replySize)
		s.in[i].hdr.Iov = &s.inVec[i]
		s.in[i].hdr.SetIovlen(1)
	}
	return s, nil
}

// put makes the packet at place i one of a source.
func (s *sender) put(i, source, length int) []byte {
	info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&s.control[i][unix.CmsgLen(0)]))
	info.Spec_dst = sourceAddr(source)
	s.outVec[i].SetLen(length)
	return s.packets[i][:length]
}

func (s *sender) send(n int) error {
	for at := 0; at < n; {
		r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.out[at])), uintptr(n-at), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("send: %w", errno)
		}
		if errno == 0 {
			at += int(r)
		}
	}
	s.sent += int64(n)
	return nil
}

// receive waits for answers; 0 means that none came for long.
func (s *sender) receive() (int, error) {
	for {
		r, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.in[0])), batch, unix.MSG_WAITFORONE, 0, 0)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("receive: %w", errno)
		}
	}
}

// connect gets a connection id for every source.
func (s *sender) connect() error {
	missing := make([]int, s.load.sources)
	for i := range missing {
		missing[i] = i
	}
	for try := 0; len(missing) > 0; try++ {
		if try == 50 {
			return fmt.Errorf("%d of %d sources got no connection id", len(missing), s.load.sources)
		}
		for at := 0; at < len(missing); at += batch {
			part := missing[at:min(at+batch, len(missing))]
			for i, source := range part {
				p := s.put(i, source, 16)
				binary.BigEndian.PutUint64(p, 0x41727101980)
				binary.BigEndian.PutUint32(p[8:], 0)
				binary.BigEndian.PutUint32(p[12:], uint32(source))
			}
			if err := s.send(len(part)); err != nil {
				return err
			}
			for got := 0; got < len(part); {
				n, err := s.receive()
				if err != nil {
					return err
				}
				if n == 0 {
					break
				}
				got += n
				for i := range n {
					p := s.replies[i][:s.in[i].n]
					if len(p) == 16 && binary.BigEndian.Uint32(p) == 0 {
						s.ids[binary.BigEndian.Uint32(p[4:])%uint32(len(s.ids))] = binary.BigEndian.Uint64(p[8:])
					}
				}
			}
		}
		left := missing[:0]
		for _, source := range missing {
			if s.ids[source] == 0 {
				left = append(left, source)
			}
		}
		missing = left
	}
	return nil
}

// announce keeps a window of announces under way.
func (s *sender) announce(pick func() int, during time.Duration, rng *rand.Rand) error {
	s.sent, s.answered = 0, 0
	began := time.Now()
	var again []int // over the first announces of all peers none may be lost
	under := map[uint32]int{}
	serial := uint32(0)
	for {
		over := during > 0 && time.Since(began) > during
		room, n := s.load.window-len(under), 0
		for ; n < batch && n < room && !over; n++ {
			one := -1
			if len(again) > 0 {
				one, again = again[len(again)-1], again[:len(again)-1]
			} else {
				one = pick()
			}
			if one < 0 {
				break
			}
			serial++
			under[serial] = one
			s.packet(n, s.load.peer(one), serial)
		}
		if n > 0 {
			if err := s.send(n); err != nil {
				return err
			}
		}
		if len(under) == 0 || over {
			break
		}
		if len(under) < s.load.window-batch && n > 0 {
			continue
		}
		got, err := s.receive()
		if err != nil {
			return err
		}
		if got == 0 {
			s.lost += int64(len(under))
			for _, one := range under {
				if during == 0 {
					again = append(again, one)
				}
			}
			clear(under)
		}
		for i := range got {
			s.reply(s.replies[i][:s.in[i].n], under)
		}
	}
	if s.refusals > 0 {
		return fmt.Errorf("%d of %d announces were refused", s.refusals, s.sent)
	}
	return nil
}

func (s *sender) packet(i int, p peer, serial uint32) {
	b := s.put(i, p.source, 98)
	binary.BigEndian.PutUint64(b, s.ids[p.source])
	binary.BigEndian.PutUint32(b[8:], 1)
	binary.BigEndian.PutUint32(b[12:], serial)
	copy(b[16:], s.hashes[p.torrent][:])
	copy(b[36:], "-LD0001-")
	binary.BigEndian.PutUint32(b[44:], uint32(p.source))
	binary.BigEndian.PutUint64(b[64:], p.left)
	binary.BigEndian.PutUint32(b[80:], 0)
	binary.BigEndian.PutUint32(b[92:], uint32(s.load.want))
	binary.BigEndian.PutUint16(b[96:], p.port)
}

func (s *sender) reply(p []byte, under map[uint32]int) {
	if len(p) < 8 {
		return
	}
	serial := binary.BigEndian.Uint32(p[4:])
	if _, ok := under[serial]; !ok {
		return // it came late
	}
	delete(under, serial)
	if binary.BigEndian.Uint32(p) != 1 || len(p) < 20 {
		s.refusals++
		return
	}
	s.answered++
	s.peers += int64(len(p)-20) / 6
}
