package netns

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Plain is what a network gives to plain TCP connections.
type Plain struct {
	Rate float64       // bytes per second, of the slowest host
	Trip time.Duration // the longest that a connection took
	CPU  float64       // seconds of a processor for each byte
}

// Ring has every host send n bytes to the next, all at once, each over one
// plain TCP connection. Who gets them hashes them: what any program has to do.
func Ring(ctx context.Context, hosts []*Host, n int64) (Plain, error) {
	var (
		lines = make([]net.Listener, len(hosts))
		trips = make([]time.Duration, len(hosts))
		fails = make([]error, 2*len(hosts))
		all   sync.WaitGroup
	)
	for i, h := range hosts {
		ln, err := h.Listen(netip.AddrPortFrom(h.IP4, 0))
		if err != nil {
			return Plain{}, err
		}
		defer ln.Close()
		if d, ok := ctx.Deadline(); ok {
			_ = ln.(*net.TCPListener).SetDeadline(d)
		}
		lines[i] = ln
	}
	began, used := time.Now(), processorTime()
	for i, h := range hosts {
		to := lines[(i+1)%len(hosts)].Addr().String()
		all.Go(func() { trips[i], fails[2*i] = send(ctx, h, to, n) })
		all.Go(func() { fails[2*i+1] = receive(ctx, lines[i], n) })
	}
	all.Wait()
	took := time.Since(began)
	p := Plain{Rate: float64(n) / took.Seconds(), CPU: (processorTime() - used) / float64(n) / float64(len(hosts))}
	for _, t := range trips {
		p.Trip = max(p.Trip, t)
	}
	return p, errors.Join(fails...)
}

func send(ctx context.Context, from *Host, to string, n int64) (trip time.Duration, err error) {
	began := time.Now()
	c, err := from.Dial(ctx, "tcp", to)
	if err != nil {
		return 0, err
	}
	trip = time.Since(began)
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	_, err = io.CopyN(c, zeros{}, n)
	return trip, errors.Join(err, c.Close())
}

func receive(ctx context.Context, ln net.Listener, n int64) error {
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	got, err := io.CopyBuffer(struct{ io.Writer }{sha1.New()}, struct{ io.Reader }{c}, make([]byte, 256<<10))
	if err == nil && got != n {
		err = fmt.Errorf("%d bytes arrived, want %d", got, n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// processorTime is what this process has used, in seconds.
func processorTime() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// Watch looks at the machine while something is measured.
type Watch struct {
	before ticks
	stop   chan struct{}
	done   sync.WaitGroup
	lost   time.Duration // after done: how long this process had no turn
}

// ticks is how far the processors that this process may use have come, in all
// programs.
type ticks struct {
	all, idle int64
	throttled time.Duration // by the control group
}

// StartWatch begins to look.
func StartWatch() *Watch {
	w := &Watch{before: look(), stop: make(chan struct{})}
	w.done.Go(func() {
		const step, most = 10 * time.Millisecond, 100 * time.Millisecond
		for last := time.Now(); ; {
			select {
			case <-w.stop:
				return
			case <-time.After(step):
			}
			now := time.Now()
			if gap := now.Sub(last); gap > most {
				w.lost += gap - step
			}
			last = now
		}
	})
	return w
}

// End says which part of the processors was idle since the start, 0 to 1, and
// how long we were kept from them: by the control group, or because this process
// stood still.
func (w *Watch) End() (idle float64, lost time.Duration) {
	close(w.stop)
	w.done.Wait()
	now := look()
	if now.all > w.before.all {
		idle = float64(now.idle-w.before.idle) / float64(now.all-w.before.all)
	}
	return idle, max(w.lost, now.throttled-w.before.throttled)
}

func look() (m ticks) {
	var may unix.CPUSet
	known := unix.SchedGetaffinity(0, &may) == nil
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 is nice 0
	polite := err != nil || nice < 20
	b, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.HasPrefix(f[0], "cpu") {
			continue
		}
		n, err := strconv.Atoi(f[0][3:])
		if err != nil || known && !may.IsSet(n) {
			continue
		}
		for i, s := range f[1:9] { // user nice system idle iowait irq softirq steal
			v, _ := strconv.ParseInt(s, 10, 64)
			m.all += v
			if i == 3 || i == 4 || i == 1 && !polite { // what is nice gives way to who is not
				m.idle += v
			}
		}
	}
	for line := range strings.Lines(string(controlGroup("cpu", "cpu.stat", "cpu.stat"))) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		v, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "throttled_usec": // version 2
			m.throttled = time.Duration(v) * time.Microsecond
		case "throttled_time": // version 1
			m.throttled = time.Duration(v)
		}
	}
	return m
}
