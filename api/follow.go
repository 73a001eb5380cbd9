package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
)

const (
	maxFollow = 128 << 10 // bytes of a body that has a link
	maxSalt   = 64        // bytes (BEP 44)
)

func (s *Server) follows(w http.ResponseWriter, _ *http.Request) error {
	out := client.FollowList{Follows: []client.Follow{}}
	for _, v := range s.cfg.Engine.Follows() {
		out.Follows = append(out.Follows, fromFollowed(&v))
	}
	return writeJSON(w, http.StatusOK, out)
}

func (s *Server) follow(w http.ResponseWriter, r *http.Request) error {
	var req client.FollowRequest
	if err := readJSON(w, r, maxFollow, &req); err != nil {
		return err
	}
	link := req.Magnet
	switch {
	case (req.Magnet == "") == (req.Key == ""):
		return invalid("give either magnet or key")
	case req.Magnet != "" && len(req.Salt) > 0:
		return invalid("salt goes with key: a link has its own")
	case req.Key != "":
		key, err := hex.DecodeString(req.Key)
		if err != nil || len(key) != 32 || len(req.Salt) > maxSalt {
			return invalid("key is %q with a salt of %d bytes, want 64 hex digits and at most %d bytes", req.Key, len(req.Salt), maxSalt)
		}
		link = (&metainfo.Magnet{Key: key, Salt: req.Salt}).String()
	}
	o := session.FollowOptions{Dir: req.Dir, KeepOld: req.KeepOld}
	if err := checkDir(req.Dir); err != nil {
		return err
	}
	v, existed, err := s.cfg.Engine.Follow(r.Context(), link, o)
	if err != nil {
		return err
	}
	code := http.StatusCreated
	if existed {
		code = http.StatusOK
	}
	return writeJSON(w, code, fromFollowed(&v))
}

// addKey is an add of a link that names a key and no torrent: it is followed.
func (s *Server) addKey(w http.ResponseWriter, r *http.Request, req client.AddRequest) error {
	if req.Stopped || req.Sequential || req.Only != nil || len(req.Peers) > 0 || req.Limits != (client.Limits{}) {
		return invalid("the link names a key, whose torrents are not known yet: only %q goes with it", "dir")
	}
	if scope, err := toScope(req.Scope); err != nil {
		return err
	} else if scope != metainfo.ScopeInternet || req.Secret != "" {
		return invalid("the link names a key, which is looked for in public: it goes with neither a scope nor a secret")
	}
	if err := checkDir(req.Dir); err != nil {
		return err
	}
	v, existed, err := s.cfg.Engine.Follow(r.Context(), req.Magnet, session.FollowOptions{Dir: req.Dir})
	if err != nil {
		return err
	}
	f := fromFollowed(&v)
	return writeJSON(w, http.StatusAccepted, client.AddResponse{Follow: &f, Existed: existed})
}

// namesKey tells whether a link names a key and no torrent.
func namesKey(link string) bool {
	m, err := metainfo.ParseMagnet(link)
	return err == nil && m.Hash.IsZero() && m.Key != nil
}

func checkDir(dir string) error {
	if dir != "" && (!filepath.IsAbs(dir) || strings.ContainsRune(dir, 0)) {
		return invalid("dir %q is not an absolute path", dir)
	}
	return nil
}

func (s *Server) look(w http.ResponseWriter, r *http.Request) error {
	at, err := target("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxLookup)
	defer cancel()
	v, err := s.cfg.Engine.LookNow(ctx, at)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, fromFollowed(&v))
}

func (s *Server) unfollow(w http.ResponseWriter, r *http.Request) error {
	at, err := target("id", r.PathValue("id"))
	if err == nil {
		err = s.cfg.Engine.Unfollow(r.Context(), at)
	}
	if err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) publications(w http.ResponseWriter, _ *http.Request) error {
	out := client.PublicationList{Publications: []client.Publication{}}
	for _, v := range s.cfg.Engine.Publications() {
		out.Publications = append(out.Publications, fromPublished(&v))
	}
	return writeJSON(w, http.StatusOK, out)
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request) error {
	var p client.PublishRequest
	if err := readJSON(w, r, maxDHTValue, &p); err != nil {
		return err
	}
	i, err := signedItem(client.DHTPutRequest(p))
	if err != nil {
		return err
	}
	if len(i.K) == 0 {
		return invalid("k is empty, want 64 hex digits")
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxLookup)
	defer cancel()
	v, err := s.cfg.Engine.Publish(ctx, i)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, fromPublished(&v))
}

func (s *Server) unpublish(w http.ResponseWriter, r *http.Request) error {
	at, err := target("id", r.PathValue("id"))
	if err == nil {
		err = s.cfg.Engine.Unpublish(r.Context(), at)
	}
	if err != nil {
		return err
	}
	return noContent(w)
}

// signedItem checks the form of an item; its signature is the engine's to check.
func signedItem(p client.DHTPutRequest) (session.DHTItem, error) {
	i := session.DHTItem{V: p.V, Salt: p.Salt, Seq: p.Seq}
	var err error
	if i.K, err = hex.DecodeString(p.K); err != nil || len(i.K) != 0 && len(i.K) != 32 {
		return i, invalid("k is %q, want 64 hex digits", p.K)
	}
	if i.Sig, err = hex.DecodeString(p.Sig); err != nil || len(i.Sig) != 2*len(i.K) {
		return i, invalid("sig has %s hex digits, want 128 with a key and none without", strconv.Itoa(len(p.Sig)))
	}
	if len(p.V) == 0 {
		return i, invalid("v is empty")
	}
	if len(i.K) == 0 && (len(p.Salt) > 0 || p.Seq != 0) {
		return i, invalid("salt and seq are for items with a key")
	}
	return i, nil
}

func fromFollowed(v *session.Followed) client.Follow {
	return client.Follow{
		ID: hex.EncodeToString(v.Target[:]), Key: hex.EncodeToString(v.Key), Salt: v.Salt, Name: v.Name, Dir: v.Dir, KeepOld: v.KeepOld,
		Added: moment(v.Added), Current: fromVersion(v.Current), Next: fromVersion(v.Next),
		Looked: moment(v.Looked), Looks: v.Looks, Bad: v.Bad, Refused: v.Refused, Problem: v.Problem,
	}
}

func fromVersion(v session.Version) *client.FollowVersion {
	if v.Hash.IsZero() {
		return nil
	}
	return &client.FollowVersion{Torrent: v.Hash.String(), Seq: v.Seq}
}

func fromPublished(v *session.Published) client.Publication {
	out := client.Publication{
		ID: hex.EncodeToString(v.Target[:]), Key: hex.EncodeToString(v.Key), Salt: v.Salt, Name: v.Name,
		Seq: v.Seq, Stopped: v.Stopped, Added: moment(v.Added), Looked: moment(v.Looked), Stored: v.Stored, Problem: v.Problem,
	}
	if !v.Hash.IsZero() {
		out.Torrent = v.Hash.String()
	}
	return out
}
