package storage

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"btd/metainfo"
	"btd/piece"
)

// fixture is a torrent with known content.
type fixture struct {
	info    *metainfo.Info
	content []byte // zeros where pad files are
	geo     piece.Geometry
}

// file is what a fixture is made of.
type file struct {
	path   string
	length int64
	pad    bool
}

func makeFixture(t testing.TB, pieceLength int64, files ...file) *fixture {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(pieceLength), uint64(len(files))))
	x := &fixture{info: &metainfo.Info{Name: "fixture", PieceLength: pieceLength}}
	for _, f := range files {
		x.info.Files = append(x.info.Files, metainfo.File{Path: f.path, Length: f.length, Offset: x.info.Total, Pad: f.pad})
		x.info.Total += f.length
		b := make([]byte, f.length+8)
		for i := 0; i < len(b)-7 && !f.pad; i += 8 {
			// No byte is zero: a hole is never right by chance.
			binary.LittleEndian.PutUint64(b[i:], rng.Uint64()|0x0101010101010101)
		}
		x.content = append(x.content, b[:f.length]...)
	}
	var err error
	if x.geo, err = piece.NewGeometry(x.info.Total, pieceLength); err != nil {
		t.Fatal(err)
	}
	for i := range x.geo.Pieces() {
		sum := sha1.Sum(x.piece(piece.Index(i)))
		x.info.Sums = append(x.info.Sums, sum[:]...)
	}
	x.info.Hash = metainfo.V1(sha1.Sum(x.info.Sums))
	return x
}

func (x *fixture) piece(i piece.Index) []byte {
	return x.content[x.geo.Offset(i):][:x.geo.Length(i)]
}

func (x *fixture) file(i int) []byte {
	f := x.info.Files[i]
	return x.content[f.Offset:][:f.Length]
}

// rig is a torrent being written.
type rig struct {
	*fixture
	t       testing.TB
	dir     string
	s       *Store
	tor     *Torrent
	mu      sync.Mutex
	results []Result
	marked  map[int]int
}

func newRig(t testing.TB, x *fixture, cfg Config, o Options) *rig {
	t.Helper()
	r := &rig{fixture: x, t: t, dir: o.Dir, s: New(cfg), marked: map[int]int{}}
	if r.dir == "" {
		r.dir = t.TempDir()
	}
	r.open(o)
	t.Cleanup(func() {
		r.tor.Close()
		if st := r.s.Stats(); st.Buffers != 0 || st.Held != 0 || st.Queued != 0 {
			t.Errorf("at the end: %+v, want no buffers out", st)
		}
		r.s.Close()
	})
	return r
}

func (r *rig) open(o Options) {
	r.t.Helper()
	o.Info, o.Dir = r.info, r.dir
	if o.Done == nil {
		o.Done = func(res Result) {
			r.mu.Lock()
			r.results = append(r.results, res)
			r.mu.Unlock()
		}
	}
	if o.MarkDirty == nil {
		o.MarkDirty = func(files []int) error {
			r.mu.Lock()
			for _, f := range files {
				r.marked[f]++
			}
			r.mu.Unlock()
			return nil
		}
	}
	var err error
	if r.tor, err = r.s.Open(o); err != nil {
		r.t.Fatal(err)
	}
}

// block writes block n of piece i, changed if bad.
func (r *rig) block(i piece.Index, n int, bad bool) {
	b := r.geo.Block(i, n)
	buf := r.s.Alloc()
	k := copy(buf[:b.Length], r.piece(i)[b.Begin:])
	for j := k; j < len(buf); j++ {
		buf[j] = 0xaa
	}
	if bad {
		buf[0] ^= 0x80
	}
	r.tor.Write(b, buf)
}

func (r *rig) write(i piece.Index) {
	for n := range r.geo.Blocks(i) {
		r.block(i, n, false)
	}
}

func (r *rig) writeAll() {
	for i := range r.geo.Pieces() {
		r.write(piece.Index(i))
	}
}

// take waits for what is under way and returns the results so far.
func (r *rig) take() []Result {
	r.tor.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	res := r.results
	r.results = nil
	return res
}

// wantAll expects a good result for every piece, once.
func (r *rig) wantAll() {
	r.t.Helper()
	seen := map[piece.Index]int{}
	for _, res := range r.take() {
		seen[res.Piece]++
		if !res.OK || res.Err != nil {
			r.t.Errorf("piece %d: ok %v, error %v", res.Piece, res.OK, res.Err)
		}
	}
	for i := range r.geo.Pieces() {
		if seen[piece.Index(i)] != 1 {
			r.t.Errorf("piece %d: %d results, want 1", i, seen[piece.Index(i)])
		}
	}
}

func (r *rig) path(i int) string {
	return filepath.Join(r.dir, filepath.FromSlash(r.info.Files[i].Path))
}

// wantFile expects file i on disk to be exactly right.
func (r *rig) wantFile(i int) {
	r.t.Helper()
	got, err := os.ReadFile(r.path(i))
	if err != nil {
		r.t.Error(err)
	} else if !bytes.Equal(got, r.file(i)) {
		r.t.Errorf("file %s: %d bytes, not the content (%d bytes)", r.info.Files[i].Path, len(got), len(r.file(i)))
	}
}

func (r *rig) wantAbsent(path string) {
	r.t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		r.t.Errorf("%s: %v, want it absent", path, err)
	}
}

// verify returns which pieces Verify finds right.
func (r *rig) verify() *piece.Bitfield {
	r.t.Helper()
	have := piece.NewBitfield(r.geo.Pieces())
	told := 0
	err := r.tor.Verify(context.Background(), nil, func(i piece.Index, ok bool) {
		told++
		if ok {
			have.Set(i)
		}
	})
	if err != nil {
		r.t.Errorf("verify: %v", err)
	}
	if told != r.geo.Pieces() {
		r.t.Errorf("verify told of %d pieces, want %d", told, r.geo.Pieces())
	}
	return have
}

func TestWritePieceLengths(t *testing.T) {
	for _, tc := range []struct{ pieceLength, total, memory int64 }{
		{1, 300, 0},
		{7, 1000, 0},
		{16<<10 - 1, 100_000, 0},
		{16 << 10, 100_000, 0},
		{16<<10 + 1, 100_000, 0},
		{1 << 20, 3<<20 + 5, 0},
		{1 << 20, 3<<20 + 5, 64 << 10},
		{64 << 20, 64<<20 + 12345, 1 << 20},
	} {
		t.Run(fmt.Sprintf("%d of %d in %d", tc.pieceLength, tc.total, tc.memory), func(t *testing.T) {
			third := tc.total / 3
			x := makeFixture(t, tc.pieceLength, file{path: "a", length: third}, file{path: "d/b", length: third}, file{path: "d/e/c", length: tc.total - 2*third})
			r := newRig(t, x, Config{Memory: tc.memory}, Options{})
			r.writeAll()
			r.wantAll()
			for i := range x.info.Files {
				r.wantFile(i)
			}
			if have := r.verify(); !have.All() {
				t.Errorf("verify found %d of %d", have.Count(), have.Len())
			}
		})
	}
}

func TestBlocksInAnyOrderWithLittleMemory(t *testing.T) {
	x := makeFixture(t, 1<<20, file{path: "a", length: 5<<20 + 777})
	r := newRig(t, x, Config{Memory: 512 << 10, RunBytes: 64 << 10}, Options{})
	var blocks []piece.Block
	for i := range x.geo.Pieces() {
		for n := range x.geo.Blocks(piece.Index(i)) {
			blocks = append(blocks, x.geo.Block(piece.Index(i), n))
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	for n, b := range blocks {
		if n%50 == 0 {
			r.tor.Flush() // as the lease would make it wait
		}
		r.block(b.Piece, b.Number(), false)
		if x.geo.Blocks(b.Piece) > 1 {
			r.block(b.Piece, b.Number(), false) // twice: the second is ignored
		}
	}
	// A duplicate that came after its piece was done has begun a new attempt.
	r.tor.Flush()
	for i := range x.geo.Pieces() {
		r.tor.Abandon(piece.Index(i))
	}
	r.wantAll()
	r.wantFile(0)
	if st := r.s.Stats(); st.ReadBack == 0 {
		t.Error("nothing was read back, want out-of-order blocks written early")
	}
}

func TestBadBlockIsToldAndNamed(t *testing.T) {
	x := makeFixture(t, 64<<10, file{path: "a", length: 128 << 10})
	r := newRig(t, x, Config{}, Options{})
	for n := range 4 {
		r.block(1, n, n == 2)
	}
	res := r.take()
	if len(res) != 1 || res[0].OK || res[0].Err != nil || res[0].Piece != 1 {
		t.Fatalf("results = %+v, want piece 1 bad", res)
	}
	if len(res[0].Blocks) != 4 {
		t.Fatalf("%d block sums, want 4", len(res[0].Blocks))
	}
	r.write(1)
	if res := r.take(); len(res) != 1 || !res[0].OK {
		t.Fatalf("results = %+v, want piece 1 good", res)
	}
	good, err := r.tor.BlockSums(1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if same := good[n] == res[0].Blocks[n]; same == (n == 2) {
			t.Errorf("block %d: sums equal %v", n, same)
		}
		b := x.geo.Block(1, n)
		if want := sha1.Sum(x.piece(1)[b.Begin:][:b.Length]); good[n] != want {
			t.Errorf("block %d: wrong sum", n)
		}
	}
}

func TestRead(t *testing.T) {
	x := makeFixture(t, 10_000, file{path: "a", length: 12_345}, file{path: "pad", length: 7655, pad: true}, file{path: "b", length: 20_001})
	r := newRig(t, x, Config{}, Options{})
	r.writeAll()
	r.wantAll()
	for i := range x.geo.Pieces() {
		i := piece.Index(i)
		got := make([]byte, x.geo.Length(i))
		if err := r.tor.Read(i, 0, got); err != nil || !bytes.Equal(got, x.piece(i)) {
			t.Errorf("piece %d: error %v or wrong bytes", i, err)
		}
	}
	got := make([]byte, 100)
	if err := r.tor.Read(1, 5000, got); err != nil || !bytes.Equal(got, x.piece(1)[5000:5100]) {
		t.Errorf("part of piece 1: error %v or wrong bytes", err)
	}
	if err := r.tor.Read(1, 9950, got); !errors.Is(err, ErrRange) {
		t.Errorf("read beyond the piece: %v, want ErrRange", err)
	}
	r.wantAbsent(filepath.Join(r.dir, "pad"))
	if err := os.Truncate(r.path(2), 5000); err != nil {
		t.Fatal(err)
	}
	err := r.tor.Read(3, 0, got)
	var e *Error
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &e) || e.Path != r.path(2) {
		t.Errorf("read of a short file: %v, want an Error with its path and ErrUnexpectedEOF", err)
	}
}

func TestExistingFilesAreKept(t *testing.T) {
	x := makeFixture(t, 32<<10, file{path: "d/long", length: 40_000}, file{path: "d/part", length: 60_000})
	r := newRig(t, x, Config{}, Options{})
	tail := append(append([]byte(nil), x.file(0)...), "and a tail"...)
	os.MkdirAll(filepath.Join(r.dir, "d"), 0o755)
	os.WriteFile(r.path(0), tail, 0o644)
	os.WriteFile(r.path(1), x.file(1)[:50_000], 0o644)
	have := r.verify()
	for i, want := range []bool{true, true, false, false} { // piece 2 ends at 98,304, the content at 100,000
		if have.Has(piece.Index(i)) != want {
			t.Errorf("piece %d: have %v, want %v", i, !want, want)
		}
	}
	r.write(2)
	r.write(3)
	if res := r.take(); len(res) != 2 || !res[0].OK || !res[1].OK {
		t.Fatalf("results %+v", res)
	}
	r.wantFile(1)
	if got, _ := os.ReadFile(r.path(0)); !bytes.Equal(got, tail) {
		t.Error("the longer file was changed")
	}
}

func TestCreateEmptyAndExecutable(t *testing.T) {
	x := makeFixture(t, 32<<10, file{path: "e/empty"}, file{path: "run", length: 10}, file{path: "skipped"}, file{path: "link"})
	x.info.Files[1].Executable = true
	x.info.Files[3].Symlink = true
	r := newRig(t, x, Config{}, Options{Skip: []bool{false, false, true, false}})
	if err := r.tor.CreateEmpty(); err != nil {
		t.Fatal(err)
	}
	r.wantFile(0)
	r.wantAbsent(r.path(1))
	r.wantAbsent(r.path(2))
	r.wantAbsent(r.path(3))
	r.writeAll()
	r.wantAll()
	fi, err := os.Stat(r.path(1))
	if err != nil || fi.Mode()&0o100 == 0 {
		t.Errorf("mode %v, error %v, want it executable", fi.Mode(), err)
	}
	if err := r.tor.SetSkip(nil); err != nil {
		t.Fatal(err)
	}
	r.wantFile(2)
}

func TestMarkDirtyComesFirstAndInGroups(t *testing.T) {
	var files []file
	for i := range 1000 {
		files = append(files, file{path: fmt.Sprintf("f%03d", i), length: 10})
	}
	x := makeFixture(t, 40, files...)
	calls := 0
	var r *rig
	var mu sync.Mutex
	seen := map[int]bool{}
	r = newRig(t, x, Config{}, Options{MarkDirty: func(files []int) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		for _, f := range files {
			if seen[f] {
				t.Errorf("file %d marked twice", f)
			}
			seen[f] = true
			if _, err := os.Lstat(r.path(f)); err == nil {
				t.Errorf("file %d was there before it was marked", f)
			}
		}
		return nil
	}})
	r.writeAll()
	r.wantAll()
	if calls > 4 || len(seen) != 1000 {
		t.Errorf("%d files in %d calls, want 1000 in a few", len(seen), calls)
	}
	boom := errors.New("boom")
	r.tor.Unmark()
	r.tor.o.MarkDirty = func([]int) error { return boom }
	r.write(0)
	if res := r.take(); len(res) != 1 || !errors.Is(res[0].Err, boom) {
		t.Errorf("results %+v, want boom", res)
	}
}

func TestAbandon(t *testing.T) {
	x := makeFixture(t, 1<<20, file{path: "a", length: 2 << 20})
	r := newRig(t, x, Config{}, Options{})
	for range 200 {
		for n := range 40 {
			r.block(0, n, true)
		}
		r.tor.Abandon(0)
		r.tor.Abandon(1)
	}
	r.write(0)
	res := r.take()
	if len(res) != 1 || !res[0].OK {
		t.Fatalf("results %+v, want piece 0 good", res)
	}
	got := make([]byte, 1<<20)
	if err := r.tor.Read(0, 0, got); err != nil || !bytes.Equal(got, x.piece(0)) {
		t.Errorf("error %v or wrong bytes", err)
	}
}

func TestCloseDropsUnfinishedPieces(t *testing.T) {
	x := makeFixture(t, 1<<20, file{path: "a", length: 4 << 20})
	r := newRig(t, x, Config{}, Options{})
	r.write(0)
	for n := range 50 {
		r.block(1, n, false)
	}
	r.tor.Close()
	if res := r.take(); len(res) != 1 || res[0].Piece != 0 || !res[0].OK {
		t.Errorf("results %+v, want piece 0 good", res)
	}
	r.write(2)
	if st := r.s.Stats(); st.Buffers != 0 || st.OpenFiles != 0 {
		t.Errorf("after Close %+v, want no buffers and files", st)
	}
	if err := r.tor.Read(0, 0, make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := New(Config{})
	defer s.Close()
	for name, change := range map[string]func(x *fixture, o *Options){
		"a path that leaves":     func(x *fixture, _ *Options) { x.info.Files[0].Path = "../a" },
		"an absolute path":       func(x *fixture, _ *Options) { x.info.Files[0].Path = "/a" },
		"too few hashes":         func(x *fixture, _ *Options) { x.info.Sums = x.info.Sums[:20] },
		"files that overlap":     func(x *fixture, _ *Options) { x.info.Files[1].Offset-- },
		"files that are too few": func(x *fixture, _ *Options) { x.info.Files = x.info.Files[:1] },
		"the parts file's name":  func(x *fixture, _ *Options) { x.info.Files[0].Path = "." + x.info.Hash.String() + ".btd-parts" },
		"a short skip list":      func(_ *fixture, o *Options) { o.Skip = []bool{true} },
	} {
		x := makeFixture(t, 100, file{path: "a", length: 100}, file{path: "b", length: 100})
		o := Options{Info: x.info, Dir: t.TempDir()}
		change(x, &o)
		if _, err := s.Open(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLeaseCountsRequestsAndBuffers(t *testing.T) {
	s := New(Config{Memory: 10 * piece.BlockSize})
	defer s.Close()
	if got := s.Lease(7); got != 7 {
		t.Fatalf("granted %d, want 7", got)
	}
	b := s.Alloc()
	if got := s.Lease(7); got != 2 {
		t.Errorf("granted %d, want 2", got)
	}
	if got := s.Lease(1); got != 0 {
		t.Errorf("granted %d, want 0", got)
	}
	s.Unlease(9)
	s.Free(b)
	var many []*piece.Buffer
	for range 25 { // beyond the budget
		many = append(many, s.Alloc())
	}
	if got := s.Lease(1); got != 0 {
		t.Errorf("granted %d with more buffers out than the budget", got)
	}
	for _, b := range many {
		s.Free(b)
	}
	if got := s.Lease(100); got != 10 {
		t.Errorf("granted %d, want 10", got)
	}
	s.Unlease(10)
	s.trim()
	s.trim()
	if st := s.Stats(); st.Buffers != 0 || len(s.pool.hot) != 0 {
		t.Errorf("after trim: %+v and %d on the free list", st, len(s.pool.hot))
	}
}

func TestOpenFilesStayWithinTheLimit(t *testing.T) {
	var files []file
	for i := range 100 {
		files = append(files, file{path: fmt.Sprintf("d%d/f%d", i%7, i), length: 1000})
	}
	x := makeFixture(t, 3000, files...)
	r := newRig(t, x, Config{MaxOpenFiles: 5}, Options{})
	r.writeAll()
	r.wantAll()
	if n := r.s.handles.count(); n > 5 {
		t.Errorf("%d files open, want 5 at most", n)
	}
	if err := r.tor.Sync(); err != nil {
		t.Error(err)
	}
	if have := r.verify(); !have.All() {
		t.Errorf("verify found %d of %d", have.Count(), have.Len())
	}
	for range 3 {
		r.s.trim()
	}
	if n := r.s.handles.count(); n != 5 {
		t.Errorf("%d files open while they wait for a sync, want 5", n)
	}
	if err := r.tor.Sync(); err != nil {
		t.Error(err)
	}
	for range 3 {
		r.s.trim()
	}
	if n := r.s.handles.count(); n != 0 {
		t.Errorf("%d files open after idling, want 0", n)
	}
	if err := r.tor.Read(0, 0, make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

func TestErrorsWrapTheSystemsOwn(t *testing.T) {
	err := wrap("write", "/dl", "a/b", &fs.PathError{Op: "openat", Path: "b", Err: syscall.EACCES})
	if got, want := err.Error(), "storage: write /dl/a/b: permission denied"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, syscall.EACCES) || !errors.Is(err, fs.ErrPermission) {
		t.Error("errors.Is does not find the cause")
	}
	if again := wrap("sync", "/x", "y", err); again != err {
		t.Error("wrapped twice")
	}
}
