//go:build interop && linux

package interop

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"btd/test/netns"
)

// aria2 drives aria2c over its JSON-RPC.
type aria2 struct {
	host    *netns.Host
	process *netns.Process
	http    *http.Client
	lsd     bool              // it looks for peers in the local network
	gids    map[string]string // aria2's names of the torrents, by hash
	joined
	upLimit int // bytes/s of each torrent added; 0 is unlimited
}

func newAria2(h *netns.Host) program { return &aria2{host: h, http: h.HTTP()} }

func (c *aria2) start(ctx context.Context) error {
	argv := []string{
		"aria2c", "--no-conf", "--enable-rpc=true", "--rpc-listen-port=6800", "--rpc-listen-all=false", "--rpc-save-upload-metadata=false",
		"--dir=" + c.host.Dir, "--listen-port=" + strconv.Itoa(peerPort),
		// Without DHT it has no UDP socket, and so no UDP trackers.
		"--enable-dht=true", "--dht-listen-port=" + strconv.Itoa(dhtPort), "--dht-file-path=" + filepath.Join(c.host.Dir, "dht.dat"), "--enable-dht6=false",
		"--bt-enable-lpd=" + strconv.FormatBool(c.lsd), "--enable-peer-exchange=false", "--file-allocation=none", "--seed-ratio=0.0",
		"--async-dns=false", "--summary-interval=0", "--show-console-readout=false", "--console-log-level=notice", "--allow-overwrite=true",
	}
	if len(c.nodes) > 0 { // it takes one
		argv = append(argv, "--dht-entry-point="+c.nodes[0].String())
	}
	var err error
	c.process, err = c.host.Start("aria2", netns.Command{Argv: argv})
	if err != nil {
		return err
	}
	return netns.Up(ctx, c.process, func() error { return c.rpc(ctx, "aria2.getVersion", nil) })
}

func (c *aria2) rpc(ctx context.Context, method string, out any, params ...any) error {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": "1", "method": method, "params": params})
	if err != nil {
		return err
	}
	var answer struct{ Result json.RawMessage }
	if err := call(ctx, c.http, "POST", "http://127.0.0.1:6800/jsonrpc", "application/json", body, &answer); err != nil {
		return fmt.Errorf("aria2: %s: %w", method, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, out)
}

// name notes how aria2 calls a torrent.
func (c *aria2) name(t *torrent, gid string) {
	if c.gids == nil {
		c.gids = map[string]string{}
	}
	c.gids[t.hex()] = gid
}

func (c *aria2) add(ctx context.Context, t *torrent, dir string, check bool) error {
	var gid string
	err := c.rpc(ctx, "aria2.addTorrent", &gid, base64.StdEncoding.EncodeToString(t.bytes), []string{},
		map[string]string{"dir": dir, "check-integrity": strconv.FormatBool(check), "seed-ratio": "0.0", "max-upload-limit": strconv.Itoa(c.upLimit)})
	c.name(t, gid)
	return err
}

func (c *aria2) leechMagnet(ctx context.Context, t *torrent, link, dir string) error {
	var gid string
	err := c.rpc(ctx, "aria2.addUri", &gid, []string{link}, map[string]string{"dir": dir, "seed-ratio": "0.0"})
	c.name(t, gid)
	return err
}

func (c *aria2) leech(ctx context.Context, t *torrent, dir string) error {
	return c.add(ctx, t, dir, false)
}

func (c *aria2) seed(ctx context.Context, t *torrent, dir string) error {
	if err := c.add(ctx, t, dir, true); err != nil {
		return err
	}
	if err := waitDone(ctx, c, t, "aria2 seeds"); err != nil {
		return err
	}
	// It listens a moment after it has verified all.
	return netns.Poll(ctx, 20*time.Millisecond, "aria2 listens", func() (bool, error) {
		conn, err := c.host.Dial(ctx, "tcp", peerAddr(c.host, false).String())
		if err == nil {
			conn.Close()
		}
		return err == nil, nil
	})
}

type aria2Status struct {
	Status, Seeder, UploadLength, ErrorMessage string
	FollowedBy                                 []string
}

func (c *aria2) get(ctx context.Context, t *torrent) (s aria2Status, err error) {
	if err := c.process.Alive(); err != nil {
		return s, err
	}
	err = c.rpc(ctx, "aria2.tellStatus", &s, c.gids[t.hex()], []string{"status", "seeder", "uploadLength", "errorMessage", "followedBy"})
	if err == nil && s.Status == "error" {
		err = errors.New("aria2: " + s.ErrorMessage)
	}
	if err == nil && s.Status == "complete" && len(s.FollowedBy) > 0 { // it was the metadata of a link
		c.name(t, s.FollowedBy[0])
		return c.get(ctx, t)
	}
	return s, err
}

func (c *aria2) done(ctx context.Context, t *torrent) (bool, error) {
	s, err := c.get(ctx, t)
	return s.Seeder == "true" || s.Status == "complete", err
}

func (c *aria2) uploaded(ctx context.Context, t *torrent) (int64, error) {
	s, err := c.get(ctx, t)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s.UploadLength, 10, 64)
}

func (c *aria2) stop(context.Context) error {
	_, _ = c.process.Terminate(time.Minute) // its exit code speaks of the downloads
	return nil
}
