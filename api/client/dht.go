package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
)

// DHTStats is a picture of the daemon's part in the DHT.
type DHTStats struct {
	On         bool     `json:"on"`
	Problem    string   `json:"problem,omitempty"` // why a node is missing that should be there
	Status     string   `json:"status"`            // in words
	Port       int      `json:"port"`              // UDP; 0 without a node
	Nodes      int      `json:"nodes"`             // known ones
	Torrents   int      `json:"torrents"`          // that are announced, or searched for
	Busy       int64    `json:"busy"`              // searches that had to wait since too many ran
	Dropped    int64    `json:"dropped"`           // packets that came faster than they could be read
	ReadErrors int64    `json:"read_errors"`
	IPv4       *DHTNode `json:"ipv4,omitempty"`
	IPv6       *DHTNode `json:"ipv6,omitempty"`
}

// DHTNode is what the node of one address family did since the daemon's start,
// and holds now.
type DHTNode struct {
	ID             string           `json:"id"`
	Status         string           `json:"status"`   // in words
	External       string           `json:"external"` // our address as others see it; "" is unknown
	AddressChanges int64            `json:"address_changes"`
	Nodes          int              `json:"nodes"`
	Pending        int              `json:"pending"`  // queries under way
	Searches       int64            `json:"searches"` // begun so far
	Running        int              `json:"running"`  // searches now
	Waiting        int              `json:"waiting"`  // searches that wait for their turn
	PacketsIn      int64            `json:"packets_in"`
	PacketsOut     int64            `json:"packets_out"`
	BytesIn        int64            `json:"bytes_in"`
	BytesOut       int64            `json:"bytes_out"`
	SendErrors     int64            `json:"send_errors"`
	HeldTorrents   int              `json:"held_torrents"` // that peers are kept of, for others
	HeldPeers      int              `json:"held_peers"`
	HeldItems      int              `json:"held_items"`
	QueriesIn      map[string]int64 `json:"queries_in"`  // by method
	QueriesOut     map[string]int64 `json:"queries_out"` // by method
	Replies        int64            `json:"replies"`     // to our queries
	TimedOut       int64            `json:"timed_out"`   // queries of ours
	Refused        map[string]int64 `json:"refused"`     // what was not done or not believed, by reason
}

// DHTEvent is one thing that happens in a search.
type DHTEvent struct {
	AfterMS float64   `json:"after_ms"`          // since the search began
	Kind    string    `json:"kind"`              // sent, stalled, answered, refused, failed, "timed out", finished; peers, found, error
	Addr    string    `json:"addr,omitempty"`    // of the node
	Node    string    `json:"node,omitempty"`    // its id
	Bits    int       `json:"bits,omitempty"`    // its distance: how many bits of it are left; 160 is the farthest
	Hop     int       `json:"hop,omitempty"`     // queries one after another that led to it
	RTTMS   float64   `json:"rtt_ms,omitempty"`  // of a reply
	Again   bool      `json:"again,omitempty"`   // sent for the second time
	Late    bool      `json:"late,omitempty"`    // a reply after its query stalled
	Named   int       `json:"named,omitempty"`   // nodes in the reply
	New     int       `json:"new,omitempty"`     // of them, those not heard of before
	Values  bool      `json:"values,omitempty"`  // the reply has peers
	Why     string    `json:"why,omitempty"`     // a reply was refused
	Peers   []string  `json:"peers,omitempty"`   // with peers: the new ones
	Found   *DHTFound `json:"found,omitempty"`   // with found, the last event
	Message string    `json:"message,omitempty"` // with error, the last event
}

// DHTFound is what a lookup found.
type DHTFound struct {
	Peers          int     `json:"peers"`
	Queries        int     `json:"queries"`
	Replies        int     `json:"replies"`
	Closest        int     `json:"closest"`         // nodes close to the hash that answered
	FirstMS        float64 `json:"first_ms"`        // until the first peers; 0 if there are none
	ElapsedMS      float64 `json:"elapsed_ms"`      // until the end
	EstimatedSeeds float64 `json:"estimated_seeds"` // of the swarm (BEP 33)
	EstimatedPeers float64 `json:"estimated_peers"` // that are no seeds
}

// DHTItem is a value kept in the DHT (BEP 44).
type DHTItem struct {
	Target string `json:"target"`         // hex
	V      []byte `json:"v"`              // bencoded
	K      string `json:"k,omitempty"`    // public key, hex; "" is an immutable item
	Salt   []byte `json:"salt,omitempty"` // of a mutable one
	Seq    int64  `json:"seq,omitempty"`  // version of a mutable one
	Sig    string `json:"sig,omitempty"`  // hex
}

// DHTPutRequest stores an item, which is signed already if it is mutable: the
// private key stays with the caller.
type DHTPutRequest struct {
	V    []byte `json:"v"`
	K    string `json:"k"`
	Salt []byte `json:"salt"`
	Seq  int64  `json:"seq"`
	Sig  string `json:"sig"`
}

// DHTPutResponse says where an item is.
type DHTPutResponse struct {
	Target string `json:"target"` // hex
	Stored int    `json:"stored"` // nodes that took it
}

// DHTSamples is what nodes tell of the torrents that they keep peers of (BEP
// 51).
type DHTSamples struct {
	Hashes  []string `json:"hashes"` // hex, each once
	Nodes   int      `json:"nodes"`  // that told some
	Kept    int64    `json:"kept"`   // torrents that these nodes say they know, the same ones counted more than once
	Queries int      `json:"queries"`
}

// DHTStatsPath is the path of the daemon's part in the DHT.
const DHTStatsPath = "/v1/dht/stats"

// DHTStats is a picture of the daemon's part in the DHT.
func (c *Client) DHTStats(ctx context.Context) (DHTStats, error) {
	var out DHTStats
	err := c.call(ctx, http.MethodGet, DHTStatsPath, nil, &out)
	return out, err
}

// DHTItemPath is the path of an item: target is hex.
func DHTItemPath(target string) string {
	return "/v1/dht/items?" + url.Values{"target": {target}}.Encode()
}

// DHTKeyPath is the path of the newest item of a public key, which is hex.
func DHTKeyPath(key, salt string) string {
	q := url.Values{"key": {key}}
	if salt != "" {
		q.Set("salt", salt)
	}
	return "/v1/dht/items?" + q.Encode()
}

// DHTItem fetches the item at a path that DHTItemPath or DHTKeyPath made.
func (c *Client) DHTItem(ctx context.Context, path string) (DHTItem, error) {
	var out DHTItem
	err := c.call(ctx, http.MethodGet, path, nil, &out)
	return out, err
}

// DHTSamplePath is the path of what the nodes next to a target know: target is
// hex.
func DHTSamplePath(target string) string {
	return "/v1/dht/samples?" + url.Values{"target": {target}}.Encode()
}

// DHTSample asks the nodes on the way to target, which is hex, which torrents
// they know. Nodes that were asked not long ago are left alone, as they wish.
func (c *Client) DHTSample(ctx context.Context, target string) (DHTSamples, error) {
	var out DHTSamples
	err := c.call(ctx, http.MethodGet, DHTSamplePath(target), nil, &out)
	return out, err
}

// DHTPut stores an item.
func (c *Client) DHTPut(ctx context.Context, req DHTPutRequest) (DHTPutResponse, error) {
	var out DHTPutResponse
	err := c.call(ctx, http.MethodPost, "/v1/dht/items", req, &out)
	return out, err
}

// DHTLookup searches for the peers of a torrent, whose hash is hex, and yields
// what happens as it happens. The last event has Found set, unless the sequence
// ends with an error.
func (c *Client) DHTLookup(ctx context.Context, hash string) iter.Seq2[DHTEvent, error] {
	return func(yield func(DHTEvent, error) bool) {
		resp, err := c.send(ctx, http.MethodGet, "/v1/dht/lookup?hash="+url.QueryEscape(hash), nil)
		if err != nil {
			yield(DHTEvent{}, err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			yield(DHTEvent{}, answerError(resp))
			return
		}
		r := bufio.NewReader(resp.Body)
		for {
			data, err := readEvent(r)
			var e DHTEvent
			switch {
			case errors.Is(err, io.EOF):
				yield(e, ErrStreamEnded)
				return
			case err != nil:
				yield(e, fmt.Errorf("read the stream: %w", err))
				return
			case data == "":
				continue
			}
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				yield(e, fmt.Errorf("decode an event: %w", err))
				return
			}
			if e.Kind == "error" {
				yield(e, errors.New(e.Message))
				return
			}
			if !yield(e, nil) || e.Found != nil {
				return
			}
		}
	}
}
