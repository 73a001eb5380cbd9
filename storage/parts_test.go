package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"btd/piece"
)

// three files that share pieces 0 and 1 of 32 KiB.
func threeFiles(t testing.TB) *fixture {
	return makeFixture(t, 32<<10, file{path: "a", length: 20_000}, file{path: "b", length: 30_000}, file{path: "c", length: 50_000})
}

func (r *rig) parts() string { return filepath.Join(r.dir, r.tor.partsName()) }

// wantReads expects pieces to read back right.
func (r *rig) wantReads(pieces ...piece.Index) {
	r.t.Helper()
	for _, i := range pieces {
		got := make([]byte, r.geo.Length(i))
		if err := r.tor.Read(i, 0, got); err != nil || !bytes.Equal(got, r.piece(i)) {
			r.t.Errorf("piece %d: error %v or wrong bytes", i, err)
		}
	}
}

func TestSkippedFileIsNotMade(t *testing.T) {
	r := newRig(t, threeFiles(t), Config{}, Options{Skip: []bool{false, true, false}})
	r.writeAll()
	r.wantAll()
	r.wantFile(0)
	r.wantAbsent(r.path(1))
	r.wantFile(2)
	r.wantReads(0, 1, 2, 3)
	if have := r.verify(); !have.All() {
		t.Errorf("verify found %d", have.Count())
	}
	if err := r.tor.Sync(); err != nil {
		t.Fatal(err)
	}

	t.Run("it comes out of the parts file when it is wanted", func(t *testing.T) {
		if err := r.tor.SetSkip(nil); err != nil {
			t.Fatal(err)
		}
		r.wantFile(1)
		r.wantReads(0, 1, 2, 3)
		r.wantAbsent(r.parts())
		if err := r.tor.Sync(); err != nil {
			t.Error(err)
		}
	})
	t.Run("it stays in use when it is skipped again", func(t *testing.T) {
		if err := r.tor.SetSkip([]bool{false, true, false}); err != nil {
			t.Fatal(err)
		}
		r.wantReads(0, 1, 2, 3)
		r.write(0)
		r.write(1)
		if res := r.take(); len(res) != 2 || !res[0].OK {
			t.Errorf("results %+v", res)
		}
		r.wantFile(1)
		r.wantAbsent(r.parts())
	})
}

func TestOnlySomePartsAreMerged(t *testing.T) {
	// Five files in one piece: the parts file's blocks are shared.
	x := makeFixture(t, 64<<10, file{path: "a", length: 5000}, file{path: "b", length: 5000}, file{path: "c", length: 5000}, file{path: "d", length: 5000}, file{path: "e", length: 100_000})
	r := newRig(t, x, Config{}, Options{Skip: []bool{false, true, true, true, true}})
	r.write(0)
	if res := r.take(); len(res) != 1 || !res[0].OK {
		t.Fatalf("results %+v", res)
	}
	for _, skip := range [][]bool{
		{false, true, false, true, true},
		{false, false, false, true, true},
		{false, false, false, false, true},
	} {
		if err := r.tor.SetSkip(skip); err != nil {
			t.Fatal(err)
		}
		for i, s := range skip {
			if s {
				r.wantAbsent(r.path(i))
			} else {
				r.wantFile(i)
			}
		}
		r.wantReads(0)
	}
	if _, err := os.Stat(r.parts()); err != nil {
		t.Errorf("%v, want a parts file for e", err)
	}
}

func TestPartsSurviveARestart(t *testing.T) {
	r := newRig(t, threeFiles(t), Config{}, Options{Skip: []bool{false, true, false}})
	r.writeAll()
	r.wantAll()

	t.Run("with the same choice", func(t *testing.T) {
		r.tor.Close()
		r.open(Options{Skip: []bool{false, true, false}})
		r.wantReads(0, 1, 2, 3)
		if !r.tor.HasData(1) {
			t.Error("piece 1 has no data")
		}
	})
	t.Run("with a file of the user at its path", func(t *testing.T) {
		r.tor.Close()
		if err := os.WriteFile(r.path(1), bytes.Repeat([]byte("mine"), 7500), 0o644); err != nil {
			t.Fatal(err)
		}
		r.open(Options{Skip: []bool{false, true, false}})
		// The pieces are right only with what the parts file holds.
		r.wantReads(0, 1)
	})
	t.Run("with another choice", func(t *testing.T) {
		r.tor.Close()
		os.Remove(r.path(1))
		r.open(Options{Skip: []bool{false, true, false}})
		r.verify()
		r.write(0)
		r.write(1)
		r.take()
		r.wantAbsent(r.path(1))
		r.tor.Close()
		r.open(Options{})
		r.wantReads(0, 1, 2, 3)
		r.wantFile(1)
		r.wantAbsent(r.parts())
	})
}

func TestAGoodFileIsNotOverwrittenByStaleParts(t *testing.T) {
	r := newRig(t, threeFiles(t), Config{}, Options{Skip: []bool{false, true, false}})
	// The parts file gets wrong bytes of b, in a piece that never was right.
	for n := range 2 {
		r.block(0, n, true)
	}
	r.take()
	r.write(0)
	r.take()
	if err := os.WriteFile(r.parts(), make([]byte, 64<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	r.tor.Close()
	for i := range 3 {
		os.WriteFile(r.path(i), r.file(i), 0o644)
	}
	r.open(Options{})
	if have := r.verify(); !have.All() {
		t.Errorf("verify found %d of %d", have.Count(), have.Len())
	}
	r.wantFile(1)
	r.wantAbsent(r.parts())
}

func TestMergeCutShortGoesOnAfterARestart(t *testing.T) {
	for stop := range 3 {
		t.Run(fmt.Sprintf("at write %d", stop), func(t *testing.T) {
			x := makeFixture(t, 32<<10, file{path: "a", length: 20_000}, file{path: "b", length: 100_000}, file{path: "c", length: 50_000})
			skip := []bool{false, true, false}
			r := newRig(t, x, Config{}, Options{Skip: skip})
			r.write(0)
			r.write(3)
			r.take()
			n := 0
			r.s.fault = func(op, path string) error {
				if op == "write" && path == "b" {
					if n++; n > stop {
						return errors.New("power cut")
					}
				}
				if op == "sync" && path == "b" {
					return errors.New("power cut")
				}
				return nil
			}
			if err := r.tor.SetSkip(nil); err == nil {
				t.Fatal("no error")
			}
			r.tor.Close()
			r.s.fault = nil
			r.open(Options{Skip: skip}) // the old choice: the new one was not recorded
			r.wantReads(0, 3)
			if err := r.tor.SetSkip(nil); err != nil {
				t.Fatal(err)
			}
			r.wantReads(0, 3)
			r.wantAbsent(r.parts())
		})
	}
}

func TestDeselectedWhileUnderWay(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 30_000}, file{path: "b", length: 200_000})
	r := newRig(t, x, Config{RunBytes: 16 << 10}, Options{})
	if err := r.tor.SetSkip([]bool{false, true}); err != nil {
		t.Fatal(err)
	}
	r.writeAll() // pieces 1.. lie in b alone
	r.wantAll()
	r.wantAbsent(r.path(1))
	r.wantReads(0, 1, 2, 3)
	if err := r.tor.SetSkip([]bool{false, false}); err != nil {
		t.Fatal(err)
	}
	r.wantFile(0)
	r.wantFile(1)
	r.wantAbsent(r.parts())
}

func TestPartsOffsetsDoNotOverlap(t *testing.T) {
	x := makeFixture(t, 1000, file{path: "a", length: 1500}, file{path: "p", length: 500, pad: true}, file{path: "b", length: 2700}, file{path: "z"}, file{path: "c", length: 100}, file{path: "d", length: 5200})
	r := newRig(t, x, Config{}, Options{})
	// a ends in piece 1, b covers 2 to 4, c and d share 4 with it.
	if got, want := fmt.Sprint(r.tor.edges()), "[4]"; got != want {
		t.Errorf("shared pieces %s, want %s", got, want)
	}
	seen := map[int64]bool{}
	for off := int64(0); off < x.info.Total; off++ {
		at := r.tor.partsOffset(off)
		if seen[at] || at < 0 {
			t.Fatalf("offset %d: place %d is taken", off, at)
		}
		seen[at] = true
	}
	if at := r.tor.partsOffset(4000); at != 0 {
		t.Errorf("the shared piece is at %d, want 0", at)
	}
}

// TestSkippedFileThatIsDeleted: a file that is skipped, and was used where it was,
// is not missed once it is gone, and not made again.
func TestSkippedFileThatIsDeleted(t *testing.T) {
	for _, how := range []string{"after a probe", "after a check of everything", "before it was synced"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, threeFiles(t), Config{}, Options{})
			r.writeAll()
			r.wantAll()
			if err := r.tor.SetSkip([]bool{false, true, false}); err != nil {
				t.Fatal(err)
			}
			r.wantReads(0, 1, 2, 3)
			if how != "before it was synced" {
				if err := r.tor.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			r.tor.Release()
			if err := os.Remove(r.path(1)); err != nil {
				t.Fatal(err)
			}
			if err := r.tor.Read(0, 0, make([]byte, r.geo.Length(0))); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("reading a piece that was partly in the file: %v", err)
			}
			if how != "after a check of everything" {
				if err := r.tor.Probe(); err != nil {
					t.Fatalf("the file is missed: %v", err)
				}
			} else if have := r.verify(); have.Has(0) || have.Has(1) || !have.Has(2) || !have.Has(3) {
				t.Errorf("verify found %08b, want the last two", have.Bytes())
			}
			r.wantReads(2, 3)
			r.write(0)
			r.write(1)
			if res := r.take(); len(res) != 2 || !res[0].OK || !res[1].OK {
				t.Errorf("results %+v", res)
			}
			r.wantReads(0, 1, 2, 3)
			r.wantAbsent(r.path(1))
			if how == "before it was synced" {
				if err := r.tor.Sync(); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("syncing what was in the file: %v", err)
				}
			}
			if err := r.tor.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
}
