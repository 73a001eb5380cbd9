package resume

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"btd/metainfo"
	"btd/piece"
)

// model is the database as maps.
type model map[metainfo.Hash]*modelTorrent

type modelTorrent struct {
	rec    Record
	raw    []byte
	pieces map[piece.Index]bool
	files  map[int]FileStat
}

const (
	modelPieces = chunkBits + 100
	modelFiles  = 2*chunkFiles + 10
)

// TestModel does random things to the database and to maps, and expects both
// to say the same, also after the file was closed and opened again.
func TestModel(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	rng := rand.New(rand.NewPCG(3, 4))
	m := make(model)
	for step := range 800 {
		what := m.step(t, d, rng)
		if step%50 == 0 {
			checkPages(t, d)
			if rng.IntN(3) == 0 {
				must(t, d.Close())
				d = testOpen(t, path)
			}
			m.compare(t, d, fmt.Sprintf("step %d, after %s", step, what))
		}
	}
	m.compare(t, d, "end")
}

func (m model) step(t *testing.T, d *DB, rng *rand.Rand) (what string) {
	t.Helper()
	n := rng.IntN(12)
	h := testHash(n)
	mt, known := m[h]
	expect := func(got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Fatalf("%s of torrent %d (known: %v): %v, want %v", what, n, known, got, want)
		}
	}
	unlessKnown := ErrNotFound
	if known {
		unlessKnown = nil
	}
	switch rng.IntN(10) {
	case 0, 1:
		what = "add"
		raw := bytes.Repeat([]byte{byte(n)}, rng.IntN(20_000))
		err := d.Add(testRecord(n), raw)
		if known {
			expect(err, ErrExists)
			return what
		}
		expect(err, nil)
		m[h] = &modelTorrent{testRecord(n), raw, make(map[piece.Index]bool), make(map[int]FileStat)}
	case 2:
		what = "remove"
		expect(d.Remove(h), unlessKnown)
		delete(m, h)
	case 3:
		what = "update"
		rec := testRecord(n)
		rec.Name, rec.Uploaded = fmt.Sprint(rng.IntN(1000)), rng.Int64()
		expect(d.Update(rec), unlessKnown)
		if known {
			mt.rec = rec
		}
	case 4, 5:
		what = "mark dirty"
		files := randomInts(rng, modelFiles)
		expect(d.MarkDirty(h, files), unlessKnown)
		if known {
			for _, i := range files {
				f := mt.files[i]
				f.Dirty = true
				mt.files[i] = f
			}
		}
	default:
		what = "commit"
		var batch []Commit
		for _, n := range []int{n, (n + 1) % 12, (n + 5) % 12} {
			batch = append(batch, m.commit(testHash(n), rng))
		}
		expect(d.Commit(batch), nil)
	}
	return what
}

// commit makes a random commit and applies it to the model.
func (m model) commit(h metainfo.Hash, rng *rand.Rand) Commit {
	c := Commit{Hash: h}
	mt := m[h]
	if mt == nil {
		mt = &modelTorrent{pieces: make(map[piece.Index]bool), files: make(map[int]FileStat)} // changes go nowhere
	}
	if rng.IntN(3) == 0 {
		c.Pieces = piece.NewBitfield(modelPieces)
		if rng.IntN(4) == 0 {
			c.Pieces.Fill()
		}
		for _, i := range randomInts(rng, modelPieces) {
			c.Pieces.Set(piece.Index(i))
		}
	}
	if rng.IntN(3) != 0 {
		c.Changed = []piece.Index{}
		for _, i := range randomInts(rng, modelPieces) {
			c.Changed = append(c.Changed, piece.Index(i))
			mt.pieces[piece.Index(i)] = c.Pieces == nil || c.Pieces.Has(piece.Index(i))
		}
	} else if c.Pieces != nil {
		for i := range modelPieces {
			mt.pieces[piece.Index(i)] = c.Pieces.Has(piece.Index(i))
		}
	}
	for _, i := range randomInts(rng, modelPieces) {
		c.Lost = append(c.Lost, piece.Index(i))
		mt.pieces[piece.Index(i)] = false
	}
	for _, i := range randomInts(rng, modelFiles) {
		f := Clean{File: i, Size: rng.Int64N(1<<40) - 1<<37, ModTime: rng.Int64() - 1<<62}
		c.Clean = append(c.Clean, f)
		mt.files[i] = FileStat{Size: f.Size, ModTime: f.ModTime, Known: true}
		if f.Size < 0 {
			mt.files[i] = FileStat{}
		}
	}
	if rng.IntN(2) == 0 {
		c.Stats = &Counters{rng.Int64(), rng.Int64(), rng.Int64(), rng.Int64(), rng.Int64()}
		mt.rec.SetCounters(*c.Stats)
	}
	return c
}

// randomInts is a random number of numbers, many of them neighbours.
func randomInts(rng *rand.Rand, limit int) (list []int) {
	for range rng.IntN(4) {
		from := rng.IntN(limit)
		for i := range 1 + rng.IntN(20) {
			list = append(list, (from+i)%limit)
		}
	}
	return list
}

func (m model) compare(t *testing.T, d *DB, when string) {
	t.Helper()
	records := all(t, d)
	for h, mt := range m {
		if !reflect.DeepEqual(records[h], mt.rec) {
			t.Fatalf("%s: record\n%+v, want\n%+v", when, records[h], mt.rec)
		}
		raw, err := d.Metainfo(h)
		if err != nil || !bytes.Equal(raw, mt.raw) {
			t.Fatalf("%s: metainfo of %d bytes, want %d: %v", when, len(raw), len(mt.raw), err)
		}
		f, err := d.Pieces(h, modelPieces)
		must(t, err)
		want := slices.Collect(maps.Keys(mt.pieces))
		want = slices.DeleteFunc(want, func(i piece.Index) bool { return !mt.pieces[i] })
		slices.Sort(want)
		if got := indexes(f); !slices.Equal(got, want) {
			t.Fatalf("%s: claims %v, want %v", when, got, want)
		}
		files, err := d.Files(h, modelFiles)
		must(t, err)
		for i, got := range files {
			if got != mt.files[i] {
				t.Fatalf("%s: file %d is %+v, want %+v", when, i, got, mt.files[i])
			}
		}
	}
	if len(records) != len(m) {
		t.Fatalf("%s: %d torrents, want %d", when, len(records), len(m))
	}
}
