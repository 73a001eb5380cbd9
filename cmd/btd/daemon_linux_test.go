package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"btd/api/client"
	"btd/metainfo"
	"btd/metainfo/create"
	"btd/session"
	"btd/storage/resume"
)

// TestHangupStaysIgnored: under nohup the daemon outlives its terminal.
func TestHangupStaysIgnored(t *testing.T) {
	d := startAs(t, shortDir(t), func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	})
	d.ready(t)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, ignored, _ := strings.Cut(string(b), "SigIgn:")
	ignored, _, _ = strings.Cut(ignored, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(ignored), 16, 64)
	if err != nil {
		t.Fatalf("signals that are ignored: %v\n%s", err, b)
	}
	if mask&(1<<(syscall.SIGHUP-1)) == 0 {
		t.Errorf("SIGHUP is not ignored: %x", mask)
	}
}

// TestLogThatNobodyReads: a daemon whose stderr takes no bytes any more does all
// its work, stops on a signal, and has recorded what it got.
func TestLogThatNobodyReads(t *testing.T) {
	seed, file := seedOf(t, 1<<20)
	m, err := metainfo.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() // not before the daemon has ended
	defer w.Close()
	state := shortDir(t)
	d := startAs(t, state, func(c *exec.Cmd) { c.Stderr = w }, "--log-level", "debug", "--lsd=false")
	c := d.ready(t)
	fill(t, w)
	got, err := c.Add(t.Context(), client.AddRequest{Torrent: file, Peers: []string{seed.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		now, err := c.Torrent(t.Context(), got.Torrent.ID)
		if err != nil {
			t.Fatal(err)
		}
		if now.HaveWanted == m.Total {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d of %d bytes are here", now.HaveWanted, m.Total)
		}
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := d.wait(t); code != 0 {
		t.Errorf("exit status %d: %v", code, d.end)
	}
	db, err := resume.Open(filepath.Join(state, "resume.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if pieces, err := db.Pieces(m.Hash, m.Pieces()); err != nil || !pieces.All() {
		t.Errorf("%d of %d pieces are recorded (%v)", pieces.Count(), m.Pieces(), err)
	}
}

// seedOf is a session that has a torrent of size random bytes, and its file.
func seedOf(t *testing.T, size int) (*session.Session, []byte) {
	t.Helper()
	dir := t.TempDir()
	content := make([]byte, size)
	rand.Read(content)
	name := filepath.Join(dir, "content")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := create.Path(t.Context(), name, create.Options{PieceLength: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Open(session.Config{StateDir: t.TempDir(), Dir: dir, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	got, _, err := s.Add(t.Context(), file, session.AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		now, err := s.Torrent(got.Hash)
		if err != nil {
			t.Fatal(err)
		}
		if now.State == session.StateSeeding {
			return s, file
		}
		if time.Now().After(until) {
			t.Fatalf("the seed is %s", now.State)
		}
	}
}

// fill leaves no room in a pipe.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for size := 4096; size > 0; size /= 2 {
		for range 1 << 20 {
			if _, err = syscall.Write(fd, make([]byte, size)); err != nil && !errors.Is(err, syscall.EINTR) {
				break
			}
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("the pipe is not full: %v", err)
	}
}
