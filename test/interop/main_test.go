//go:build interop && linux

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scratch is the directory of this run; each test has its own below it.
var scratch string

func TestMain(m *testing.M) {
	removeStale()
	dir, err := os.MkdirTemp("", fmt.Sprintf("btd-interop-%d-", os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Programs that drop their privileges (opentracker) must be able to read it.
	_ = os.Chmod(dir, 0o755)
	scratch = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// removeStale removes what a test process that was killed could not.
func removeStale() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "btd-interop-*"))
	for _, d := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(d), "btd-interop-"), "-")
		if line, _ := os.ReadFile("/proc/" + pid + "/cmdline"); len(line) == 0 { // gone, or a zombie
			_ = os.RemoveAll(d)
		}
	}
}

// caseDir is a directory for one test, removed with it.
func caseDir(t *testing.T) string {
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

// needNetwork skips a test where the network that it needs can't be made.
// INTEROP_REQUIRED=1 (CI) makes that a failure.
func needNetwork(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() != 0:
		skip(t, "needs root, to make network namespaces")
	default:
		need(t, "ip")
	}
	ns, err := newNamespace()
	if err != nil {
		skip(t, "can't make network namespaces here: "+err.Error())
		return
	}
	ns.file.Close()
}

// need skips a test that uses programs that are not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			skip(t, p+" is not installed (test/install-clients.sh installs it)")
		}
	}
}

func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRED") == "1" {
		t.Fatal("required, but " + why)
	}
	t.Skip(why)
}
