package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"btd/piece"
)

func TestSymlinksAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making links needs a privilege on Windows")
	}
	for _, tc := range []struct {
		name string
		bad  int // file whose path is obstructed
		want error
		make func(dir, elsewhere string) error
	}{
		{"a link as file", 0, ErrSymlink, func(dir, elsewhere string) error {
			return os.Symlink(filepath.Join(elsewhere, "victim"), filepath.Join(dir, "a"))
		}},
		{"a link to a file inside", 0, ErrSymlink, func(dir, _ string) error {
			os.WriteFile(filepath.Join(dir, "other"), []byte("other"), 0o644)
			return os.Symlink("other", filepath.Join(dir, "a"))
		}},
		{"a dangling link", 0, ErrSymlink, func(dir, elsewhere string) error {
			return os.Symlink(filepath.Join(elsewhere, "nothing"), filepath.Join(dir, "a"))
		}},
		{"a link as parent", 1, ErrSymlink, func(dir, elsewhere string) error {
			return os.Symlink(elsewhere, filepath.Join(dir, "d"))
		}},
		{"a link to a directory inside as parent", 1, ErrSymlink, func(dir, _ string) error {
			os.Mkdir(filepath.Join(dir, "inside"), 0o755)
			return os.Symlink("inside", filepath.Join(dir, "d"))
		}},
		{"a directory as file", 0, ErrNotRegular, func(dir, _ string) error {
			return os.Mkdir(filepath.Join(dir, "a"), 0o755)
		}},
		{"a file as parent", 1, ErrNotDirectory, func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, "d"), nil, 0o644)
		}},
		{"a link as parts file", 2, ErrSymlink, func(dir, elsewhere string) error {
			return os.Symlink(filepath.Join(elsewhere, "victim"), filepath.Join(dir, "parts"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := makeFixture(t, 16<<10, file{path: "a", length: 16 << 10}, file{path: "d/e/b", length: 16 << 10}, file{path: "c", length: 8 << 10}, file{path: "s", length: 8 << 10})
			elsewhere := t.TempDir()
			victim := filepath.Join(elsewhere, "victim")
			os.WriteFile(victim, []byte("precious"), 0o644)
			r := newRig(t, x, Config{}, Options{Skip: []bool{false, false, false, true}})
			if err := tc.make(r.dir, elsewhere); err != nil {
				t.Fatal(err)
			}
			if tc.bad == 2 {
				os.Rename(filepath.Join(r.dir, "parts"), r.parts())
			}
			r.writeAll()
			bad := 0
			for _, res := range r.take() {
				if res.OK {
					continue
				}
				bad++
				var e *Error
				if !errors.As(res.Err, &e) || !errors.Is(res.Err, tc.want) || !strings.HasPrefix(e.Path, r.dir) {
					t.Errorf("piece %d: %v, want an Error below %s: %v", res.Piece, res.Err, r.dir, tc.want)
				}
			}
			if bad == 0 {
				t.Error("no piece met an error")
			}
			if tc.bad < 2 {
				if bad != 1 {
					t.Errorf("%d pieces met an error, want 1", bad)
				}
				if err := r.tor.Read(piece.Index(tc.bad), 0, make([]byte, 10)); !errors.Is(err, tc.want) {
					t.Errorf("read: %v, want %v", err, tc.want)
				}
				if err := r.tor.Probe(); !errors.Is(err, tc.want) {
					t.Errorf("probe: %v, want %v", err, tc.want)
				}
			}
			if got, _ := os.ReadFile(victim); string(got) != "precious" {
				t.Errorf("the file outside reads %q now", got)
			}
			if in, _ := os.ReadDir(elsewhere); len(in) != 1 {
				t.Errorf("%d entries outside, want 1", len(in))
			}
			stats, err := r.tor.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if tc.bad < 2 && stats[tc.bad].Exists {
				t.Error("Stat says that it exists")
			}
			if err := r.tor.Remove(); err != nil {
				t.Errorf("remove: %v", err)
			}
			if got, _ := os.ReadFile(victim); string(got) != "precious" {
				t.Errorf("after Remove the file outside reads %q", got)
			}
		})
	}
}

// A directory is swapped for a link to another place again and again while
// files are made below it. Not one may come to be there.
func TestLinkSwappedInMeanwhile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making links needs a privilege on Windows")
	}
	var files []file
	for i := range 300 {
		files = append(files, file{path: fmt.Sprintf("top/d/f%d", i), length: 100})
	}
	x := makeFixture(t, 100, files...)
	r := newRig(t, x, Config{}, Options{})
	elsewhere := filepath.Join(r.dir, "elsewhere")
	top, real, link := filepath.Join(r.dir, "top"), filepath.Join(r.dir, "real"), filepath.Join(r.dir, "link")
	if err := os.MkdirAll(filepath.Join(top, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(filepath.Join(elsewhere, "d"), 0o755)
	// Links that stay below the directory are what os.Root would follow.
	if err := os.Symlink("elsewhere", link); err != nil {
		t.Fatal(err)
	}
	stop, swapped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(swapped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			os.Rename(top, real)
			os.Rename(link, top)
			os.Rename(top, link)
			os.Rename(real, top)
		}
	}()
	for i := range x.geo.Pieces() {
		r.write(piece.Index(i))
		r.take()
		r.tor.Release()
	}
	close(stop)
	<-swapped
	if in, _ := os.ReadDir(filepath.Join(elsewhere, "d")); len(in) > 0 {
		t.Errorf("%d files were made behind the link", len(in))
	}
}

func TestFaultGivesOneResultAndRecovers(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EACCES} {
		t.Run(errno.Error(), func(t *testing.T) {
			x := makeFixture(t, 1<<20, file{path: "a", length: 3 << 20})
			s := New(Config{})
			var broken atomic.Bool
			s.fault = func(op, path string) error {
				if op == "write" && broken.Load() {
					return errno
				}
				return nil
			}
			r := &rig{fixture: x, t: t, dir: t.TempDir(), s: s, marked: map[int]int{}}
			r.open(Options{})
			defer s.Close()
			defer r.tor.Close()
			r.write(0)
			r.take()
			broken.Store(true)
			r.write(1)
			res := r.take()
			var e *Error
			if len(res) == 0 || res[0].OK || !errors.Is(res[0].Err, errno) || !errors.As(res[0].Err, &e) || e.Path != r.path(0) {
				t.Fatalf("results %+v, want %v once", res, errno)
			}
			if Describe(res[0].Err) == "" || !strings.Contains(Describe(res[0].Err), r.dir) {
				t.Errorf("described as %q", Describe(res[0].Err))
			}
			if err := r.tor.Probe(); !errors.Is(err, errno) {
				t.Errorf("probe: %v, want %v", err, errno)
			}
			r.tor.Abandon(1)
			broken.Store(false)
			if err := r.tor.Probe(); err != nil {
				t.Errorf("probe: %v, want nil", err)
			}
			r.write(1)
			if res := r.take(); len(res) != 1 || !res[0].OK {
				t.Errorf("results %+v, want piece 1 good", res)
			}
			r.wantReads(0, 1)
			r.tor.Close()
			if st := s.Stats(); st.Buffers != 0 {
				t.Errorf("%d buffers out", st.Buffers)
			}
		})
	}
}

func TestErrorResultComesOncePerPiece(t *testing.T) {
	x := makeFixture(t, 256<<10, file{path: "a", length: 2560 << 10})
	s := New(Config{})
	defer s.Close()
	s.fault = func(op, _ string) error {
		if op == "write" {
			return syscall.EIO
		}
		return nil
	}
	r := &rig{fixture: x, t: t, dir: t.TempDir(), s: s, marked: map[int]int{}}
	r.open(Options{})
	defer r.tor.Close()
	r.writeAll()
	seen := map[piece.Index]int{}
	for _, res := range r.take() {
		seen[res.Piece]++
	}
	for i := range x.geo.Pieces() {
		if seen[piece.Index(i)] != 1 {
			t.Errorf("piece %d: %d results, want 1", i, seen[piece.Index(i)])
		}
	}
}

func TestDirectoryThatIsMissing(t *testing.T) {
	x := makeFixture(t, 16<<10, file{path: "a", length: 40_000})
	parent := t.TempDir()

	t.Run("is not made unless asked for", func(t *testing.T) {
		r := newRig(t, x, Config{}, Options{Dir: filepath.Join(parent, "none")})
		r.write(0)
		res := r.take()
		if len(res) != 1 || !errors.Is(res[0].Err, fs.ErrNotExist) {
			t.Fatalf("results %+v, want ErrNotExist", res)
		}
		if got, want := Describe(res[0].Err), "download directory "+r.dir+" is gone"; got != want {
			t.Errorf("described as %q, want %q", got, want)
		}
		if _, err := r.tor.Stat(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat: %v", err)
		}
		r.wantAbsent(r.dir)
		if err := os.Mkdir(r.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := r.tor.Probe(); err != nil {
			t.Errorf("probe: %v", err)
		}
		r.write(0)
		if res := r.take(); len(res) != 1 || !res[0].OK {
			t.Errorf("results %+v", res)
		}
	})
	t.Run("is made at the first write if asked for", func(t *testing.T) {
		r := newRig(t, x, Config{}, Options{Dir: filepath.Join(parent, "x", "y"), Create: true})
		if have := r.verify(); have.Count() != 0 {
			t.Errorf("verify found %d", have.Count())
		}
		r.wantAbsent(r.dir)
		r.writeAll()
		r.wantAll()
		if err := r.tor.Sync(); err != nil {
			t.Error(err)
		}
		r.wantFile(0)
	})
	t.Run("is not made again when it vanishes", func(t *testing.T) {
		r := newRig(t, x, Config{}, Options{Dir: filepath.Join(parent, "z"), Create: true})
		r.write(0)
		r.take()
		if err := os.RemoveAll(r.dir); err != nil {
			t.Fatal(err)
		}
		r.write(1)
		r.take()
		if err := r.tor.Sync(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("sync: %v, want ErrNotExist", err)
		}
		r.write(2)
		res := r.take()
		if len(res) != 1 || !errors.Is(res[0].Err, fs.ErrNotExist) {
			t.Fatalf("results %+v, want ErrNotExist", res)
		}
		if err := r.tor.Probe(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("probe: %v", err)
		}
		r.wantAbsent(r.dir)
		// An empty directory in its place is not it: an unmounted disk looks so.
		if err := os.Mkdir(r.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		r.write(2)
		if res := r.take(); len(res) != 1 || !errors.Is(res[0].Err, fs.ErrNotExist) {
			t.Errorf("results %+v, want ErrNotExist", res)
		}
		r.wantAbsent(r.path(0))
		if have := r.verify(); have.Count() != 0 { // the user says: as it is now
			t.Errorf("verify found %d", have.Count())
		}
		r.writeAll()
		r.wantAll()
		r.wantFile(0)
	})
}

func TestVanishedFileIsAnError(t *testing.T) {
	x := makeFixture(t, 16<<10, file{path: "a", length: 40_000}, file{path: "b", length: 40_000})
	r := newRig(t, x, Config{}, Options{})
	r.writeAll()
	r.wantAll()
	r.tor.Release()
	os.Remove(r.path(0))
	r.write(0)
	res := r.take()
	if len(res) != 1 || !errors.Is(res[0].Err, fs.ErrNotExist) || !strings.Contains(Describe(res[0].Err), r.path(0)) {
		t.Fatalf("results %+v, want ErrNotExist for a", res)
	}
	r.wantAbsent(r.path(0))
	if have := r.verify(); have.Has(0) || !have.Has(4) {
		t.Error("verify found the wrong pieces")
	}
	r.write(0)
	if res := r.take(); len(res) != 1 || !res[0].OK {
		t.Errorf("results %+v, want piece 0 good", res)
	}
}

func TestPermissionDenied(t *testing.T) {
	if os.Getuid() <= 0 {
		t.Skip("needs an ordinary user: root may write everywhere, Windows has other rules")
	}
	x := makeFixture(t, 16<<10, file{path: "a", length: 40_000})
	r := newRig(t, x, Config{}, Options{})
	os.Chmod(r.dir, 0o500)
	defer os.Chmod(r.dir, 0o700)
	r.write(0)
	res := r.take()
	if len(res) != 1 || !errors.Is(res[0].Err, fs.ErrPermission) {
		t.Fatalf("results %+v, want ErrPermission", res)
	}
	if got, want := Describe(res[0].Err), "permission denied: "+r.path(0); got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
	os.Chmod(r.dir, 0o700)
	if err := r.tor.Probe(); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyFilesCanBeServed(t *testing.T) {
	x := makeFixture(t, 16<<10, file{path: "a", length: 40_000})
	r := newRig(t, x, Config{}, Options{})
	os.WriteFile(r.path(0), x.file(0), 0o400)
	if have := r.verify(); !have.All() {
		t.Error("verify did not find all")
	}
	r.wantReads(0, 1, 2)
}

func TestDescribe(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("plain"), "plain"},
		{&Error{"read", "/x/f", syscall.EIO}, "disk error: /x/f"},
		{fmt.Errorf("outer: %w", &Error{"open", "/x/f", ErrSymlink}), "/x/f is a symbolic link, and links are not followed"},
		{&Error{"open", "/x/f", fs.ErrNotExist}, "file /x/f is gone; verify the torrent to fetch it again"},
		{&Error{"write", "/x/f", syscall.EROFS}, "file system is read-only: /x/f"},
		{&Error{"write", "/x/f", errors.New("odd")}, "write /x/f: odd"},
	} {
		if runtime.GOOS == "windows" && strings.Contains(tc.want, "disk error") {
			continue
		}
		if got := Describe(tc.err); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.err, got, tc.want)
		}
	}
	dir := t.TempDir()
	got := Describe(&Error{"write", filepath.Join(dir, "no", "such"), syscall.ENOSPC})
	if !strings.HasPrefix(got, "disk full on "+dir) {
		t.Errorf("got %q", got)
	}
}

func TestRemove(t *testing.T) {
	x := makeFixture(t, 16<<10, file{path: "top/a", length: 20_000}, file{path: "top/d/e/b", length: 20_000}, file{path: "top/f/c", length: 20_000})
	r := newRig(t, x, Config{}, Options{Skip: []bool{false, false, true}})
	r.writeAll()
	r.wantAll()
	keep := filepath.Join(r.dir, "top", "d", "mine")
	os.WriteFile(keep, nil, 0o644)
	if err := r.tor.Remove(); err != nil {
		t.Fatal(err)
	}
	r.wantAbsent(r.path(0))
	r.wantAbsent(r.parts())
	r.wantAbsent(filepath.Join(r.dir, "top", "d", "e"))
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
	if err := r.tor.Remove(); err != nil {
		t.Errorf("twice: %v", err)
	}
	os.Remove(keep)
	if err := r.tor.Remove(); err != nil {
		t.Error(err)
	}
	r.wantAbsent(filepath.Join(r.dir, "top"))
	if _, err := os.Stat(r.dir); err != nil {
		t.Error(err)
	}
}
