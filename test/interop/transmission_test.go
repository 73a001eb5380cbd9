//go:build interop && linux

package interop

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/anacrolix/torrent/bencode"

	"btd/test/netns"
)

// transmission drives transmission-daemon over its RPC. It decides interest
// and who is unchoked on a timer of 10 s.
type transmission struct {
	host    *netns.Host
	process *netns.Process
	lsd     bool // it looks for peers in the local network
	joined
	session string // the X-Transmission-Session-Id that the daemon wants to see
}

func newTransmission(h *netns.Host) program {
	c := &transmission{host: h}
	h.Lab.T.Cleanup(func() {
		c.process.Kill()
		if c.session != "" { // a lock that it leaves in /tmp when it is killed
			_ = os.Remove("/tmp/tr_session_id_" + filepath.Base(c.session))
		}
	})
	return c
}

func (c *transmission) start(ctx context.Context) error {
	settings, err := json.MarshalIndent(map[string]any{
		"dht-enabled": c.on, "lpd-enabled": c.lsd, "pex-enabled": false,
		"utp-enabled":             false, // with it, 3.00 opens TCP after uTP did not work, closes that at once, and tries again after minutes
		"port-forwarding-enabled": false, "peer-port": peerPort, "peer-port-random-on-start": false,
		"rpc-enabled": true, "rpc-bind-address": "127.0.0.1", "rpc-port": 9091, "rpc-authentication-required": false,
		"rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false, "scrape-paused-torrents-enabled": false,
		"download-dir": c.host.Dir, "incomplete-dir-enabled": false, "message-level": 2,
	}, "", "  ")
	if err != nil {
		return err
	}
	path, err := c.host.Write("config/settings.json", string(settings))
	if err != nil {
		return err
	}
	if len(c.nodes) > 0 {
		if _, err := c.host.Write("config/dht.dat", c.oldNodes()); err != nil {
			return err
		}
	}
	c.process, err = c.host.Start("transmission", netns.Command{
		Argv: []string{"transmission-daemon", "--foreground", "--config-dir", filepath.Dir(path)},
	})
	if err != nil {
		return err
	}
	return netns.Up(ctx, c.process, func() error { return c.rpc(ctx, "session-get", map[string]any{}, nil) })
}

// oldNodes is the file with the nodes of an earlier run. It pings eight of them
// within 16 s; those of its file dht.bootstrap take twice as long.
func (c *transmission) oldNodes() string {
	var nodes []byte
	for _, n := range c.nodes {
		nodes = binary.BigEndian.AppendUint16(append(nodes, n.Addr().AsSlice()...), n.Port())
	}
	id := sha1.Sum([]byte(c.host.IP4.String()))
	return string(bencode.MustMarshal(map[string]any{"id": id[:], "nodes": nodes}))
}

func (c *transmission) rpc(ctx context.Context, method string, args map[string]any, out any) error {
	body, err := json.Marshal(map[string]any{"method": method, "arguments": args})
	if err != nil {
		return err
	}
	var answer struct {
		Result    string
		Arguments json.RawMessage
	}
	for range 2 {
		var req *http.Request
		req, err = http.NewRequestWithContext(ctx, "POST", "http://127.0.0.1:9091/transmission/rpc", strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		req.Header.Set("X-Transmission-Session-Id", c.session)
		var resp *http.Response
		resp, err = c.host.HTTP().Do(req)
		if err != nil {
			return err
		}
		raw, rerr := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusConflict {
			c.session = resp.Header.Get("X-Transmission-Session-Id")
			err = errors.New("transmission: 409 twice")
			continue
		}
		if err = errors.Join(rerr, json.Unmarshal(raw, &answer)); err != nil {
			return fmt.Errorf("transmission: %s: %w", method, err)
		}
		break
	}
	switch {
	case err != nil:
		return err
	case answer.Result != "success":
		return fmt.Errorf("transmission: %s: %s", method, answer.Result)
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer.Arguments, out)
}

func (c *transmission) leech(ctx context.Context, t *torrent, dir string) error {
	return c.rpc(ctx, "torrent-add", map[string]any{
		"metainfo": base64.StdEncoding.EncodeToString(t.bytes), "download-dir": dir, "paused": false,
	}, nil)
}

func (c *transmission) leechMagnet(ctx context.Context, _ *torrent, link, dir string) error {
	return c.rpc(ctx, "torrent-add", map[string]any{"filename": link, "download-dir": dir, "paused": false}, nil)
}

func (c *transmission) seed(ctx context.Context, t *torrent, dir string) error {
	if err := c.leech(ctx, t, dir); err != nil {
		return err
	}
	return waitDone(ctx, c, t, "transmission seeds")
}

type transmissionTorrent struct {
	LeftUntilDone, UploadedEver, SizeWhenDone int64
	Status, Error                             int
	ErrorString                               string
}

func (c *transmission) get(ctx context.Context, t *torrent) (transmissionTorrent, error) {
	if err := c.process.Alive(); err != nil {
		return transmissionTorrent{}, err
	}
	var out struct{ Torrents []transmissionTorrent }
	err := c.rpc(ctx, "torrent-get", map[string]any{
		"ids": []string{t.hex()}, "fields": []string{"leftUntilDone", "uploadedEver", "sizeWhenDone", "status", "error", "errorString"},
	}, &out)
	if err != nil {
		return transmissionTorrent{}, err
	}
	if len(out.Torrents) != 1 {
		return transmissionTorrent{}, errors.New("transmission: the torrent is not there")
	}
	if got := out.Torrents[0]; got.Error == 3 { // TR_STAT_LOCAL_ERROR
		return got, errors.New("transmission: " + got.ErrorString)
	}
	return out.Torrents[0], nil
}

func (c *transmission) done(ctx context.Context, t *torrent) (bool, error) {
	got, err := c.get(ctx, t)
	seeding := got.Status == 5 || got.Status == 6
	return seeding && got.LeftUntilDone == 0, err
}

func (c *transmission) uploaded(ctx context.Context, t *torrent) (int64, error) {
	got, err := c.get(ctx, t)
	return got.UploadedEver, err
}

func (c *transmission) stop(context.Context) error {
	_, err := c.process.Terminate(time.Minute)
	return err
}
