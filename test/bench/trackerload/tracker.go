//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"btd/api/client"
	"btd/test/bench/gauge"
)

const host = "127.0.0.1" // where the trackers listen

// tracker is a process under measurement.
type tracker struct {
	cmd     *exec.Cmd
	exit    chan struct{} // closed when it has ended
	port    int
	socket  string // of btd's API
	version string
}

// start starts a tracker and waits until it listens.
func start(o *options, name, dir string) (*tracker, error) {
	ln, err := net.Listen("tcp4", host+":0")
	if err != nil {
		return nil, err
	}
	t := &tracker{port: ln.Addr().(*net.TCPAddr).Port, exit: make(chan struct{})}
	ln.Close()
	at := net.JoinHostPort(host, strconv.Itoa(t.port))
	switch name {
	case "btd":
		t.socket = filepath.Join(dir, "s")
		none := filepath.Join(dir, "none.toml")
		if err := os.WriteFile(none, nil, 0o644); err != nil {
			return nil, err
		}
		t.cmd = exec.Command(o.btd, "--config", none, "--state", filepath.Join(dir, "state"), "--dir", dir, "--listen", host+":0",
			"--api-socket", t.socket, "--log-level", "warn", "--dht=false",
			"--tracker-enabled", "--tracker-open", "--tracker-listen", at)
		out, _ := exec.Command(o.btd, "version").Output()
		t.version = strings.TrimSpace(string(out))
	case "opentracker":
		// Debian's serves what is on a list; it gives up root, and has to read its directory then.
		var list bytes.Buffer
		for i := range o.load.torrents {
			h := hashOf(i)
			fmt.Fprintln(&list, strings.ToUpper(hex.EncodeToString(h[:])))
		}
		file := filepath.Join(dir, "list")
		if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file, list.Bytes(), 0o644)); err != nil {
			return nil, err
		}
		port := strconv.Itoa(t.port)
		t.cmd = exec.Command(o.opentracker, "-i", host, "-p", port, "-P", port, "-w", "list", "-d", dir)
		t.cmd.Dir = dir // which it sees as the root, or not, as it may
		out, _ := exec.Command("dpkg-query", "-W", "-f", "${Version}", "opentracker").Output()
		t.version = string(out)
	default:
		return nil, fmt.Errorf("there is no tracker %q", name)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	t.cmd.Stdout, t.cmd.Stderr = log, log
	t.cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = t.cmd.Wait(); close(t.exit) }()
	if err := t.ready(at, hashOf(o.load.torrents-1)); err != nil {
		t.stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s does not work: %w\n%s", name, err, text)
	}
	return t, nil
}

// ready waits until the last torrent of all is tracked: opentracker reads its
// list while it serves already.
func (t *tracker) ready(at string, last [20]byte) error {
	u := "http://" + at + "/announce?peer_id=-LD0001-abcdefghijkl&port=1&left=1&info_hash=" + url.QueryEscape(string(last[:]))
	u = strings.ReplaceAll(u, "+", "%20") // which opentracker takes for a plus
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		body, err := fetch(http.DefaultClient, u)
		if err == nil && strings.Contains(body, "5:peers") {
			return nil
		}
		select {
		case <-t.exit:
			return errors.New("it has ended")
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it answers %.200q (%w)", body, err)
		}
	}
}

func fetch(c *http.Client, u string) (string, error) {
	resp, err := c.Get(u)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(b), err
}

// held is what btd says of its tracker.
func (t *tracker) held(r result) error {
	if t.socket == "" {
		return nil
	}
	c, err := client.New(client.Config{Address: t.socket})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.TrackerServer(context.Background())
	r["held_peers"], r["held_torrents"], r["held_mib"] = s.Peers, s.Torrents, float64(s.Memory)/(1<<20)
	return err
}

func (t *tracker) stop() {
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-t.exit:
	case <-time.After(10 * time.Second):
		_ = t.cmd.Process.Kill()
		<-t.exit
	}
}

// rss is the resident memory in MiB, and peak the most that it was.
func (t *tracker) rss() (float64, error)  { return t.memory("VmRSS") }
func (t *tracker) peak() (float64, error) { return t.memory("VmHWM") }

func (t *tracker) memory(line string) (float64, error) {
	kib, ok := gauge.Status(t.cmd.Process.Pid)[line]
	if !ok {
		return 0, fmt.Errorf("no %s in its status", line)
	}
	return float64(kib) / 1024, nil
}

// cpu is the CPU time that it used, in seconds.
func (t *tracker) cpu() (float64, error) { return gauge.CPU(t.cmd.Process.Pid) }
