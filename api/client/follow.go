package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Follow is a key that is followed: the torrent that its newest item in the DHT
// names is downloaded, and that of each newer one in its place (BEP 46).
type Follow struct {
	ID      string         `json:"id"`                // of its item in the DHT, hex
	Key     string         `json:"key"`               // public key, hex
	Salt    []byte         `json:"salt,omitempty"`    // of the item
	Name    string         `json:"name"`              // of the link, "" if it has none
	Dir     string         `json:"dir"`               // download directory
	KeepOld bool           `json:"keep_old"`          // old versions stay, and each has a directory of its own
	Added   time.Time      `json:"added"`             // when that began
	Current *FollowVersion `json:"current,omitempty"` // the version in use
	Next    *FollowVersion `json:"next,omitempty"`    // the one whose metadata is not here yet
	Looked  time.Time      `json:"looked,omitzero"`   // when the DHT was last asked
	Looks   int            `json:"looks"`             // how often, since the daemon's start
	Bad     int64          `json:"bad"`               // items with a wrong signature, since then
	Refused int64          `json:"refused"`           // items that were old or named no torrent, since then
	Problem string         `json:"problem,omitempty"` // why it does not get on
}

// FollowVersion is a torrent that an item named.
type FollowVersion struct {
	Torrent string `json:"torrent"` // its id
	Seq     int64  `json:"seq"`     // number of the version
}

// FollowList is the answer to a list of follows, the oldest first.
type FollowList struct {
	Follows []Follow `json:"follows"`
}

// FollowRequest follows a key: that of Magnet, or Key with Salt. If it is
// followed already, the options that are given change.
type FollowRequest struct {
	Magnet  string `json:"magnet,omitempty"`   // a link that names a key
	Key     string `json:"key,omitempty"`      // public key, 64 hex digits
	Salt    []byte `json:"salt,omitempty"`     // at most 64 bytes
	Dir     string `json:"dir,omitempty"`      // absolute; empty is the daemon's download directory
	KeepOld *bool  `json:"keep_old,omitempty"` // old versions stay; absent is no
}

// Publication is an item that is kept alive in the DHT.
type Publication struct {
	ID      string    `json:"id"`                // of the item, hex
	Key     string    `json:"key"`               // public key, hex
	Salt    []byte    `json:"salt,omitempty"`    // of the item
	Name    string    `json:"name"`              // of the torrent, "" if it was not here
	Torrent string    `json:"torrent"`           // id of the torrent that the newest version names
	Seq     int64     `json:"seq"`               // number of the version
	Stopped bool      `json:"stopped"`           // not kept alive any more
	Added   time.Time `json:"added"`             // when this version was published
	Looked  time.Time `json:"looked,omitzero"`   // when it was last stored again, or that was tried
	Stored  int       `json:"stored"`            // nodes that took it then
	Problem string    `json:"problem,omitempty"` // why it is not in the DHT
}

// PublicationList is the answer to a list of publications, the oldest first.
type PublicationList struct {
	Publications []Publication `json:"publications"`
}

// PublishRequest publishes an item whose value names a torrent. It is signed
// already: the private key stays with the caller.
type PublishRequest struct {
	V    []byte `json:"v"` // d2:ih20:...e
	K    string `json:"k"` // public key, hex
	Salt []byte `json:"salt,omitempty"`
	Seq  int64  `json:"seq"`
	Sig  string `json:"sig"` // hex
}

// Paths of what is followed and published.
const (
	FollowsPath      = "/v1/follows"
	PublicationsPath = "/v1/publications"
)

// LookPath is the path at which the DHT is asked for news of a follow.
func LookPath(id string) string { return FollowsPath + "/" + url.PathEscape(id) + "/look" }

// Follows lists what is followed.
func (c *Client) Follows(ctx context.Context) ([]Follow, error) {
	var out FollowList
	err := c.call(ctx, http.MethodGet, FollowsPath, nil, &out)
	return out.Follows, err
}

// Follow follows a key.
func (c *Client) Follow(ctx context.Context, req FollowRequest) (Follow, error) {
	var out Follow
	err := c.call(ctx, http.MethodPost, FollowsPath, req, &out)
	return out, err
}

// Look asks the DHT for the newest version of what is followed, and waits for
// the answer.
func (c *Client) Look(ctx context.Context, id string) (Follow, error) {
	var out Follow
	err := c.call(ctx, http.MethodPost, LookPath(id), nil, &out)
	return out, err
}

// Unfollow ends following. The version in use stays.
func (c *Client) Unfollow(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, FollowsPath+"/"+url.PathEscape(id), nil, nil)
}

// Publications lists what was published.
func (c *Client) Publications(ctx context.Context) ([]Publication, error) {
	var out PublicationList
	err := c.call(ctx, http.MethodGet, PublicationsPath, nil, &out)
	return out.Publications, err
}

// Publish publishes an item, waits until it is stored, and has it kept alive.
func (c *Client) Publish(ctx context.Context, req PublishRequest) (Publication, error) {
	var out Publication
	err := c.call(ctx, http.MethodPost, PublicationsPath, req, &out)
	return out, err
}

// Unpublish ends keeping an item alive.
func (c *Client) Unpublish(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, PublicationsPath+"/"+url.PathEscape(id), nil, nil)
}
