package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
)

// maxShared is how many addresses of this machine go into a link.
const maxShared = 4

// share has a torrent tracked by the daemon's own tracker, and answers with
// what others need to join. Doing it again changes nothing and answers the same.
func (s *Server) share(w http.ResponseWriter, r *http.Request) error {
	tr, err := s.embedded()
	if err != nil {
		return err
	}
	h, err := hash(r)
	if err != nil {
		return err
	}
	t, err := s.cfg.Engine.Torrent(h)
	switch {
	case err != nil:
		return err
	case t.Waiting != nil:
		return fail(client.CodeConflict, "the torrent's metadata is not here yet: share it when it is")
	case t.Private:
		return fail(client.CodeConflict, "the torrent is private: its own trackers say who may have it")
	}
	on := len(tr.URLs()) > 0
	if err := s.startTracker(r.Context(), tr); err != nil {
		return err
	}
	urls := reachable(tr.URLs(), t.Options.Scope)
	if len(urls) == 0 {
		if !on { // nobody else wants it, and where it would be open is not private
			if err := tr.Stop(r.Context()); err != nil {
				return err
			}
		}
		return fail(client.CodeConflict, "this machine has no address in a private network, and the torrent has scope %v", t.Options.Scope)
	}
	secret, err := s.cfg.Engine.Secret(h)
	if err != nil {
		return err
	}
	if err := tr.Share(r.Context(), h, secret.Mask(h), t.Name); err != nil {
		return err
	}
	if err := s.addTier(r.Context(), h, urls); err != nil {
		if errors.Is(err, session.ErrNotFound) { // it was removed meanwhile
			err = errors.Join(err, tr.Unshare(r.Context(), h))
		}
		return err
	}
	link := metainfo.Magnet{Hash: h, Name: t.Name, Length: t.Size, Trackers: urls, Scope: t.Options.Scope, Secret: secret}
	out := client.ShareResponse{Magnet: link.String()}
	if secret.IsZero() { // else its file is for members only
		out.URL = fileURL(urls[0], h, t.Options.Scope)
	}
	return writeJSON(w, http.StatusOK, out)
}

// reachable is the announce URLs, at most maxShared, whose addresses peers of
// a torrent with that scope may have.
func reachable(urls []string, scope metainfo.Scope) (out []string) {
	for _, u := range urls {
		p, err := url.Parse(u)
		if err != nil || len(out) == maxShared {
			continue
		}
		if a, err := netip.ParseAddr(p.Hostname()); err == nil && scope.Covers(a) {
			out = append(out, u)
		}
	}
	return out
}

// fileURL is where the tracker with that announce URL serves a torrent's file.
func fileURL(announce string, h metainfo.Hash, scope metainfo.Scope) string {
	u := strings.TrimSuffix(announce, "/announce") + "/t/" + h.String() + ".torrent"
	if scope != metainfo.ScopeInternet {
		u += "?scope=" + scope.String()
	}
	return u
}

// addTier adds announce URLs to a torrent, those that it has not in a new tier
// behind all others.
func (s *Server) addTier(ctx context.Context, h metainfo.Hash, urls []string) error {
	there, err := s.cfg.Engine.Trackers(h)
	if err != nil {
		return err
	}
	tier := 0
	for _, t := range there {
		tier = max(tier, t.Tier+1)
	}
	return s.cfg.Engine.AddTrackers(ctx, h, tier, urls)
}
