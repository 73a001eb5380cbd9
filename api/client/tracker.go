package client

import (
	"context"
	"net/http"
	"time"
)

// TrackerServer is a picture of the tracker that the daemon itself is.
type TrackerServer struct {
	On          bool               `json:"on"`
	Problem     string             `json:"problem,omitempty"`    // why it is off though it should be on
	Retry       time.Time          `json:"retry,omitzero"`       // when the daemon tries next to switch it on; absent if it does not
	Open        bool               `json:"open"`                 // it tracks every torrent, not only those that are registered
	Listen      string             `json:"listen"`               // host:port of HTTP and of UDP; "" while it is off
	URLs        []string           `json:"urls"`                 // to announce to, the best first; none while it is off
	Token       string             `json:"token"`                // in the path of an announce URL, as http://host:port/TOKEN/announce, it has any torrent tracked
	Registered  int                `json:"registered"`           // torrents
	Torrents    int                `json:"torrents"`             // that have peers
	Peers       int                `json:"peers"`                // in all torrents, seeds included
	Seeds       int                `json:"seeds"`                // in all torrents
	Announces   map[string]int64   `json:"announces"`            // answered since it was switched on, by transport: http, udp
	PerSecond   map[string]float64 `json:"announces_per_second"` // over the last ten seconds
	Scrapes     map[string]int64   `json:"scrapes"`              // answered, by transport
	Refused     map[string]int64   `json:"refused"`              // requests, by reason
	Connections int                `json:"connections"`          // over HTTP, now
	Memory      int64              `json:"memory"`               // bytes that torrents and peers take up
}

// Registration is a torrent that is registered with the daemon's tracker.
type Registration struct {
	ID        string `json:"id"` // what is announced, hex: the torrent's info-hash, or its mask if it has a secret
	Name      string `json:"name"`
	Shared    bool   `json:"shared"` // by a share of one of the daemon's torrents, with which it goes
	Seeds     int    `json:"seeds"`
	Leechers  int    `json:"leechers"`
	Downloads int    `json:"downloads"` // that were completed
}

// RegistrationList is all of them, by name.
type RegistrationList struct {
	Torrents []Registration `json:"torrents"`
}

// RegisterRequest is what goes with a torrent's id.
type RegisterRequest struct {
	Name string `json:"name"` // for people; at most 255 bytes
}

// Paths of the daemon's tracker.
const (
	TrackerPath    = "/v1/tracker"
	RegisteredPath = TrackerPath + "/torrents"
)

// TrackerServer is a picture of the daemon's tracker.
func (c *Client) TrackerServer(ctx context.Context) (TrackerServer, error) {
	var out TrackerServer
	err := c.call(ctx, http.MethodGet, TrackerPath, nil, &out)
	return out, err
}

// StartTracker switches the daemon's tracker on, now and at its next start.
func (c *Client) StartTracker(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, TrackerPath+"/start", nil, nil)
}

// StopTracker switches the daemon's tracker off.
func (c *Client) StopTracker(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, TrackerPath+"/stop", nil, nil)
}

// Registered is the torrents that are registered with the daemon's tracker.
func (c *Client) Registered(ctx context.Context) ([]Registration, error) {
	var out RegistrationList
	err := c.call(ctx, http.MethodGet, RegisteredPath, nil, &out)
	return out.Torrents, err
}

// Register has the daemon's tracker track a torrent: id is hex.
func (c *Client) Register(ctx context.Context, id, name string) error {
	return c.call(ctx, http.MethodPut, RegisteredPath+"/"+id, RegisterRequest{Name: name}, nil)
}

// Unregister has the daemon's tracker forget a torrent: id is hex.
func (c *Client) Unregister(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, RegisteredPath+"/"+id, nil, nil)
}
