// Package api serves the daemon's JSON API over HTTP: on a unix socket that
// only its owner may open, and, where enabled, on a loopback TCP address that
// asks for a bearer token.
//
// It validates requests, maps errors to codes and streams events. It has no
// torrent logic: everything is asked of an Engine, which never lets a reader
// wait for transfers. The types of the bodies are those of api/client;
// openapi.yaml describes the resources.
//
// A TCP address is within reach of every web page that the user's browser
// opens. So the Host header must name a loopback address with our port (DNS
// rebinding), a browser's Origin must be our own, and the token is compared
// in constant time. No CORS header is ever sent.
package api
