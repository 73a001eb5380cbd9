package storage

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"btd/piece"
)

// ownMounts runs the rest of the test in a child process with mounts of its
// own. It tells whether this is the child.
func ownMounts(t *testing.T) bool {
	if os.Getenv("BTD_TEST_MOUNTS") == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "BTD_TEST_MOUNTS="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Unshareflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skipf("no mount namespace: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("no mounts:\n%s", out)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

func mountTmpfs(t *testing.T, dir, size string, flags uintptr) {
	t.Helper()
	os.MkdirAll(dir, 0o755)
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

func TestFullDisk(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "small")
	mountTmpfs(t, dir, "1m", 0)
	x := makeFixture(t, 256<<10, file{path: "d/a", length: 3 << 20}, file{path: "d/b", length: 100_000})
	r := newRig(t, x, Config{}, Options{Dir: dir})
	defer r.tor.Close()
	r.writeAll()
	good := piece.NewBitfield(x.geo.Pieces())
	told := 0
	for _, res := range r.take() {
		told++
		if res.OK {
			good.Set(res.Piece)
			continue
		}
		if !errors.Is(res.Err, syscall.ENOSPC) {
			t.Errorf("piece %d: %v, want ENOSPC", res.Piece, res.Err)
		}
		if got, want := Describe(res.Err), "disk full on "+filepath.Join(dir, "d")+" (0 bytes free)"; got != want {
			t.Errorf("described as %q, want %q", got, want)
		}
	}
	if told != x.geo.Pieces() || good.Count() < 2 || good.Count() > 4 {
		t.Fatalf("%d results, %d of them good; want %d, 2 to 4 good", told, good.Count(), x.geo.Pieces())
	}
	if st := r.s.Stats(); st.Buffers != 0 {
		t.Errorf("%d buffers out", st.Buffers)
	}
	for i := range good.Indexes() {
		r.wantReads(i)
	}
	if err := r.tor.Sync(); err != nil {
		t.Error(err)
	}
	if err := r.tor.Probe(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("probe: %v, want ENOSPC", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	if err := r.tor.Probe(); err != nil {
		t.Errorf("probe: %v", err)
	}
	for i := range x.geo.Pieces() {
		if !good.Has(piece.Index(i)) {
			r.write(piece.Index(i))
		}
	}
	if n := len(r.take()); n != x.geo.Pieces()-good.Count() {
		t.Errorf("%d results", n)
	}
	r.wantFile(0)
	r.wantFile(1)
	in, _ := os.ReadDir(dir)
	if len(in) != 1 {
		t.Errorf("%v left, want d alone", in)
	}
}

func TestUnmountedDirectory(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	disk, dir := filepath.Join(t.TempDir(), "disk"), filepath.Join(t.TempDir(), "dir")
	mountTmpfs(t, disk, "16m", 0)
	os.Mkdir(dir, 0o755)
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	bind := func() {
		if err := unix.Mount(disk, dir, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
	}
	bind()
	x := makeFixture(t, 256<<10, file{path: "a", length: 1 << 20}, file{path: "b", length: 1 << 20})
	r := newRig(t, x, Config{}, Options{Dir: dir})
	defer r.tor.Close()
	r.write(0)
	r.take()
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	r.write(1) // goes to the open file, and is not lost
	r.take()
	err := r.tor.Sync()
	if !errors.Is(err, fs.ErrNotExist) || Describe(err) != "download directory "+dir+" is gone" {
		t.Errorf("sync: %v (%s), want that the directory is gone", err, Describe(err))
	}
	r.write(7) // of a file that was never made
	if res := r.take(); len(res) != 1 || !errors.Is(res[0].Err, fs.ErrNotExist) {
		t.Errorf("results %+v, want ErrNotExist", res)
	}
	if err := r.tor.Probe(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("probe: %v", err)
	}
	if in, _ := os.ReadDir(dir); len(in) != 0 {
		t.Errorf("%v under the mount point, want nothing", in)
	}
	bind()
	if err := r.tor.Probe(); err != nil {
		t.Errorf("probe: %v", err)
	}
	r.wantReads(0, 1)
	r.writeAll()
	r.wantAll()
	if err := r.tor.Sync(); err != nil {
		t.Error(err)
	}
	r.wantFile(0)
	r.wantFile(1)
}

func TestReadOnlyFileSystem(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "ro")
	mountTmpfs(t, dir, "1m", 0)
	x := makeFixture(t, 64<<10, file{path: "a", length: 128 << 10}, file{path: "b", length: 64 << 10})
	if err := os.WriteFile(filepath.Join(dir, "a"), x.file(0), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, x, Config{}, Options{Dir: dir})
	defer r.tor.Close()
	if have := r.verify(); have.Count() != 2 {
		t.Errorf("verify found %d", have.Count())
	}
	r.wantReads(0, 1)
	r.s.fault = func(op, _ string) error {
		if op == "read" {
			return syscall.EIO
		}
		return nil
	}
	if err := r.tor.Read(0, 0, make([]byte, 1)); !errors.Is(err, syscall.EIO) {
		t.Errorf("read: %v, want EIO", err)
	}
	r.s.fault = nil
	if err := r.tor.Probe(); err != nil {
		t.Errorf("probe after a read error: %v, want nil: nothing need be written", err)
	}
	for _, i := range []piece.Index{0, 2} {
		r.write(i)
		res := r.take()
		if len(res) != 1 || !errors.Is(res[0].Err, syscall.EROFS) || !strings.HasPrefix(Describe(res[0].Err), "file system is read-only") {
			t.Errorf("results %+v, want EROFS", res)
		}
	}
	if err := r.tor.Probe(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("probe after a write error: %v, want EROFS", err)
	}
}

// TestWriteAllocatesNothingPerBlock holds the block path to its budget: what a
// piece costs is spread over its blocks.
func TestWriteAllocatesNothingPerBlock(t *testing.T) {
	if !hasArena {
		t.Skip("the race detector allocates by itself")
	}
	x := makeFixture(t, 1<<20, file{path: "a", length: 8 << 20})
	r := newRig(t, x, Config{}, Options{Done: func(Result) {}})
	round := func() {
		r.writeAll()
		r.tor.Flush()
	}
	round()
	if n := testing.AllocsPerRun(5, round); n/512 > 0.02 {
		t.Errorf("%.3f allocations a block, want none", n/512)
	}
	dst := make([]byte, 256<<10)
	if n := testing.AllocsPerRun(20, func() {
		if err := r.tor.Read(3, 0, dst); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a Read, want none", n)
	}
}

func TestPreallocatedFileIsAHole(t *testing.T) {
	x := makeFixture(t, 256<<10, file{path: "a", length: 4 << 20})
	r := newRig(t, x, Config{}, Options{Prealloc: true})
	r.write(3)
	r.take()
	var st unix.Stat_t
	if err := unix.Stat(r.path(0), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 4<<20 || st.Blocks*512 < 4<<20 {
		t.Skipf("size %d with %d blocks: this file system does not reserve", st.Size, st.Blocks)
	}
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	if have := r.verify(); have.Count() != 1 || !have.Has(3) {
		t.Errorf("verify found %d, want piece 3", have.Count())
	}
}

func TestPipeInPlaceOfAFile(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 128 << 10})
	r := newRig(t, x, Config{}, Options{})
	if err := unix.Mkfifo(r.path(0), 0o666); err != nil {
		t.Skip(err)
	}
	if err := r.tor.Read(0, 0, make([]byte, 1)); !errors.Is(err, ErrNotRegular) {
		t.Errorf("read: %v", err)
	}
	r.write(0)
	if res := r.take(); len(res) != 1 || !errors.Is(res[0].Err, ErrNotRegular) {
		t.Errorf("results %+v", res)
	}
}
