package storage

import (
	"context"
	"crypto/sha1"
	"errors"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"

	"btd/metainfo"
	"btd/piece"
	"btd/piece/sha1x"
)

func TestVerifyHoles(t *testing.T) {
	x := makeFixture(t, 1<<20, file{path: "a", length: 64 << 20})
	r := newRig(t, x, Config{}, Options{})
	r.write(40)
	r.take()
	if err := os.Truncate(r.path(0), 64<<20); err != nil {
		t.Fatal(err)
	}
	reads := 0
	var mu sync.Mutex
	r.s.fault = func(op, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "read" {
			reads++
		}
		return nil
	}
	have := r.verify()
	if have.Count() != 1 || !have.Has(40) {
		t.Errorf("verify found %d pieces, want 40 alone", have.Count())
	}
	if runtime.GOOS == "linux" {
		if most := 1 << 20 / stripe; reads > most {
			t.Errorf("%d reads, want %d at most: holes are not read", reads, most)
		}
		if r.tor.HasData(39) || !r.tor.HasData(40) {
			t.Error("HasData is wrong about 39 or 40")
		}
	}
}

func TestVerifyTakesHolesForZerosWhereTheyAreRight(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 64 << 10}, file{path: "zeros", length: 200 << 10, pad: true}, file{path: "b", length: 1000})
	x.info.Files[1].Pad = false // content of zeros, but a file as any other
	r := newRig(t, x, Config{}, Options{})
	have := r.verify()
	if have.Count() != 0 {
		t.Errorf("verify found %d pieces without any file", have.Count())
	}
	f, err := os.Create(r.path(1))
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(150 << 10)
	f.Close()
	have = r.verify()
	for i, want := range []bool{false, true, true, false, false} {
		if have.Has(piece.Index(i)) != want {
			t.Errorf("piece %d: %v, want %v", i, !want, want)
		}
	}
}

// looks is a context that ends once it was asked so often whether it has: a
// verification asks before whatever it reads or hashes.
type looks struct {
	context.Context
	left int
}

func (c *looks) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestVerifyHashesNoPadding: how much of it there is costs whoever makes a
// torrent nothing, so it must not cost those anything who add it.
func TestVerifyHashesNoPadding(t *testing.T) {
	const pads, length = 1000, piece.MaxPieceLength
	h := sha1.New()
	for range length / len(zeros) {
		h.Write(zeros[:])
	}
	x := &fixture{info: &metainfo.Info{Name: "fixture", PieceLength: length, Total: (pads + 1) * length, Files: []metainfo.File{
		{Path: "a", Length: 1},
		{Path: "pad", Length: (pads+1)*length - 1, Offset: 1, Pad: true},
	}}}
	for range pads + 1 {
		x.info.Sums = h.Sum(x.info.Sums)
	}
	x.info.Sums[20*7] ^= 1 // not the hash of zeros
	var err error
	if x.geo, err = piece.NewGeometry(x.info.Total, length); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, x, Config{}, Options{})
	var bad []piece.Index
	told := 0
	v := &verification{t: r.tor, each: func(i piece.Index, ok bool) {
		if told++; !ok {
			bad = append(bad, i)
		}
	}}
	c, ctx := newChecker(), &looks{context.Background(), 3 * pads}
	for from, to := v.take(c); from < to; from, to = v.take(c) {
		if err := v.group(ctx, c, from, to); err != nil {
			t.Fatalf("piece %d of %d: %v: padding is hashed", from, pads+1, err)
		}
	}
	if told != pads+1 || !slices.Equal(bad, []piece.Index{0, 7}) {
		t.Errorf("%d pieces, of which %v are not right; want %d, and 0, whose file is missing, and 7", told, bad, pads+1)
	}
}

func TestVerifyOnlyWhatIsAsked(t *testing.T) {
	x := makeFixture(t, 1000, file{path: "a", length: 50_500})
	r := newRig(t, x, Config{}, Options{})
	r.writeAll()
	r.wantAll()
	want := piece.NewBitfield(51)
	for _, i := range []piece.Index{0, 7, 8, 9, 33, 50} {
		want.Set(i)
	}
	got := piece.NewBitfield(51)
	if err := r.tor.Verify(context.Background(), want, func(i piece.Index, ok bool) {
		if !ok || !got.Set(i) {
			t.Errorf("piece %d: bad or told twice", i)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if string(got.Bytes()) != string(want.Bytes()) {
		t.Error("told of other pieces")
	}
}

func TestVerifyStopsAtOnce(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 16 << 20})
	r := newRig(t, x, Config{Workers: 2}, Options{})
	r.writeAll()
	r.wantAll()
	ctx, cancel := context.WithCancel(context.Background())
	told := 0
	err := r.tor.Verify(ctx, nil, func(piece.Index, bool) {
		if told++; told == 5 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || told > 4*sha1x.MaxLanes {
		t.Errorf("error %v after %d pieces, want it cancelled soon after 5", err, told)
	}
	if err := r.tor.Verify(ctx, nil, func(piece.Index, bool) { t.Error("told after cancel") }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestVerifyReportsIOErrors(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 1 << 20})
	r := newRig(t, x, Config{}, Options{})
	r.writeAll()
	r.wantAll()
	r.s.fault = func(op, _ string) error {
		if op == "read" {
			return syscall.EIO
		}
		return nil
	}
	err := r.tor.Verify(context.Background(), nil, func(_ piece.Index, ok bool) {
		if ok {
			t.Error("a piece is ok")
		}
	})
	var e *Error
	if !errors.Is(err, syscall.EIO) || !errors.As(err, &e) || e.Path != r.path(0) {
		t.Errorf("error %v, want EIO with the path", err)
	}
}

func TestVerifiesShareTheWorkers(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 2 << 20})
	s := New(Config{Workers: 2})
	defer s.Close()
	busy, most := 0, 0
	var mu sync.Mutex
	s.fault = func(op, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "read" {
			busy++
			most = max(most, busy)
			mu.Unlock()
			runtime.Gosched()
			mu.Lock()
			busy--
		}
		return nil
	}
	var wg sync.WaitGroup
	for range 4 {
		r := &rig{fixture: x, t: t, dir: t.TempDir(), s: s, marked: map[int]int{}}
		r.open(Options{})
		defer r.tor.Close()
		if err := os.WriteFile(r.path(0), x.file(0), 0o644); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if have := r.verify(); !have.All() {
				t.Error("not all found")
			}
		})
	}
	wg.Wait()
	if most > 2 {
		t.Errorf("%d reads at once, want 2 at most", most)
	}
}
