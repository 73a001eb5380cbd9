package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

func torrentPath(id, rest string) string {
	return "/v1/torrents/" + url.PathEscape(id) + rest
}

// ListPath is the path of the list of torrents: those with the given ids, or
// all.
func ListPath(ids ...string) string {
	if len(ids) == 0 {
		return "/v1/torrents"
	}
	return "/v1/torrents?ids=" + url.QueryEscape(strings.Join(ids, ","))
}

// FilesPath is the path of a torrent's files.
func FilesPath(id string) string { return torrentPath(id, "/files") }

// PeersPath is the path of a torrent's peers.
func PeersPath(id string) string { return torrentPath(id, "/peers") }

// TrackersPath is the path of a torrent's trackers.
func TrackersPath(id string) string { return torrentPath(id, "/trackers") }

// Paths of the session's resources.
const (
	StatsPath   = "/v1/session/stats"
	LimitsPath  = "/v1/session/limits"
	VersionPath = "/v1/session/version"
	EventsPath  = "/v1/events"
)

// Torrents lists the torrents with the given ids, or all. Ids that name
// nothing are left out.
func (c *Client) Torrents(ctx context.Context, ids ...string) ([]Torrent, error) {
	var out TorrentList
	err := c.call(ctx, http.MethodGet, ListPath(ids...), nil, &out)
	return out.Torrents, err
}

// Torrent is one torrent.
func (c *Client) Torrent(ctx context.Context, id string) (Torrent, error) {
	var out Torrent
	err := c.call(ctx, http.MethodGet, torrentPath(id, ""), nil, &out)
	return out, err
}

// Add adds a torrent.
func (c *Client) Add(ctx context.Context, req AddRequest) (AddResponse, error) {
	var out AddResponse
	err := c.call(ctx, http.MethodPost, "/v1/torrents", req, &out)
	return out, err
}

// Remove forgets a torrent, and deletes its data where data is true.
func (c *Client) Remove(ctx context.Context, id string, data bool) error {
	rest := ""
	if data {
		rest = "?data=true"
	}
	return c.call(ctx, http.MethodDelete, torrentPath(id, rest), nil, nil)
}

// Start lets a torrent run.
func (c *Client) Start(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, torrentPath(id, "/start"), nil, nil)
}

// Stop stops a torrent until it is started.
func (c *Client) Stop(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, torrentPath(id, "/stop"), nil, nil)
}

// Verify checks a torrent's data against its hashes. It does not wait for the
// end of the check.
func (c *Client) Verify(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, torrentPath(id, "/verify"), nil, nil)
}

// Reannounce asks the trackers for peers as soon as they allow it.
func (c *Client) Reannounce(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, torrentPath(id, "/reannounce"), nil, nil)
}

// Share has the daemon's tracker track a torrent, and says how others join.
func (c *Client) Share(ctx context.Context, id string) (ShareResponse, error) {
	var out ShareResponse
	err := c.call(ctx, http.MethodPost, torrentPath(id, "/share"), nil, &out)
	return out, err
}

// Patch changes settings of a torrent.
func (c *Client) Patch(ctx context.Context, id string, p TorrentPatch) error {
	return c.call(ctx, http.MethodPatch, torrentPath(id, ""), p, nil)
}

// Files lists a torrent's files.
func (c *Client) Files(ctx context.Context, id string) ([]File, error) {
	var out FileList
	err := c.call(ctx, http.MethodGet, FilesPath(id), nil, &out)
	return out.Files, err
}

// SetPriorities sets the priorities of files by index.
func (c *Client) SetPriorities(ctx context.Context, id string, files map[int]string) error {
	return c.call(ctx, http.MethodPut, torrentPath(id, "/priorities"), PrioritiesRequest{Files: files}, nil)
}

// Peers lists a torrent's connected peers.
func (c *Client) Peers(ctx context.Context, id string) ([]Peer, error) {
	var out PeerList
	err := c.call(ctx, http.MethodGet, PeersPath(id), nil, &out)
	return out.Peers, err
}

// AddPeers gives a torrent addresses (IP:port) to try.
func (c *Client) AddPeers(ctx context.Context, id string, peers []string) error {
	return c.call(ctx, http.MethodPost, PeersPath(id), PeersRequest{Peers: peers}, nil)
}

// Trackers lists a torrent's trackers.
func (c *Client) Trackers(ctx context.Context, id string) ([]Tracker, error) {
	var out TrackerList
	err := c.call(ctx, http.MethodGet, TrackersPath(id), nil, &out)
	return out.Trackers, err
}

// AddTrackers adds announce URLs.
func (c *Client) AddTrackers(ctx context.Context, id string, req TrackersRequest) error {
	return c.call(ctx, http.MethodPost, TrackersPath(id), req, nil)
}

// RemoveTrackers removes announce URLs.
func (c *Client) RemoveTrackers(ctx context.Context, id string, urls []string) error {
	return c.call(ctx, http.MethodDelete, TrackersPath(id)+"?"+url.Values{"url": urls}.Encode(), nil, nil)
}

// Pieces is which pieces of a torrent are here.
func (c *Client) Pieces(ctx context.Context, id string) (Pieces, error) {
	var out Pieces
	err := c.call(ctx, http.MethodGet, torrentPath(id, "/pieces"), nil, &out)
	return out, err
}

// Stats is a picture of the whole session.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	var out Stats
	err := c.call(ctx, http.MethodGet, StatsPath, nil, &out)
	return out, err
}

// Limits are the session's rate limits.
func (c *Client) Limits(ctx context.Context) (Limits, error) {
	var out Limits
	err := c.call(ctx, http.MethodGet, LimitsPath, nil, &out)
	return out, err
}

// SetLimits changes the session's rate limits and returns them.
func (c *Client) SetLimits(ctx context.Context, p LimitsPatch) (Limits, error) {
	var out Limits
	err := c.call(ctx, http.MethodPatch, LimitsPath, p, &out)
	return out, err
}

// Version says what the daemon is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var out Version
	err := c.call(ctx, http.MethodGet, VersionPath, nil, &out)
	return out, err
}
