package server

import (
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// forgetful is a Keeper that keeps nothing.
type forgetful struct{}

func (forgetful) Get(string) ([]byte, error)             { return nil, nil }
func (forgetful) Put(string, []byte) error               { return nil }
func (forgetful) List(string) (map[string][]byte, error) { return nil, nil }

// taken is a port that others have until it is freed.
type taken struct {
	mu       sync.Mutex
	free     bool
	attempts []time.Time
	open     net.Listener // the last one
}

func (p *taken) listen(string) (net.Listener, net.PacketConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts = append(p.attempts, time.Now())
	if !p.free {
		return nil, nil, errors.New("address already in use")
	}
	ln, conn, err := listenBoth("127.0.0.1:0")
	p.open = ln
	return ln, conn, err
}

// lose closes the socket of whoever listens.
func (p *taken) lose() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = false
	return p.open.Close()
}

func (p *taken) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = true
}

// waits is how long it took from each attempt to the next.
func (p *taken) waits() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []time.Duration
	for i := 1; i < len(p.attempts); i++ {
		out = append(out, p.attempts[i].Sub(p.attempts[i-1]))
	}
	return out
}

func hostOn(t *testing.T, port *taken) *Host {
	t.Helper()
	h, err := NewHost(HostConfig{Listen: "taken", Enabled: true, Keeper: forgetful{}, listen: port.listen})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A port that is taken when the program starts is tried again, less and less
// often, and whoever asks is told when.
func TestHostTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var port taken
		h := hostOn(t, &port)
		defer h.Close()
		late := make(chan struct{})
		if err := h.Begin(func() { close(late) }); err == nil {
			t.Fatal("no word of a port that is taken")
		}
		for range 1000 { // a second of the program's clock each
			s := h.Stats()
			if in := time.Until(s.Retry); s.On || s.Problem != "address already in use" || in <= 0 || in > mostRetry {
				t.Fatalf("while the port is taken: on %v, %q, again in %v", s.On, s.Problem, in)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, mostRetry, mostRetry}
		if got := port.waits(); !slices.Equal(got, want) {
			t.Errorf("waited %v, want %v", got, want)
		}
		select {
		case <-late:
			t.Error("it is said to have started")
		default:
		}
		port.leave()
		<-late
		if s := h.Stats(); !s.On || s.Problem != "" || !s.Retry.IsZero() || len(h.URLs()) != 1 {
			t.Errorf("once the port is free: %+v", s)
		}
	})
}

// Whoever stops a tracker that waits for its port, or starts it by hand, ends
// the waiting.
func TestHostStopsTryingAgain(t *testing.T) {
	ways := map[string]func(h *Host, port *taken) error{
		"stop": func(h *Host, _ *taken) error { return h.Stop() },
		"start": func(h *Host, port *taken) error {
			if h.Start() == nil {
				return errors.New("started on a port that is taken")
			}
			if h.Stats().Retry.IsZero() {
				return errors.New("a start that failed has ended the waiting")
			}
			port.leave()
			return h.Start()
		},
		"close": func(h *Host, _ *taken) error { h.Close(); return nil },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var port taken
				h := hostOn(t, &port)
				if err := h.Begin(func() { t.Error("it was not the waiting that started it") }); err == nil {
					t.Fatal("no word of a port that is taken")
				}
				if err := way(h, &port); err != nil {
					t.Error(err)
				}
				if s := h.Stats(); !s.Retry.IsZero() || name != "close" && s.Problem != "" {
					t.Errorf("still to be tried at %v, %q", s.Retry, s.Problem)
				}
				before := len(port.waits())
				h.Close() // waits for what would try
				if after := len(port.waits()); after != before {
					t.Errorf("%d more attempts", after-before)
				}
			})
		})
	}
}

// A tracker whose socket fails is started again, as one whose port was taken.
func TestHostStartsAgainAfterALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := taken{free: true}
		h := hostOn(t, &port)
		defer h.Close()
		late := make(chan struct{})
		if err := h.Begin(func() { close(late) }); err != nil {
			t.Fatal(err)
		}
		if err := port.lose(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(firstRetry + time.Second) // of the program's clock, which stands still until the rest of it sleeps
		synctest.Wait()
		if s := h.Stats(); s.On || s.Problem != "address already in use" || !s.Retry.After(time.Now()) {
			t.Errorf("after an attempt that failed: %+v", s)
		}
		port.leave()
		<-late
		if s := h.Stats(); !s.On || s.Problem != "" || !s.Retry.IsZero() {
			t.Errorf("at the end: %+v", s)
		}
		want := []time.Duration{5 * time.Second, 10 * time.Second}
		if got := port.waits(); !slices.Equal(got, want) {
			t.Errorf("waited %v, want %v", got, want)
		}
	})
}

// A tracker that has lost its socket and is stopped stays off.
func TestHostStoppedAfterALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := taken{free: true}
		h := hostOn(t, &port)
		if err := h.Begin(func() { t.Error("it was started again") }); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(port.lose(), h.Stop()); err != nil {
			t.Fatal(err)
		}
		port.leave()
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := h.Stats(); s.On || !s.Retry.IsZero() || len(port.waits()) != 0 {
			t.Errorf("an hour after it was stopped: %+v, attempts %v apart", s, port.waits())
		}
		h.Close()
	})
}
