package storage

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// two are torrents of one store, in directories of their own.
func two(t *testing.T, old, next *fixture) (from, to *Torrent, dirs [2]string) {
	t.Helper()
	s := New(Config{Workers: 1})
	t.Cleanup(func() { s.Close() })
	var tor [2]*Torrent
	for i, x := range []*fixture{old, next} {
		dirs[i] = filepath.Join(t.TempDir(), "new", "dir")
		var err error
		if tor[i], err = s.Open(Options{Info: x.info, Dir: dirs[i], Create: true}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tor[i].Close() })
	}
	put(t, filepath.Join(dirs[0], old.info.Files[0].Path), old.file(0))
	return tor[0], tor[1], dirs
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestBorrow(t *testing.T) {
	old := makeFixture(t, 1<<14, file{path: "v1/a", length: 100_000})
	for name, c := range map[string]struct {
		length int64
		there  int // bytes of another kind that are there already
		want   int64
	}{
		"as long": {100_000, 0, 100_000}, "shorter": {5_000, 0, 5_000}, "longer": {300_000, 0, 100_000},
		"part is there": {100_000, 30_000, 70_000}, "all is there": {100_000, 100_000, 0}, "more is there": {50_000, 60_000, 0},
	} {
		next := makeFixture(t, 1<<14, file{path: "v2/sub/b", length: c.length})
		from, to, dirs := two(t, old, next)
		path := filepath.Join(dirs[1], "v2/sub/b")
		mine := bytes.Repeat([]byte{7}, c.there)
		if c.there > 0 {
			put(t, path, mine)
		}
		n, err := to.Borrow(t.Context(), 0, from, 0)
		if err != nil || n != c.want {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		got, err := os.ReadFile(path)
		end := max(int(min(c.length, 100_000)), c.there)
		if err != nil || len(got) != end || !bytes.Equal(got[:c.there], mine) || !bytes.Equal(got[c.there:], old.file(0)[c.there:max(end, c.there)]) && c.there < end {
			t.Errorf("%s: %d bytes are there, %v", name, len(got), err)
		}
		if b, _ := os.ReadFile(filepath.Join(dirs[0], "v1/a")); !bytes.Equal(b, old.file(0)) {
			t.Errorf("%s: the original changed", name)
		}
	}
}

func TestBorrowKeepsOffOthersPaths(t *testing.T) {
	x := makeFixture(t, 1<<14, file{path: "v/a", length: 1000})
	from, to, dirs := two(t, x, x)
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, secret, []byte("secret"))
	dst, src := filepath.Join(dirs[1], "v/a"), filepath.Join(dirs[0], "v/a")
	if err := errors.Join(os.MkdirAll(filepath.Dir(dst), 0o755), os.Symlink(secret, dst)); err != nil {
		t.Skip(err)
	}
	if n, err := to.Borrow(t.Context(), 0, from, 0); !errors.Is(err, ErrSymlink) || n != 0 {
		t.Errorf("onto a link: %d, %v", n, err)
	}
	if err := errors.Join(os.Remove(dst), os.Remove(src), os.Symlink(secret, src)); err != nil {
		t.Fatal(err)
	}
	if n, err := to.Borrow(t.Context(), 0, from, 0); err != nil || n != 0 {
		t.Errorf("from a link: %d, %v", n, err)
	}
	if b, _ := os.ReadFile(secret); string(b) != "secret" {
		t.Errorf("the link's file is %q", b)
	}
	if _, err := os.Lstat(dst); err == nil {
		t.Error("a file was made")
	}
}

func TestBorrowEndsWithItsContext(t *testing.T) {
	x := makeFixture(t, 1<<14, file{path: "v/a", length: 1000})
	from, to, dirs := two(t, x, x)
	// A file that is there cannot be cloned onto, and is filled step by step.
	put(t, filepath.Join(dirs[1], "v/a"), []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := to.Borrow(ctx, 0, from, 0); !errors.Is(err, context.Canceled) || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	from.Close()
	if _, err := to.Borrow(t.Context(), 0, from, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("from one that is closed: %v", err)
	}
}

func TestCut(t *testing.T) {
	x := makeFixture(t, 1<<14, file{path: "v/a", length: 1000})
	for name, c := range map[string]struct {
		is   int
		was  int64
		want int
		cut  bool
	}{
		"as the old version": {1500, 1500, 1000, true}, "something else": {1400, 1500, 1400, false}, "short": {10, 1500, 10, false},
	} {
		_, to, dirs := two(t, x, x)
		path := filepath.Join(dirs[1], "v/a")
		put(t, path, make([]byte, c.is))
		cut, err := to.Cut(0, c.was)
		if err != nil || cut != c.cut {
			t.Errorf("%s: %v, %v", name, cut, err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Size() != int64(c.want) {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	_, to, _ := two(t, x, x)
	if cut, err := to.Cut(0, 1500); cut || err != nil {
		t.Errorf("no file: %v, %v", cut, err)
	}
	if cut, err := to.Cut(0, 1000); cut || err == nil {
		t.Errorf("nothing to cut: %v, %v", cut, err)
	}
}
