package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"btd/api"
	"btd/metainfo"
	"btd/session"

	"github.com/gofrs/flock"
	"golang.org/x/term"
)

// stopWithin is how long a clean stop may take before the process ends all
// the same. Progress is recorded long before that.
const stopWithin = 10 * time.Second

// run is the daemon's life, from the lock to the last sync.
func run(ctx context.Context, s *settings, files []string) error {
	handler, err := logHandler(s)
	if err != nil {
		return usageError{err}
	}
	out := newScreen(os.Stderr, handler)
	defer out.close()
	log := slog.New(handler(out))
	late := endLate(out, log)
	defer late.Stop()
	if err := os.MkdirAll(s.State, 0o700); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	lock := flock.New(filepath.Join(s.State, "lock"))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return fmt.Errorf("locking the state directory: %w", err)
	case !ok:
		return fmt.Errorf("another btd uses %s: stop it, or choose another directory with --state", s.State)
	}
	defer lock.Unlock()

	cfg := s.session(log)
	if p := newProcs(log); p != nil {
		cfg.Storage.Busy = p.wake
		defer p.begin(ctx)()
	}
	ses, err := session.Open(cfg)
	if err != nil {
		return err
	}
	track, err := newTracker(s, ses, log)
	if err != nil {
		return errors.Join(err, ses.Close())
	}
	defer track.Close() // after the session, which tells it goodbye
	srv := api.New(api.Config{
		Engine: ses, Tracker: apiTracker{track}, Version: version, Log: log,
		Socket: s.APISocket, TCP: s.APITCP, TokenFile: filepath.Join(s.State, "api-token"),
	})
	if err := srv.Listen(); err != nil {
		return errors.Join(err, ses.Close())
	}
	if err := track.Begin(func() { srv.AnnounceTracked(context.WithoutCancel(ctx)) }); err != nil {
		log.Error("the tracker is off, and is tried again until it can listen", "listen", s.TrackerListen, "err", err)
	}
	log.Info("ready", "version", version, "listen", ses.Addr().String(), "api", s.APISocket, "dir", s.Dir)
	addFiles(ctx, ses, files, log)

	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(serving) }()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		if term.IsTerminal(int(os.Stderr.Fd())) && s.LogFormat == "text" {
			out.follow(serving, ses)
		}
	}()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-served:
		served <- nil
	}
	late.Reset(stopWithin - time.Second)
	log.Info("stopping")
	stopServing()
	err = errors.Join(err, ses.Close(), <-served)
	<-shown
	return err
}

// endLate is a timer that ends the process. It is not running yet.
func endLate(out *screen, log *slog.Logger) *time.Timer {
	late := time.AfterFunc(stopWithin, func() {
		log.Error("the clean stop took too long, ending all the same; the next start verifies what was not recorded")
		out.close()
		os.Exit(1)
	})
	late.Stop()
	return late
}

// addFiles adds the torrents of the command line, files and magnet links. One
// that cannot be added does not keep the daemon from running.
func addFiles(ctx context.Context, ses *session.Session, files []string, log *slog.Logger) {
	for _, name := range files {
		var err error
		if strings.HasPrefix(strings.ToLower(strings.TrimSpace(name)), "magnet:") {
			_, _, err = ses.AddMagnet(ctx, name, session.AddOptions{})
		} else {
			var b []byte
			if b, err = os.ReadFile(name); err == nil {
				_, _, err = ses.Add(ctx, b, session.AddOptions{})
			}
		}
		var path *os.PathError
		if errors.As(err, &path) && path.Path == name {
			err = path.Err // a link that somebody mistyped is taken for a file, and may have a secret
		}
		if err != nil {
			log.Error("torrent not added", "file", metainfo.WithoutSecret(name), "err", err)
		}
	}
}

// logHandler makes handlers of the form that the settings ask for.
func logHandler(s *settings) (func(io.Writer) slog.Handler, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", s.LogLevel)
	}
	o := &slog.HandlerOptions{Level: level}
	switch s.LogFormat {
	case "text":
		return func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, o) }, nil
	case "json":
		return func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, o) }, nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", s.LogFormat)
}
