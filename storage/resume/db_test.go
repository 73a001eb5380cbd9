package resume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"btd/metainfo"
	"btd/piece"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

func testHash(n int) metainfo.Hash {
	var v1 [20]byte
	binary.BigEndian.PutUint64(v1[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(v1[12:], uint64(n))
	return metainfo.V1(v1)
}

func testRecord(n int) Record {
	r := Record{
		Hash: testHash(n), Name: fmt.Sprintf("torrent %d", n), Dir: "/srv/torrents", Size: int64(n) << 20, Queue: int64(n),
		Added: time.Unix(1_700_000_000, int64(n)).UTC(), Pieces: 100 + n,
		Trackers: [][]string{{"http://tracker.example/announce", "udp://tracker.example:6969"}, {"http://second.example/a"}},
	}
	if n%2 == 1 {
		r.Completed = r.Added.Add(time.Hour)
		r.Stopped, r.Complete, r.RatioLimit, r.SeedTime = true, true, 1.5, 3*time.Hour
		r.Priorities = []uint8{4, 4, 4, 0, 0, 7}
		r.Uploaded, r.Downloaded, r.Corrupt, r.SecondsActive, r.SecondsSeeding = 1, 2, 3, 4, 5
	}
	if n%3 == 1 {
		r.Sequential, r.Private, r.LimitUp, r.LimitDown = true, true, 1<<20, 5<<20
	}
	return r
}

func testOpen(t testing.TB, path string) *DB {
	t.Helper()
	d, err := Open(path, nil)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func testPath(t testing.TB) string { return filepath.Join(t.TempDir(), "resume.db") }

// checkPages has bbolt look for broken pages.
func checkPages(t testing.TB, d *DB) {
	t.Helper()
	err := d.bolt.View(func(tx *bbolt.Tx) error {
		var all []error
		for err := range tx.Check() {
			all = append(all, err)
		}
		return errors.Join(all...)
	})
	if err != nil {
		t.Fatalf("the database is inconsistent: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func all(t testing.TB, d *DB) map[metainfo.Hash]Record {
	t.Helper()
	m := make(map[metainfo.Hash]Record)
	must(t, d.Each(func(rec Record, err error) bool {
		must(t, err)
		if _, ok := m[rec.Hash]; ok {
			t.Errorf("%v was seen twice", rec.Hash)
		}
		m[rec.Hash] = rec
		return true
	}))
	return m
}

func indexes(f *piece.Bitfield) []piece.Index {
	var l []piece.Index
	for i := range f.Indexes() {
		l = append(l, i)
	}
	return l
}

func TestRecordsSurviveReopening(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	want := make(map[metainfo.Hash]Record)
	for n := range 600 { // more than two batches of Each
		rec := testRecord(n)
		want[rec.Hash] = rec
		d.AddAsync(rec, []byte(rec.Name), func(err error) {
			if err != nil {
				t.Errorf("AddAsync: %v", err)
			}
		})
	}
	changed := testRecord(7)
	changed.Name, changed.Uploaded = "renamed", 1<<40
	want[changed.Hash] = changed
	must(t, d.Update(changed))
	must(t, d.Remove(testHash(8)))
	delete(want, testHash(8))
	for range 2 {
		if got := all(t, d); !reflect.DeepEqual(got, want) {
			t.Fatalf("%d records, want %d, or they differ", len(got), len(want))
		}
		raw, err := d.Metainfo(testHash(7))
		if err != nil || string(raw) != "torrent 7" {
			t.Errorf("Metainfo = %q, %v", raw, err)
		}
		checkPages(t, d)
		must(t, d.Close())
		d = testOpen(t, path)
	}
}

func TestMistakesAreTold(t *testing.T) {
	d := testOpen(t, testPath(t))
	rec := testRecord(1)
	must(t, d.Add(rec, nil))
	for name, c := range map[string]struct{ got, want error }{
		"add twice":      {d.Add(rec, nil), ErrExists},
		"update unknown": {d.Update(testRecord(2)), ErrNotFound},
		"remove unknown": {d.Remove(testHash(2)), ErrNotFound},
		"dirty unknown":  {d.MarkDirty(testHash(2), []int{0}), ErrNotFound},
		"commit unknown": {d.Commit([]Commit{{Hash: testHash(2), Changed: []piece.Index{1}, Stats: &Counters{}}}), nil},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if _, err := d.Metainfo(testHash(2)); !errors.Is(err, ErrNotFound) {
		t.Errorf("metainfo of an unknown torrent: %v", err)
	}
	f, err := d.Pieces(testHash(2), 10)
	if err != nil || f.Count() != 0 {
		t.Errorf("claims of an unknown torrent: %v, %v", f, err)
	}
	for name, err := range map[string]error{
		"no hash":           d.Add(Record{}, nil),
		"negative file":     d.MarkDirty(rec.Hash, []int{-1}),
		"piece out of set":  d.Commit([]Commit{{Hash: rec.Hash, Pieces: piece.NewBitfield(8), Changed: []piece.Index{8}}}),
		"lost out of range": d.Commit([]Commit{{Hash: rec.Hash, Lost: []piece.Index{piece.MaxPieces}}}),
		"negative pieces":   d.Update(Record{Hash: rec.Hash, Pieces: -1}),
		"empty key":         d.Put("", nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	must(t, d.Close())
	must(t, d.Close())
	if err := d.Add(testRecord(3), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if err := d.Each(func(Record, error) bool { return true }); !errors.Is(err, ErrClosed) {
		t.Errorf("Each after Close: %v", err)
	}
}

func TestClaims(t *testing.T) {
	const n = 3*chunkBits + 5
	d := testOpen(t, testPath(t))
	rec := testRecord(1)
	must(t, d.Add(rec, nil))
	want := piece.NewBitfield(n)
	expect := func(what string) {
		t.Helper()
		got, err := d.Pieces(rec.Hash, n)
		must(t, err)
		if !bytes.Equal(got.Bytes(), want.Bytes()) || got.Count() != want.Count() {
			t.Fatalf("%s: claimed %d, want %d, or others", what, got.Count(), want.Count())
		}
	}
	expect("nothing")
	for _, i := range []piece.Index{0, 5, chunkBits, n - 1} {
		want.Set(i)
	}
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Changed: indexes(want)}}))
	expect("named pieces")

	have := want.Clone()
	have.Set(7)
	have.Set(8)
	have.Clear(5)
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Pieces: have, Changed: []piece.Index{5, 7}}}))
	want.Set(7)
	want.Clear(5)
	expect("only the named pieces follow the set")

	want = have.Clone()
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Pieces: have}}))
	expect("the whole set")

	want.Fill()
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Pieces: want}}))
	expect("everything")

	want.Clear(3)
	want.Clear(n - 1)
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Pieces: have, Changed: []piece.Index{}, Lost: []piece.Index{3, n - 1}}}))
	expect("lost pieces")

	if got, err := d.Pieces(rec.Hash, chunkBits+1); err != nil || got.Has(chunkBits) || !got.Has(0) {
		t.Errorf("a chunk with claims beyond the last piece counts: %v", err)
	}
	must(t, d.Remove(rec.Hash))
	must(t, d.Add(rec, nil))
	want = piece.NewBitfield(n)
	expect("claims outlived their torrent")
	checkPages(t, d)
}

func TestFiles(t *testing.T) {
	const n = chunkFiles*3 + 2
	d := testOpen(t, testPath(t))
	rec := testRecord(1)
	must(t, d.Add(rec, nil))
	want := make([]FileStat, n)
	expect := func(what string) {
		t.Helper()
		got, err := d.Files(rec.Hash, n)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\n%v, want\n%v", what, got, want)
		}
	}
	expect("nothing")
	must(t, d.MarkDirty(rec.Hash, []int{0, n - 1, 64}))
	want[0].Dirty, want[64].Dirty, want[n-1].Dirty = true, true, true
	expect("dirty")
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Clean: []Clean{{n - 1, 5, 1e18}, {0, 0, -3}, {1, 1 << 50, 0}}}}))
	file := func(size, modTime int64) FileStat { return FileStat{Size: size, ModTime: modTime, Known: true} }
	want[0], want[1], want[n-1] = file(0, -3), file(1<<50, 0), file(5, 1e18)
	expect("clean")
	must(t, d.MarkDirty(rec.Hash, []int{1}))
	want[1].Dirty = true
	expect("dirty again")
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Clean: []Clean{{0, -1, 0}, {64, -1, 0}, {n - 1, -1, 0}}}}))
	want[0], want[64], want[n-1] = FileStat{}, FileStat{}, FileStat{}
	expect("gone")
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Clean: []Clean{{0, Forgotten, 7}, {1, Forgotten, 0}}}}))
	want[0], want[1] = FileStat{Forgotten: true}, FileStat{Forgotten: true}
	expect("forgotten")
	must(t, d.MarkDirty(rec.Hash, []int{1}))
	want[1].Dirty = true
	expect("forgotten and dirty")
	must(t, d.Commit([]Commit{{Hash: rec.Hash, Clean: []Clean{{0, -1, 0}, {1, 5, 6}}}}))
	want[0], want[1] = FileStat{}, file(5, 6)
	expect("known again")
	checkPages(t, d)
}

func TestCountersChangeAlone(t *testing.T) {
	d := testOpen(t, testPath(t))
	want := testRecord(1)
	must(t, d.Add(want, nil))
	want.SetCounters(Counters{10, 20, 30, 40, 50})
	c := want.Counters()
	must(t, d.Commit([]Commit{{Hash: want.Hash, Stats: &c}}))
	if got := all(t, d)[want.Hash]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSmallValues(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	if v, err := d.Get("token"); v != nil || err != nil {
		t.Errorf("missing: %q, %v", v, err)
	}
	must(t, d.Put("token", []byte("secret")))
	must(t, d.Put("empty", []byte{}))
	must(t, d.Put("gone", []byte("x")))
	must(t, d.Put("gone", nil))
	must(t, d.Close())
	d = testOpen(t, path)
	for key, want := range map[string][]byte{"token": []byte("secret"), "empty": {}, "gone": nil} {
		if v, err := d.Get(key); err != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("%s = %q, %v, want %q", key, v, err, want)
		}
	}
}

// TestCallersShareTransactions stops the writer while many callers queue up,
// and counts what it then takes to serve them.
func TestCallersShareTransactions(t *testing.T) {
	const callers = 100
	path := testPath(t)
	synctest.Test(t, func(t *testing.T) {
		d := testOpen(t, path)
		must(t, d.Add(testRecord(0), nil))
		hold := make(chan struct{})
		d.enqueue(&op{apply: func(*buckets) (bool, error) { <-hold; return false, nil }, done: func(error) {}})
		synctest.Wait() // the writer holds
		var wg sync.WaitGroup
		for n := range callers {
			wg.Go(func() {
				var err error
				if n%2 == 0 {
					err = d.MarkDirty(testHash(0), []int{n})
				} else {
					err = d.Add(testRecord(n), []byte("x"))
				}
				if err != nil {
					t.Errorf("caller %d: %v", n, err)
				}
			})
		}
		synctest.Wait() // all callers queue
		var before int
		must(t, d.bolt.View(func(tx *bbolt.Tx) error { before = tx.ID(); return nil }))
		close(hold)
		wg.Wait()
		must(t, d.bolt.View(func(tx *bbolt.Tx) error {
			if n := tx.ID() - before; n != 1 {
				t.Errorf("%d transactions for %d callers, want 1", n, callers)
			}
			return nil
		}))
		if got := len(all(t, d)); got != 1+callers/2 {
			t.Errorf("%d torrents, want %d", got, 1+callers/2)
		}
		must(t, d.Close())
	})
}

// TestOneBadChangeLeavesTheOthers runs an op that fails within a batch.
func TestOneBadChangeLeavesTheOthers(t *testing.T) {
	d := testOpen(t, testPath(t))
	boom := errors.New("boom")
	good, err := addOp(testRecord(1), nil)
	must(t, err)
	refused := removeOp(testHash(5))
	hard := &op{apply: func(*buckets) (bool, error) { return false, boom }}
	d.write([]*op{good, refused, hard})
	if good.err != nil || !errors.Is(refused.err, ErrNotFound) || !errors.Is(hard.err, boom) {
		t.Errorf("errors: %v; %v; %v", good.err, refused.err, hard.err)
	}
	if got := all(t, d); len(got) != 1 {
		t.Errorf("%d torrents, want 1", len(got))
	}
	must(t, d.Add(testRecord(2), nil))
	checkPages(t, d)
}

// TestFullDisk has the file hit its largest size: callers are told, and all is
// well once there is room.
func TestFullDisk(t *testing.T) {
	d := testOpen(t, testPath(t))
	must(t, d.Add(testRecord(1), nil))
	limit := func(n int) {
		must(t, d.do(0, func(*buckets) (bool, error) { d.bolt.MaxSize = n; return false, nil }))
	}
	limit(1 << 20)
	if err := d.Add(testRecord(2), make([]byte, 2<<20)); !errors.Is(err, berrors.ErrMaxSizeReached) {
		t.Fatalf("Add: %v", err)
	}
	checkPages(t, d)
	limit(0)
	must(t, d.Add(testRecord(2), make([]byte, 2<<20)))
	if got := len(all(t, d)); got != 2 {
		t.Errorf("%d torrents, want 2", got)
	}
	checkPages(t, d)
}

// TestPanicEndsWriting has bbolt panic, which it does when it meets a damaged
// page: writing is over, reading and closing are not.
func TestPanicEndsWriting(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	must(t, d.Add(testRecord(1), nil))
	err := d.do(0, func(*buckets) (bool, error) { panic("page 7 is bad") })
	if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "page 7") {
		t.Errorf("the op: %v", err)
	}
	if err := d.Add(testRecord(2), nil); !errors.Is(err, ErrUnreadable) {
		t.Errorf("Add: %v", err)
	}
	if got := len(all(t, d)); got != 1 {
		t.Errorf("%d torrents, want 1", got)
	}
	must(t, d.Close())
	if got := len(all(t, testOpen(t, path))); got != 1 {
		t.Errorf("%d torrents, want 1", got)
	}
}

func TestNothingChangedIsNotWritten(t *testing.T) {
	d := testOpen(t, testPath(t))
	rec := testRecord(1)
	f := piece.NewBitfield(40)
	f.Set(3)
	id := func() (n int) {
		must(t, d.bolt.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }))
		return n
	}
	change := func() {
		must(t, d.Update(rec))
		must(t, d.MarkDirty(rec.Hash, []int{1, 2}))
		must(t, d.Commit([]Commit{{Hash: rec.Hash, Pieces: f, Clean: []Clean{{3, 4, 5}}}}))
		must(t, d.Commit([]Commit{{Hash: rec.Hash, Changed: []piece.Index{3}}}))
	}
	must(t, d.Add(rec, nil))
	change()
	before := id()
	change()
	if after := id(); after != before {
		t.Errorf("%d transactions for what was stored already", after-before)
	}
}

func TestConcurrentUse(t *testing.T) {
	d := testOpen(t, testPath(t))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(g)))
			for i := range 40 {
				n := g*1000 + i
				if err := d.Add(testRecord(n), bytes.Repeat([]byte{byte(n)}, 5000)); err != nil {
					t.Errorf("Add: %v", err)
				}
				if err := d.MarkDirty(testHash(n), []int{rng.IntN(100)}); err != nil {
					t.Errorf("MarkDirty: %v", err)
				}
				if err := d.Commit([]Commit{{Hash: testHash(n), Changed: []piece.Index{piece.Index(rng.IntN(100))}}}); err != nil {
					t.Errorf("Commit: %v", err)
				}
				if f, err := d.Pieces(testHash(n), 100); err != nil || f.Count() != 1 {
					t.Errorf("Pieces: %v, %v", f, err)
				}
				if raw, err := d.Metainfo(testHash(n)); err != nil || len(raw) != 5000 {
					t.Errorf("Metainfo: %d bytes, %v", len(raw), err)
				}
				if i%2 == 0 {
					if err := d.Remove(testHash(n)); err != nil {
						t.Errorf("Remove: %v", err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := d.Each(func(_ Record, err error) bool { return err == nil }); err != nil {
				t.Errorf("Each: %v", err)
			}
		}
	})
	wg.Wait()
	if got := len(all(t, d)); got != 8*20 {
		t.Errorf("%d torrents, want %d", got, 8*20)
	}
	checkPages(t, d)
}
