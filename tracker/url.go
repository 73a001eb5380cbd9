package tracker

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

const maxURL = 2048 // bytes

// CheckURL tells whether announces can be sent to a URL, and if not, why.
func CheckURL(raw string) error {
	_, err := parseURL(raw)
	return err
}

func parseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrURL, maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: cannot be parsed", ErrURL) // the cause repeats the URL, which may hold a passkey
	}
	u.Scheme = strings.ToLower(u.Scheme)
	u.Fragment, u.RawFragment = "", ""
	switch u.Scheme {
	case "http", "https", "udp":
	default:
		return nil, fmt.Errorf("%w: scheme %q is not http, https or udp", ErrURL, clean([]byte(u.Scheme)))
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%w: no host", ErrURL)
	}
	port := u.Port()
	if port == "" && u.Scheme == "udp" {
		return nil, fmt.Errorf("%w: a udp tracker needs a port", ErrURL)
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return nil, fmt.Errorf("%w: bad port", ErrURL)
	}
	return u, nil
}

// withQuery adds parameters to a copy of u, behind those it has.
func withQuery(u *url.URL, query string) *url.URL {
	v := *u
	v.ForceQuery = false
	switch {
	case v.RawQuery == "":
		v.RawQuery = query
	case strings.HasSuffix(v.RawQuery, "&"):
		v.RawQuery += query
	default:
		v.RawQuery += "&" + query
	}
	return &v
}

// CanScrape tells whether a tracker with that announce URL can be scraped.
func CanScrape(raw string) bool {
	u, err := parseURL(raw)
	if err == nil && u.Scheme != "udp" {
		_, err = scrapeURL(u)
	}
	return err == nil
}

// scrapeURL is where a tracker is scraped: the last part of the path must
// begin with "announce", which is replaced (BEP 48).
func scrapeURL(u *url.URL) (*url.URL, error) {
	path := u.EscapedPath()
	slash := strings.LastIndexByte(path, '/')
	rest, ok := strings.CutPrefix(path[slash+1:], "announce")
	if slash < 0 || !ok {
		return nil, ErrNoScrape
	}
	v := *u
	v.RawPath = path[:slash+1] + "scrape" + rest
	var err error
	if v.Path, err = url.PathUnescape(v.RawPath); err != nil {
		return nil, ErrNoScrape
	}
	return &v, nil
}

// announceQuery is what an announce appends to the URL of its tracker.
func announceQuery(r Request) string {
	b := make([]byte, 0, 320)
	b = append(b, "info_hash="...)
	b = appendEscaped(b, r.InfoHash[:])
	b = append(b, "&peer_id="...)
	b = appendEscaped(b, r.PeerID[:])
	b = appendNumber(b, "port", int64(r.Port))
	b = appendNumber(b, "uploaded", max(r.Uploaded, 0))
	b = appendNumber(b, "downloaded", max(r.Downloaded, 0))
	b = appendNumber(b, "left", max(r.Left, 0))
	if r.Corrupt > 0 {
		b = appendNumber(b, "corrupt", r.Corrupt)
	}
	b = fmt.Appendf(b, "&key=%08X", r.Key)
	switch {
	case r.Event == Stopped || r.NumWant < 0:
		b = append(b, "&numwant=0"...)
	case r.NumWant > 0:
		b = appendNumber(b, "numwant", int64(r.NumWant))
	}
	if r.Event != None {
		b = append(b, "&event="...)
		b = append(b, r.Event.String()...)
	}
	b = append(b, "&compact=1&no_peer_id=1"...)
	if r.TrackerID != "" {
		b = append(b, "&trackerid="...)
		b = appendEscaped(b, []byte(r.TrackerID))
	}
	return string(b)
}

func appendNumber(b []byte, name string, n int64) []byte {
	b = append(b, '&')
	b = append(b, name...)
	b = append(b, '=')
	return strconv.AppendInt(b, n, 10)
}

// appendEscaped percent-encodes every byte outside the unreserved set of
// RFC 3986. (url.QueryEscape writes a space as "+", which trackers read as a
// plus sign.)
func appendEscaped(b, s []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// scrapeQuery asks for several torrents.
func scrapeQuery(hashes [][20]byte) string {
	b := make([]byte, 0, 72*len(hashes))
	for i := range hashes {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, "info_hash="...)
		b = appendEscaped(b, hashes[i][:])
	}
	return string(b)
}

// loopbackHost tells whether a URL names this machine.
func loopbackHost(u *url.URL) bool {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, ok := parseLiteral(host)
	return ok && (a.IsLoopback() || a.IsUnspecified())
}
