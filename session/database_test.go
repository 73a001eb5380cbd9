package session

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"btd/metainfo"
	"btd/storage/resume"

	"go.etcd.io/bbolt"
)

// spoil changes one byte of what the resume database below dir says of a
// torrent in one bucket.
func spoil(t *testing.T, dir, bucket string, h metainfo.Hash) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "resume.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	wire := h.Wire()
	n := 0
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		return b.ForEach(func(k, v []byte) error {
			if !bytes.Contains(k, wire[:]) {
				return nil
			}
			n++
			v = bytes.Clone(v)
			v[len(v)/2] ^= 0x10
			return b.Put(bytes.Clone(k), v)
		})
	})
	if err != nil || n == 0 {
		t.Fatalf("%d values spoilt in %q: %v", n, bucket, err)
	}
}

// flip changes a byte of a file, which looks as old as before.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0xff
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// two makes a session with two complete torrents, closed, and a seed of both.
func two(t *testing.T) (a, b content, seed, s *Session) {
	t.Helper()
	a = makeContent(t, 32<<10, map[string]int{"x": 400000, "y": 5})
	b = makeContent(t, 32<<10, map[string]int{"z": 500000})
	seed, s = open(t, nil), open(t, nil)
	for _, c := range []content{a, b} {
		add(t, seed, c, AddOptions{Dir: c.dir})
		await(t, seed, c, "seeding", complete)
		add(t, s, c, AddOptions{Peers: addrs(seed)})
	}
	for _, c := range []content{a, b} {
		await(t, s, c, "completion", complete)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return a, b, seed, s
}

// TestDamagedRecord: the torrent of a bad record is checked, and damage to its
// data is found; the other is trusted without a look.
func TestDamagedRecord(t *testing.T) {
	a, b, seed, s := two(t)
	spoil(t, s.cfg.StateDir, "torrent", a.meta.Hash)
	flip(t, filepath.Join(s.cfg.Dir, "content", "x"), 70000)
	flip(t, filepath.Join(s.cfg.Dir, "content", "z"), 70000)
	s = open(t, func(c *Config) { c.StateDir, c.Dir = s.cfg.StateDir, s.cfg.Dir })
	v := await(t, s, a, "the check", func(v Torrent) bool { return v.PiecesHave == v.Pieces-1 && v.State == StateDownloading })
	if v.Name != "content" || v.Dir != s.cfg.Dir {
		t.Errorf("the torrent came back as %q in %s", v.Name, v.Dir)
	}
	await(t, s, b, "seeding", func(v Torrent) bool { return complete(v) && v.PiecesHave == v.Pieces })
	if err := s.AddPeers(t.Context(), a.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	v = await(t, s, a, "repair", complete)
	if v.Downloaded > 32<<10 {
		t.Errorf("downloaded %d bytes for one piece", v.Downloaded)
	}
	// The record was written again.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := resume.Open(filepath.Join(s.cfg.StateDir, "resume.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = db.Each(func(rec resume.Record, err error) bool {
		if n++; err != nil || rec.Name != "content" || !rec.Complete || len(rec.Dir) == 0 {
			t.Errorf("record %+v, %v", rec, err)
		}
		return true
	})
	if err != nil || n != 2 {
		t.Errorf("%d records, %v", n, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	s = open(t, func(c *Config) { c.StateDir, c.Dir = s.cfg.StateDir, s.cfg.Dir })
	for _, c := range []content{a, b} {
		await(t, s, c, "seeding", complete)
	}
}

// TestDamagedPieces: what cannot be read of the set of pieces is hashed again
// or fetched again, never claimed.
func TestDamagedPieces(t *testing.T) {
	a, b, seed, s := two(t)
	spoil(t, s.cfg.StateDir, "bits", a.meta.Hash)
	spoil(t, s.cfg.StateDir, "files", a.meta.Hash)
	flip(t, filepath.Join(s.cfg.Dir, "content", "x"), 70000)
	s = open(t, func(c *Config) { c.StateDir, c.Dir = s.cfg.StateDir, s.cfg.Dir })
	await(t, s, b, "seeding", complete)
	if err := s.AddPeers(t.Context(), a.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	v := await(t, s, a, "repair", func(v Torrent) bool { return complete(v) && v.Downloaded > v.Size })
	if v.Downloaded > v.Size+32<<10 {
		t.Errorf("downloaded %d bytes in all: data that is there was fetched again", v.Downloaded)
	}
	a.same(t, s.cfg.Dir)
}

// TestDamagedMetainfo: a torrent of which nothing is left can be added again.
func TestDamagedMetainfo(t *testing.T) {
	a, b, _, s := two(t)
	spoil(t, s.cfg.StateDir, "torrent", a.meta.Hash)
	spoil(t, s.cfg.StateDir, "metainfo", a.meta.Hash)
	s = open(t, func(c *Config) { c.StateDir, c.Dir = s.cfg.StateDir, s.cfg.Dir })
	await(t, s, b, "seeding", complete)
	add(t, s, a, AddOptions{})
	if v := await(t, s, a, "seeding", complete); v.Downloaded != 0 {
		t.Errorf("downloaded %d bytes although the data is there", v.Downloaded)
	}
	s = reopen(t, s)
	await(t, s, a, "seeding", complete)
	await(t, s, b, "seeding", complete)
}

// TestDamagedMetainfoAlone: its record is good, so the torrent is shown, with
// the reason why it does not run.
func TestDamagedMetainfoAlone(t *testing.T) {
	a, b, seed, s := two(t)
	spoil(t, s.cfg.StateDir, "metainfo", a.meta.Hash)
	s = open(t, func(c *Config) { c.StateDir, c.Dir = s.cfg.StateDir, s.cfg.Dir })
	await(t, s, b, "seeding", complete)
	if err := s.AddPeers(t.Context(), a.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	if v := await(t, s, a, "the error", func(v Torrent) bool { return v.State == StateError }); v.Error == "" {
		t.Error("there is no reason")
	}
	if err := s.Remove(t.Context(), a.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	add(t, s, a, AddOptions{})
	await(t, s, a, "seeding", complete)
}
