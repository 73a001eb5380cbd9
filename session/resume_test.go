package session

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
)

// reopen closes s and opens another session over the same directories.
func reopen(t *testing.T, s *Session, edit ...func(*Config)) *Session {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, func(c *Config) {
		c.StateDir, c.Dir = s.cfg.StateDir, s.cfg.Dir
		for _, f := range edit {
			f(c)
		}
	})
}

func TestStopAndCarryOn(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"x": 8 << 20, "y": 3<<20 + 1})
	first := rationedSeed(t, c)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrsOf(first.fakeSeed)})
	first.give(300) // of 705 blocks
	await(t, leech, c, "a third of the content", func(v Torrent) bool { return v.Have > v.Size/3 })
	first.l.Close() // it is not to be called again

	leech = reopen(t, leech)
	v := await(t, leech, c, "the loop", func(v Torrent) bool { return v.State == StateDownloading })
	if v.Have < v.Size/4 {
		t.Errorf("%d of %d bytes are known after a restart", v.Have, v.Size)
	}
	before := v.Downloaded
	if before == 0 {
		t.Error("the counter of downloaded bytes was lost")
	}
	if err := leech.AddPeers(t.Context(), c.meta.Hash, addrs(seedOf(t, c, nil))); err != nil {
		t.Fatal(err)
	}
	missing := v.Size - v.Have
	v = await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	if got := v.Downloaded - before; got > missing+64<<10 {
		t.Errorf("downloaded %d bytes more, only %d were missing", got, missing)
	}

	// Complete and restarted once more: nothing is hashed, nothing fetched.
	leech = reopen(t, leech)
	v = await(t, leech, c, "seeding", complete)
	if v.PiecesHave != v.Pieces || v.Completed.IsZero() {
		t.Errorf("after a restart: %d of %d pieces, completed %v", v.PiecesHave, v.Pieces, v.Completed)
	}
}

func TestDataChangedBetweenRuns(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"x": 1 << 20, "y": 1 << 20})
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	await(t, leech, c, "completion", complete)
	if err := leech.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(leech.cfg.Dir, "content", "x")
	scribble(t, path, 300000)
	// A time of its own, though the clock of a file system may stand still for some
	// milliseconds, and one before the next start.
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	leech = open(t, func(cfg *Config) { cfg.StateDir, cfg.Dir = leech.cfg.StateDir, leech.cfg.Dir })
	// A seed is looked at when somebody asks for it.
	if err := leech.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	await(t, leech, c, "repair", func(v Torrent) bool { return complete(v) && v.Downloaded > v.Size })
	c.same(t, leech.cfg.Dir)
}

func TestVerifyFindsDamage(t *testing.T) {
	c := makeContent(t, 32<<10, map[string]int{"": 1 << 20})
	s := open(t, nil)
	add(t, s, c, AddOptions{Dir: c.dir})
	await(t, s, c, "seeding", complete)
	path := filepath.Join(c.dir, "content")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[100000] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	v := await(t, s, c, "the damage", func(v Torrent) bool { return v.State == StateDownloading })
	if v.PiecesHave != v.Pieces-1 {
		t.Errorf("%d of %d pieces after one was damaged", v.PiecesHave, v.Pieces)
	}

	// The same while stopped: it is checked and stays stopped.
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	b[100000] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "the repair", func(v Torrent) bool { return v.State == StateStopped && v.PiecesHave == v.Pieces })
}

// TestRecoverPieces holds the decision what to trust to its rules.
func TestRecoverPieces(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"a": 64 << 10, "b": 64 << 10})
	geo, err := piece.NewGeometry(c.meta.Total, c.meta.PieceLength)
	if err != nil {
		t.Fatal(err)
	}
	l := layout{&c.meta.Info, geo}
	is := func(n ...piece.Index) *piece.Bitfield {
		f := piece.NewBitfield(8)
		for _, i := range n {
			f.Set(i)
		}
		return f
	}
	there := storage.FileStat{Exists: true, Size: 64 << 10, ModTime: 5}
	known := resume.FileStat{Known: true, Size: 64 << 10, ModTime: 5}
	skipFirst := []uint8{uint8(Skip), uint8(Normal)}
	for _, x := range []struct {
		name        string
		prio        []uint8
		claimed     *piece.Bitfield
		known       [2]resume.FileStat
		stats       [2]storage.FileStat
		have, check *piece.Bitfield
	}{
		{"new, nothing there", nil, is(), [2]resume.FileStat{}, [2]storage.FileStat{}, is(), is()},
		{"new, one file there", nil, is(), [2]resume.FileStat{}, [2]storage.FileStat{there, {}}, is(), is(0, 1, 2, 3)},
		{"clean and unchanged", nil, is(0, 1, 5), [2]resume.FileStat{known, known}, [2]storage.FileStat{there, there}, is(0, 1, 5), is()},
		{"changed outside", nil, is(0, 1, 5), [2]resume.FileStat{known, {Known: true, Size: 9, ModTime: 5}}, [2]storage.FileStat{there, there}, is(0, 1), is(4, 5, 6, 7)},
		{"gone", nil, is(0, 1, 5), [2]resume.FileStat{known, known}, [2]storage.FileStat{{}, there}, is(5), is(0, 1)},
		{
			"killed while writing", nil, is(0, 5),
			[2]resume.FileStat{{Dirty: true}, known},
			[2]storage.FileStat{there, there},
			is(0, 5), is(1, 2, 3),
		},
		{
			"killed, and the file was cut short", nil, is(0, 1, 2, 5),
			[2]resume.FileStat{{Dirty: true}, known},
			[2]storage.FileStat{{Exists: true, Size: 40 << 10}, there},
			is(0, 1, 5), is(2, 3),
		},
		{"killed, and the file is gone", nil, is(0), [2]resume.FileStat{{Dirty: true}, known}, [2]storage.FileStat{{}, there}, is(), is(0)},
		{
			"forgotten", nil, is(0, 5),
			[2]resume.FileStat{{Forgotten: true}, known},
			[2]storage.FileStat{there, there},
			is(5), is(0, 1, 2, 3),
		},
		{
			"forgotten, and killed while writing", nil, is(0, 5),
			[2]resume.FileStat{{Forgotten: true, Dirty: true}, known},
			[2]storage.FileStat{there, there},
			is(5), is(0, 1, 2, 3),
		},
		{"skipped, and in the parts file", skipFirst, is(0, 5), [2]resume.FileStat{{}, known}, [2]storage.FileStat{{}, there}, is(0, 5), is()},
		{
			"skipped, forgotten, and gone", skipFirst, is(0, 5),
			[2]resume.FileStat{{Forgotten: true}, known},
			[2]storage.FileStat{{}, there},
			is(5), is(0),
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			claimed := x.claimed.Clone()
			r := recoverPieces(l, priorities(x.prio, 2), x.claimed, x.known[:], x.stats[:])
			if string(r.have.Bytes()) != string(x.have.Bytes()) {
				t.Errorf("trusted %08b, want %08b", r.have.Bytes(), x.have.Bytes())
			}
			if string(r.check.Bytes()) != string(x.check.Bytes()) {
				t.Errorf("to be hashed %08b, want %08b", r.check.Bytes(), x.check.Bytes())
			}
			for i := range piece.Index(8) {
				if want := claimed.Has(i) && x.check.Has(i); r.unproved.Has(i) != want {
					t.Errorf("piece %d is claimed and to be proved: %t, want %t", i, r.unproved.Has(i), want)
				}
			}
		})
	}
}
