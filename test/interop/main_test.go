//go:build interop && linux

package interop

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"btd/test/netns"
)

// scratch is the directory of this run; each test has its own below it.
var scratch string

// patience is how long a test may take at most, however slow the machine is:
// the programs have timers of up to half a minute, and wait for each other.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	sweep()
	code := netns.Scratch("interop", netns.Need{Most: 1200 << 20, Least: 300 << 20}, func(dir string, _ int64) int {
		scratch = dir
		return m.Run()
	})
	sweep()
	os.Exit(code)
}

// sweep takes away the files that transmission makes in /tmp and leaves there
// when it is killed. It has a lock on them while it runs.
func sweep() {
	files, _ := filepath.Glob("/tmp/tr_session_id_*")
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.Remove(path)
		}
		f.Close()
	}
}

// lab is a network with the trackers of these tests on its hub.
type lab struct{ *netns.Lab }

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{netns.NewLab(t, netns.CaseDir(t, scratch))}
}

// newWideLab is newLab with addresses as on the Internet: a node of the DHT takes
// others for what their addresses seem to be.
func newWideLab(t *testing.T) *lab {
	t.Helper()
	return &lab{netns.NewWideLab(t, netns.CaseDir(t, scratch))}
}

// needNetwork skips a test where the kernel can't make the network that it
// needs.
func needNetwork(t *testing.T) {
	t.Helper()
	need(t, "ip")
	why, err := netns.Lack()
	switch {
	case err != nil:
		t.Fatal(err)
	case why != "":
		t.Skip(why)
	}
}

// needIPv6 skips a test where the kernel has no IPv6.
func needIPv6(t testing.TB) {
	t.Helper()
	if why := netns.LackOfIPv6(); why != "" {
		t.Skip(why)
	}
}

// need skips a test that uses programs that are not installed.
func need(t testing.TB, programs ...string) {
	t.Helper()
	if why := netns.Missing(programs...); why != "" {
		unless(t, why)
	}
}

// unless skips a test that lacks what can be installed. INTEROP_REQUIRED=1 (CI)
// makes that a failure.
func unless(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRED") == "1" {
		t.Fatal("required, but " + why)
	}
	t.Skip(why)
}
