package session

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childVar names the test whose child process this is.
const childVar = "BTD_TEST_CHILD"

// inChild runs the rest of the test in a process of its own, as attr says. It
// tells whether this is that process. env is added to its environment.
func inChild(t *testing.T, attr *syscall.SysProcAttr, env ...string) bool {
	t.Helper()
	if os.Getenv(childVar) == t.Name() {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), childVar+"="+t.Name()), env...)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no process of this kind here: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("skipped in its own process:\n%s", out)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// ownMounts is inChild for a process that may mount what nobody else sees.
func ownMounts(t *testing.T) bool {
	t.Helper()
	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		attr.Unshareflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return inChild(t, attr)
}

// mountTmpfs mounts a small file system for the length of the test.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func inError(v Torrent) bool { return v.State == StateError }

// stays fails the test if the torrent leaves the error state, or fetches
// anything, within d.
func stays(t *testing.T, s *Session, c content, d time.Duration) Torrent {
	t.Helper()
	first := await(t, s, c, "the error", inError)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		v, err := s.Torrent(c.meta.Hash)
		if err != nil || v.State != StateError || v.Have < first.Have {
			t.Fatalf("left the error state by itself: %+v, %v", v, err)
		}
	}
	return await(t, s, c, "the error", inError)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	dir := mountTmpfs(t, "8m")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	c := makeContent(t, 64<<10, map[string]int{"a": 3 << 20, "b": 3<<20 + 777})
	seed := seedOf(t, c, nil)
	const memory = 512 << 10
	edit := func(cfg *Config) { cfg.Dir, cfg.Storage.Memory, cfg.NoPEX = dir, memory, true }
	leech := open(t, edit)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "the error", inError)
	if !strings.Contains(v.Error, "disk full") || !strings.Contains(v.Error, dir) {
		t.Errorf("the error says %q", v.Error)
	}
	// Pieces that are being written still count; probes find no room.
	v = stays(t, leech, c, 3*time.Second)
	if v.Have < 3<<20 || v.Have > 4<<20 {
		t.Errorf("have %d bytes on a disk that holds 4 MiB", v.Have)
	}
	// The memory may be filled again between the error and the moment that the
	// loop hears of it.
	if v.Downloaded > v.Have+2*memory+64<<10 {
		t.Errorf("downloaded %d bytes for %d", v.Downloaded, v.Have)
	}
	// What it has is served meanwhile.
	other := open(t, nil)
	add(t, other, c, AddOptions{Peers: addrs(leech)})
	await(t, other, c, "what the full one has", func(o Torrent) bool { return o.Have == v.Have })

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	v = await(t, leech, c, "completion", complete)
	c.same(t, dir)
	if v.Downloaded > v.Size+2*memory+256<<10 {
		t.Errorf("downloaded %d bytes of %d: some were fetched twice", v.Downloaded, v.Size)
	}
	await(t, other, c, "completion", complete)
	c.same(t, other.cfg.Dir)
}

// TestFullDiskOverARestart stops the session while the disk is full.
func TestFullDiskOverARestart(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	dir := mountTmpfs(t, "2m")
	c := makeContent(t, 64<<10, map[string]int{"": 4 << 20})
	seed := seedOf(t, c, nil)
	leech := open(t, func(cfg *Config) { cfg.Dir, cfg.Storage.Memory = dir, 256<<10 })
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	had := stays(t, leech, c, time.Second).Have
	if had < 1<<20 {
		t.Errorf("have %d bytes on a disk that holds 2 MiB", had)
	}
	leech = reopen(t, leech)
	if err := leech.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	v := await(t, leech, c, "the error", inError)
	if v.Have < had {
		t.Errorf("have %d bytes after a restart, %d before", v.Have, had)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, dir)
}

func TestReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	dir := mountTmpfs(t, "8m")
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 100})
	seed := seedOf(t, c, nil)
	leech := open(t, func(cfg *Config) { cfg.Dir = dir })
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	if v := stays(t, leech, c, time.Second); !strings.Contains(v.Error, "read-only") || !strings.Contains(v.Error, dir) {
		t.Errorf("the error says %q", v.Error)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, dir)
}

// TestPermissionDenied needs a user whom the system denies something.
func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 || os.Getenv(childVar) != "" {
		nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
		tmp, err := os.MkdirTemp("", "nobody") // nobody may not write to every folder of temporary files
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(tmp)
		if err := os.Chmod(tmp, 0o777); err != nil {
			t.Fatal(err)
		}
		if !inChild(t, &syscall.SysProcAttr{Credential: nobody}, "TMPDIR="+tmp) {
			return
		}
	}
	c := makeContent(t, 64<<10, map[string]int{"a": 1 << 20, "b": 100})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	if err := os.Chmod(leech.cfg.Dir, 0o500); err != nil {
		t.Fatal(err)
	}
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	if v := stays(t, leech, c, time.Second); !strings.Contains(v.Error, "permission denied") || !strings.Contains(v.Error, leech.cfg.Dir) {
		t.Errorf("the error says %q", v.Error)
	}
	if err := os.Chmod(leech.cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
}
