package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
)

// torrentType is the media type of a .torrent file.
const torrentType = "application/x-bittorrent"

// addParams are the options of an upload; a JSON body has them as fields.
func addParams() []string {
	return []string{"dir", "stopped", "sequential", "scope", "only", "up", "down", "peer", "seen"}
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) error {
	var req client.AddRequest
	var err error
	switch t := mediaType(r); t {
	case torrentType:
		if req, err = addQuery(r.URL.Query()); err != nil {
			return err
		}
		req.Torrent, err = readBody(w, r, maxTorrent)
	case "application/json":
		if r.URL.RawQuery != "" {
			return invalid("the options of a JSON request belong into its body")
		}
		err = readJSON(w, r, maxAddJSON, &req)
	default:
		err = fail(client.CodeUnsupportedMedia, "the body's Content-Type is %q, want %s or application/json", t, torrentType)
	}
	if err != nil {
		return err
	}
	if len(req.Torrent) == 0 && namesKey(req.Magnet) {
		return s.addKey(w, r, req)
	}
	o, err := addOptions(req)
	if err != nil {
		return err
	}
	var t session.Torrent
	var existed bool
	if req.Magnet != "" {
		t, existed, err = s.cfg.Engine.AddMagnet(r.Context(), req.Magnet, o)
	} else {
		t, existed, err = s.cfg.Engine.Add(r.Context(), req.Torrent, o)
	}
	if err != nil {
		return err
	}
	code := http.StatusCreated
	if existed {
		code = http.StatusOK
	}
	w.Header().Set("Location", "/v1/torrents/"+t.Hash.String())
	return writeJSON(w, code, client.AddResponse{Torrent: fromTorrent(&t), Existed: existed})
}

// addOptions checks a request.
func addOptions(req client.AddRequest) (session.AddOptions, error) {
	o := session.AddOptions{Dir: req.Dir, Stopped: req.Stopped, Sequential: req.Sequential}
	var err error
	switch {
	case req.Magnet != "" && len(req.Torrent) > 0:
		return o, invalid("both %q and %q are given", "torrent", "magnet")
	case req.Magnet == "" && len(req.Torrent) == 0:
		return o, invalid("there is no .torrent file in the request")
	case len(req.Torrent) > maxTorrent:
		return o, fail(client.CodeTooLarge, "the .torrent file has %d bytes, at most %d are possible", len(req.Torrent), maxTorrent)
	case checkDir(req.Dir) != nil:
		return o, checkDir(req.Dir)
	case req.Only != nil && len(req.Only) == 0:
		return o, invalid("field %q is empty: leave it out to download every file", "only")
	}
	if req.Seen != "" {
		if o.Seen, err = metainfo.ParseFingerprint(req.Seen); err != nil {
			return o, invalid("field %q: %v", "seen", err)
		}
	}
	if req.Only != nil {
		o.Only = slices.Clone(req.Only)
		slices.Sort(o.Only)
		o.Only = slices.Compact(o.Only)
		if o.Only[0] < 0 {
			return o, invalid("file %d: indexes begin at 0", o.Only[0])
		}
	}
	if o.Limits, err = toLimits(req.Limits); err != nil {
		return o, err
	}
	if o.Scope, err = toScope(req.Scope); err != nil {
		return o, err
	}
	if req.Secret != "" { // not in the query, which is a thing to be logged
		if o.Secret, err = metainfo.ParseSecret(req.Secret); err != nil {
			return o, invalid("%v", err)
		}
	}
	o.Peers, err = toAddrs(req.Peers)
	return o, err
}

// toScope reads the scope of a new torrent; "" is the widest.
func toScope(name string) (metainfo.Scope, error) {
	if name == "" {
		return metainfo.ScopeInternet, nil
	}
	s, err := metainfo.ParseScope(name)
	if err != nil {
		return s, invalid("%v", err)
	}
	return s, nil
}

// addQuery reads the options of an upload: ?dir=/x&stopped=true&only=0,2,5&up=1024&peer=...
func addQuery(q url.Values) (client.AddRequest, error) {
	req := client.AddRequest{Dir: q.Get("dir"), Scope: q.Get("scope"), Peers: q["peer"], Seen: q.Get("seen")}
	var err error
	if req.Stopped, err = boolParam(q.Get("stopped"), "stopped"); err != nil {
		return req, err
	}
	if req.Sequential, err = boolParam(q.Get("sequential"), "sequential"); err != nil {
		return req, err
	}
	if req.Limits.Up, err = intParam(q.Get("up"), "up"); err != nil {
		return req, err
	}
	if req.Limits.Down, err = intParam(q.Get("down"), "down"); err != nil {
		return req, err
	}
	if only := q.Get("only"); only != "" {
		for word := range strings.SplitSeq(only, ",") {
			n, err := strconv.Atoi(word)
			if err != nil {
				return req, invalid("parameter %q has %q, want indexes of files with commas between", "only", word)
			}
			req.Only = append(req.Only, n)
		}
	}
	return req, nil
}

func intParam(value, name string) (int64, error) {
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, invalid("parameter %q is %q, want a whole number", name, value)
	}
	return n, nil
}
