package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"btd/api/client"
	"btd/session"
)

// Bounds of what requests may say.
const (
	maxTorrent  = 32 << 20               // bytes of a .torrent file, as metainfo has it
	maxAddJSON  = maxTorrent/3*4 + 4<<20 // the same in base64, and the options
	maxBody     = 1 << 20                // bytes of any other body
	maxPrioBody = 32 << 20               // bytes: a torrent may have a million files
	maxPeers    = 1000                   // addresses in a request
	maxURLs     = 100                    // trackers in a request
	maxURL      = 2048                   // bytes of a tracker's URL
	maxSeedTime = 100 * 365 * 24 * 3600  // seconds
)

// mediaType is the body's type without its parameters.
func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// readBody reads at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var size *http.MaxBytesError
		if errors.As(err, &size) {
			return nil, err
		}
		return nil, invalid("the body ended early: %v", err)
	}
	noDeadline(w)
	return b, nil
}

// readJSON decodes a body into v.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	// A form that a web page could post without asking is none of these.
	if t := mediaType(r); t != "application/json" {
		return fail(client.CodeUnsupportedMedia, "the body's Content-Type is %q, want application/json", t)
	}
	b, err := readBody(w, r, limit)
	if err != nil {
		return err
	}
	return decodeJSON(b, v)
}

// decodeJSON accepts exactly one JSON value with no field that v lacks.
func decodeJSON(b []byte, v any) error {
	if !utf8.Valid(b) { // encoding/json would put other characters there, in paths too
		return invalid("the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("something follows the JSON value")
	}
	return nil
}

func jsonError(err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return invalid("the body is empty, want JSON")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("the JSON ends early")
	case errors.As(err, &syntax):
		return invalid("malformed JSON at byte %d: %v", syntax.Offset, err)
	case errors.As(err, &typ) && typ.Field == "":
		return invalid("the body is a JSON %s, want an object", typ.Value)
	case errors.As(err, &typ):
		return invalid("field %q is a JSON %s, want %s", typ.Field, typ.Value, jsonKind(typ))
	}
	// An unknown field has no type of its own: json: unknown field "x".
	return invalid("%s", strings.TrimPrefix(err.Error(), "json: "))
}

// jsonKind names a Go type as people who write JSON know it.
func jsonKind(e *json.UnmarshalTypeError) string {
	kind := e.Type.Kind().String()
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number in range"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "bool":
		return "true or false"
	case kind == "slice" && e.Type.Elem().Kind().String() != "uint8":
		return "a list"
	case kind == "struct", kind == "map", kind == "ptr":
		return "an object"
	}
	return "a string"
}

func checkLimit(name string, n int64) error {
	if n < 0 {
		return invalid("%s is %d bytes per second, want 0 (unlimited) or more", name, n)
	}
	return nil
}

func toLimits(l client.Limits) (session.Limits, error) {
	err := errors.Join(checkLimit("limits.up", l.Up), checkLimit("limits.down", l.Down))
	return session.Limits{Up: l.Up, Down: l.Down}, err
}

// patchLimits applies a patch to what is in force.
func patchLimits(now session.Limits, p client.LimitsPatch) (session.Limits, error) {
	if p.Up != nil {
		now.Up = *p.Up
	}
	if p.Down != nil {
		now.Down = *p.Down
	}
	return toLimits(client.Limits{Up: now.Up, Down: now.Down})
}

func toAddrs(list []string) ([]netip.AddrPort, error) {
	if len(list) > maxPeers {
		return nil, invalid("%d addresses, at most %d are possible in a request", len(list), maxPeers)
	}
	var out []netip.AddrPort
	for _, s := range list {
		a, err := netip.ParseAddrPort(s)
		if err != nil {
			return nil, invalid("%q is not an address like 192.0.2.1:6881 or [2001:db8::1]:6881", s)
		}
		ip := a.Addr().Unmap()
		if a.Port() == 0 || ip.IsUnspecified() || ip.IsMulticast() {
			return nil, invalid("no peer can have the address %s", s)
		}
		out = append(out, netip.AddrPortFrom(ip, a.Port()))
	}
	return out, nil
}

func checkURLs(urls []string) error {
	switch {
	case len(urls) == 0:
		return invalid("no announce URL is given")
	case len(urls) > maxURLs:
		return invalid("%d URLs, at most %d are possible in a request", len(urls), maxURLs)
	}
	for _, s := range urls {
		u, err := url.Parse(s)
		if err != nil || len(s) > maxURL || u.Hostname() == "" {
			return invalid("%.100q is not the URL of a tracker", s)
		}
		switch u.Scheme {
		case "http", "https":
		case "udp":
			if u.Port() == "" {
				return invalid("%q names no port, which udp needs", s)
			}
		default:
			return invalid("%q is neither http, https nor udp", s)
		}
	}
	return nil
}

func toPriority(s string) (session.Priority, error) {
	switch s {
	case client.PrioritySkip:
		return session.Skip, nil
	case client.PriorityLow:
		return session.Low, nil
	case client.PriorityNormal:
		return session.Normal, nil
	case client.PriorityHigh:
		return session.High, nil
	}
	return 0, invalid("priority %q is none of skip, low, normal, high", s)
}

func toOptions(p client.TorrentPatch) (session.OptionsPatch, error) {
	out := session.OptionsPatch{Sequential: p.Sequential, RatioLimit: p.RatioLimit}
	if p.RatioLimit != nil && (math.IsNaN(*p.RatioLimit) || math.IsInf(*p.RatioLimit, 0)) {
		return out, invalid("ratio_limit is not a number")
	}
	if p.SeedTimeSeconds != nil {
		n := *p.SeedTimeSeconds
		if n > maxSeedTime {
			return out, invalid("seed_time_seconds is %d, at most %d is possible", n, int64(maxSeedTime))
		}
		d := time.Duration(max(n, -1)) * time.Second
		out.SeedTime = &d
	}
	return out, nil
}
