package resume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"btd/metainfo"
	"btd/piece"

	"go.etcd.io/bbolt"
)

func TestNewFileIsPrivate(t *testing.T) {
	path := testPath(t)
	testOpen(t, path)
	fi, err := os.Stat(path)
	must(t, err)
	if got := fi.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	if left := others(t, path); len(left) > 0 {
		t.Errorf("left beside the database: %v", left)
	}
}

// others are the names beside the database.
func others(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	must(t, d.Add(testRecord(1), nil))
	_, err := Open(path, nil)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "another btd uses this state directory") {
		t.Fatalf("second Open: %v", err)
	}
	must(t, d.Add(testRecord(2), nil))
	must(t, d.Close())
	if got := len(all(t, testOpen(t, path))); got != 2 {
		t.Errorf("%d torrents, want 2", got)
	}
}

// TestTwoStartAtOnce has the first of two processes between making the file
// and moving it into place.
func TestTwoStartAtOnce(t *testing.T) {
	path := testPath(t)
	first, err := openBolt(path + ".new")
	must(t, err)
	defer first.Close()
	if _, err := Open(path, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("Open: %v", err)
	}
}

func TestCrashWhileCreating(t *testing.T) {
	for name, junk := range map[string][]byte{
		"empty": {}, "one page": make([]byte, 4096), "garbage": bytes.Repeat([]byte("garbage!"), 4096),
	} {
		t.Run(name, func(t *testing.T) {
			path := testPath(t)
			must(t, os.WriteFile(path+".new", junk, 0o600))
			d := testOpen(t, path)
			must(t, d.Add(testRecord(1), nil))
			if left := others(t, path); len(left) > 0 {
				t.Errorf("left beside the database: %v", left)
			}
		})
	}
}

// writeBolt makes a bbolt file with a schema version, or without if it is 0.
func writeBolt(t *testing.T, path string, version uint32) {
	t.Helper()
	b, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, b.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil || version == 0 {
			return err
		}
		return meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, version))
	}))
	must(t, b.Close())
}

func TestRefusedFilesAreLeftAlone(t *testing.T) {
	full := func(t *testing.T, path string) {
		d := testOpen(t, path)
		for n := range 50 {
			must(t, d.Add(testRecord(n), bytes.Repeat([]byte("x"), 4000)))
		}
		must(t, d.Close())
	}
	patch := func(t *testing.T, path string, from, to int64) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, int(to-from)), from)
		must(t, errors.Join(err, f.Close()))
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
		says string
	}{
		"newer":      {func(t *testing.T, p string) { writeBolt(t, p, schema+1) }, ErrNewer, "run that version again"},
		"much newer": {func(t *testing.T, p string) { writeBolt(t, p, 1<<31) }, ErrNewer, "schema 2147483648"},
		"schema 0":   {func(t *testing.T, p string) { writeBolt(t, p, 0) }, ErrUnreadable, "does not say which version"},
		"no tables":  {func(t *testing.T, p string) { writeBolt(t, p, schema) }, ErrUnreadable, "lacks a table"},
		"other database": {func(t *testing.T, p string) {
			b, err := bbolt.Open(p, 0o600, nil)
			must(t, errors.Join(err, b.Close()))
		}, ErrUnreadable, "not a resume database"},
		"empty":     {func(t *testing.T, p string) { must(t, os.WriteFile(p, nil, 0o600)) }, ErrUnreadable, "is empty"},
		"garbage":   {func(t *testing.T, p string) { must(t, os.WriteFile(p, bytes.Repeat([]byte("garbage!"), 8192), 0o600)) }, ErrUnreadable, "move it away"},
		"text":      {func(t *testing.T, p string) { must(t, os.WriteFile(p, []byte("hello\n"), 0o600)) }, ErrUnreadable, "restore it from a backup"},
		"cut short": {func(t *testing.T, p string) { full(t, p); must(t, os.Truncate(p, 40_000)) }, ErrUnreadable, "cut short"},
		"one page":  {func(t *testing.T, p string) { full(t, p); must(t, os.Truncate(p, 4096)) }, ErrUnreadable, ""},
		"both metas": {func(t *testing.T, p string) {
			full(t, p)
			patch(t, p, 0, 2*int64(os.Getpagesize()))
		}, ErrUnreadable, ""},
		"all but the metas": {func(t *testing.T, p string) {
			full(t, p)
			fi, err := os.Stat(p)
			must(t, err)
			patch(t, p, 2*int64(os.Getpagesize()), fi.Size())
		}, ErrUnreadable, "damaged"},
		"read-only": {func(t *testing.T, p string) { full(t, p); must(t, os.Chmod(p, 0o400)) }, ErrUnreadable, "read-only"},
		"directory": {func(t *testing.T, p string) { must(t, os.Mkdir(p, 0o700)) }, ErrUnreadable, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := testPath(t)
			c.make(t, path)
			before, _ := os.ReadFile(path)
			for range 2 {
				_, err := Open(path, nil)
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
					t.Fatalf("Open: %v, want %v with %q", err, c.want, c.says)
				}
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			if left := others(t, path); len(left) > 0 {
				t.Errorf("left beside the database: %v", left)
			}
		})
	}
}

// TestClosedTorrentsKeepOlderVersionsOut looks at the schema, by which a btd that
// knows neither secrets nor scopes refuses a file in which there is one.
func TestClosedTorrentsKeepOlderVersionsOut(t *testing.T) {
	secret := metainfo.Secret{1, 31: 2}
	for name, change := range map[string]struct {
		do   func(d *DB, rec Record) error
		want uint32
	}{
		"nothing":            {func(*DB, Record) error { return nil }, schemaFirst},
		"an open torrent":    {func(d *DB, rec Record) error { return d.Add(rec, nil) }, schemaFirst},
		"a closed one":       {func(d *DB, rec Record) error { rec.Secret = secret; return d.Add(rec, nil) }, schemaClosed},
		"a local one":        {func(d *DB, rec Record) error { rec.Scope = metainfo.ScopeLAN; return d.Add(rec, nil) }, schemaClosed},
		"one that is closed": {func(d *DB, rec Record) error { must(t, d.Add(rec, nil)); rec.Secret = secret; return d.Update(rec) }, schemaClosed},
		"one with metadata": {func(d *DB, rec Record) error {
			must(t, d.Add(rec, nil))
			rec.Secret = secret
			return d.Complete(rec, []byte("x"))
		}, schemaClosed},
		"one that is gone": {func(d *DB, rec Record) error {
			rec.Secret = secret
			return errors.Join(d.Add(rec, nil), d.Remove(rec.Hash), d.Add(testRecord(3), nil))
		}, schemaClosed},
	} {
		t.Run(name, func(t *testing.T) {
			path := testPath(t)
			d := testOpen(t, path)
			must(t, errors.Join(change.do(d, testRecord(1)), d.Close()))
			b, err := bbolt.Open(path, 0o600, nil)
			must(t, err)
			must(t, b.View(func(tx *bbolt.Tx) error {
				if got := binary.BigEndian.Uint32(tx.Bucket(bucketMeta).Get(keySchema)); got != change.want {
					t.Errorf("schema %d, want %d", got, change.want)
				}
				return nil
			}))
			must(t, b.Close())
			must(t, testOpen(t, path).Close())
		})
	}
}

func TestDirectoryThatIsMissing(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "missing", "resume.db"), nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
}

// TestFileThatShrinksUnderUs must end in an error, not in a crash.
func TestFileThatShrinksUnderUs(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	for n := range 50 {
		must(t, d.Add(testRecord(n), bytes.Repeat([]byte("x"), 4000)))
	}
	must(t, os.Truncate(path, 2*int64(os.Getpagesize())))
	if err := d.Each(func(Record, error) bool { return true }); !errors.Is(err, ErrUnreadable) {
		t.Errorf("Each: %v", err)
	}
	if err := d.MarkDirty(testHash(1), []int{1}); !errors.Is(err, ErrUnreadable) {
		t.Errorf("MarkDirty: %v", err)
	}
}

// overwrite replaces a stored value.
func overwrite(t *testing.T, d *DB, bucket, key []byte, change func(v []byte) []byte) {
	t.Helper()
	must(t, d.bolt.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		return b.Put(key, change(bytes.Clone(b.Get(key))))
	}))
}

func TestBadRecordsCostOneTorrentEach(t *testing.T) {
	for name, change := range map[string]func(v []byte) []byte{
		"bit flipped":   func(v []byte) []byte { v[len(v)/2] ^= 1; return v },
		"cut":           func(v []byte) []byte { return v[:len(v)-1] },
		"nothing":       func([]byte) []byte { return []byte{} },
		"other version": func(v []byte) []byte { return seal(torrentKey(testHash(1)), 99, v[sealHeader:]) },
		"of another": func([]byte) []byte {
			key, rec, _, _ := sealRecord(&Record{Hash: testHash(2)})
			return append(rec[:len(rec):len(rec)], key[:0]...)
		},
		"sealed nonsense": func([]byte) []byte { return seal(torrentKey(testHash(1)), recordVersion, []byte("nonsense")) },
	} {
		t.Run(name, func(t *testing.T) {
			d := testOpen(t, testPath(t))
			for n := range 4 {
				must(t, d.Add(testRecord(n), []byte("raw")))
			}
			overwrite(t, d, bucketTorrent, torrentKey(testHash(1)), change)
			var good, bad []metainfo.Hash
			must(t, d.Each(func(rec Record, err error) bool {
				if err != nil {
					if !errors.Is(err, ErrCorrupt) {
						t.Errorf("error: %v", err)
					}
					bad = append(bad, rec.Hash)
				} else {
					good = append(good, rec.Hash)
				}
				return true
			}))
			if len(good) != 3 || len(bad) != 1 || bad[0] != testHash(1) {
				t.Fatalf("good %v, bad %v", good, bad)
			}
			if raw, err := d.Metainfo(testHash(1)); string(raw) != "raw" || err != nil {
				t.Errorf("Metainfo = %q, %v", raw, err)
			}
			must(t, d.Update(testRecord(1))) // and it is whole again
			if got := all(t, d)[testHash(1)]; !reflect.DeepEqual(got, testRecord(1)) {
				t.Errorf("after Update: %+v", got)
			}
		})
	}
}

func TestBadValuesCostWhatTheySaid(t *testing.T) {
	d := testOpen(t, testPath(t))
	h := testHash(1)
	key := torrentKey(h)
	flip := func(v []byte) []byte { v[len(v)-1] ^= 0x10; return v }
	must(t, d.Add(testRecord(1), []byte("raw")))
	must(t, d.MarkDirty(h, []int{3, 70}))
	must(t, d.Commit([]Commit{{
		Hash: h, Changed: []piece.Index{1, chunkBits + 1},
		Clean: []Clean{{1, 10, 1}, {69, 20, 2}},
	}}))
	must(t, d.Put("token", []byte("secret")))

	overwrite(t, d, bucketBits, chunkKey(key, 0), flip)
	f, err := d.Pieces(h, chunkBits+9)
	if err != nil || f.Count() != 1 || !f.Has(chunkBits+1) {
		t.Errorf("claims: %v, %v", indexes(f), err)
	}
	must(t, d.Commit([]Commit{{Hash: h, Changed: []piece.Index{2}}}))
	if f, err = d.Pieces(h, chunkBits+9); err != nil || f.Has(1) || !f.Has(2) || f.Count() != 2 {
		t.Errorf("claims after a commit: %v, %v", indexes(f), err)
	}

	overwrite(t, d, bucketFiles, chunkKey(key, 0), flip)
	files, err := d.Files(h, 80)
	must(t, err)
	if files[1].Known || !files[69].Known || !files[3].Dirty || !files[70].Dirty {
		t.Errorf("files: %+v", files)
	}
	overwrite(t, d, bucketDirty, chunkKey(key, 0), flip)
	if files, err = d.Files(h, 80); err != nil || files[3].Dirty || files[69].Known {
		t.Errorf("files with a bad mark: %+v, %v", files, err)
	}

	overwrite(t, d, bucketStats, key, flip)
	if got := all(t, d)[h]; got.Counters() != (Counters{}) || got.Name == "" {
		t.Errorf("record with bad counters: %+v", got)
	}
	overwrite(t, d, bucketMetainfo, key, flip)
	if _, err := d.Metainfo(h); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Metainfo: %v", err)
	}
	overwrite(t, d, bucketKV, []byte("token"), flip)
	if _, err := d.Get("token"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Get: %v", err)
	}
}

func TestMostlyEmptyFileIsCompacted(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	for n := range 400 {
		d.AddAsync(testRecord(n), bytes.Repeat([]byte{byte(n)}, 64<<10), nil)
	}
	keep := testRecord(399)
	for n := range 399 {
		d.RemoveAsync(testHash(n), nil)
	}
	must(t, d.Commit([]Commit{{Hash: keep.Hash, Changed: []piece.Index{7}}}))
	must(t, d.Close())
	before, err := os.Stat(path)
	must(t, err)
	link := filepath.Join(t.TempDir(), "link.db")
	must(t, os.Symlink(path, link))
	must(t, os.WriteFile(path+".compact", []byte("left by a crash"), 0o600))

	d = testOpen(t, link)
	after, err := os.Stat(path)
	must(t, err)
	if after.Size() >= before.Size()/3 || after.Mode().Perm() != 0o600 {
		t.Errorf("%d bytes, before %d; mode %v", after.Size(), before.Size(), after.Mode())
	}
	if left := others(t, path); len(left) > 0 {
		t.Errorf("left beside the database: %v", left)
	}
	if _, err := Open(path, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("Open of a compacted file in use: %v", err)
	}
	for range 2 {
		if got := all(t, d); len(got) != 1 || !reflect.DeepEqual(got[keep.Hash], keep) {
			t.Errorf("records: %+v", got)
		}
		raw, err := d.Metainfo(keep.Hash)
		if err != nil || !bytes.Equal(raw, bytes.Repeat([]byte{399 % 256}, 64<<10)) {
			t.Errorf("metainfo: %d bytes, %v", len(raw), err)
		}
		if f, err := d.Pieces(keep.Hash, 8); err != nil || !f.Has(7) {
			t.Errorf("claims: %v", err)
		}
		must(t, d.Add(testRecord(5), nil))
		must(t, d.Remove(testHash(5)))
		checkPages(t, d)
		must(t, d.Close())
		d = testOpen(t, path)
	}
}

// TestCompactingThatFails leaves a database that works.
func TestCompactingThatFails(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	must(t, d.Add(testRecord(1), make([]byte, 20<<20)))
	must(t, d.Remove(testHash(1)))
	must(t, d.Add(testRecord(2), nil))
	must(t, d.Close())
	must(t, os.MkdirAll(filepath.Join(path+".compact", "in the way"), 0o700))
	var log bytes.Buffer
	d, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	defer d.Close()
	if got := len(all(t, d)); got != 1 || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("%d torrents; log: %s", got, &log)
	}
}

// TestCompactedFileThatCannotBeSynced goes on with the file that has the name by
// then: what is written to the one before it is gone with the next stop.
func TestCompactedFileThatCannotBeSynced(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("nothing is compacted here")
	}
	for _, cause := range []error{syscall.EIO, syscall.EINVAL} {
		t.Run(cause.Error(), func(t *testing.T) {
			path := testPath(t)
			d := testOpen(t, path)
			must(t, d.Add(testRecord(1), make([]byte, 20<<20)))
			must(t, d.Remove(testHash(1)))
			must(t, d.Close())
			before, err := os.Stat(path)
			must(t, err)

			bolt, err := openBolt(path)
			must(t, err)
			var out bytes.Buffer
			log := slog.New(slog.NewTextHandler(&out, nil))
			synced := 0
			d = start(compact(bolt, path, func(*os.File) error { synced++; return cause }, log), path, log)
			defer d.Close()
			must(t, d.Put("token", []byte("kept")))
			must(t, d.Close())
			if after, err := os.Stat(path); err != nil || after.Size() >= before.Size()/2 || synced != 1 {
				t.Errorf("%d bytes of %d, %v; %d syncs", after.Size(), before.Size(), err, synced)
			}
			// A file system that cannot sync directories is no reason for a warning.
			if warned := strings.Contains(out.String(), "level=WARN"); warned != (cause == syscall.EIO) {
				t.Errorf("log: %s", &out)
			}
			if got, err := testOpen(t, path).Get("token"); err != nil || string(got) != "kept" {
				t.Errorf("after a restart: %q, %v", got, err)
			}
		})
	}
}

// TestManyRecords has as many torrents as a large daemon. BenchmarkEach holds
// the time that it takes to read them.
func TestManyRecords(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const n = 20_000
	path := testPath(t)
	d := testOpen(t, path)
	start := time.Now()
	done := make(chan error, 1)
	for i := range n {
		rec := testRecord(i)
		rec.Complete = true
		d.AddAsync(rec, []byte("d4:infode"), func(err error) {
			if err != nil {
				select {
				case done <- err:
				default:
				}
			}
		})
	}
	must(t, d.Put("end", nil)) // everything before it was written
	select {
	case err := <-done:
		t.Fatal(err)
	default:
	}
	added := time.Since(start)
	must(t, d.Close())
	start = time.Now()
	d = testOpen(t, path)
	opened := time.Since(start)
	start = time.Now()
	got, names := 0, 0
	must(t, d.Each(func(rec Record, err error) bool {
		must(t, err)
		got++
		names += len(rec.Name)
		return true
	}))
	took := time.Since(start)
	t.Logf("added in %v, opened in %v, read in %v", added, opened, took)
	if got != n || names < n*8 {
		t.Errorf("%d records, want %d", got, n)
	}
}

func BenchmarkEach(b *testing.B) {
	const n = 10_000
	d := testOpen(b, testPath(b))
	for i := range n {
		d.AddAsync(testRecord(i), nil, nil)
	}
	must(b, d.Put("end", nil))
	b.ReportAllocs()
	for b.Loop() {
		must(b, d.Each(func(Record, error) bool { return true }))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}

func BenchmarkCommit(b *testing.B) {
	for _, torrents := range []int{1, 100} {
		b.Run(fmt.Sprintf("torrents=%d", torrents), func(b *testing.B) {
			d := testOpen(b, testPath(b))
			for i := range torrents {
				d.AddAsync(testRecord(i), nil, nil)
			}
			batch := make([]Commit, torrents)
			for round := 0; b.Loop(); round++ {
				for i := range batch {
					batch[i] = Commit{Hash: testHash(i), Changed: []piece.Index{piece.Index(round % 16384)}, Stats: &Counters{Downloaded: int64(round)}}
				}
				must(b, d.Commit(batch))
			}
		})
	}
}
