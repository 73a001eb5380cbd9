//go:build interop && linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// btdKind is the program under test.
var btdKind = kind{name: "btd", make: func(h *netns.Host) program { return newBtd(h) }}

// executable builds btd once for all tests, with the race detector where
// INTEROP_RACE is set (the log of a failed test then shows the races).
var executable = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "btd")
	if err := netns.Build(path, "btd/cmd/btd", os.Getenv("INTEROP_RACE") != ""); err != nil {
		return "", err
	}
	return path, nil
})

// control builds btctl, once for all tests.
var control = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "btctl")
	return path, netns.Build(path, "btd/cmd/btctl", false)
})

// btd drives the daemon through its API on the unix socket. It keeps its
// state over a stop, a kill and a start.
type btd struct {
	host    *netns.Host
	process *netns.Process
	api     *client.Client
	more    []string // flags beside the usual ones
	joined
}

func newBtd(h *netns.Host) *btd { return &btd{host: h} }

func (c *btd) state() string  { return filepath.Join(c.host.Dir, "state") }
func (c *btd) socket() string { return filepath.Join(c.host.Dir, "api.sock") }

// launch starts the process and does not wait for anything.
func (c *btd) launch() error {
	path, err := executable()
	if err != nil {
		return err
	}
	config, err := c.host.Write("btd.toml", "")
	if err != nil {
		return err
	}
	level := "info"
	if os.Getenv("INTEROP_DEBUG") != "" {
		level = "debug"
	}
	c.process, err = c.host.Start("btd", netns.Command{Argv: append([]string{
		path, "--config", config, "--state", c.state(), "--dir", filepath.Join(c.host.Dir, "default"),
		"--listen", fmt.Sprintf(":%d", peerPort), "--api-socket", c.socket(), "--log-level", level, "--dht-bootstrap=" + c.list(), "--lsd=false",
	}, c.more...), Env: []string{"GORACE=halt_on_error=1"}})
	if err != nil {
		return err
	}
	if c.api != nil {
		c.api.Close()
	}
	c.api, err = client.New(client.Config{Address: c.socket()})
	return err
}

func (c *btd) start(ctx context.Context) error {
	if err := c.launch(); err != nil {
		return err
	}
	return netns.Up(ctx, c.process, func() error {
		_, err := c.api.Version(ctx)
		return err
	})
}

func (c *btd) leech(ctx context.Context, t *torrent, dir string) error {
	return c.add(ctx, t, client.AddRequest{Dir: dir})
}

func (c *btd) leechMagnet(ctx context.Context, _ *torrent, link, dir string) error {
	_, err := c.api.Add(ctx, client.AddRequest{Magnet: link, Dir: dir})
	return err
}

func (c *btd) add(ctx context.Context, t *torrent, req client.AddRequest) error {
	req.Torrent = t.bytes
	got, err := c.api.Add(ctx, req)
	if err == nil && got.Torrent.ID != t.hex() {
		err = fmt.Errorf("btd added %s, want %s", got.Torrent.ID, t.hex())
	}
	return err
}

func (c *btd) seed(ctx context.Context, t *torrent, dir string) error {
	if err := c.leech(ctx, t, dir); err != nil {
		return err
	}
	return waitDone(ctx, c, t, "btd seeds")
}

func (c *btd) torrent(ctx context.Context, t *torrent) (client.Torrent, error) {
	if err := c.process.Alive(); err != nil {
		return client.Torrent{}, err
	}
	got, err := c.api.Torrent(ctx, t.hex())
	if err == nil && got.State == client.StateError {
		err = errors.New("btd: " + got.Error)
	}
	return got, err
}

func (c *btd) done(ctx context.Context, t *torrent) (bool, error) {
	got, err := c.torrent(ctx, t)
	return got.State == client.StateSeeding && got.PiecesHave == got.Pieces && got.Pieces > 0, err
}

func (c *btd) uploaded(ctx context.Context, t *torrent) (int64, error) {
	got, err := c.torrent(ctx, t)
	return got.Uploaded, err
}

// stop ends btd as a service manager does. It must be gone successfully, which
// it is not if that takes it 10 s.
func (c *btd) stop(context.Context) error {
	c.api.Close()
	_, err := c.process.Terminate(time.Minute)
	return err
}

// have is the set of pieces that btd says it has, as one bool per piece.
func (c *btd) have(ctx context.Context, t *torrent) ([]bool, error) {
	got, err := c.api.Pieces(ctx, t.hex())
	if err != nil {
		return nil, err
	}
	if got.Count != len(t.hashes) || len(got.Have) != (got.Count+7)/8 {
		return nil, fmt.Errorf("btd speaks of %d pieces in %d bytes, the torrent has %d", got.Count, len(got.Have), len(t.hashes))
	}
	return unpack(got.Have, got.Count), nil
}

// unpack makes bools of a bitfield as BEP 3 sends it.
func unpack(b []byte, n int) []bool {
	set := make([]bool, n)
	for i := range set {
		set[i] = b[i/8]&(0x80>>(i%8)) != 0
	}
	return set
}

func count(set []bool) (n int) {
	for _, on := range set {
		if on {
			n++
		}
	}
	return n
}

// ctl runs btctl and returns what it prints.
func (c *btd) ctl(ctx context.Context, args ...string) (string, error) {
	path, err := control()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--api", c.socket()}, args...)...)
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("btctl %s: %w: %s", strings.Join(args, " "), err, problem.String())
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// describe shows what btd knows, for a test that failed.
func (c *btd) describe(t testing.TB, tor *torrent) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if c.process.Alive() != nil || c.api == nil {
		return
	}
	if got, err := c.api.Torrent(ctx, tor.hex()); err == nil {
		t.Logf("btd: %+v", got)
	}
	if got, err := c.api.Trackers(ctx, tor.hex()); err == nil {
		for _, tr := range got {
			t.Logf("btd's tracker: %+v", tr)
		}
	}
	if got, err := c.api.Peers(ctx, tor.hex()); err == nil {
		for _, p := range got {
			t.Logf("btd's peer: %+v", p)
		}
	}
	if got, err := c.api.Stats(ctx); err == nil {
		t.Logf("btd's counters: %+v", got.Counters)
	}
	if got, err := c.api.DHTStats(ctx); err == nil {
		t.Logf("btd's DHT: %+v, IPv4 %+v, IPv6 %+v", got, got.IPv4, got.IPv6)
	}
}
