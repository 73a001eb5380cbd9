package api

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	p := serve(t, newFake(1), nil)
	_, port, err := net.SplitHostPort(p.tcp)
	if err != nil {
		t.Fatal(err)
	}
	ok := "Bearer " + p.token
	tests := []struct {
		name   string
		host   string
		auth   string
		header map[string]string
		status int
	}{
		{"token", p.tcp, ok, nil, 200},
		{"scheme in lower case", p.tcp, "bearer " + p.token, nil, 200},
		{"localhost", "localhost:" + port, ok, nil, 200},
		{"LOCALHOST", "LOCALHOST:" + port, ok, nil, 200},
		{"another loopback address", "127.5.5.5:" + port, ok, nil, 200},
		{"IPv6 loopback", "[::1]:" + port, ok, nil, 200},
		{"no token", p.tcp, "", nil, 401},
		{"wrong token", p.tcp, "Bearer " + strings.Repeat("0", len(p.token)), nil, 401},
		{"prefix of the token", p.tcp, ok[:len(ok)-1], nil, 401},
		{"token and more", p.tcp, ok + "0", nil, 401},
		{"token as a password", p.tcp, "Basic " + p.token, nil, 401},
		{"empty token", p.tcp, "Bearer ", nil, 401},
		{"name of a rebound page", "evil.example:" + port, ok, nil, 403},
		{"name that begins like ours", "localhost.evil.example:" + port, ok, nil, 403},
		{"name that begins like our address", "127.0.0.1.evil.example:" + port, ok, nil, 403},
		{"public address", "192.0.2.1:" + port, ok, nil, 403},
		{"everything's address", "0.0.0.0:" + port, ok, nil, 403},
		{"wrong port", "127.0.0.1:1", ok, nil, 403},
		{"no port", "127.0.0.1", ok, nil, 403},
		{"bad host goes before a missing token", "evil.example:" + port, "", nil, 403},
		{"same origin", p.tcp, ok, map[string]string{"Origin": "http://" + p.tcp, "Sec-Fetch-Site": "same-origin"}, 200},
		{"other origin", p.tcp, ok, map[string]string{"Origin": "http://evil.example"}, 403},
		{"other port's origin", p.tcp, ok, map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		{"other loopback origin", p.tcp, ok, map[string]string{"Origin": "http://localhost:" + port}, 403},
		{"https origin", p.tcp, ok, map[string]string{"Origin": "https://" + p.tcp}, 403},
		{"null origin", p.tcp, ok, map[string]string{"Origin": "null"}, 403},
		{"cross-site without an origin", p.tcp, ok, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"same-site", p.tcp, ok, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"typed into the browser", p.tcp, ok, map[string]string{"Sec-Fetch-Site": "none"}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest("GET", "http://"+p.tcp+"/v1/session/version", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			if tt.auth != "" {
				req.Header.Set("Authorization", tt.auth)
			}
			for k, v := range tt.header {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			if got := resp.Header.Get("WWW-Authenticate"); (got != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate %q with status %d", got, tt.status)
			}
		})
	}
}

func TestGuardComesBeforeEverything(t *testing.T) {
	p := serve(t, newFake(1), nil)
	for _, rt := range append(table(), route{method: "GET", path: "/"}, route{method: "BREW", path: "/v1/torrents"}) {
		path := strings.ReplaceAll(rt.path, "{id}", hashOf(0).String())
		req, err := http.NewRequest(rt.method, "http://"+p.tcp+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 {
			t.Errorf("%s %s without a token = %d, want 401", rt.method, rt.path, resp.StatusCode)
		}
	}
	if got := p.noted(); got != "" {
		t.Errorf("the engine was asked %q", got)
	}
}
