//go:build lan && linux

package lan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// machine is a host with a daemon as a person would start it: no flags, no
// configuration file.
type machine struct {
	*netns.Host
	daemon *netns.Process
	api    *client.Client
}

func (m *machine) state() string     { return filepath.Join(m.Dir, ".local/state/btd") }
func (m *machine) downloads() string { return filepath.Join(m.Dir, "Downloads") }

// start runs `btd` and waits until it answers.
func start(ctx context.Context, h *netns.Host, flags ...string) (*machine, error) {
	m := &machine{Host: h}
	if os.Getenv("LAN_DEBUG") != "" {
		flags = append(flags, "--log-level", "debug")
	}
	return m, m.run(ctx, append([]string{filepath.Join(scratch, "btd")}, flags...))
}

// run starts the daemon by a command line.
func (m *machine) run(ctx context.Context, argv []string) error {
	var err error
	if m.daemon, err = m.Start("btd", netns.Command{Argv: argv, Env: []string{"GORACE=halt_on_error=1"}}); err != nil {
		return err
	}
	if m.api, err = client.New(client.Config{Address: filepath.Join(m.state(), "btd.sock")}); err != nil {
		return err
	}
	return netns.Up(ctx, m.daemon, func() error {
		_, err := m.api.Version(ctx)
		return err
	})
}

// btctl runs btctl on the host and returns what it prints.
func (m *machine) btctl(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	p, err := m.Start("btctl", netns.Command{Argv: append([]string{filepath.Join(scratch, "btctl")}, args...), Stdout: &out})
	if err != nil {
		return "", err
	}
	if err := p.Wait(ctx); err != nil {
		return out.String(), fmt.Errorf("btctl %s: %w: %s", args[0], err, p.Tail(1000))
	}
	return out.String(), nil
}

// says tells whether a line of the daemon's log has all of the words.
func (m *machine) says(words ...string) (bool, error) {
	log, err := os.ReadFile(m.daemon.Log)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(log)) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true, nil
		}
	}
	return false, m.daemon.Alive()
}

// cpu is the processor time that the daemon has used, in seconds.
func (m *machine) cpu() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.daemon.Pid()))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), ") ")
	var user, sys int64
	var skip string
	if _, err := fmt.Sscan(after, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &sys); err != nil {
		return 0
	}
	return float64(user+sys) / 100
}

// content writes n bytes of random content in a few files of odd sizes to
// dir/name.
func content(dir, name string, n int64, seed byte) (string, error) {
	root := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Join(root, "more"), 0o755); err != nil {
		return "", err
	}
	rng := rand.NewChaCha8([32]byte{seed})
	small := n/7 + 12345
	for _, f := range []struct {
		path string
		size int64
	}{{"empty", 0}, {"disk-image.bin", n - small - 6}, {"more/second file.dat", small}, {"more/tiny.txt", 6}} {
		w, err := os.Create(filepath.Join(root, f.path))
		if err != nil {
			return "", err
		}
		if _, err := io.CopyN(w, rng, f.size); err != nil {
			return "", err
		}
		// As if nobody had touched it for an hour: what is written while it is shared is hashed twice.
		old := time.Now().Add(-time.Hour)
		if err := errors.Join(w.Close(), os.Chtimes(w.Name(), old, old)); err != nil {
			return "", err
		}
	}
	return root, nil
}

// same says how the tree at got differs from the one at want.
func same(want, got string) error {
	return filepath.WalkDir(want, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(want, path)
		return netns.SameFile(path, filepath.Join(got, rel))
	})
}

// startSmall is start on a host whose download directory is a disk of its own
// of the given size: the daemon has a mount namespace for it.
func startSmall(ctx context.Context, h *netns.Host, size int64) (*machine, error) {
	m := &machine{Host: h}
	if err := os.MkdirAll(m.downloads(), 0o755); err != nil {
		return nil, err
	}
	script := fmt.Sprintf(`mount -t tmpfs -o size=%d tmpfs "$1" && exec "$2"`, size)
	return m, m.run(ctx, []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", m.downloads(), filepath.Join(scratch, "btd")})
}
