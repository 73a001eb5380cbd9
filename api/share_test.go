package api

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
)

// atURLs is a fakeTracker at addresses of one's own choice.
type atURLs struct {
	fakeTracker
	urls []string
}

func (t atURLs) URLs() []string { return t.urls }

// scoped is an Engine whose torrent 1 has scope lan, 2 is private and 3 waits
// for its metadata.
type scoped struct{ *fake }

func (f scoped) Torrent(h metainfo.Hash) (session.Torrent, error) {
	t, err := f.fake.Torrent(h)
	switch h {
	case hashOf(1):
		t.Options.Scope = metainfo.ScopeLAN
	case hashOf(2):
		t.Private = true
	case hashOf(3):
		t.Waiting = &session.Waiting{}
	}
	return t, err
}

// closed is an Engine whose torrents have a secret.
type closed struct {
	*fake
	secret metainfo.Secret
}

func (f closed) Secret(metainfo.Hash) (metainfo.Secret, error) { return f.secret, nil }

func TestShareWithASecret(t *testing.T) {
	secret, err := metainfo.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(1)
	tr := &atURLs{fakeTracker{f}, []string{"http://10.1.2.3:6969/announce"}}
	c := serve(t, f, func(cfg *Config) { cfg.Engine, cfg.Tracker = closed{f, secret}, tr }).clients(t)["unix"]
	got, err := c.Share(t.Context(), hashOf(0).String())
	if err != nil || got.URL != "" {
		t.Fatalf("the URL is %q, %v", got.URL, err)
	}
	if m, err := metainfo.ParseMagnet(got.Magnet); err != nil || m.Secret != secret || m.Hash != hashOf(0) {
		t.Errorf("the link is read as %+v, %v", m, err)
	}
	calls := strings.Join(f.calls, "\n")
	if !strings.Contains(calls, "share "+hashOf(0).String()+" as "+secret.Mask(hashOf(0)).String()+" ") || strings.Contains(calls, secret.String()) {
		t.Errorf("done: %s", calls)
	}
}

// leaving is an Engine whose torrent is removed while it is being shared.
type leaving struct{ *fake }

func (f leaving) Trackers(metainfo.Hash) ([]session.Tracker, error) { return nil, session.ErrNotFound }

// What is removed while it is shared does not stay registered.
func TestShareOfWhatIsRemovedMeanwhile(t *testing.T) {
	f := newFake(1)
	tr := &atURLs{fakeTracker{f}, []string{"http://10.1.2.3:6969/announce"}}
	c := serve(t, f, func(cfg *Config) { cfg.Engine, cfg.Tracker = leaving{f}, tr }).clients(t)["unix"]
	id := hashOf(0).String()
	if _, err := c.Share(t.Context(), id); !client.HasCode(err, client.CodeNotFound) {
		t.Errorf("sharing what is gone: %v", err)
	}
	want := []string{"tracker start", "share " + id + " as " + id + " torrent-0", "unshare " + id}
	if !slices.Equal(f.calls, want) {
		t.Errorf("done: %q, want %q", f.calls, want)
	}
}

func TestShare(t *testing.T) {
	f := newFake(4)
	tr := &atURLs{fakeTracker{f}, nil}
	c := serve(t, f, func(cfg *Config) { cfg.Engine, cfg.Tracker = scoped{f}, tr }).clients(t)["unix"]
	lan, id := hashOf(1).String(), hashOf(0).String()

	tr.urls = []string{"http://8.8.8.8:6969/announce"}
	var e *client.Error
	if _, err := c.Share(t.Context(), lan); !errors.As(err, &e) || e.Status != http.StatusConflict || !strings.Contains(e.Message, "no address in a private network") {
		t.Errorf("without a private address: %v", err)
	}
	for n, says := range map[int]string{2: "private", 3: "metadata", 4: "no such"} {
		if _, err := c.Share(t.Context(), hashOf(n).String()); err == nil || n < 4 && !strings.Contains(err.Error(), says) {
			t.Errorf("torrent %d: %v", n, err)
		}
	}
	if len(f.calls) != 1 || f.calls[0] != "tracker start" {
		t.Errorf("what is not shared was changed: %q", f.calls)
	}

	tr.urls = append(tr.urls, "http://10.1.2.3:6969/announce", "http://192.168.0.9:6969/announce", "http://[fd00::1]:6969/announce",
		"http://172.16.0.1:6969/announce", "http://172.16.0.2:6969/announce")
	for range 2 { // the second time answers the same
		got, err := c.Share(t.Context(), lan)
		if err != nil {
			t.Fatal(err)
		}
		m, err := metainfo.ParseMagnet(got.Magnet)
		if err != nil || m.Hash != hashOf(1) || m.Name != "torrent-1" || m.Length != 1<<30 || m.Scope != metainfo.ScopeLAN || !slices.Equal(m.Trackers, tr.urls[1:5]) {
			t.Errorf("%s: %+v, %v", got.Magnet, m, err)
		}
		if want := "http://10.1.2.3:6969/t/" + lan + ".torrent?scope=lan"; got.URL != want {
			t.Errorf("%s, want %s", got.URL, want)
		}
		if !slices.Contains(f.calls, "share "+lan+" as "+lan+" torrent-1") || !slices.ContainsFunc(f.calls, func(c string) bool {
			return strings.HasPrefix(c, "trackers + ") && strings.Contains(c, "http://10.1.2.3:6969/announce") && !strings.Contains(c, "8.8.8.8")
		}) {
			t.Errorf("done: %q", f.calls)
		}
	}
	got, err := c.Share(t.Context(), id)
	if err != nil || !strings.HasPrefix(got.URL, "http://8.8.8.8:6969/t/") || strings.Contains(got.URL+got.Magnet, "scope") {
		t.Errorf("of no scope: %+v, %v", got, err)
	}
	f.err = errors.New("the port is taken")
	if _, err := c.Share(t.Context(), id); err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("a tracker that does not start: %v", err)
	}
	bare := serve(t, f, func(cfg *Config) { cfg.Tracker = nil }).clients(t)["unix"]
	if _, err := bare.Share(t.Context(), id); !errors.As(err, &e) || e.Code != client.CodeNotSupported {
		t.Errorf("without a tracker: %v", err)
	}
}
