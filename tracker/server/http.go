package server

import (
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers requests for paths that end in /announce or /scrape, and
// for the files of registered torrents.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	var local netip.Addr
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		local = a.AddrPort().Addr()
	}
	from := sourceOf(remote.Addr(), zoneIndex(remote.Addr()), local)
	if strings.HasPrefix(r.URL.Path, torrentPath) {
		s.serveTorrent(w, r, from)
		return
	}
	h := s.handlers.Get().(*handler)
	defer s.handlers.Put(h)
	body, ok := h.answer(s, r.URL.Path, r.URL.RawQuery, from, time.Now())
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// handler is what it takes to answer one request.
type handler struct {
	out  *answer
	body []byte
}

func newHandler() any { return &handler{out: newAnswer()} }

// answer makes the body of an answer, which is good until the next one; ok is
// false where there is nothing at a path.
func (h *handler) answer(s *Server, path, query string, from source, at time.Time) (body []byte, ok bool) {
	h.body = h.body[:0]
	switch {
	case strings.HasSuffix(path, "/announce"):
		a := announce{source: from, via: overHTTP}
		f, err := parseAnnounce(query, &a)
		if err != nil {
			s.refuse(becauseMalformed)
			if !s.mayScrape(from, at) {
				err = errRate
			}
			h.body = appendFailure(h.body, err)
			return h.body, true
		}
		a.token = s.knowsToken(path)
		if err := s.announce(&a, h.out, at); err != nil {
			h.body = appendFailure(h.body, err)
			return h.body, true
		}
		h.body = s.appendAnnounce(h.body, &a, h.out, f, at)
		return h.body, true
	case strings.HasSuffix(path, "/scrape"):
		h.body = s.appendScrape(h.body, query, from, s.knowsToken(path), at)
		return h.body, true
	}
	return nil, false
}

// torrentPath is where the files of registered torrents are: HASH.torrent.
const torrentPath = "/t/"

// fileTime is how long a client has to take a torrent's file.
const fileTime = time.Minute

// serveTorrent sends the file of a registered torrent. Whatever is not served
// looks the same.
func (s *Server) serveTorrent(w http.ResponseWriter, r *http.Request, from source) {
	name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, torrentPath), ".torrent")
	b, err := hex.DecodeString(name)
	if !ok || err != nil || len(b) != 20 || s.cfg.TorrentFile == nil || !s.isRegistered([20]byte(b)) {
		http.NotFound(w, r)
		return
	}
	if s.cfg.MayFetch != nil && !s.cfg.MayFetch([20]byte(b), from.addr) {
		http.NotFound(w, r)
		return
	}
	if !s.mayScrape(from, time.Now()) {
		http.Error(w, errRate.Error(), http.StatusTooManyRequests)
		return
	}
	host := s.netOf(from.addr)
	if !s.takers.enter(host) {
		http.Error(w, errRate.Error(), http.StatusTooManyRequests)
		return
	}
	defer s.takers.leave(host)
	file, done, err := s.files.get(r.Context(), [20]byte(b))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer done()
	if len(file) == 0 {
		http.NotFound(w, r)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fileTime))
	w.Header().Set("Content-Type", "application/x-bittorrent")
	w.Header().Set("Content-Length", strconv.Itoa(len(file)))
	w.Write(file)
}
