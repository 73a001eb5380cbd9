package api

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"unicode/utf8"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
)

// Tracker is the tracker that the daemon itself is. Its methods may be called
// from any goroutine.
type Tracker interface {
	// Start switches it on, now and at the next start of the daemon. It does
	// nothing if it is on.
	Start(ctx context.Context) error
	// Stop switches it off and forgets its peers.
	Stop(ctx context.Context) error
	// Register has a torrent tracked, also after a restart; the name is for
	// people. It replaces the name of one that is registered.
	Register(ctx context.Context, h metainfo.Hash, name string) error
	// Share registers what is announced of one of the daemon's torrents until
	// that is removed from the session. What is registered already stays.
	Share(ctx context.Context, h, announced metainfo.Hash, name string) error
	// Unshare takes back what Share registered for a torrent, if anything.
	Unshare(ctx context.Context, h metainfo.Hash) error
	// Unregister tells whether the torrent was registered.
	Unregister(ctx context.Context, h metainfo.Hash) (found bool, err error)
	Registered() []client.Registration
	// URLs are its announce URLs, the best first: one http URL for each address
	// of this machine that others may reach. There are none while it is off.
	URLs() []string
	Stats() client.TrackerServer
}

const maxTrackerName = 255 // bytes of a registered name

// embedded is nil, with an error, in a daemon that has none.
func (s *Server) embedded() (Tracker, error) {
	if s.cfg.Tracker == nil {
		return nil, fail(client.CodeNotSupported, "this daemon has no tracker of its own")
	}
	return s.cfg.Tracker, nil
}

func (s *Server) trackerStats(w http.ResponseWriter, _ *http.Request) error {
	t, err := s.embedded()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, t.Stats())
}

func (s *Server) trackerStart(w http.ResponseWriter, r *http.Request) error {
	t, err := s.embedded()
	if err != nil {
		return err
	}
	if err := s.startTracker(r.Context(), t); err != nil {
		return err
	}
	return noContent(w)
}

// startTracker switches the tracker on.
func (s *Server) startTracker(ctx context.Context, t Tracker) error {
	on := len(t.URLs()) > 0
	if err := t.Start(ctx); err != nil {
		return fail(client.CodeConflict, "%v", err)
	}
	if !on {
		s.AnnounceTracked(ctx)
	}
	return nil
}

// AnnounceTracked has our torrents that the daemon's tracker may track
// announced. After it was switched on it knows no peers: who asks it would not
// hear of us before the next announce, half an hour later.
func (s *Server) AnnounceTracked(ctx context.Context) {
	tracked := map[string]bool{}
	for _, r := range s.cfg.Tracker.Registered() {
		tracked[r.ID] = true
	}
	for _, our := range s.cfg.Engine.Torrents() {
		secret, err := s.cfg.Engine.Secret(our.Hash)
		if err != nil {
			continue // it was removed meanwhile
		}
		if at := secret.Mask(our.Hash).Wire(); tracked[hex.EncodeToString(at[:])] {
			_ = s.cfg.Engine.Reannounce(ctx, our.Hash) // one that is stopped has nothing to say
		}
	}
}

func (s *Server) trackerStop(w http.ResponseWriter, r *http.Request) error {
	t, err := s.embedded()
	if err != nil {
		return err
	}
	if err := t.Stop(r.Context()); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) registered(w http.ResponseWriter, _ *http.Request) error {
	t, err := s.embedded()
	if err != nil {
		return err
	}
	list := t.Registered()
	if list == nil {
		list = []client.Registration{}
	}
	return writeJSON(w, http.StatusOK, client.RegistrationList{Torrents: list})
}

// announced is what the members of a torrent announce: for one of ours with a
// secret the mask of its hash, which else would be a signal; for any other the
// hash itself, which may be a mask already.
func (s *Server) announced(h metainfo.Hash) (metainfo.Hash, error) {
	secret, err := s.cfg.Engine.Secret(h)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return h, nil
	case err != nil:
		return metainfo.Hash{}, err
	}
	return secret.Mask(h), nil
}

func (s *Server) trackTorrent(w http.ResponseWriter, r *http.Request) error {
	t, err := s.embedded()
	if err != nil {
		return err
	}
	h, err := hash(r)
	if err != nil {
		return err
	}
	var req client.RegisterRequest
	if err := readJSON(w, r, maxBody, &req); err != nil {
		return err
	}
	if len(req.Name) > maxTrackerName || !utf8.ValidString(req.Name) {
		return invalid("the name has %d bytes, at most %d of UTF-8 are possible", len(req.Name), maxTrackerName)
	}
	at, err := s.announced(h)
	if err != nil {
		return err
	}
	if err := t.Register(r.Context(), at, req.Name); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) untrackTorrent(w http.ResponseWriter, r *http.Request) error {
	t, err := s.embedded()
	if err != nil {
		return err
	}
	h, err := hash(r)
	if err != nil {
		return err
	}
	at, err := s.announced(h)
	if err != nil {
		return err
	}
	found, err := t.Unregister(r.Context(), at)
	if err == nil && at != h { // registered before the daemon had it, say
		var plain bool
		plain, err = t.Unregister(r.Context(), h)
		found = found || plain
	}
	if err == nil && !found {
		err = fail(client.CodeNotFound, "%v is not registered with the tracker", h)
	}
	if err != nil {
		return err
	}
	return noContent(w)
}
