package storage

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"btd/piece"
)

// sealed is a rig of two files and a pad, written whole, with its seal. A piece
// holds the end of a and the beginning of b.
func sealed(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, makeFixture(t, 64<<10, file{path: "d/a", length: 160 << 10}, file{path: "pad", length: 1 << 10, pad: true},
		file{path: "d/b", length: 100 << 10}, file{path: "d/empty"}), Config{}, Options{})
	for i := range r.geo.Pieces() {
		r.write(piece.Index(i))
	}
	r.take()
	stats, err := r.tor.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r.tor.Seal(stats)
	return r
}

// pieces reads every piece and tells which could not be read since a file
// changed.
func (r *rig) changedPieces() (bad []int) {
	r.t.Helper()
	for i := range r.geo.Pieces() {
		p := make([]byte, r.geo.Length(piece.Index(i)))
		switch err := r.tor.Read(piece.Index(i), 0, p); {
		case errors.Is(err, ErrChanged):
			bad = append(bad, i)
		case err != nil:
			r.t.Errorf("piece %d: %v", i, err)
		case !slices.Equal(p, r.piece(piece.Index(i))):
			r.t.Errorf("piece %d: wrong bytes", i)
		}
	}
	return bad
}

// later sets a file's time: the clock of a file system may stand still.
func (r *rig) later(file int) {
	r.t.Helper()
	fi, err := os.Stat(r.path(file))
	if err == nil {
		err = os.Chtimes(r.path(file), time.Time{}, fi.ModTime().Add(time.Minute))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestSealNoticesChanges(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(r *rig) error
		files  []int
		pieces []int
	}{
		"nothing": {func(*rig) error { return nil }, nil, nil},
		"a written to": {func(r *rig) error {
			f, err := os.OpenFile(r.path(0), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("x"), 5)
			err = errors.Join(err, f.Close())
			r.later(0)
			return err
		}, []int{0}, []int{0, 1, 2}},
		"b touched": {func(r *rig) error { r.later(2); return nil }, []int{2}, []int{2, 3, 4}},
		"b shorter": {func(r *rig) error { return os.Truncate(r.path(2), 3) }, []int{2}, []int{2, 3, 4}},
		"b empty":   {func(r *rig) error { return os.Truncate(r.path(2), 0) }, []int{2}, []int{2, 3, 4}},
		"both longer": {func(r *rig) error {
			return errors.Join(os.Truncate(r.path(0), 1<<20), os.Truncate(r.path(2), 1<<20))
		}, []int{0, 2}, []int{0, 1, 2, 3, 4}},
		"the empty one grew": {func(r *rig) error { return os.WriteFile(r.path(3), []byte("x"), 0o644) }, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := sealed(t)
			if bad := r.changedPieces(); bad != nil {
				t.Fatalf("pieces %v were changed by nobody", bad)
			}
			if err := tt.change(r); err != nil {
				t.Fatal(err)
			}
			if bad := r.changedPieces(); !slices.Equal(bad, tt.pieces) {
				t.Errorf("pieces %v are refused, want %v", bad, tt.pieces)
			}
			files, now, err := r.tor.Changed()
			if err != nil || !slices.Equal(files, tt.files) {
				t.Errorf("changed files are %v, want %v, %v", files, tt.files, err)
			}
			// Sealed anew, the files are read as they are.
			r.tor.Seal(now)
			if files, _, err := r.tor.Changed(); err != nil || files != nil {
				t.Errorf("after a new seal: %v, %v", files, err)
			}
			p := make([]byte, 10)
			if err := r.tor.Read(0, 0, p); err != nil {
				t.Errorf("after a new seal: %v", err)
			}
		})
	}
}

// TestSealAndReplacedFile: the file that is open goes on to be read, the new
// one under its name does not.
func TestSealAndReplacedFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open can't be taken away here")
	}
	r := sealed(t)
	r.changedPieces() // opens both
	if err := os.Remove(r.path(0)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path(0), make([]byte, 160<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	r.later(0)
	if bad := r.changedPieces(); bad != nil {
		t.Errorf("pieces %v of open files are refused", bad)
	}
	if files, _, err := r.tor.Changed(); err != nil || !slices.Equal(files, []int{0}) {
		t.Errorf("changed files are %v, %v", files, err)
	}
	r.tor.Release()
	if bad := r.changedPieces(); !slices.Equal(bad, []int{0, 1, 2}) {
		t.Errorf("pieces %v are refused, want those of the new file", bad)
	}
}

// TestChangedTellsOfFilesThatComeAndGo: also of one that was not there before.
func TestChangedTellsOfFilesThatComeAndGo(t *testing.T) {
	r := sealed(t)
	was := r.tor.Sealed()
	if err := os.Remove(r.path(2)); err != nil {
		t.Fatal(err)
	}
	gone, now, err := r.tor.Changed()
	if err != nil || !slices.Equal(gone, []int{2}) {
		t.Errorf("a file that is gone: %v, %v", gone, err)
	}
	r.tor.Seal(now)
	if files, _, err := r.tor.Changed(); err != nil || files != nil {
		t.Errorf("nothing more: %v, %v", files, err)
	}
	if err := os.WriteFile(r.path(2), r.file(2), 0o644); err != nil {
		t.Fatal(err)
	}
	if files, _, err := r.tor.Changed(); err != nil || !slices.Equal(files, []int{2}) {
		t.Errorf("a file that is back: %v, %v", files, err)
	}
	r.tor.Seal(was)
}

// TestSealEndsWithAWrite: what this program writes is no change.
func TestSealEndsWithAWrite(t *testing.T) {
	r := sealed(t)
	r.tor.Abandon(1)
	r.write(1)
	r.take()
	r.later(0)
	if r.tor.Sealed() != nil {
		t.Error("the seal outlasts a write")
	}
	if bad := r.changedPieces(); bad != nil {
		t.Errorf("pieces %v are refused", bad)
	}
	if files, now, err := r.tor.Changed(); files != nil || now != nil || err != nil {
		t.Errorf("without a seal: %v, %v, %v", files, now, err)
	}
}

// TestVerifyReadsWhatWasChanged: hashing is how it is found out what a change
// has done.
func TestVerifyReadsWhatWasChanged(t *testing.T) {
	r := sealed(t)
	f, err := os.OpenFile(r.path(0), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0}, 70<<10); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r.later(0)
	have := r.verify()
	if have.Count() != r.geo.Pieces()-1 || have.Has(1) {
		t.Errorf("%d of %d pieces are right", have.Count(), r.geo.Pieces())
	}
}

// BenchmarkReadSealed is what the look after each read costs.
func BenchmarkReadSealed(b *testing.B) {
	x := makeFixture(b, 1<<20, file{path: "a", length: 64 << 20})
	r := newRig(b, x, Config{}, Options{})
	for i := range r.geo.Pieces() {
		r.write(piece.Index(i))
	}
	r.take()
	stats, err := r.tor.Stat()
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{16 << 10, 256 << 10} {
		for _, seal := range []bool{false, true} {
			b.Run(fmt.Sprintf("run=%dKiB/sealed=%v", size>>10, seal), func(b *testing.B) {
				r.tor.Seal(nil)
				if seal {
					r.tor.Seal(stats)
				}
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if err := r.tor.Read(piece.Index(i%64), 0, p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
