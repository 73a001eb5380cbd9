package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"btd/api"
	"btd/api/client"
	"btd/session"
	"btd/tracker/server"
)

// demoDaemon is what a daemon is made of: a session, its tracker, and the API
// that btctl would speak.
type demoDaemon struct {
	*session.Session
	name   string
	api    *client.Client
	track  *server.Host
	stop   context.CancelFunc
	served chan error
}

// openDaemon starts a daemon whose files are below dir.
func openDaemon(name, dir string, cfg session.Config, log *slog.Logger) (*demoDaemon, error) {
	cfg.StateDir, cfg.Dir, cfg.Log = filepath.Join(dir, "state"), filepath.Join(dir, "content"), log
	ses, err := session.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("starting the %s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &demoDaemon{Session: ses, name: name, stop: cancel, served: make(chan error, 1)}
	fail := func(err error) (*demoDaemon, error) {
		d.served <- nil // nobody serves
		return nil, errors.Join(fmt.Errorf("starting the %s: %w", name, err), d.close())
	}
	if d.track, err = hostFor(ses, server.HostConfig{Listen: "127.0.0.1:0", Log: log}); err != nil {
		return fail(err)
	}
	socket := filepath.Join(dir, "s")
	srv := api.New(api.Config{Engine: ses, Tracker: apiTracker{d.track}, Version: version, Log: log, Socket: socket})
	if err := srv.Listen(); err != nil {
		return fail(err)
	}
	if d.api, err = client.New(client.Config{Address: "unix://" + filepath.ToSlash(socket)}); err != nil {
		return fail(err)
	}
	go func() { d.served <- srv.Serve(ctx) }()
	return d, nil
}

func (d *demoDaemon) close() error {
	if d.api != nil {
		d.api.Close()
	}
	d.stop()
	err := errors.Join(d.Session.Close(), <-d.served)
	if d.track != nil {
		d.track.Close()
	}
	return err
}
