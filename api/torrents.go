package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"btd/api/client"
	"btd/metainfo"
	"btd/piece"
	"btd/session"
)

// list streams the torrents, so that the memory it takes does not grow with
// their number.
func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	torrents, err := s.selected(r.URL.Query().Get("ids"))
	if err != nil {
		return err
	}
	writeList(w, torrents)
	return nil
}

func (s *Server) selected(ids string) ([]session.Torrent, error) {
	if ids == "" {
		return s.cfg.Engine.Torrents(), nil
	}
	var out []session.Torrent
	for id := range strings.SplitSeq(ids, ",") {
		h, err := parseID(id)
		if err != nil {
			return nil, err
		}
		t, err := s.cfg.Engine.Torrent(h)
		switch {
		case errors.Is(err, session.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			out = append(out, t)
		}
	}
	return out, nil
}

func (s *Server) torrent(w http.ResponseWriter, r *http.Request) error {
	h, err := hash(r)
	if err != nil {
		return err
	}
	t, err := s.cfg.Engine.Torrent(h)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, fromTorrent(&t))
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) error {
	data, err := boolParam(r.URL.Query().Get("data"), "data")
	if err != nil {
		return err
	}
	return s.act(w, r, func(ctx context.Context, h metainfo.Hash) error {
		return s.cfg.Engine.Remove(ctx, h, data)
	})
}

func (s *Server) start(w http.ResponseWriter, r *http.Request) error {
	return s.act(w, r, s.cfg.Engine.Start)
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) error {
	return s.act(w, r, s.cfg.Engine.Stop)
}

func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	return s.act(w, r, s.cfg.Engine.Verify)
}

func (s *Server) reannounce(w http.ResponseWriter, r *http.Request) error {
	return s.act(w, r, s.cfg.Engine.Reannounce)
}

// act does something to the torrent of the path and answers 204.
func (s *Server) act(w http.ResponseWriter, r *http.Request, do func(context.Context, metainfo.Hash) error) error {
	h, err := hash(r)
	if err != nil {
		return err
	}
	if err := do(r.Context(), h); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) files(w http.ResponseWriter, r *http.Request) error {
	return listOf(w, r, s.cfg.Engine.Files, fromFile, func(l []client.File) any { return client.FileList{Files: l} })
}

func (s *Server) peers(w http.ResponseWriter, r *http.Request) error {
	return listOf(w, r, s.cfg.Engine.Peers, fromPeer, func(l []client.Peer) any { return client.PeerList{Peers: l} })
}

func (s *Server) trackers(w http.ResponseWriter, r *http.Request) error {
	return listOf(w, r, s.cfg.Engine.Trackers, fromTracker, func(l []client.Tracker) any { return client.TrackerList{Trackers: l} })
}

// listOf answers with something of a torrent that comes in lists.
func listOf[T, U any](w http.ResponseWriter, r *http.Request, get func(metainfo.Hash) ([]T, error), from func(*T) U, wrap func([]U) any) error {
	h, err := hash(r)
	if err != nil {
		return err
	}
	list, err := get(h)
	if err != nil {
		return err
	}
	out := make([]U, len(list)) // never nil: an empty list is [], not null
	for i := range list {
		out[i] = from(&list[i])
	}
	return writeJSON(w, http.StatusOK, wrap(out))
}

func (s *Server) pieces(w http.ResponseWriter, r *http.Request) error {
	h, err := hash(r)
	if err != nil {
		return err
	}
	t, err := s.cfg.Engine.Torrent(h)
	if err != nil {
		return err
	}
	have, availability, err := s.cfg.Engine.Pieces(h)
	if err != nil {
		return err
	}
	if have == nil {
		have = piece.NewBitfield(t.Pieces)
	}
	if availability == nil {
		availability = []uint16{}
	}
	return writeJSON(w, http.StatusOK, client.Pieces{
		Count: have.Len(), PieceLength: t.PieceLength,
		Have: have.Bytes(), HaveCount: have.Count(), Availability: availability,
	})
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request) error {
	h, err := hash(r)
	if err != nil {
		return err
	}
	var p client.TorrentPatch
	if err := readJSON(w, r, maxBody, &p); err != nil {
		return err
	}
	// Everything is checked before anything is changed.
	options, err := toOptions(p)
	if err != nil {
		return err
	}
	s.patches.Lock()
	defer s.patches.Unlock()
	t, err := s.cfg.Engine.Torrent(h)
	if err != nil {
		return err
	}
	if p.Limits != nil {
		limits, err := patchLimits(t.Options.Limits, *p.Limits)
		if err != nil {
			return err
		}
		if err := s.cfg.Engine.SetLimits(r.Context(), h, limits); err != nil {
			return err
		}
	}
	if options != (session.OptionsPatch{}) {
		if err := s.cfg.Engine.SetOptions(r.Context(), h, options); err != nil {
			return err
		}
	}
	return noContent(w)
}

func (s *Server) priorities(w http.ResponseWriter, r *http.Request) error {
	var req client.PrioritiesRequest
	if err := readJSON(w, r, maxPrioBody, &req); err != nil {
		return err
	}
	if len(req.Files) == 0 {
		return invalid("field %q names no file", "files")
	}
	files := make(map[int]session.Priority, len(req.Files))
	for i, word := range req.Files {
		p, err := toPriority(word)
		if err != nil {
			return err
		}
		if i < 0 {
			return invalid("file %d: indexes begin at 0", i)
		}
		files[i] = p
	}
	return s.act(w, r, func(ctx context.Context, h metainfo.Hash) error {
		return s.cfg.Engine.SetPriorities(ctx, h, files)
	})
}

func (s *Server) addPeers(w http.ResponseWriter, r *http.Request) error {
	var req client.PeersRequest
	if err := readJSON(w, r, maxBody, &req); err != nil {
		return err
	}
	addrs, err := toAddrs(req.Peers)
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		return invalid("field %q names no address", "peers")
	}
	return s.act(w, r, func(ctx context.Context, h metainfo.Hash) error {
		return s.cfg.Engine.AddPeers(ctx, h, addrs)
	})
}

func (s *Server) addTrackers(w http.ResponseWriter, r *http.Request) error {
	var req client.TrackersRequest
	if err := readJSON(w, r, maxBody, &req); err != nil {
		return err
	}
	if err := checkURLs(req.URLs); err != nil {
		return err
	}
	if req.Tier != nil && *req.Tier < 0 {
		return invalid("field %q is %d, want 0 or more", "tier", *req.Tier)
	}
	return s.act(w, r, func(ctx context.Context, h metainfo.Hash) error {
		if req.Tier != nil {
			return s.cfg.Engine.AddTrackers(ctx, h, *req.Tier, req.URLs)
		}
		return s.addTier(ctx, h, req.URLs)
	})
}

func (s *Server) removeTrackers(w http.ResponseWriter, r *http.Request) error {
	urls := r.URL.Query()["url"]
	if len(urls) == 0 {
		return invalid("parameter %q is missing", "url")
	}
	return s.act(w, r, func(ctx context.Context, h metainfo.Hash) error {
		return s.cfg.Engine.RemoveTrackers(ctx, h, urls)
	})
}

func boolParam(value, name string) (bool, error) {
	if value == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(value)
	if err != nil {
		return false, invalid("parameter %q is %q, want true or false", name, value)
	}
	return v, nil
}
