package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"btd/api/client"
)

// FuzzBodies sends any body to every resource that takes one. The answer has
// to be an answer: a success, or an error as described, and never our fault.
func FuzzBodies(f *testing.F) {
	var targets []route
	for _, rt := range table() {
		if rt.body {
			targets = append(targets, rt)
		}
	}
	for i := range targets {
		for _, s := range []string{
			`{}`, `[]`, `null`, `{"torrent":"ZDQ6aW5mb2U=","only":[0,1],"dir":"/x","limits":{"up":1}}`,
			`{"magnet":"magnet:?xt=urn:btih:x"}`, `{"sequential":true,"ratio_limit":1e308,"seed_time_seconds":-5}`,
			`{"files":{"0":"skip","1048576":"high"}}`, `{"peers":["1.2.3.4:5","[fe80::1%eth0]:1"]}`,
			`{"urls":["udp://x:1/announce"],"tier":9223372036854775807}`, `{"up":9223372036854775807,"down":0}`,
			`{"v":"NTpoZWxsbw=="}`, `{"v":"MTp4","k":"` + strings.Repeat("0a", 32) + `","sig":"` + strings.Repeat("0b", 64) + `","seq":-9223372036854775808}`,
			`{"v":"AA==","k":"00","sig":""}`, `{"v":"MTp4","salt":"` + strings.Repeat("QUFB", 100) + `","seq":1}`,
			`{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "\xff\xfe{",
		} {
			f.Add(uint8(i), []byte(s))
		}
	}
	server := New(Config{Engine: newFake(2)})
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		rt := targets[int(which)%len(targets)]
		path := strings.ReplaceAll(rt.path, "{id}", hashOf(1).String())
		r := httptest.NewRequest(rt.method, path, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		answered(t, server, r)
	})
}

// FuzzDHTQueries asks the DHT's resources with any query.
func FuzzDHTQueries(f *testing.F) {
	var paths []string
	for _, rt := range table() {
		if rt.method == http.MethodGet && strings.HasPrefix(rt.path, "/v1/dht/") {
			paths = append(paths, rt.path)
		}
	}
	id, key := strings.Repeat("0a", 20), strings.Repeat("0b", 32)
	for i := range paths {
		for _, s := range []string{
			"", "hash=" + id, "target=" + id, "key=" + key + "&salt=%00%ff", "target=" + id + "&key=" + key, "target=" + id + "&target=x",
			"hash=" + id[1:], "target=%", "key=" + key + "00", "salt=" + strings.Repeat("x", 3000), "x=1",
		} {
			f.Add(uint8(i), s)
		}
	}
	server := New(Config{Engine: newFake(1)})
	f.Fuzz(func(t *testing.T, which uint8, query string) {
		r := httptest.NewRequest(http.MethodGet, paths[int(which)%len(paths)], nil)
		r.URL.RawQuery = query
		answered(t, server, r)
	})
}

// answered wants a success, or an error as described, and never our fault.
func answered(t *testing.T, server *Server, r *http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	server.mux.ServeHTTP(w, r)
	resp := w.Result()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode < 400 {
		return
	}
	var e client.ErrorResponse
	if json.Unmarshal(answer, &e) != nil || e.Error.Message == "" || status(e.Error.Code) != resp.StatusCode {
		t.Fatalf("%s %s: %d %q", r.Method, r.URL, resp.StatusCode, answer)
	}
	if resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented {
		t.Fatalf("%s %s: %d %q", r.Method, r.URL, resp.StatusCode, answer)
	}
}
