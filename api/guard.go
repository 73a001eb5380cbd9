package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strconv"
	"strings"

	"btd/api/client"
)

// guard lets only those requests to a TCP address pass that come from a
// program of this machine that knows the token.
type guard struct {
	next  http.Handler
	token [sha256.Size]byte // hashed, so that comparing takes the same time for every length
	port  string
}

func newGuard(next http.Handler, token string, port int) *guard {
	return &guard{next: next, token: sha256.Sum256([]byte(token)), port: strconv.Itoa(port)}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := g.check(r); err != nil {
		w.Header().Set("Connection", "close") // what may follow is not read
		if err.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="btd"`)
		}
		writeError(w, err)
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *guard) check(r *http.Request) *client.Error {
	switch {
	case !g.ourHost(r.Host):
		// A page of evil.example whose name was made to point at 127.0.0.1
		// sends its own name here.
		return fail(client.CodeForbidden, "host %q is not this API: use 127.0.0.1:%s", r.Host, g.port)
	case !sameOrigin(r):
		return fail(client.CodeForbidden, "requests of web pages from elsewhere are refused")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(sum[:], g.token[:]) != 1 {
		return fail(client.CodeUnauthorized, "a valid token is needed: send Authorization: Bearer TOKEN with the content of the daemon's file api-token")
	}
	return nil
}

// ourHost accepts localhost and loopback addresses with our port.
func (g *guard) ourHost(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil { // no port
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "80"
	}
	return port == g.port && loopbackHost(name)
}

// sameOrigin refuses what a browser says comes from another site. Programs
// send neither header.
func sameOrigin(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		if !strings.EqualFold(origin, "http://"+r.Host) {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}
