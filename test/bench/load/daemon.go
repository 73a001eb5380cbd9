package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"btd/api/client"
)

const peerIP = "127.0.0.10" // the daemon's address

// daemon is a btd under measurement.
type daemon struct {
	cmd  *exec.Cmd
	exit chan struct{} // closed when the process has ended
	addr string        // for peers
	sock string
	http *http.Client
	api  *client.Client
	up   time.Duration // from exec to the first answer of the API
}

// startDaemon starts btd and waits for its API. work keeps its state from one
// start to the next.
func startDaemon(ctx context.Context, o *options) (*daemon, error) {
	sock := filepath.Join(o.work, "s")
	if len(sock) > 100 {
		return nil, fmt.Errorf("the path %s is too long for a unix socket", sock)
	}
	none := filepath.Join(o.work, "none.toml")
	if err := os.WriteFile(none, nil, 0o644); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(o.work, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d := &daemon{exit: make(chan struct{}), sock: sock, http: overUnix(sock)}
	args := []string{
		"--state", filepath.Join(o.work, "state"), "--dir", o.scratch, "--config", none,
		"--listen", peerIP + ":0", "--api-socket", sock, "--log-level", "warn",
	}
	if o.boot != "" {
		args = append(args, "--dht-bootstrap", o.boot)
	}
	d.cmd = o.command(o.btd, args...)
	d.cmd.Env = []string{"HOME=" + o.work, "PATH=" + os.Getenv("PATH")}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if d.api, err = client.New(client.Config{Address: sock, Timeout: time.Minute}); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	go func() { d.cmd.Wait(); close(d.exit) }()
	err = until(ctx, time.Minute, 2*time.Millisecond, "the API answers", func() (bool, error) {
		select {
		case <-d.exit:
			return false, fmt.Errorf("the daemon ended: %s", tail(log.Name()))
		default:
		}
		_, err := d.get(ctx, client.VersionPath)
		return err == nil, nil
	})
	d.up = time.Since(began)
	if err == nil {
		var st client.Stats
		if st, err = d.api.Stats(ctx); err == nil {
			d.addr = fmt.Sprintf("%s:%d", peerIP, st.ListenPort)
			return d, nil
		}
	}
	d.stop()
	return nil, err
}

func overUnix(path string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 256, DisableCompression: true, ReadBufferSize: 256 << 10,
	}}
}

// get asks for a path and throws the answer away; n is its size.
func (d *daemon) get(ctx context.Context, path string) (n int64, err error) {
	return d.send(ctx, http.MethodGet, path, "")
}

func (d *daemon) send(ctx context.Context, method, path, body string) (n int64, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://btd"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return n, err
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// stop asks the daemon to end and waits for that.
func (d *daemon) stop() time.Duration {
	began := time.Now()
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exit:
	case <-time.After(30 * time.Second):
		d.cmd.Process.Kill()
		<-d.exit
	}
	d.http.CloseIdleConnections()
	d.api.Close()
	return time.Since(began)
}

// seeding waits until n torrents are being seeded.
func (d *daemon) seeding(ctx context.Context, n int, limit time.Duration) error {
	told := time.Now()
	return until(ctx, limit, 10*time.Millisecond, "every torrent is seeding", func() (bool, error) {
		st, err := d.api.Stats(ctx)
		if err != nil {
			return false, err
		}
		if bad := st.Torrents[client.StateError]; bad > 0 {
			return false, fmt.Errorf("%d torrents are in error", bad)
		}
		if time.Since(told) > 20*time.Second {
			told = time.Now()
			say("%d of %d are seeding", st.Torrents[client.StateSeeding], n)
		}
		return st.Torrents[client.StateSeeding] == n, nil
	})
}

// until asks again and again whether something is so. Where the answer takes
// long, it asks less often, so as not to measure its own questions.
func until(ctx context.Context, limit, step time.Duration, what string, is func() (bool, error)) error {
	end := time.Now().Add(limit)
	for {
		asked := time.Now()
		ok, err := is()
		switch {
		case ok:
			return nil
		case err != nil:
			return fmt.Errorf("until %s: %w", what, err)
		case time.Now().After(end):
			return fmt.Errorf("not within %v: %s", limit, what)
		}
		if err := pause(ctx, max(step, 20*time.Since(asked))); err != nil {
			return err
		}
	}
}

// pause sleeps unless somebody wants to end.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errors.New("interrupted")
	case <-timer.C:
		return nil
	}
}

// tail is the end of a log.
func tail(path string) string {
	b, _ := os.ReadFile(path)
	return string(b[max(0, len(b)-600):])
}
