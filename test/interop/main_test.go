//go:build interop && linux

package interop

import (
	"os"
	"os/exec"
	"testing"

	"btd/test/netns"
)

// scratch is the directory of this run; each test has its own below it.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(netns.Scratch("interop", func(dir string) int {
		scratch = dir
		return m.Run()
	}))
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

// needNetwork skips a test where the network that it needs can't be made.
// INTEROP_REQUIRED=1 (CI) makes that a failure.
func needNetwork(t *testing.T) {
	t.Helper()
	if why := netns.Missing(); why != "" {
		skip(t, why)
	}
}

// need skips a test that uses programs that are not installed.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			skip(t, p+" is not installed (test/install-clients.sh installs it)")
		}
	}
}

func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("INTEROP_REQUIRED") == "1" {
		t.Fatal("required, but " + why)
	}
	t.Skip(why)
}
