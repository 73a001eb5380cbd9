//go:build interop && linux

package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"btd/test/netns"
)

// libtorrent drives python3-libtorrent through libtorrent_driver.py.
type libtorrent struct {
	host    *netns.Host
	process *netns.Process
	in      io.WriteCloser
	answers chan []byte
	lsd     bool // it looks for peers in the local network
	joined
	upLimit int // bytes/s of each torrent added; 0 is unlimited
}

func newLibtorrent(h *netns.Host) program { return &libtorrent{host: h} }

func (c *libtorrent) start(ctx context.Context) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	stdin, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdout.Close()
	settings := map[string]any{
		"listen_interfaces": fmt.Sprintf("%s:%d,[%s]:%d", c.host.IP4, peerPort, c.host.IP6, peerPort),
		"enable_lsd":        c.lsd,
	}
	if c.on {
		settings["enable_dht"], settings["dht_bootstrap_nodes"] = true, ""
		if len(c.nodes) > 0 { // it takes all of them for routers, which it asks for others and does not keep
			settings["dht_bootstrap_nodes"] = c.nodes[0].String()
		}
	}
	b, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	c.process, err = c.host.Start("libtorrent", netns.Command{
		Argv:  []string{"/usr/bin/python3", filepath.Join(wd, "libtorrent_driver.py"), string(b)},
		Stdin: stdin, Stdout: stdout,
	})
	if err != nil {
		return err
	}
	c.in = in
	c.answers = make(chan []byte, 4)
	go func() {
		defer out.Close()
		defer close(c.answers)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.answers <- append([]byte(nil), lines.Bytes()...)
		}
	}()
	return nil
}

// op sends one request and decodes its answer.
func (c *libtorrent) op(ctx context.Context, request map[string]any, out any) error {
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(b, '\n')); err != nil {
		return errors.Join(err, c.process.Alive())
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("libtorrent: no answer to %v", request["op"])
	case line, ok := <-c.answers:
		if !ok {
			<-c.process.Gone
			return c.process.Alive()
		}
		var failure struct{ Error string }
		if err := json.Unmarshal(line, &failure); err != nil {
			return err
		}
		if failure.Error != "" {
			return fmt.Errorf("libtorrent: %v: %s", request["op"], failure.Error)
		}
		return json.Unmarshal(line, out)
	}
}

func (c *libtorrent) leech(ctx context.Context, t *torrent, dir string) error {
	return c.op(ctx, map[string]any{"op": "add", "torrent": t.path, "dir": dir, "up_limit": c.upLimit}, &struct{}{})
}

func (c *libtorrent) leechMagnet(ctx context.Context, _ *torrent, link, dir string) error {
	return c.op(ctx, map[string]any{"op": "add", "magnet": link, "dir": dir}, &struct{}{})
}

// connect has it dial a peer.
func (c *libtorrent) connect(ctx context.Context, t *torrent, addr netip.AddrPort) error {
	return c.op(ctx, map[string]any{"op": "connect", "hash": t.hex(), "ip": addr.Addr().String(), "port": addr.Port()}, &struct{}{})
}

func (c *libtorrent) seed(ctx context.Context, t *torrent, dir string) error {
	if err := c.leech(ctx, t, dir); err != nil {
		return err
	}
	return waitDone(ctx, c, t, "libtorrent seeds")
}

type libtorrentStatus struct {
	State   string
	Seeding bool
	Up      int64
	Down    int64
	Failed  int64
	Peers   int
	Errc    string
}

func (c *libtorrent) status(ctx context.Context, t *torrent) (s libtorrentStatus, err error) {
	err = c.op(ctx, map[string]any{"op": "status", "hash": t.hex()}, &s)
	if err == nil && s.Errc != "" {
		err = errors.New("libtorrent: " + s.Errc)
	}
	return s, err
}

func (c *libtorrent) done(ctx context.Context, t *torrent) (bool, error) {
	s, err := c.status(ctx, t)
	return s.Seeding, err
}

func (c *libtorrent) uploaded(ctx context.Context, t *torrent) (int64, error) {
	s, err := c.status(ctx, t)
	return s.Up, err
}

func (c *libtorrent) stop(ctx context.Context) error {
	err := c.op(ctx, map[string]any{"op": "stop"}, &struct{}{})
	c.in.Close()
	select {
	case <-c.process.Gone:
	case <-time.After(time.Minute):
		c.process.Kill()
	}
	return err
}
