package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
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
