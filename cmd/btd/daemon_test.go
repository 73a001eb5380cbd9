package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"btd/api/client"
)

// TestMain lets the test binary stand in for the daemon.
func TestMain(m *testing.M) {
	if os.Getenv("BTD_TEST_MAIN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// daemon is a btd process of a test.
type daemon struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	socket string
	exited chan error
}

func start(t *testing.T, state string, args ...string) *daemon {
	t.Helper()
	d := &daemon{socket: filepath.Join(state, "s"), exited: make(chan error, 1)}
	d.cmd = exec.Command(os.Args[0], append([]string{
		"--state", state, "--dir", t.TempDir(), "--listen", "127.0.0.1:0", "--api-socket", d.socket, "--dht-bootstrap=",
	}, args...)...)
	d.cmd.Env = append(os.Environ(), "BTD_TEST_MAIN=1")
	d.cmd.Stderr = &d.stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.exited <- d.cmd.Wait() }()
	t.Cleanup(func() { d.cmd.Process.Kill() })
	return d
}

// ready waits until the daemon's API answers.
func (d *daemon) ready(t *testing.T) {
	t.Helper()
	c, err := client.New(client.Config{Address: "unix://" + d.socket})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err = c.Version(t.Context()); err == nil {
			return
		}
		select {
		case end := <-d.exited:
			t.Fatalf("btd ended: %v\n%s", end, d.stderr.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no API: %v\n%s", err, d.stderr.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// wait is the exit status of the daemon.
func (d *daemon) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case err := <-d.exited:
		var e *exec.ExitError
		if errors.As(err, &e) {
			return e.ExitCode()
		}
		return 0
	case <-time.After(limit):
		t.Fatalf("btd still runs after %s\n%s", limit, d.stderr.String())
		return -1
	}
}

// shortDir is a directory whose path leaves room for a unix socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "btd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestStopOnSignal(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		d := start(t, shortDir(t))
		d.ready(t)
		if err := d.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if code := d.wait(t, 10*time.Second); code != 0 {
			t.Errorf("exit status %d after %v\n%s", code, sig, d.stderr.String())
		}
		if _, err := os.Stat(d.socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
}

func TestOneDaemonPerState(t *testing.T) {
	state := shortDir(t)
	d := start(t, state)
	d.ready(t)
	second := start(t, state, "--api-socket", filepath.Join(state, "other"))
	if code := second.wait(t, 10*time.Second); code != 1 {
		t.Errorf("exit status %d of the second daemon, want 1", code)
	}
	if !strings.Contains(second.stderr.String(), "another btd") {
		t.Errorf("the second daemon says %q", second.stderr.String())
	}
}

func TestExitStatusOfWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"--no-such-flag"}, {"--log-level", "loud"}, {"--ratio", "x"}} {
		d := start(t, shortDir(t), args...)
		if code := d.wait(t, 10*time.Second); code != 2 {
			t.Errorf("exit status %d of btd %v, want 2\n%s", code, args, d.stderr.String())
		}
	}
}

func TestUnreadableResumeDatabase(t *testing.T) {
	state := shortDir(t)
	path := filepath.Join(state, "resume.db")
	if err := os.WriteFile(path, []byte("this is not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, state)
	if code := d.wait(t, 10*time.Second); code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	if !strings.Contains(d.stderr.String(), path) {
		t.Errorf("the message does not name the file: %s", d.stderr.String())
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "this is not a database" {
		t.Errorf("the file was changed: %q %v", b, err)
	}
}

func TestDemo(t *testing.T) { runDemo(t) }

func TestDemoWithSecret(t *testing.T) { runDemo(t, "--secret") }

func TestDemoWithoutTracker(t *testing.T) { runDemo(t, "--trackerless") }

func runDemo(t *testing.T, more ...string) {
	var out bytes.Buffer
	cmd := newCommand(func(string) (string, bool) { return "", false })
	cmd.SetArgs(append([]string{"demo", "--size", "24MiB", "--seed-rate", "8MiB"}, more...))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if n := strings.Count(out.String(), "every byte is right"); n != demoDownloaders {
		t.Errorf("%d downloads are said to be right, want %d:\n%s", n, demoDownloaders, out.String())
	}
}
