package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// manyRig is a torrent of n files in dirs directories, and who is told of syncs.
func manyRig(t *testing.T, n, dirs int) (*rig, *recorder) {
	t.Helper()
	var files []file
	for i := range n {
		files = append(files, file{path: fmt.Sprintf("d%d/f%d", i%dirs, i), length: 1000})
	}
	x := makeFixture(t, 4000, files...)
	s := New(Config{MaxOpenFiles: 8})
	c := &recorder{synced: map[string]int{}}
	s.fault = func(op, path string) error {
		if op == "sync file system" {
			return c.fault("sync", op)
		}
		return c.fault(op, path)
	}
	r := &rig{fixture: x, t: t, dir: t.TempDir(), s: s, marked: map[int]int{}}
	r.open(Options{})
	t.Cleanup(func() {
		r.tor.Close()
		s.Close()
	})
	return r, c
}

const wholeFS = "sync file system"

// needWitness skips the test where a file system cannot be synced at once.
func (r *rig) needWitness() {
	r.t.Helper()
	w := r.tor.tree.watched(1)
	if w == nil {
		r.t.Skip("the file system of the temporary directory is not one that is synced at once")
	}
	r.tor.tree.unwatch(w)
}

func TestManyFilesAreSyncedAtOnce(t *testing.T) {
	r, c := manyRig(t, 200, 150)
	r.writeAll()
	r.wantAll()
	r.needWitness()
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	got := c.take()
	if got[wholeFS] != 1 || got["d1/f1"] != 1 || got["d49/f199"] != 1 || got["d1/."] != 0 {
		t.Errorf("synced %v, want the file system once, and no directory by itself", got)
	}
	if r.tor.tree.changed() {
		t.Error("directories are still to be synced")
	}
	if n := len(r.tor.tree.subs); n > maxPlaces {
		t.Errorf("%d directories open, want %d at most", n, maxPlaces)
	}
	r.write(0) // four files: not worth it
	r.take()
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := c.take(); len(got) != 4 || got["d0/f0"] != 1 {
		t.Errorf("synced %v, want the four files of a piece", got)
	}
}

// After an error the files are synced one by one: the new witness did not see
// what was written before.
func TestSyncOfManyFilesThatFails(t *testing.T) {
	r, c := manyRig(t, 100, 7)
	r.writeAll()
	r.wantAll()
	r.needWitness()
	c.fail = wholeFS
	if err := r.tor.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("error %v, want EIO", err)
	}
	c.take()
	c.fail = ""
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	got := c.take()
	if got[wholeFS] != 0 || got["d3/f3"] != 1 || got["d1/f99"] != 1 || got["d6/."] != 1 {
		t.Errorf("synced %v, want every file and every directory by itself", got)
	}
}

func TestOneOfManyFilesLostItsName(t *testing.T) {
	r, _ := manyRig(t, 100, 7)
	r.writeAll()
	r.wantAll()
	r.needWitness()
	if err := os.Remove(r.path(70)); err != nil {
		t.Fatal(err)
	}
	err := r.tor.Sync()
	var e *Error
	if !missing(err) || !errors.As(err, &e) || e.Path != r.path(70) {
		t.Errorf("error %v, want that file 70 is gone", err)
	}
	if len(r.tor.dirty) != 100 {
		t.Errorf("%d files are to be synced, want all", len(r.tor.dirty))
	}
}

// The witness hears only of what failed while it was open.
func TestWitnessThatCameLateIsNotBelieved(t *testing.T) {
	r, c := manyRig(t, 100, 7)
	r.write(0)
	r.take()
	r.tor.tree.close()
	r.writeAll()
	r.take()
	if n := r.tor.tree.opened.Load(); n != 2 {
		t.Fatalf("the root was opened %d times, want twice", n)
	}
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := c.take(); got[wholeFS] != 0 || got["d0/f0"] != 1 || got["d1/f99"] != 1 {
		t.Errorf("synced %v, want every file by itself", got)
	}
}

// Directories that are idle may be closed while a sync is under way.
func TestWitnessIsNotClosedUnderASync(t *testing.T) {
	r, _ := manyRig(t, 100, 7)
	r.writeAll()
	r.wantAll()
	r.needWitness()
	w := r.tor.tree.watched(1)
	r.tor.tree.close()
	if err := w.sync(); err != nil {
		t.Errorf("sync: %v", err)
	}
	r.tor.tree.unwatch(w)
	if err := w.sync(); err == nil {
		t.Error("the witness stays open for ever")
	}
}

// Files on another file system below the root are synced by themselves.
func TestSyncOfManyFilesOnTwoFileSystems(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	r, c := manyRig(t, 100, 4)
	other := filepath.Join(r.dir, "d1")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, other, "1m", 0)
	r.writeAll()
	r.wantAll()
	r.needWitness()
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	got := c.take()
	if got[wholeFS] != 1 || got["d0/f0"] != 1 || got["d1/f1"] != 2 || got["d1/f97"] != 2 || got["d1/."] != 1 {
		t.Errorf("synced %v, want those in d1 by themselves as well", got)
	}
	r.tor.Close() // before the file system goes
}

func TestDirectoriesAreUsedTogether(t *testing.T) {
	r, _ := manyRig(t, 600, 300) // more than stay open
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 600 {
				if f, err := r.tor.openAny(i, true); err != nil {
					t.Error(err)
				} else {
					f.Close()
				}
				if i%97 == 0 {
					r.tor.tree.close()
				}
			}
		})
	}
	wg.Wait()
	if n := len(r.tor.tree.subs); n > maxPlaces {
		t.Errorf("%d directories open, want %d at most", n, maxPlaces)
	}
}

// BenchmarkSync syncs files of 16 KiB that were just written, one by one and
// with one call.
func BenchmarkSync(b *testing.B) {
	for _, n := range []int{16, 64, 256, 1000, 10000} {
		for _, at := range []string{"each", "at once"} {
			b.Run(fmt.Sprintf("%d files %s", n, at), func(b *testing.B) { benchmarkSync(b, n, at == "at once") })
		}
	}
}

func benchmarkSync(b *testing.B, n int, once bool) {
	info, _ := benchInfo(16<<10, n, 16<<10)
	s := New(Config{})
	defer s.Close()
	var data [16 << 10]byte
	cpu := 0.0
	for b.Loop() {
		b.StopTimer()
		tor, err := s.Open(Options{Info: info, Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		tor.tree.watch = true
		for i := range n {
			h, err := tor.acquire(i, true)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := h.f.WriteAt(data[:], 0); err != nil {
				b.Fatal(err)
			}
			tor.wrote(i)
			tor.release(h)
		}
		files, since := tor.takeDirty()
		w := tor.tree.watched(since)
		if once && w == nil {
			b.Skip("not on this file system")
		}
		before := cpuSeconds()
		b.StartTimer()
		if once {
			err = tor.syncFileSystem(w, files)
		} else if err = tor.syncFiles(files); err == nil {
			err = tor.tree.syncDirs()
		}
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if w != nil {
			tor.tree.unwatch(w)
		}
		cpu += cpuSeconds() - before
		tor.Remove()
		b.StartTimer()
	}
	b.ReportMetric(cpu*1e6/float64(b.N)/float64(n), "cpu-us/file")
}
