package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"testing"
)

// TestPartsThatStayTouchNoFile: a file system tells of data by the block, and
// so of bytes in the parts file that belong to the files beside a skipped one.
func TestPartsThatStayTouchNoFile(t *testing.T) {
	skip := []bool{false, true, false}
	r := newRig(t, threeFiles(t), Config{}, Options{Skip: skip})
	r.writeAll()
	r.wantAll()
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	r.tor.Close()

	clear(r.marked)
	var opened []string
	r.s.fault = func(op, path string) error {
		if op == "open for writing" || op == "create" {
			opened = append(opened, path)
			return syscall.EROFS
		}
		return nil
	}
	r.open(Options{Skip: skip})
	r.seal()
	r.wantReads(0, 1, 2, 3)
	r.wantSealed()
	if len(opened) > 0 {
		t.Errorf("opened for writing: %v", opened)
	}
	if err := r.tor.CreateEmpty(); err != nil {
		t.Errorf("there is nothing to be made: %v", err)
	}
}

// seal seals the files as they are.
func (r *rig) seal() {
	r.t.Helper()
	stats, err := r.tor.Stat()
	if err != nil {
		r.t.Fatal(err)
	}
	r.tor.Seal(stats)
}

// wantSealed expects that the torrent has written to no file since it was sealed.
func (r *rig) wantSealed() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tor.Sealed() == nil || len(r.marked) > 0 {
		r.t.Errorf("sealed: %t, files marked: %v", r.tor.Sealed() != nil, r.marked)
	}
}

// TestNothingToMoveMarksNothing has files become wanted that are not in the
// parts file.
func TestNothingToMoveMarksNothing(t *testing.T) {
	r := newRig(t, threeFiles(t), Config{}, Options{})
	for i := range 3 {
		if err := os.WriteFile(r.path(i), r.file(i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.seal()
	for _, skip := range [][]bool{{true, true, false}, {false, true, true}, nil} {
		if err := r.tor.SetSkip(skip); err != nil {
			t.Fatal(err)
		}
	}
	r.wantReads(0, 1, 2, 3)
	r.wantSealed()
}

// TestMovedAlready: the daemon was killed after bytes were copied, before they
// were deleted from the parts file.
func TestMovedAlready(t *testing.T) {
	for name, readOnly := range map[string]bool{"as it was": false, "file system read-only by now": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, threeFiles(t), Config{}, Options{Skip: []bool{false, true, false}})
			r.writeAll()
			r.wantAll()
			parts, err := os.ReadFile(r.parts())
			if err != nil {
				t.Fatal(err)
			}
			if err := r.tor.SetSkip(nil); err != nil {
				t.Fatal(err)
			}
			r.wantAbsent(r.parts())
			r.tor.Close()
			if err := os.WriteFile(r.parts(), parts, 0o600); err != nil {
				t.Fatal(err)
			}
			clear(r.marked)
			synced := false
			r.s.fault = func(op, path string) error {
				synced = synced || op == "sync" && path == "b"
				if readOnly && (op == "open for writing" || op == "create" || op == "remove") {
					return syscall.EROFS
				}
				return nil
			}
			r.open(Options{})
			r.seal()
			r.wantReads(0, 1, 2, 3)
			r.wantSealed()
			if _, err := os.Stat(r.parts()); errors.Is(err, fs.ErrNotExist) == readOnly {
				t.Errorf("the parts file: %v", err)
			}
			if !synced {
				t.Error("b was not synced before its bytes in the parts file were given up")
			}
		})
	}
}

// twoSkipped has two files that can be skipped in one piece of 1 MiB.
func twoSkipped(t *testing.T) (r *rig, skip []bool) {
	x := makeFixture(t, 1<<20, file{path: "a", length: 100_000}, file{path: "b", length: 600_000}, file{path: "c", length: 700_000})
	skip = []bool{false, true, true}
	r = newRig(t, x, Config{}, Options{Skip: skip})
	r.writeAll()
	r.wantAll()
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}
	return r, skip
}

func TestMergeOfTwoFilesCutShort(t *testing.T) {
	for _, path := range []string{"b", "c"} {
		for _, stop := range []int{0, 1, 8} {
			for name, skip := range map[string][]bool{
				"both": nil, "none": {false, true, true}, "the first": {false, false, true}, "the second": {false, true, false},
			} {
				t.Run(fmt.Sprintf("%s at write %d, then %s wanted", path, stop, name), func(t *testing.T) {
					r, _ := twoSkipped(t)
					n := 0
					r.s.fault = func(op, p string) error {
						if op == "write" && p == path {
							if n++; n > stop {
								return errors.New("power cut")
							}
						}
						if op == "sync" {
							return errors.New("power cut")
						}
						return nil
					}
					if err := r.tor.SetSkip(nil); err == nil {
						t.Fatal("no error")
					}
					r.tor.Close()
					r.s.fault = nil
					r.open(Options{Skip: skip})
					r.wantReads(0, 1)
					if err := r.tor.SetSkip(nil); err != nil {
						t.Fatal(err)
					}
					r.wantReads(0, 1)
					for i := range 3 {
						r.wantFile(i)
					}
					r.wantAbsent(r.parts())
				})
			}
		}
	}
}

// TestWhatWasNotMovedIsKept: bytes that cannot be told right yet stay in the
// parts file.
func TestWhatWasNotMovedIsKept(t *testing.T) {
	r, skip := twoSkipped(t)
	r.tor.Close()
	away := r.path(0) + ".away"
	if err := os.Rename(r.path(0), away); err != nil {
		t.Fatal(err)
	}
	mine := bytes.Repeat([]byte("mine"), 150_000)
	if err := os.WriteFile(r.path(1), mine, 0o644); err != nil {
		t.Fatal(err)
	}
	r.open(Options{Skip: []bool{false, false, true}})
	r.verify()
	if got, err := os.ReadFile(r.path(1)); err != nil || !slices.Equal(got, mine) {
		t.Errorf("the user's file was written over: %v", err)
	}
	r.tor.Close()

	if err := errors.Join(os.Rename(away, r.path(0)), os.Remove(r.path(1))); err != nil {
		t.Fatal(err)
	}
	r.open(Options{Skip: skip})
	r.wantReads(0, 1)
	if err := r.tor.SetSkip(nil); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r.wantFile(i)
	}
}
