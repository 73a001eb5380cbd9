package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"btd/api/client"
	"btd/metainfo"
)

const (
	bodyTime  = time.Minute      // to send a request
	writeTime = 30 * time.Second // to take an answer, or the next piece of one
)

// route is a method of a resource.
type route struct {
	method, path string
	query        []string // parameters that it knows
	body         bool     // reads a body
	handle       func(s *Server, w http.ResponseWriter, r *http.Request) error
}

// table lists everything that is served; openapi.yaml describes the same.
func table() []route {
	const one = "/v1/torrents/{id}"
	return []route{
		{method: "GET", path: "/v1/torrents", query: []string{"ids"}, handle: (*Server).list},
		{method: "POST", path: "/v1/torrents", query: addParams(), body: true, handle: (*Server).add},
		{method: "GET", path: one, handle: (*Server).torrent},
		{method: "PATCH", path: one, body: true, handle: (*Server).patch},
		{method: "DELETE", path: one, query: []string{"data"}, handle: (*Server).remove},
		{method: "GET", path: one + "/files", handle: (*Server).files},
		{method: "PUT", path: one + "/priorities", body: true, handle: (*Server).priorities},
		{method: "GET", path: one + "/peers", handle: (*Server).peers},
		{method: "POST", path: one + "/peers", body: true, handle: (*Server).addPeers},
		{method: "GET", path: one + "/trackers", handle: (*Server).trackers},
		{method: "POST", path: one + "/trackers", body: true, handle: (*Server).addTrackers},
		{method: "DELETE", path: one + "/trackers", query: []string{"url"}, handle: (*Server).removeTrackers},
		{method: "GET", path: one + "/pieces", handle: (*Server).pieces},
		{method: "POST", path: one + "/start", handle: (*Server).start},
		{method: "POST", path: one + "/stop", handle: (*Server).stop},
		{method: "POST", path: one + "/verify", handle: (*Server).verify},
		{method: "POST", path: one + "/reannounce", handle: (*Server).reannounce},
		{method: "POST", path: one + "/share", handle: (*Server).share},
		{method: "GET", path: "/v1/session/stats", handle: (*Server).stats},
		{method: "GET", path: "/v1/session/limits", handle: (*Server).limits},
		{method: "PATCH", path: "/v1/session/limits", body: true, handle: (*Server).setLimits},
		{method: "GET", path: "/v1/session/version", handle: (*Server).version},
		{method: "GET", path: "/v1/dht/stats", handle: (*Server).dhtStats},
		{method: "GET", path: "/v1/dht/lookup", query: []string{"hash"}, handle: (*Server).dhtLookup},
		{method: "GET", path: "/v1/dht/items", query: []string{"target", "key", "salt"}, handle: (*Server).dhtGet},
		{method: "GET", path: "/v1/dht/samples", query: []string{"target"}, handle: (*Server).dhtSample},
		{method: "POST", path: "/v1/dht/items", body: true, handle: (*Server).dhtPut},
		{method: "GET", path: client.TrackerPath, handle: (*Server).trackerStats},
		{method: "POST", path: client.TrackerPath + "/start", handle: (*Server).trackerStart},
		{method: "POST", path: client.TrackerPath + "/stop", handle: (*Server).trackerStop},
		{method: "GET", path: client.RegisteredPath, handle: (*Server).registered},
		{method: "PUT", path: client.RegisteredPath + "/{id}", body: true, handle: (*Server).trackTorrent},
		{method: "DELETE", path: client.RegisteredPath + "/{id}", handle: (*Server).untrackTorrent},
		{method: "GET", path: client.FollowsPath, handle: (*Server).follows},
		{method: "POST", path: client.FollowsPath, body: true, handle: (*Server).follow},
		{method: "DELETE", path: client.FollowsPath + "/{id}", handle: (*Server).unfollow},
		{method: "POST", path: client.FollowsPath + "/{id}/look", handle: (*Server).look},
		{method: "GET", path: client.PublicationsPath, handle: (*Server).publications},
		{method: "POST", path: client.PublicationsPath, body: true, handle: (*Server).publish},
		{method: "DELETE", path: client.PublicationsPath + "/{id}", handle: (*Server).unpublish},
		{method: "GET", path: "/v1/events", query: []string{"since"}, handle: (*Server).events},
		{method: "GET", path: "/v1/openapi.yaml", handle: (*Server).openapi},
	}
}

// routes fills the mux: one entry for each path, which picks the method.
func (s *Server) routes() {
	paths := map[string]map[string]route{}
	for _, rt := range table() {
		if paths[rt.path] == nil {
			paths[rt.path] = map[string]route{}
		}
		paths[rt.path][rt.method] = rt
	}
	for path, methods := range paths {
		allow := make([]string, 0, len(methods)+1)
		for m := range methods {
			allow = append(allow, m)
		}
		if _, ok := methods["GET"]; ok {
			allow = append(allow, "HEAD")
		}
		slices.Sort(allow)
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			method := r.Method
			if method == http.MethodHead {
				method = http.MethodGet
			}
			rt, ok := methods[method]
			if !ok {
				w.Header().Set("Allow", strings.Join(allow, ", "))
				writeError(w, fail(client.CodeMethodNotAllowed, "%s is not possible here, only %s", r.Method, strings.Join(allow, ", ")))
				return
			}
			s.dispatch(rt, w, r)
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, fail(client.CodeNotFound, "there is nothing at %s", r.URL.Path))
	})
}

func (s *Server) dispatch(rt route, w http.ResponseWriter, r *http.Request) {
	s.running.RLock()
	defer s.running.RUnlock()
	err := checkQuery(r.URL.RawQuery, rt.query)
	if err == nil && !rt.body {
		err = refuseBody(w, r)
	}
	if err == nil {
		err = rt.handle(s, w, r)
	}
	if err == nil {
		return
	}
	e := asError(err)
	if e.Code == client.CodeInternal {
		s.cfg.Log.Warn("api request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	writeError(w, e)
}

// checkQuery refuses parameters that would otherwise be ignored silently.
func checkQuery(raw string, known []string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return invalid("the query is malformed: %v", err)
	}
	for name, v := range values {
		switch {
		case !slices.Contains(known, name):
			return invalid("unknown parameter %q", name)
		case len(v) > 1 && name != "url" && name != "peer":
			return invalid("parameter %q is given %d times", name, len(v))
		}
	}
	return nil
}

// refuseBody is for requests that have no body; they may run for long.
func refuseBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength != 0 { // -1 is a body of unknown length
		return invalid("this request takes no body")
	}
	noDeadline(w)
	return nil
}

// noDeadline ends the time that a client has to send its request. It has to
// be called as soon as that is done: the server watches the connection for
// its end while a handler runs, and would take the deadline for that.
func noDeadline(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// hash is the torrent that the path names.
func hash(r *http.Request) (metainfo.Hash, error) { return parseID(r.PathValue("id")) }

func parseID(id string) (metainfo.Hash, error) {
	h, err := metainfo.ParseHash(id)
	if err != nil {
		return metainfo.Hash{}, invalid("%q is not a torrent's id, which has 40 hex digits", id)
	}
	return h, nil
}

func writeJSON(w http.ResponseWriter, code int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	writeBody(w, code, append(body, '\n'))
	return nil
}

func writeBody(w http.ResponseWriter, code int, body []byte) {
	extend(w)
	jsonHeader(w)
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that has gone away is its own affair
}

func jsonHeader(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

func noContent(w http.ResponseWriter) error {
	extend(w)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// extend gives the client time to take what is about to be written. If the
// connection is gone, the write will say so.
func extend(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
}
