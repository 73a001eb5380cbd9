package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Need is what a suite keeps in its directory.
type Need struct {
	Most   int64 // bytes, if there is room
	Least  int64 // bytes: without that it can't run
	Memory bool  // in memory if there is room for Least; else, on a disk if there is room for Most
}

// spare is the memory that is left to the programs.
const spare = 1 << 30

// mounted names, in a process that Scratch has started again, the directory
// that is mounted for it.
const mounted = "BTD_TEST_MOUNTED"

// Scratch calls run with a directory that is removed after it and the room that
// is there, and returns what a test's process is to end with. Directories that a
// killed process of the same suite left behind are removed first.
//
// In memory, the directory is mounted where only this process and its children
// see it. So nothing has to be taken away when all of them are killed.
func Scratch(suite string, need Need, run func(dir string, room int64) int) int {
	dir, err := os.Getenv(mounted), error(nil)
	if dir == "" {
		prefix := "btd-" + suite + "-"
		removeStale(prefix)
		if dir, err = os.MkdirTemp(place(), fmt.Sprintf("%s%d-", prefix, os.Getpid())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		// Programs that drop their privileges must be able to read it.
		_ = os.Chmod(dir, 0o755)
		memory, disk := freeMemory()-spare, freeDisk(dir)
		if disk < need.Most || need.Memory {
			if size := min(memory, need.Most); size >= need.Least && (need.Memory || size > disk) {
				fmt.Fprintf(os.Stderr, "%s: in memory, %d MiB are free\n", suite, memory>>20)
				err = again(dir, size)
				fmt.Fprintln(os.Stderr, "no directory in memory:", err) // so on the disk
			}
		}
	}
	_ = os.Unsetenv(mounted)
	code := run(dir, freeDisk(dir))
	_ = unix.Unmount(dir, unix.MNT_DETACH)
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = max(code, 1)
	}
	return code
}

// place is where the directory is made: where the names of sockets in it are
// not too long.
func place() string {
	if dir := os.TempDir(); len(dir) <= 30 {
		return dir
	}
	return "/tmp"
}

func removeStale(prefix string) {
	dirs, _ := filepath.Glob(filepath.Join(place(), prefix+"*"))
	for _, d := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(d), prefix), "-")
		if line, _ := os.ReadFile("/proc/" + pid + "/cmdline"); len(line) == 0 { // gone, or a zombie
			_ = os.RemoveAll(d)
		}
	}
}

// again starts this program again, in the same process but with mounts of its
// own, of which one is dir. It returns only if that can't be done.
func again(dir string, size int64) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	// From here on the thread is kept from other goroutines: its mounts are not those of the others.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", size)); err != nil {
		return err
	}
	return unix.Exec(program, os.Args, append(os.Environ(), mounted+"="+dir))
}

func freeDisk(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}

// freeMemory is how much memory can be had without taking it from others, and
// within the limit of the control group, in bytes.
func freeMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var free int64
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			free, _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	free *= 1024
	if group, limited := groupMemory(); limited {
		free = min(free, group)
	}
	return free
}
