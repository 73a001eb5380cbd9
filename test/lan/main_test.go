//go:build lan && linux

package lan

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"btd/test/netns"
)

// scratch is the directory of this run; each test has its own below it.
var scratch string

func TestMain(m *testing.M) {
	// The disk is not what is tested: nine hosts write to it at once here.
	var st unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs("/dev/shm", &st) == nil && st.Bavail*uint64(st.Bsize) > 6<<30 {
		_ = os.Setenv("TMPDIR", "/dev/shm")
	}
	os.Exit(netns.Scratch("lan", func(dir string) int {
		scratch = dir
		return m.Run()
	}))
}

// programs builds btd and btctl once for all tests.
var programs = sync.OnceValue(func() error {
	for _, name := range []string{"btd", "btctl"} {
		if err := netns.Build(filepath.Join(scratch, name), "btd/cmd/"+name, os.Getenv("LAN_RACE") != ""); err != nil {
			return err
		}
	}
	return nil
})

// link is what every host's link to the others is like.
var link = netns.Link{Mbit: 200, Delay: time.Millisecond}

const linkSpeed = 200e6 / 8 // bytes per second

// newLab makes a network. It skips the test where that can't be done;
// LAN_REQUIRED=1 (CI) makes that a failure.
func newLab(t *testing.T) *netns.Lab {
	t.Helper()
	why := netns.Missing()
	if why == "" {
		why = netns.MissingShaping()
	}
	switch {
	case why != "" && os.Getenv("LAN_REQUIRED") == "1":
		t.Fatal("required, but " + why)
	case why != "":
		t.Skip(why)
	}
	if err := programs(); err != nil {
		t.Fatal(err)
	}
	return netns.NewLab(t, netns.CaseDir(t, scratch))
}
