package server

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxScrape = 74 // torrents in one request

// ServeHTTP answers requests for paths that end in /announce or /scrape.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	var body []byte
	query, err := url.ParseQuery(r.URL.RawQuery)
	switch {
	case err != nil:
		body = appendFailure(nil, errors.New("the query cannot be parsed"))
	case strings.HasSuffix(r.URL.Path, "/announce"):
		body = s.answerAnnounce(query, r.RemoteAddr, s.knowsToken(r.URL.Path))
	case strings.HasSuffix(r.URL.Path, "/scrape"):
		body = s.answerScrape(query)
	case strings.HasPrefix(r.URL.Path, torrentPath):
		s.serveTorrent(w, r)
		return
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// torrentPath is where the files of registered torrents are: HASH.torrent.
const torrentPath = "/t/"

// serveTorrent sends the file of a registered torrent. Whatever is not served
// looks the same.
func (s *Server) serveTorrent(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, torrentPath), ".torrent")
	b, err := hex.DecodeString(name)
	if !ok || err != nil || len(b) != 20 || s.cfg.TorrentFile == nil || !s.isRegistered([20]byte(b)) {
		http.NotFound(w, r)
		return
	}
	file, err := s.cfg.TorrentFile([20]byte(b))
	if err != nil || len(file) == 0 {
		http.NotFound(w, r)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fileTime))
	w.Header().Set("Content-Type", "application/x-bittorrent")
	w.Header().Set("Content-Length", strconv.Itoa(len(file)))
	w.Write(file)
}

// fileTime is how long a client has to take a torrent's file.
const fileTime = time.Minute

func (s *Server) answerAnnounce(q url.Values, remote string, token bool) []byte {
	a, err := parseAnnounce(q, remote)
	a.token = token
	if err != nil {
		return appendFailure(nil, err)
	}
	out, err := s.announce(a, true)
	if err != nil {
		return appendFailure(nil, err)
	}
	form := compact
	if q.Get("compact") == "0" {
		form = full
		if q.Get("no_peer_id") == "1" {
			form = withoutIDs
		}
	}
	return s.appendAnswer(nil, a, out, form)
}

func parseAnnounce(q url.Values, remote string) (announce, error) {
	var a announce
	if !twenty(&a.hash, q.Get("info_hash")) {
		return a, errors.New("info_hash must be 20 bytes")
	}
	if !twenty(&a.peerID, q.Get("peer_id")) {
		return a, errors.New("peer_id must be 20 bytes")
	}
	port, err := strconv.ParseUint(q.Get("port"), 10, 16)
	if err != nil || port == 0 {
		return a, errors.New("port must be 1 to 65535")
	}
	source, err := netip.ParseAddrPort(remote)
	if err != nil {
		return a, errors.New("the source address is unknown")
	}
	a.addr = netip.AddrPortFrom(source.Addr().Unmap().WithZone(""), uint16(port))
	a.left = 1 // who does not say is a leecher
	if v := q.Get("left"); v != "" {
		if a.left, err = strconv.ParseUint(v, 10, 64); err != nil {
			return a, errors.New("left must be a number")
		}
	}
	a.want = -1
	if n, err := strconv.Atoi(q.Get("numwant")); err == nil {
		a.want = n
	}
	switch q.Get("event") {
	case "", "empty":
	case "started":
		a.event = eventStarted
	case "completed":
		a.event = eventCompleted
	case "stopped":
		a.event = eventStopped
	default:
		return a, errors.New("unknown event")
	}
	return a, nil
}

func twenty(dst *[20]byte, s string) bool {
	return copy(dst[:], s) == 20 && len(s) == 20
}

func (s *Server) answerScrape(q url.Values) []byte {
	hashes := q["info_hash"]
	if len(hashes) == 0 || len(hashes) > maxScrape {
		return appendFailure(nil, errors.New("a scrape names 1 to 74 torrents"))
	}
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	b := []byte("d5:filesd")
	for _, h := range hashes {
		var hash [20]byte
		if !twenty(&hash, h) {
			return appendFailure(nil, errors.New("info_hash must be 20 bytes"))
		}
		s.mu.Lock()
		sw := s.store.current(hash, time.Now())
		seeds, leechers, downloads := sw.counts()
		s.mu.Unlock()
		if sw == nil {
			continue
		}
		b = appendString(b, h)
		b = append(b, 'd')
		b = appendInt(b, "complete", seeds)
		b = appendInt(b, "downloaded", downloads)
		b = appendInt(b, "incomplete", leechers)
		b = append(b, 'e')
	}
	return append(b, "ee"...)
}

// The forms of a list of peers.
type form uint8

const (
	compact    form = iota // BEP 23
	full                   // dictionaries, BEP 3
	withoutIDs             // dictionaries without peer ids
)

// appendAnswer writes keys in ascending order, as bencode wants them.
func (s *Server) appendAnswer(b []byte, a announce, out answer, f form) []byte {
	b = append(b, 'd')
	b = appendInt(b, "complete", out.seeds)
	b = appendInt(b, "downloaded", out.downloads)
	b = appendString(b, "external ip")
	b = appendString(b, string(a.addr.Addr().AsSlice()))
	b = appendInt(b, "incomplete", out.leechers)
	b = appendInt(b, "interval", int(s.cfg.Interval/time.Second))
	if s.cfg.MinInterval > 0 {
		b = appendInt(b, "min interval", int(s.cfg.MinInterval/time.Second))
	}
	if f == compact {
		b = appendCompact(b, out.peers)
	} else {
		b = appendDicts(b, out, f)
	}
	if s.cfg.TrackerID != "" {
		b = appendString(b, "tracker id")
		b = appendString(b, s.cfg.TrackerID)
	}
	return append(b, 'e')
}

func appendCompact(b []byte, peers []netip.AddrPort) []byte {
	var v4, v6 []byte
	for _, p := range peers {
		if p.Addr().Is4() {
			v4 = appendPeer(v4, p)
		} else {
			v6 = appendPeer(v6, p)
		}
	}
	b = appendString(b, "peers")
	b = appendString(b, string(v4))
	if len(v6) > 0 {
		b = appendString(b, "peers6")
		b = appendString(b, string(v6))
	}
	return b
}

func appendPeer(b []byte, p netip.AddrPort) []byte {
	b = append(b, p.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, p.Port())
}

func appendDicts(b []byte, out answer, f form) []byte {
	b = appendString(b, "peers")
	b = append(b, 'l')
	for i, p := range out.peers {
		b = append(b, 'd')
		b = appendString(b, "ip")
		b = appendString(b, p.Addr().String())
		if f == full {
			b = appendString(b, "peer id")
			b = appendString(b, string(out.ids[i][:]))
		}
		b = appendInt(b, "port", int(p.Port()))
		b = append(b, 'e')
	}
	return append(b, 'e')
}

func appendFailure(b []byte, err error) []byte {
	b = append(b, 'd')
	b = appendString(b, "failure reason")
	b = appendString(b, err.Error())
	return append(b, 'e')
}

func appendString(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

func appendInt(b []byte, key string, n int) []byte {
	b = appendString(b, key)
	b = append(b, 'i')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, 'e')
}
