//go:build lan && linux

package lan

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"btd/test/netns"
)

// scratch is the directory of this run; each test has its own below it.
var scratch string

// fullSpeed is how fast the links are, in Mbit/s, where there is room for all
// that goes through them meanwhile; slowest is how slow they are at least.
const (
	fullSpeed = 200
	slowest   = 25
)

// speed is how fast the links of most tests are. Content is as much smaller as
// the links are slower, so that all takes as long at any speed.
var speed = fullSpeed

// scaled is a size for links of full speed, scaled to slower ones.
func scaled(bytes int64, mbit int) int64 { return bytes * int64(mbit) / fullSpeed }

// room is what all hosts of a test have on their disks together, and the programs.
func room(mbit int) int64 { return 64<<20 + scaled((joiners+2)*mebibytes<<20, mbit) }

func TestMain(m *testing.M) {
	// The disk is not what is tested: nine hosts write to it at once here.
	os.Exit(netns.Scratch("lan", netns.Need{Most: room(fullSpeed), Least: room(slowest), Memory: true}, func(dir string, free int64) int {
		scratch = dir
		for speed > slowest && room(speed) > free+free/50 { // what a file system keeps for itself
			speed /= 2
		}
		if speed < fullSpeed {
			fmt.Printf("there is room for %d MiB: links of %d Mbit/s, and content to match\n", free>>20, speed)
		}
		return m.Run()
	}))
}

// patience is how long a test may take at most, however slow the machine is.
const patience = 5 * time.Minute

// programs builds btd and btctl once for all tests.
var programs = sync.OnceValue(func() error {
	for _, name := range []string{"btd", "btctl"} {
		if err := netns.Build(filepath.Join(scratch, name), "btd/cmd/"+name, os.Getenv("LAN_RACE") != ""); err != nil {
			return err
		}
	}
	return nil
})

// newLab makes a network. It skips the test where the kernel can't do that, and
// where a program is missing; the latter is a failure with LAN_REQUIRED=1 (CI).
func newLab(t *testing.T) *netns.Lab {
	t.Helper()
	if p := netns.Missing("ip", "tc", "unshare"); p != "" && os.Getenv("LAN_REQUIRED") == "1" {
		t.Fatal("required, but " + p)
	} else if p != "" {
		t.Skip(p)
	}
	why, err := netns.Lack()
	if why == "" && err == nil {
		why, err = netns.LackOfShaping()
	}
	switch {
	case err != nil:
		t.Fatal(err)
	case why != "":
		t.Skip(why)
	}
	if err := programs(); err != nil {
		t.Fatal(err)
	}
	return netns.NewLab(t, netns.CaseDir(t, scratch))
}
