package session

import (
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"testing"
	"time"
)

func TestStopAtRatio(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 2 << 20})
	alone := func(cfg *Config) { cfg.NoPEX = true } // so that all is the seed's
	seed := seedOf(t, c, func(cfg *Config) { alone(cfg); cfg.RatioLimit = 1.5 })
	leech := open(t, alone)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	await(t, leech, c, "completion", complete)
	if err := leech.Close(); err != nil {
		t.Fatal(err)
	}
	// What the next one has when the seed stops depends on what is on its way.
	next := open(t, alone)
	add(t, next, c, AddOptions{Peers: addrs(seed)})
	v := await(t, seed, c, "the stop", func(v Torrent) bool { return v.State == StateStopped })
	if v.Uploaded < v.Size*3/2 || v.Error == "" {
		t.Errorf("stopped after %d bytes of %d, saying %q", v.Uploaded, v.Size, v.Error)
	}
	// It stays stopped, also over a restart.
	seed = reopen(t, seed)
	if v, err := seed.Torrent(c.meta.Hash); err != nil || v.State != StateStopped {
		t.Errorf("after a restart: %s, %v", v.State, err)
	}
}

func TestStopAfterSeedTime(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := open(t, func(cfg *Config) { cfg.SeedTime = 2 * time.Second })
	add(t, s, c, AddOptions{Dir: c.dir})
	v := await(t, s, c, "the stop", func(v Torrent) bool { return v.State == StateStopped })
	if v.SecondsSeeding < 2 {
		t.Errorf("stopped after %d s of seeding, want 2", v.SecondsSeeding)
	}
}

// TestUploadLimitIsHeldAndShared serves eight downloaders at 3 MiB/s for
// eight seconds. Correctness of the rate is the feature here, hence the clock.
func TestUploadLimitIsHeldAndShared(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	const rate = 3 << 20
	c := makeContent(t, 256<<10, map[string]int{"": 32 << 20})
	seed := seedOf(t, c, func(cfg *Config) {
		cfg.Limits.Up = rate
		cfg.UploadSlotsPerTorrent = 8
	})
	var leeches []*Session
	began := time.Now()
	for range 8 {
		// Without upload they cannot trade, so that all bytes are the seed's.
		s := open(t, func(cfg *Config) { cfg.Limits.Up = 1 })
		add(t, s, c, AddOptions{Peers: addrs(seed)})
		leeches = append(leeches, s)
	}
	for _, s := range leeches {
		await(t, s, c, "the first bytes", func(v Torrent) bool { return v.Downloaded > 0 })
	}
	up := func() int64 { return seed.byWire(c.meta.Hash.Wire()).tot.up.Load() }
	down := func(s *Session) int64 { return s.byWire(c.meta.Hash.Wire()).tot.down.Load() }
	time.Sleep(time.Second)
	holds(t, "the seed sent", rate, began, up, func(seconds float64, before []int64) bool {
		fair := true
		for i, s := range leeches {
			share := float64(down(s)-before[i]) / seconds / (rate / 8)
			if share < 0.85 || share > 1.15 {
				t.Logf("downloader %d got %.2f of its fair share", i, share)
				fair = false
			}
		}
		return fair
	}, func() (now []int64) {
		for _, s := range leeches {
			now = append(now, down(s))
		}
		return now
	})
}

// holds checks that counter grows by rate bytes a second, within 3 %, over some
// seconds in a row. A machine that is busy with something else may be slower,
// or make up for a moment in which it was, and gets eight chances; there is no
// excuse for being faster since began, when the limit was set and counter was 0.
// also, if given, is told how long it was and what sample said at the start.
func holds(t *testing.T, what string, rate float64, began time.Time, counter func() int64, also func(float64, []int64) bool, sample func() []int64) {
	t.Helper()
	for range 8 {
		var before []int64
		if sample != nil {
			before = sample()
		}
		early := time.Now()
		from := counter()
		late := time.Now()
		time.Sleep(8 * time.Second)
		seconds := time.Since(late).Seconds()
		sent := counter()
		unsure := time.Since(early).Seconds() - seconds
		got := float64(sent-from) / seconds
		t.Logf("%s %.3f MiB/s, want %.3f within 3 %%", what, got/(1<<20), rate/(1<<20))
		if all := time.Since(began).Seconds(); float64(sent) > 1.03*rate*all {
			t.Fatalf("%s more than the limit: %d bytes in %.3f s", what, sent, all)
		}
		if math.Abs(got/rate-1) <= 0.03 && unsure < 0.1 && (also == nil || also(seconds, before)) {
			return
		}
	}
	t.Errorf("%s another amount eight times: the limit is not held", what)
}

func TestDownloadLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	const rate = 1 << 20
	c := makeContent(t, 64<<10, map[string]int{"": 80 << 20})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	began := time.Now()
	add(t, leech, c, AddOptions{Peers: addrs(seed), Limits: Limits{Down: rate}})
	await(t, leech, c, "the first bytes", func(v Torrent) bool { return v.Downloaded > 0 })
	down := func() int64 { return leech.byWire(c.meta.Hash.Wire()).tot.down.Load() }
	time.Sleep(time.Second)
	holds(t, "it downloaded", rate, began, down, nil, nil)
	// That a limit was lifted is felt: with the last one the rest would take hours.
	if err := leech.SetLimits(context.Background(), c.meta.Hash, Limits{Down: 1000}); err != nil {
		t.Fatal(err)
	}
	if err := leech.SetLimits(context.Background(), c.meta.Hash, Limits{}); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
}

// One host that connects and says nothing does not keep others out.
func TestSilentCallersLeaveRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("another address of loopback is needed")
	}
	t.Parallel()
	c := makeContent(t, 16<<10, map[string]int{"": 100_000})
	s := seedOf(t, c, func(cfg *Config) { cfg.MaxIncoming = 8 })
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}}
	for range 20 {
		conn, err := d.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	awaitCounter(t, s, "incoming_refused", 16)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(s)})
	await(t, leech, c, "completion", complete)
	if n := s.Stats().Counters["incoming_refused"]; n != 16 {
		t.Errorf("%d of 20 silent callers and one that is not are refused, want 16", n)
	}
}

// callFrom is a connection from some address.
type callFrom struct {
	net.Conn
	addr net.Addr
}

func (c callFrom) RemoteAddr() net.Addr { return c.addr }

// One host of IPv6 has as many addresses as it likes in its own network.
func TestCallersOfOneNetworkAreOneHost(t *testing.T) {
	cfg := Config{MaxIncoming: 200}
	s := &Session{cfg: cfg, caps: newCaps(cfg)}
	call := func(ip string) (func(), bool) {
		return s.admitCaller(callFrom{addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 6881}})
	}
	var all []func()
	for i := range 100 {
		done, ok := call(fmt.Sprintf("2a00:1:2:3::%x", i+1))
		if !ok {
			t.Fatalf("caller %d is refused", i)
		}
		all = append(all, done)
	}
	if _, ok := call("2a00:1:2:3:ffff::1"); ok {
		t.Error("caller 101 of one network is let in")
	}
	for _, other := range []string{"2a00:1:2:4::1", "192.0.2.1"} {
		done, ok := call(other)
		if !ok {
			t.Errorf("%s is kept out by another host", other)
			continue
		}
		all = append(all, done)
	}
	all[0]()
	done, ok := call("2a00:1:2:3:ffff::1")
	if !ok {
		t.Fatal("a place that was left stays taken")
	}
	for _, done := range append(all[1:], done) {
		done()
	}
	if len(s.callers.from) != 0 || s.incoming.held.Load() != 0 {
		t.Errorf("all have left, but %v and %d are counted", s.callers.from, s.incoming.held.Load())
	}
}
