package api

import (
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"btd/api/client"
	"btd/metainfo"
)

// fakeTracker is a Tracker that writes down what it is asked to do.
type fakeTracker struct{ f *fake }

func (f *fake) tracker() Tracker { return fakeTracker{f} }

func (t fakeTracker) did(what string) error {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.calls = append(t.f.calls, what)
	return t.f.err
}

func (t fakeTracker) Start(context.Context) error { return t.did("tracker start") }
func (t fakeTracker) Stop(context.Context) error  { return t.did("tracker stop") }

func (t fakeTracker) Register(_ context.Context, h metainfo.Hash, name string) error {
	return t.did("register " + h.String() + " " + name)
}

func (t fakeTracker) Share(_ context.Context, h, announced metainfo.Hash, name string) error {
	return t.did("share " + h.String() + " as " + announced.String() + " " + name)
}

func (t fakeTracker) Unshare(_ context.Context, h metainfo.Hash) error {
	return t.did("unshare " + h.String())
}

func (t fakeTracker) Unregister(_ context.Context, h metainfo.Hash) (bool, error) {
	return h == hashOf(1), t.did("unregister " + h.String())
}

func (t fakeTracker) URLs() []string { return []string{"http://192.0.2.1:6969/announce"} }

func (t fakeTracker) Registered() []client.Registration {
	return []client.Registration{{ID: hashOf(1).String(), Name: "one", Shared: true, Seeds: 1, Leechers: 2, Downloads: 3}}
}

func (t fakeTracker) Stats() client.TrackerServer {
	return client.TrackerServer{
		On: true, Listen: "[::]:6969", URLs: t.URLs(), Token: "secret", Registered: 1, Torrents: 1, Peers: 3, Seeds: 1,
		Announces: map[string]int64{"udp": 5}, PerSecond: map[string]float64{"udp": 0.5},
		Scrapes: map[string]int64{"http": 1}, Refused: map[string]int64{"rate": 2}, Connections: 1, Memory: 1000,
	}
}

func TestTracker(t *testing.T) {
	f := newFake(2)
	p := serve(t, f, nil)
	c := p.clients(t)["unix"]
	ctx := t.Context()
	id := hashOf(1).String()
	for _, err := range []error{c.StartTracker(ctx), c.Register(ctx, id, "a name"), c.Unregister(ctx, id), c.StopTracker(ctx)} {
		if err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(f.calls, "\n"), "tracker start\nregister "+id+" a name\nunregister "+id+"\ntracker stop"; got != want {
		t.Errorf("asked:\n%s\nwant:\n%s", got, want)
	}
	if got, err := c.TrackerServer(ctx); err != nil || !reflect.DeepEqual(got, f.tracker().Stats()) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.Registered(ctx); err != nil || !reflect.DeepEqual(got, f.tracker().Registered()) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.Unregister(ctx, hashOf(2).String()); !client.HasCode(err, client.CodeNotFound) {
		t.Errorf("unregister what is not registered: %v", err)
	}
	if err := c.Register(ctx, id, strings.Repeat("x", 256)); !client.HasCode(err, client.CodeInvalid) {
		t.Errorf("a long name: %v", err)
	}
	if err := c.Register(ctx, "abcd", ""); !client.HasCode(err, client.CodeInvalid) {
		t.Errorf("a short id: %v", err)
	}
	f.mu.Lock()
	f.err = errors.New("the port is taken")
	f.mu.Unlock()
	if err := c.StartTracker(ctx); !client.HasCode(err, client.CodeConflict) || !strings.Contains(err.Error(), "taken") {
		t.Errorf("start on a port that is taken: %v", err)
	}
	none := serve(t, newFake(1), func(c *Config) { c.Tracker = nil })
	if _, err := none.clients(t)["unix"].TrackerServer(ctx); !client.HasCode(err, client.CodeNotSupported) {
		t.Errorf("a daemon without a tracker: %v", err)
	}
}

// forgetful is an Engine that cannot say which secret a torrent has.
type forgetful struct{ *fake }

func (forgetful) Secret(metainfo.Hash) (metainfo.Secret, error) {
	return metainfo.Secret{}, errors.New("the disk is on fire")
}

// Members of a closed swarm announce a mask: that is what is registered, and
// what is taken back. A mask itself, and what we do not have, stays as it is.
func TestTrackerOfAClosedSwarm(t *testing.T) {
	secret, err := metainfo.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ours, other := hashOf(2), hashOf(1)
	mask := secret.Mask(ours).String()
	f := newFake(3)
	c := serve(t, f, func(cfg *Config) { cfg.Engine = hiding{f, secret} }).clients(t)["unix"]
	for _, id := range []string{ours.String(), mask, other.String()} {
		if err := c.Register(t.Context(), id, "x"); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{ours.String(), mask} { // the fake has neither registered
		if err := c.Unregister(t.Context(), id); !client.HasCode(err, client.CodeNotFound) {
			t.Errorf("unregister %s: %v", id, err)
		}
	}
	want := []string{
		"register " + mask + " x", "register " + mask + " x", "register " + other.String() + " x",
		"unregister " + mask, "unregister " + ours.String(), // the hash may be there since before it was ours
		"unregister " + mask,
	}
	if !slices.Equal(f.calls, want) {
		t.Errorf("asked %q, want %q", f.calls, want)
	}
	left := serve(t, newFake(3), func(cfg *Config) { cfg.Engine = closed{f, secret} }).clients(t)["unix"]
	if err := left.Unregister(t.Context(), hashOf(1).String()); err != nil {
		t.Errorf("unregister what is there by its plain hash alone: %v", err)
	}
	before := f.noted()
	c = serve(t, f, func(cfg *Config) { cfg.Engine = forgetful{f} }).clients(t)["unix"]
	for _, err := range []error{c.Register(t.Context(), ours.String(), "x"), c.Unregister(t.Context(), ours.String())} {
		if err == nil {
			t.Error("done without knowing the secret")
		}
	}
	if got := f.noted(); got != before {
		t.Errorf("asked without knowing the secret: %s", got)
	}
}

// switched is a tracker that is off until it is started, and may track
// torrent 1 and what is named by the mask of torrent 2.
type switched struct {
	fakeTracker
	mask metainfo.Hash
	on   bool
}

func (t *switched) URLs() []string {
	if !t.on {
		return nil
	}
	return t.fakeTracker.URLs()
}

func (t *switched) Stop(ctx context.Context) error {
	t.on = false
	return t.fakeTracker.Stop(ctx)
}

func (t *switched) Start(ctx context.Context) error {
	t.on = true
	return t.fakeTracker.Start(ctx)
}

func (t *switched) Registered() []client.Registration {
	return append(t.fakeTracker.Registered(), client.Registration{ID: t.mask.String()})
}

// hiding is an Engine whose torrent 2 has a secret.
type hiding struct {
	*fake
	secret metainfo.Secret
}

func (f hiding) Secret(h metainfo.Hash) (metainfo.Secret, error) {
	if h == hashOf(2) {
		return f.secret, nil
	}
	return metainfo.Secret{}, nil
}

func (f hiding) Reannounce(_ context.Context, h metainfo.Hash) error {
	return f.note("reannounce %v", h)
}

// A tracker that was off is told at once of what we have.
func TestTrackerStartAnnounces(t *testing.T) {
	secret, err := metainfo.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(4)
	tr := &switched{fakeTracker: fakeTracker{f}, mask: secret.Mask(hashOf(2))}
	c := serve(t, f, func(cfg *Config) { cfg.Engine, cfg.Tracker = hiding{f, secret}, tr }).clients(t)["unix"]
	for range 2 { // the second time it is on
		if err := c.StartTracker(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"tracker start", "reannounce " + hashOf(1).String(), "reannounce " + hashOf(2).String(), "tracker start"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("done: %q, want %q", f.calls, want)
	}
}

// A share that fails leaves no tracker behind, and does not end one that was
// on.
func TestFailedShareLeavesNoTracker(t *testing.T) {
	f := newFake(4)
	tr := &switched{fakeTracker: fakeTracker{f}}
	c := serve(t, f, func(cfg *Config) { cfg.Engine, cfg.Tracker = scoped{f}, tr }).clients(t)["unix"]
	for _, on := range []bool{false, true} {
		tr.on = on
		var e *client.Error
		if _, err := c.Share(t.Context(), hashOf(1).String()); !errors.As(err, &e) || !strings.Contains(e.Message, "no address in a private network") {
			t.Errorf("sharing without a private address: %v", err)
		}
		if tr.on != on {
			t.Errorf("the tracker was on: %v, and is: %v", on, tr.on)
		}
	}
}
