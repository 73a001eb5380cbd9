package main

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
	"btd/tracker/server"
)

// newTracker is the daemon's own tracker, which serves nothing yet.
func newTracker(s *settings, ses *session.Session, log *slog.Logger) (*server.Host, error) {
	var port uint16
	if at := ses.Addr(); at.Addr().IsUnspecified() { // else it is reached by that address alone
		port = at.Port()
	}
	return hostFor(ses, server.HostConfig{
		Tracker: server.Config{Port: port},
		Listen:  s.TrackerListen, Enabled: s.TrackerEnabled, Open: s.TrackerOpen, Log: log,
	})
}

// hostFor is a tracker that serves the files of a session's torrents, and
// forgets the torrents that were shared when they are removed.
func hostFor(ses *session.Session, cfg server.HostConfig) (*server.Host, error) {
	cfg.Tracker.TorrentFile, cfg.Tracker.MayFetch, cfg.Keeper = ses.TorrentFile, ses.MayFetch, ses.Notes("tracker")
	host, err := server.NewHost(cfg)
	if err != nil {
		return nil, err
	}
	forget := func(hash [20]byte) {
		if _, err := host.Unshare(hash); err != nil {
			cfg.Log.Warn("a torrent that was removed is still registered with the tracker", "torrent", hex.EncodeToString(hash[:]), "err", err)
		}
	}
	ses.OnRemove(func(h metainfo.Hash) { forget(h.Wire()) })
	for _, hash := range host.Shared() { // the last run may have ended between one and the other
		if _, err := ses.Torrent(metainfo.V1(hash)); errors.Is(err, session.ErrNotFound) {
			forget(hash)
		}
	}
	return host, nil
}

// apiTracker shows the tracker to the API.
type apiTracker struct{ *server.Host }

func (t apiTracker) Start(context.Context) error { return t.Host.Start() }
func (t apiTracker) Stop(context.Context) error  { return t.Host.Stop() }

func (t apiTracker) Register(_ context.Context, h metainfo.Hash, name string) error {
	return asConflict(t.Host.Register(h.Wire(), name))
}

func (t apiTracker) Share(_ context.Context, h, announced metainfo.Hash, name string) error {
	return asConflict(t.Host.Share(h.Wire(), announced.Wire(), name))
}

func (t apiTracker) Unshare(_ context.Context, h metainfo.Hash) error {
	_, err := t.Host.Unshare(h.Wire())
	return err
}

func asConflict(err error) error {
	if errors.Is(err, server.ErrTooMany) {
		return &client.Error{Status: http.StatusConflict, Code: client.CodeConflict, Message: err.Error()}
	}
	return err
}

func (t apiTracker) Unregister(_ context.Context, h metainfo.Hash) (bool, error) {
	return t.Host.Unregister(h.Wire())
}

func (t apiTracker) Registered() []client.Registration {
	list := t.Host.Registered()
	out := make([]client.Registration, len(list))
	for i, r := range list {
		out[i] = client.Registration{ID: hex.EncodeToString(r.Hash[:]), Name: r.Name, Shared: r.Shared, Seeds: r.Seeds, Leechers: r.Leechers, Downloads: r.Downloads}
	}
	return out
}

func (t apiTracker) Stats() client.TrackerServer {
	s := t.Host.Stats()
	out := client.TrackerServer{
		On: s.On, Problem: s.Problem, Retry: s.Retry, Open: s.Open, URLs: t.URLs(), Token: s.Token, Registered: s.Registered,
		Torrents: s.Torrents, Peers: s.Peers, Seeds: s.Seeds,
		Announces: s.Announces, PerSecond: s.PerSecond, Scrapes: s.Scrapes, Refused: s.Refused,
		Connections: s.Connections, Memory: s.Memory,
	}
	if s.Listen.IsValid() {
		out.Listen = s.Listen.String()
	}
	return out
}
