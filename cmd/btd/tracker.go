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
	cfg := server.Config{TorrentFile: ses.TorrentFile, MayFetch: ses.MayFetch}
	if at := ses.Addr(); at.Addr().IsUnspecified() { // else it is reached by that address alone
		cfg.Port = at.Port()
	}
	return server.NewHost(server.HostConfig{
		Tracker: cfg,
		Listen:  s.TrackerListen, Enabled: s.TrackerEnabled, Open: s.TrackerOpen,
		Keeper: ses.Notes("tracker"), Log: log,
	})
}

// apiTracker shows the tracker to the API.
type apiTracker struct{ *server.Host }

func (t apiTracker) Start(context.Context) error { return t.Host.Start() }
func (t apiTracker) Stop(context.Context) error  { return t.Host.Stop() }

func (t apiTracker) Register(_ context.Context, h metainfo.Hash, name string) error {
	err := t.Host.Register(h.Wire(), name)
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
		out[i] = client.Registration{ID: hex.EncodeToString(r.Hash[:]), Name: r.Name, Seeds: r.Seeds, Leechers: r.Leechers, Downloads: r.Downloads}
	}
	return out
}

func (t apiTracker) Stats() client.TrackerServer {
	s := t.Host.Stats()
	out := client.TrackerServer{
		On: s.On, Problem: s.Problem, Open: s.Open, URLs: t.URLs(), Token: s.Token, Registered: s.Registered,
		Torrents: s.Torrents, Peers: s.Peers, Seeds: s.Seeds,
		Announces: s.Announces, PerSecond: s.PerSecond, Scrapes: s.Scrapes, Refused: s.Refused,
		Connections: s.Connections, Memory: s.Memory,
	}
	if s.Listen.IsValid() {
		out.Listen = s.Listen.String()
	}
	return out
}
