package netns

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// CaseDir is a directory for one test below scratch, removed with it.
func CaseDir(t testing.TB, scratch string) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "case-")
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(dir, 0o755)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's directory: %v", err)
		}
	})
	return dir
}

// Build builds a program of this module, with the race detector if race is
// set.
func Build(path, pkg string, race bool) error {
	args, cgo := []string{"build", "-o", path}, "CGO_ENABLED=0"
	if race {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// Missing says which of the programs is not installed, "" if all are.
func Missing(programs ...string) string {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return p + " is not installed (test/install-clients.sh installs it)"
		}
	}
	return ""
}

// SameFile says where the file at got differs from the one at want, nil if
// nowhere.
func SameFile(want, got string) error {
	a, err := os.Open(want)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(got)
	if err != nil {
		return err
	}
	defer b.Close()
	var x, y [64 << 10]byte
	for at := 0; ; {
		n, errA := io.ReadFull(a, x[:])
		m, errB := io.ReadFull(b, y[:])
		for i := range min(n, m) {
			if x[i] != y[i] {
				return fmt.Errorf("%s: byte %d differs", got, at+i)
			}
		}
		if n != m {
			return fmt.Errorf("%s: %d bytes, want %d or more", got, at+m, at+n)
		}
		at += n
		if errA != nil || errB != nil {
			return nil
		}
	}
}
