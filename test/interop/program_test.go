//go:build interop && linux

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"btd/test/netns"
)

// peerPort is where every program listens for peers, on its own host.
const peerPort = 50000

// program drives one BitTorrent program on one host. Its methods are for one
// goroutine.
type program interface {
	// start starts the program and waits until its API answers.
	start(ctx context.Context) error
	// seed serves the complete content of dir, and returns when the program
	// has verified it.
	seed(ctx context.Context, t *torrent, dir string) error
	// leech starts to download into dir.
	leech(ctx context.Context, t *torrent, dir string) error
	// done tells whether the program has every piece, verified.
	done(ctx context.Context, t *torrent) (bool, error)
	// uploaded is the payload sent so far, in bytes.
	uploaded(ctx context.Context, t *torrent) (int64, error)
	// stop ends the program in an orderly way, so that its files are complete.
	stop(ctx context.Context) error
}

// kind is one BitTorrent program and what it can do.
type kind struct {
	name     string
	programs []string
	make     func(h *netns.Host) program
	noIPv6   string // why not, "" if it can
	noUDP6   string // why it asks no UDP tracker over IPv6, "" if it does
	noEmpty  string // why it makes no empty files, "" if it does
	noDial   string // why it dials no peers that the DHT tells of, "" if it does
}

// kinds are the programs of other people.
var kinds = []kind{
	{name: "libtorrent", programs: []string{"/usr/bin/python3"}, make: newLibtorrent},
	{
		name: "transmission", programs: []string{"transmission-daemon"}, make: newTransmission,
		noEmpty: "transmission 3.00 never makes empty files", noUDP6: "transmission 3.00 asks UDP trackers over IPv4 only",
	},
	{name: "aria2", programs: []string{"aria2c"}, make: newAria2, noUDP6: "aria2 1.36 asks UDP trackers over IPv4 only"},
	{
		name: "rtorrent", programs: []string{"rtorrent"}, make: newRtorrent,
		noIPv6: "rtorrent 0.9.8 has no IPv6", noUDP6: "rtorrent 0.9.8 has no IPv6",
		// What the DHT says, "6:" and six bytes for each peer, is read from its beginning each time, the "6:" taken for
		// the first two bytes: of the peer 85.77.3.1:50000 it makes 54.58.85.77:769, and connects to that.
		noDial: "rtorrent 0.9.8 misreads peers from the DHT",
	},
	{name: "qbittorrent", programs: []string{"qbittorrent-nox"}, make: newQBittorrent},
}

// cannot says why the program can't use the tracker, "" if it can.
func (k kind) cannot(tracker string) string {
	switch tracker {
	case httpTracker6:
		return k.noIPv6
	case udpTracker6:
		return k.noUDP6
	}
	return ""
}

// waitDone waits until the program has everything.
func waitDone(ctx context.Context, c program, t *torrent, what string) error {
	return netns.Poll(ctx, 50*time.Millisecond, what, func() (bool, error) { return c.done(ctx, t) })
}

// peerAddr is where the program on h listens for peers.
func peerAddr(h *netns.Host, v6 bool) netip.AddrPort {
	if v6 {
		return netip.AddrPortFrom(h.IP6, peerPort)
	}
	return netip.AddrPortFrom(h.IP4, peerPort)
}

// call sends a request to an API on the host's own loopback and decodes the
// JSON answer into out, if out is not nil.
func call(ctx context.Context, c *http.Client, method, url, contentType string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: HTTP %d: %.300q", method, url, resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s: %w: %.200q", method, url, err, raw)
	}
	return nil
}
