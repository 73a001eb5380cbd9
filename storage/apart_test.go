package storage

import (
	"bytes"
	"crypto/sha1"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"btd/piece"
)

// mine writes a file that is somebody else's where file i belongs.
func (r *rig) mine(i int) []byte {
	r.t.Helper()
	b := bytes.Repeat([]byte("mine "), len(r.file(i))/5+1)[:len(r.file(i))]
	if err := os.WriteFile(r.path(i), b, 0o644); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// wantBytes expects file i on disk to be b.
func (r *rig) wantBytes(i int, b []byte) {
	r.t.Helper()
	if got, err := os.ReadFile(r.path(i)); err != nil || !bytes.Equal(got, b) {
		r.t.Errorf("file %s was written to: %d bytes, %v", r.info.Files[i].Path, len(got), err)
	}
}

// TestSkippedFileOfSomebodyElse: what wanted pieces have of it is kept in the
// parts file, and found there again.
func TestSkippedFileOfSomebodyElse(t *testing.T) {
	var free atomic.Bool
	o := Options{Skip: []bool{false, true, false}, Foreign: func(i int) bool { return i == 1 && !free.Load() }}
	r := newRig(t, threeFiles(t), Config{}, o)
	mine := r.mine(1)
	r.writeAll()
	r.wantAll()
	r.wantBytes(1, mine)
	r.wantReads(0, 1, 2, 3)
	if have := r.verify(); !have.All() {
		t.Errorf("verify found %d pieces", have.Count())
	}
	if err := r.tor.Sync(); err != nil {
		t.Error(err)
	}

	t.Run("after a restart", func(t *testing.T) {
		r.tor.Close()
		r.open(o)
		r.wantReads(0, 1, 2, 3)
		r.wantBytes(1, mine)
	})
	t.Run("other bytes of his", func(t *testing.T) {
		slices.Reverse(mine)
		if err := os.WriteFile(r.path(1), mine, 0o644); err != nil {
			t.Fatal(err)
		}
		r.wantReads(0, 1, 2, 3)
		r.write(0)
		if res := r.take(); len(res) != 1 || !res[0].OK {
			t.Errorf("results %+v", res)
		}
		r.wantBytes(1, mine)
	})
	t.Run("a restart of a session that had it in the parts file alone", func(t *testing.T) {
		r.tor.Close()
		if err := os.Remove(r.path(1)); err != nil {
			t.Fatal(err)
		}
		r.open(o)
		r.write(1)
		r.take()
		r.wantAbsent(r.path(1))
		mine = r.mine(1)
		r.wantReads(0, 1)
		r.tor.Close()
		r.open(o)
		r.wantReads(0, 1)
		r.wantBytes(1, mine)
	})
	t.Run("once it is nobody else's, and wanted", func(t *testing.T) {
		free.Store(true)
		if err := r.tor.SetSkip(nil); err != nil {
			t.Fatal(err)
		}
		r.wantFile(1)
		r.wantReads(0, 1, 2, 3)
		r.wantAbsent(r.parts())
	})
}

// TestFileOfSomebodyElseIsReadWhereItIs: pieces that are right with it are, and
// stay so whatever the parts file has.
func TestFileOfSomebodyElseIsReadWhereItIs(t *testing.T) {
	o := Options{Skip: []bool{false, true, false}, Foreign: func(i int) bool { return i == 1 }}
	r := newRig(t, threeFiles(t), Config{}, o)
	for i := range 3 {
		if err := os.WriteFile(r.path(i), r.file(i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have := r.verify(); !have.All() {
		t.Fatalf("verify found %d pieces", have.Count())
	}
	// Only one of its two pieces is written: the other one stays where it is.
	r.write(0)
	r.take()
	r.wantReads(0, 1, 2, 3)
	r.tor.Close()
	if err := os.WriteFile(r.parts(), bytes.Repeat([]byte("stale"), 20_000), 0o644); err != nil {
		t.Fatal(err)
	}
	r.open(o)
	r.wantReads(0, 1, 2, 3)
	if have := r.verify(); !have.All() {
		t.Errorf("verify found %d pieces", have.Count())
	}
	r.wantFile(1)
}

// TestFileBecomesSomebodyElses in the middle of a piece: blocks that were
// written before are part of it, and nothing is written any more.
func TestFileBecomesSomebodyElses(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 20_000}, file{path: "b", length: 200_000}, file{path: "c", length: 10_000})
	var foreign atomic.Bool
	o := Options{Skip: []bool{false, true, true}, Foreign: func(i int) bool { return i == 1 && foreign.Load() }}
	r := newRig(t, x, Config{RunBytes: 16 << 10}, o)
	r.mine(1)
	r.block(0, 0, false)
	r.block(0, 1, false)
	for end := time.Now().Add(time.Minute); r.s.Stats().Written < 32<<10; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the first two blocks are not written")
		}
	}
	foreign.Store(true)
	before, err := os.ReadFile(r.path(1))
	if err != nil {
		t.Fatal(err)
	}
	if n := 32<<10 - 20_000; !bytes.Equal(before[:n], r.file(1)[:n]) {
		t.Fatal("the first blocks are not in the file, which was nobody else's then")
	}
	r.block(0, 2, false)
	r.block(0, 3, false)
	if res := r.take(); len(res) != 1 || !res[0].OK {
		t.Fatalf("results %+v", res)
	}
	r.wantBytes(1, before)
	r.wantReads(0)
	r.mine(1)
	r.wantReads(0)
	r.tor.Close()
	r.open(o)
	r.wantReads(0)
}

// TestFileBecomesWanted in the middle of a piece: what the parts file has of it
// moves to the file, although that has other bytes there.
func TestFileBecomesWanted(t *testing.T) {
	for _, c := range []struct {
		name           string
		foreign, zeros bool
	}{
		{"that is somebody else's", true, false},
		{"that is somebody else's, with zeros", true, true},
		{"that came later", false, false},
		{"that came later, with zeros", false, true},
	} {
		t.Run(c.name, func(t *testing.T) { fileBecomesWanted(t, c.foreign, c.zeros) })
	}
}

func fileBecomesWanted(t *testing.T, foreign, zeros bool) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 20_000}, file{path: "b", length: 200_000}, file{path: "c", length: 10_000})
	if zeros {
		clear(x.content[20_000 : 48<<10])
		sum := sha1.Sum(x.piece(0))
		copy(x.info.Sums, sum[:])
	}
	var theirs atomic.Bool
	theirs.Store(foreign)
	o := Options{Skip: []bool{false, true, true}, Foreign: func(i int) bool { return i == 1 && theirs.Load() }}
	r := newRig(t, x, Config{RunBytes: 16 << 10}, o)
	if foreign {
		r.mine(1)
	}
	for n := range 3 {
		r.block(0, n, false)
	}
	for end := time.Now().Add(time.Minute); r.s.Stats().Written < 48<<10; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the first blocks are not written")
		}
	}
	if !foreign {
		r.mine(1)
	}
	theirs.Store(false)
	if err := r.tor.SetSkip(nil); err != nil {
		t.Fatal(err)
	}
	r.wantAbsent(r.parts())
	r.block(0, 3, false)
	if res := r.take(); len(res) != 1 || !res[0].OK {
		t.Fatalf("results %+v", res)
	}
	r.wantReads(0)
	for i := 1; i < r.geo.Pieces(); i++ {
		r.write(piece.Index(i))
	}
	r.take()
	r.wantFile(1)
	r.wantReads(0, 1, 2, 3)
}
