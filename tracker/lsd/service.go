package lsd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// scanEvery is how often interfaces are looked for, and what failed is tried
// again.
const scanEvery = time.Minute

// port is that of both groups (BEP 14).
const port = 6771

// Config holds the settings of a Service.
type Config struct {
	Listen netip.AddrPort // where peers are accepted, TCP: only its interfaces and families are used
	Log    *slog.Logger   // nil means slog.Default()

	// Found is told of a peer that announced a torrent of ours; fresh means
	// that it was not heard of in the last ten minutes. It must not block, and
	// must not call the Service.
	Found func(h Hash, peer netip.AddrPort, fresh bool)

	GroupPort uint16 // UDP port of the multicast groups; 0 means 6771

	networks func() ([]network, error) // of a test; nil means those of this machine
}

// Service announces torrents in the local network and hears of those of others.
type Service struct {
	cfg    Config
	log    *slog.Logger
	cookie string
	wake   chan struct{} // capacity 1

	mu       sync.Mutex // guards what follows
	pacer    *Pacer
	guard    guard
	attached []netip.Prefix
	problems map[string]string // what does not work, by where
	paths    []path            // in use
	counts   Status            // only its numbers

	links  [2]link // of Run
	missed bool    // likewise: something could not be sent at all
	hearts sync.WaitGroup
}

// New returns a Service that does nothing before Run.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.GroupPort == 0 {
		cfg.GroupPort = port
	}
	if cfg.networks == nil {
		cfg.networks = networks
	}
	cfg.Listen = netip.AddrPortFrom(cfg.Listen.Addr().Unmap(), cfg.Listen.Port())
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	var cookie [8]byte
	for i := range cookie {
		cookie[i] = byte(rng.Uint32())
	}
	s := &Service{
		cfg: cfg, log: cfg.Log, cookie: hex.EncodeToString(cookie[:]), wake: make(chan struct{}, 1),
		pacer: NewPacer(rng), problems: map[string]string{},
	}
	for i, g := range groups(cfg.GroupPort) {
		s.links[i].group = g
	}
	return s
}

// Set announces a torrent, or changes how.
func (s *Service) Set(h Hash, c Class) {
	s.mu.Lock()
	s.pacer.Set(h, c, time.Now())
	s.mu.Unlock()
	s.rouse()
}

// Remove ends what Set began.
func (s *Service) Remove(h Hash) {
	s.mu.Lock()
	s.pacer.Remove(h, time.Now())
	s.mu.Unlock()
}

func (s *Service) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run announces and listens until ctx ends.
func (s *Service) Run(ctx context.Context) {
	defer s.hearts.Wait()
	defer func() {
		for i := range s.links {
			s.links[i].close()
		}
	}()
	scan, due := time.NewTimer(0), time.NewTimer(time.Hour)
	defer scan.Stop()
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-scan.C:
			s.scan(ctx)
			scan.Reset(scanEvery)
		case <-due.C:
		case <-s.wake:
		}
		due.Reset(s.announce())
	}
}

// scan looks for interfaces, and opens and joins what is not yet.
func (s *Service) scan(ctx context.Context) {
	all, err := s.cfg.networks()
	s.report("interfaces", err)
	if err != nil {
		return
	}
	paths, attached := plan(all, s.cfg.Listen.Addr())
	known := map[string]bool{"interfaces": true}
	for i := range s.links {
		l := &s.links[i]
		mine := slices.DeleteFunc(slices.Clone(paths), func(p path) bool { return p.ipv6() != l.group.Addr().Is6() })
		l.keep(mine)
		if len(mine) == 0 {
			continue
		}
		known[l.network()] = true
		fresh, err := l.open(ctx)
		s.report(l.network(), err)
		if fresh {
			s.hearts.Add(1)
			go s.listen(l.in, l.deaf)
		}
		for _, p := range mine {
			known[p.String()], known[sending(p)] = true, true
			if err == nil && !l.heard[p] {
				s.report(p.String(), l.join(p))
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.problems, func(where, _ string) bool { return !known[where] })
	fresh := slices.ContainsFunc(paths, func(p path) bool { return !slices.Contains(s.paths, p) })
	if fresh || s.missed {
		s.pacer.Again(len(s.paths) == 0 || s.missed, time.Now())
	}
	s.missed = false
	s.paths, s.attached = paths, attached
}

// report notes what is wrong somewhere, or that nothing is any more, and logs
// it once.
func (s *Service) report(where string, err error) {
	s.mu.Lock()
	_, known := s.problems[where]
	if err == nil {
		delete(s.problems, where)
	} else {
		s.problems[where] = err.Error()
	}
	s.mu.Unlock()
	switch {
	case err != nil && !known:
		s.log.Warn("local discovery does not work", "where", where, "err", err)
	case err == nil && known:
		s.log.Info("local discovery works again", "where", where)
	}
}

// announce sends what is due and returns how long nothing will be.
func (s *Service) announce() time.Duration {
	s.mu.Lock()
	paths := s.paths
	var packets [][]Hash
	var next time.Time
	now := time.Now()
	if len(paths) > 0 {
		packets, next = s.pacer.Next(now)
	}
	s.mu.Unlock()
	for _, hashes := range packets {
		s.send(paths, hashes)
	}
	if next.IsZero() {
		return time.Hour
	}
	return max(next.Sub(now), time.Millisecond)
}

// sending is what a path is called when something cannot be sent.
func sending(p path) string { return "sending by " + p.String() }

func (s *Service) send(paths []path, hashes []Hash) {
	a := Announce{Port: s.cfg.Listen.Port(), Hashes: hashes, Cookie: s.cookie}
	sent := 0
	for _, p := range paths {
		l := &s.links[0]
		if p.ipv6() {
			l = &s.links[1]
		}
		err := l.send(p, a.Append(nil, l.group))
		s.report(sending(p), err)
		if err == nil {
			sent++
		}
	}
	s.missed = s.missed || sent == 0
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Packets += int64(sent)
	if sent > 0 {
		s.counts.Announces += int64(len(hashes))
	}
}

// listen reads packets until the socket is closed or broken, and closes deaf.
func (s *Service) listen(c *net.UDPConn, deaf chan<- struct{}) {
	defer s.hearts.Done()
	defer close(deaf)
	buf, oob := make([]byte, 64<<10), make([]byte, oobSize) // of a longer packet Windows makes an error
	for failures := 0; failures < 100; {
		n, k, _, from, err := c.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			failures++
			continue
		}
		failures = 0
		if !toGroup(oob[:k]) {
			s.count(&s.counts.Refused)
			continue
		}
		s.heard(buf[:n], from.Addr(), time.Now())
	}
}

// heard takes a packet in.
func (s *Service) heard(packet []byte, from netip.Addr, now time.Time) {
	var a Announce
	s.mu.Lock()
	ok := s.guard.allow(from, now)
	attached := s.attached
	s.mu.Unlock()
	if !ok {
		s.count(&s.counts.Refused)
		return
	}
	err := a.Parse(packet)
	if err == nil && a.Cookie == s.cookie {
		return
	}
	peer, near := neighbour(from, attached)
	if err != nil || !near {
		s.count(&s.counts.Refused)
		return
	}
	at := netip.AddrPortFrom(peer, a.Port)
	s.mu.Lock()
	s.counts.Heard++
	hits := s.pacer.Heard(&a, at, now)
	s.mu.Unlock()
	for _, h := range hits {
		s.cfg.Found(h.Hash, at, h.Fresh)
	}
	if len(hits) > 0 {
		s.rouse() // there may be something to answer
	}
}

func (s *Service) count(n *int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

// Status is how a Service gets on.
type Status struct {
	Networks  []string // the interfaces in use
	Problems  []string // what does not work, in words
	Torrents  int      // that are announced or listened for
	Announces int64    // of torrents, that were sent
	Packets   int64    // that were sent, on all interfaces
	Heard     int64    // packets of others
	Refused   int64    // packets that are none of BEP 14, came from elsewhere, or were too many
}

// Status tells how it gets on.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.counts
	out.Torrents = s.pacer.Len()
	for _, p := range s.paths {
		if !slices.Contains(out.Networks, p.name) {
			out.Networks = append(out.Networks, p.name)
		}
	}
	for _, where := range slices.Sorted(maps.Keys(s.problems)) {
		out.Problems = append(out.Problems, where+": "+s.problems[where])
	}
	return out
}

// String is the status in one line.
func (st Status) String() string {
	text := "no network to announce in"
	if len(st.Networks) > 0 {
		text = fmt.Sprintf("on %s: %d torrents, %d announces sent, %d heard", strings.Join(st.Networks, ", "), st.Torrents, st.Announces, st.Heard)
	}
	if len(st.Problems) > 0 {
		text += "; " + strings.Join(st.Problems, "; ")
	}
	return text
}
