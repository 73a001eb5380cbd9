//go:build interop && linux

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"btd/test/netns"
)

// qBittorrent drives qbittorrent-nox over its Web API.
type qBittorrent struct {
	host    *netns.Host
	process *netns.Process
	http    *http.Client
	joined  // it begins with hosts that it has built in, and with nobody else
}

const qBittorrentAPI = "http://127.0.0.1:8080/api/v2"

func newQBittorrent(h *netns.Host) program { return &qBittorrent{host: h, http: h.HTTP()} }

func (c *qBittorrent) start(ctx context.Context) error {
	_, err := c.host.Write("qBittorrent/config/qBittorrent.conf", strings.Join([]string{
		"[LegalNotice]", "Accepted=true",
		"[BitTorrent]",
		fmt.Sprintf(`Session\DHTEnabled=%t`, c.on), `Session\LSDEnabled=false`, `Session\PeXEnabled=false`,
		`Session\QueueingSystemEnabled=false`, `Session\SSRFMitigation=false`,
		fmt.Sprintf(`Session\Port=%d`, peerPort), `Session\DefaultSavePath=` + c.host.Dir,
		`Session\AnnounceToAllTrackers=true`,
		"[Network]", "PortForwardingEnabled=false",
		"[Preferences]",
		`Connection\UPnP=false`, `WebUI\Address=127.0.0.1`, `WebUI\Port=8080`, `WebUI\LocalHostAuth=false`,
		`WebUI\CSRFProtection=false`, `WebUI\HostHeaderValidation=false`, `WebUI\UseUPnP=false`, "",
	}, "\n"))
	if err != nil {
		return err
	}
	c.process, err = c.host.Start("qbittorrent", netns.Command{Argv: []string{"qbittorrent-nox", "--profile=" + c.host.Dir}})
	if err != nil {
		return err
	}
	return netns.Up(ctx, c.process, func() error {
		return call(ctx, c.http, "GET", qBittorrentAPI+"/app/version", "", nil, nil)
	})
}

func (c *qBittorrent) leech(ctx context.Context, t *torrent, dir string) error {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for k, v := range map[string]string{"savepath": dir, "autoTMM": "false", "paused": "false", "contentLayout": "Original"} {
		if err := form.WriteField(k, v); err != nil {
			return err
		}
	}
	w, err := form.CreateFormFile("torrents", "a.torrent")
	if err != nil {
		return err
	}
	_, _ = w.Write(t.bytes)
	if err := form.Close(); err != nil {
		return err
	}
	return call(ctx, c.http, "POST", qBittorrentAPI+"/torrents/add", form.FormDataContentType(), body.Bytes(), nil)
}

func (c *qBittorrent) leechMagnet(ctx context.Context, _ *torrent, link, dir string) error {
	form := url.Values{"urls": {link}, "savepath": {dir}, "autoTMM": {"false"}, "paused": {"false"}, "contentLayout": {"Original"}}
	return call(ctx, c.http, "POST", qBittorrentAPI+"/torrents/add", "application/x-www-form-urlencoded", []byte(form.Encode()), nil)
}

func (c *qBittorrent) seed(ctx context.Context, t *torrent, dir string) error {
	if err := c.leech(ctx, t, dir); err != nil {
		return err
	}
	return waitDone(ctx, c, t, "qbittorrent seeds")
}

type qBittorrentTorrent struct {
	Progress float64
	State    string
	Uploaded int64
}

// get is the torrent, or nil while it is being added.
func (c *qBittorrent) get(ctx context.Context, t *torrent) (*qBittorrentTorrent, error) {
	if err := c.process.Alive(); err != nil {
		return nil, err
	}
	var out []qBittorrentTorrent
	if err := call(ctx, c.http, "GET", qBittorrentAPI+"/torrents/info?hashes="+t.hex(), "", nil, &out); err != nil {
		return nil, fmt.Errorf("qbittorrent: %w", err)
	}
	if len(out) == 0 {
		return nil, nil
	}
	if s := out[0].State; s == "error" || s == "missingFiles" {
		return nil, errors.New("qbittorrent: state " + s)
	}
	return &out[0], nil
}

func (c *qBittorrent) done(ctx context.Context, t *torrent) (bool, error) {
	got, err := c.get(ctx, t)
	if err != nil || got == nil {
		return false, err
	}
	seeding := got.State == "uploading" || got.State == "stalledUP" || got.State == "forcedUP"
	return seeding && got.Progress == 1, nil
}

func (c *qBittorrent) uploaded(ctx context.Context, t *torrent) (int64, error) {
	got, err := c.get(ctx, t)
	if err != nil || got == nil {
		return 0, err
	}
	return got.Uploaded, nil
}

func (c *qBittorrent) stop(context.Context) error {
	_, err := c.process.Terminate(time.Minute)
	return err
}
