package storage

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"btd/piece"
)

// recorder is told what is written and synced, in order.
type recorder struct {
	mu     sync.Mutex
	synced map[string]int
	fail   string
}

func (c *recorder) fault(op, path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op == "sync" {
		c.synced[path]++
		if path == c.fail {
			return syscall.EIO
		}
	}
	return nil
}

// take returns how often each path was synced since the last call.
func (c *recorder) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.synced
	c.synced = map[string]int{}
	return m
}

func newSyncRig(t *testing.T, o Options) (*rig, *recorder) {
	x := makeFixture(t, 32<<10, file{path: "d/a", length: 40_000}, file{path: "d/e/b", length: 40_000}, file{path: "c", length: 40_000})
	s := New(Config{})
	c := &recorder{synced: map[string]int{}}
	s.fault = c.fault
	r := &rig{fixture: x, t: t, dir: t.TempDir(), s: s, marked: map[int]int{}}
	r.open(o)
	t.Cleanup(func() {
		r.tor.Close()
		s.Close()
	})
	return r, c
}

func TestSyncOfWhatWasWritten(t *testing.T) {
	r, c := newSyncRig(t, Options{Skip: []bool{false, false, true}})
	if err := r.tor.Sync(); err != nil || len(c.take()) != 0 {
		t.Errorf("sync of nothing: %v, or something was synced", err)
	}
	r.writeAll()
	r.wantAll()
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	got := c.take()
	for _, path := range []string{"d/a", "d/e/b", r.tor.partsName(), ".", "d/.", "d/e/."} {
		if got[path] != 1 {
			t.Errorf("%s synced %d times, want once; all: %v", path, got[path], got)
		}
	}
	if got["c"] != 0 {
		t.Error("c was synced, but it is skipped")
	}
	r.write(0)
	r.take()
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := c.take(); len(got) != 1 || got["d/a"] != 1 {
		t.Errorf("synced %v, want d/a alone", got)
	}
}

func TestSyncFailureIsToldAndTriedAgain(t *testing.T) {
	r, c := newSyncRig(t, Options{})
	r.writeAll()
	r.wantAll()
	c.fail = "d/e/b"
	err := r.tor.Sync()
	var e *Error
	if !errors.Is(err, syscall.EIO) || !errors.As(err, &e) || e.Path != r.path(1) {
		t.Fatalf("error %v, want EIO for b", err)
	}
	c.take()
	c.fail = ""
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := c.take(); got["d/e/b"] != 1 || got["d/e/."] != 1 {
		t.Errorf("synced %v, want b and its directory again", got)
	}
}

// A piece whose Result came before Sync is synced by it, however writes and
// syncs meet.
func TestSyncIsTruthful(t *testing.T) {
	x := makeFixture(t, 16<<10, file{path: "a", length: 8 << 20})
	s := New(Config{})
	defer s.Close()
	var mu sync.Mutex
	written := map[piece.Index]bool{} // as far as Done has told
	durable := map[piece.Index]bool{} // in the file before a sync of it began
	r := &rig{fixture: x, t: t, dir: t.TempDir(), s: s, marked: map[int]int{}}
	s.fault = func(op, path string) error {
		if op != "sync" || path != "a" {
			return nil
		}
		f, err := os.Open(r.path(0))
		if err != nil {
			return err
		}
		defer f.Close()
		mu.Lock()
		defer mu.Unlock()
		for i := range x.geo.Pieces() {
			var last [1]byte // no byte of the content is zero
			if f.ReadAt(last[:], int64(i+1)*16<<10-1); last[0] != 0 {
				durable[piece.Index(i)] = true
			}
		}
		return nil
	}
	r.open(Options{Done: func(res Result) {
		mu.Lock()
		defer mu.Unlock()
		written[res.Piece] = true
	}})
	defer r.tor.Close()
	var wg sync.WaitGroup
	wg.Go(r.writeAll)
	for range 2 {
		wg.Go(func() {
			for range 50 {
				mu.Lock()
				var before []piece.Index
				for i := range written {
					before = append(before, i)
				}
				mu.Unlock()
				if err := r.tor.Sync(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, i := range before {
					if !durable[i] {
						t.Errorf("piece %d was not synced", i)
						durable[i] = true // told once
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestFileThatLostItsNameIsNotDurable(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only where the number of links is known")
	}
	r, _ := newSyncRig(t, Options{})
	r.write(0)
	r.take()
	os.Rename(r.path(0), filepath.Join(r.dir, "d", "other"))
	os.Remove(filepath.Join(r.dir, "d", "other"))
	if err := r.tor.Sync(); !missing(err) {
		t.Errorf("error %v, want that the file is gone", err)
	}
}
