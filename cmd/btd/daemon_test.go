package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

// patience is how long a test waits for what must come, on a busy machine.
const patience = time.Minute

// daemon is a btd process of a test.
type daemon struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	socket string
	exited chan struct{} // closed when it has ended
	end    error         // how; after exited
}

func start(t *testing.T, state string, args ...string) *daemon {
	t.Helper()
	return startAs(t, state, func(*exec.Cmd) {}, args...)
}

// startAs starts a daemon whose process edit has the last word about.
func startAs(t *testing.T, state string, edit func(*exec.Cmd), args ...string) *daemon {
	t.Helper()
	d := &daemon{socket: filepath.Join(state, "s"), exited: make(chan struct{})}
	d.cmd = exec.Command(os.Args[0], append([]string{
		"--state", state, "--dir", t.TempDir(), "--listen", "127.0.0.1:0", "--api-socket", d.socket, "--dht-bootstrap=",
	}, args...)...)
	d.cmd.Env = append(os.Environ(), "BTD_TEST_MAIN=1")
	d.cmd.Stderr = &d.stderr
	edit(d.cmd)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.exited)
		d.end = d.cmd.Wait()
	}()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.exited // it writes no more into what is removed next
	})
	return d
}

// ready waits until the daemon's API answers.
func (d *daemon) ready(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Address: "unix://" + d.socket, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	deadline := time.Now().Add(patience)
	for {
		if _, err = c.Version(t.Context()); err == nil {
			return c
		}
		select {
		case <-d.exited:
			t.Fatalf("btd ended: %v\n%s", d.end, d.stderr.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no API: %v\n%s", err, d.said())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// said is what the daemon wrote to stderr, which ends with this.
func (d *daemon) said() string {
	d.cmd.Process.Kill()
	<-d.exited
	return d.stderr.String()
}

// wait is the exit status of the daemon.
func (d *daemon) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.exited:
		var e *exec.ExitError
		if errors.As(d.end, &e) {
			return e.ExitCode()
		}
		return 0
	case <-time.After(patience):
		t.Fatalf("btd still runs after %s\n%s", patience, d.said())
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
		if code := d.wait(t); code != 0 {
			t.Errorf("exit status %d after %v\n%s", code, sig, d.stderr.String())
		}
		if _, err := os.Stat(d.socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
}

// TestStopWhenNobodyReads: a pipe whose reader has gone, as after
// btd 2>&1 | tee log and ctrl-C, is no reason to end without a clean stop.
func TestStopWhenNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := startAs(t, shortDir(t), func(c *exec.Cmd) { c.Stderr = w })
	w.Close()
	d.ready(t)
	r.Close()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := d.wait(t); code != 0 {
		t.Errorf("exit status %d: %v", code, d.end)
	}
	if _, err := os.Stat(d.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestStopOnHangup closes the terminal: the signal may come more than once.
func TestStopOnHangup(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("this test runs under nohup, and so would btd")
	}
	d := start(t, shortDir(t))
	d.ready(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		select {
		case <-d.exited:
			until = time.Time{}
		case <-tick.C:
		}
	}
	if code := d.wait(t); code != 0 {
		t.Errorf("exit status %d: %v\n%s", code, d.end, d.stderr.String())
	}
	if _, err := os.Stat(d.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestOneDaemonPerState(t *testing.T) {
	state := shortDir(t)
	d := start(t, state)
	d.ready(t)
	second := start(t, state, "--api-socket", filepath.Join(state, "other"))
	if code := second.wait(t); code != 1 {
		t.Errorf("exit status %d of the second daemon, want 1", code)
	}
	if !strings.Contains(second.stderr.String(), "another btd") {
		t.Errorf("the second daemon says %q", second.stderr.String())
	}
}

func TestExitStatusOfWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"--no-such-flag"}, {"--log-level", "loud"}, {"--ratio", "x"}} {
		d := start(t, shortDir(t), args...)
		if code := d.wait(t); code != 2 {
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
	if code := d.wait(t); code != 1 {
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

// lockedBuffer is what the demo writes to, and the daemons' logs, each from its own
// goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func runDemo(t *testing.T, more ...string) {
	var out lockedBuffer
	cmd := newCommand(func(string) (string, bool) { return "", false })
	cmd.SetArgs(append([]string{"demo", "--size", "24MiB", "--seed-rate", "8MiB"}, more...))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	_, sent, _ := strings.Cut(out.String(), "the seed sent ")
	sent, _, _ = strings.Cut(sent, " x the content")
	if n, err := strconv.ParseFloat(sent, 64); err != nil || n < 1 {
		t.Errorf("the seed, which all bytes came from, is said to have sent %q:\n%s", sent, out.String())
	}
	if n := strings.Count(out.String(), "every byte is right"); n != demoDownloaders {
		t.Errorf("%d downloads are said to be right, want %d:\n%s", n, demoDownloaders, out.String())
	}
}
