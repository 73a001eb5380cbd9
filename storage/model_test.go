package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"btd/piece"
)

// randomFixture makes files of random number and length, with pad files and
// files without bytes among them.
func randomFixture(t testing.TB, rng *rand.Rand) *fixture {
	lengths := []int64{1, 7, 100, 16<<10 - 1, 16 << 10, 16<<10 + 1, 40_000, 64 << 10, 200_000}
	pieceLength := lengths[rng.IntN(len(lengths))]
	var files []file
	total := int64(0)
	most := min(pieceLength*200, 1<<20)
	for i := range 1 + rng.IntN(30) {
		f := file{path: fmt.Sprintf("d%d/f%d", rng.IntN(3), i)}
		switch rng.IntN(6) {
		case 0:
		case 1:
			f.pad, f.length = true, rng.Int64N(pieceLength)+1
		case 2:
			f.length = rng.Int64N(3) + 1
		default:
			f.length = rng.Int64N(max(most/8, 2)) + 1
		}
		if total += f.length; total > most {
			break
		}
		files = append(files, f)
	}
	return makeFixture(t, pieceLength, append(files, file{path: "last", length: 5})...)
}

func TestPadBlocksAreMarked(t *testing.T) {
	pads := 0
	for seed := range uint64(100) {
		x := randomFixture(t, rand.New(rand.NewPCG(seed, 47)))
		r := newRig(t, x, Config{}, Options{})
		for i := range piece.Index(x.geo.Pieces()) {
			w := r.tor.newWork(i)
			for n, state := range w.state {
				pad := r.tor.Pad(x.geo.Block(i, n))
				if pad {
					pads++
				}
				if got := state == blockPad; got != pad || !pad && state != blockMissing {
					t.Fatalf("seed %d: block %d of piece %d is in state %d, all pad: %v", seed, n, i, state, pad)
				}
			}
		}
	}
	if pads < 100 {
		t.Errorf("only %d blocks are all pad", pads)
	}
}

// model is what a random run should have led to.
type model struct {
	*rig
	rng    *rand.Rand
	have   *piece.Bitfield
	skip   []bool
	chosen []bool // files that were ever wanted
}

func (m *model) randomSkip() []bool {
	skip := make([]bool, len(m.info.Files))
	for i := range skip {
		skip[i] = m.rng.IntN(3) == 0
	}
	return skip
}

// wanted tells whether piece i overlaps a file that is wanted.
func (m *model) wanted(i piece.Index) bool {
	from, to := m.geo.Offset(i), m.geo.Offset(i)+m.geo.Length(i)
	for n, f := range m.info.Files {
		if !f.Pad && !m.skip[n] && f.Offset < to && f.Offset+f.Length > from {
			return true
		}
	}
	return false
}

// choose makes skip the choice of files.
func (m *model) choose(skip []bool) {
	m.skip = skip
	for i, s := range skip {
		m.chosen[i] = m.chosen[i] || !s
	}
}

// download writes the blocks of the wanted pieces that are missing in random
// order, some of them bad, until all are right.
func (m *model) download() {
	for round := range 20 {
		var blocks []piece.Block
		bad := map[piece.Index]bool{}
		for i := range m.geo.Pieces() {
			i := piece.Index(i)
			if m.have.Has(i) || !m.wanted(i) {
				continue
			}
			bad[i] = round < 3 && m.rng.IntN(5) == 0
			for n := range m.geo.Blocks(i) {
				if b := m.geo.Block(i, n); !m.tor.Pad(b) {
					blocks = append(blocks, b)
				}
			}
		}
		if len(blocks) == 0 {
			return
		}
		m.rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
		told := map[piece.Index]bool{}
		for _, b := range blocks {
			m.block(b.Piece, b.Number(), bad[b.Piece] && !told[b.Piece])
			told[b.Piece] = true
		}
		for _, res := range m.take() {
			if res.Err != nil {
				m.t.Fatalf("piece %d: %v", res.Piece, res.Err)
			}
			if res.OK {
				m.have.Set(res.Piece)
			} else if !bad[res.Piece] {
				m.t.Fatalf("piece %d: good blocks, but not ok", res.Piece)
			}
			delete(told, res.Piece)
		}
		if len(told) > 0 {
			m.t.Fatalf("%d pieces had no result", len(told))
		}
	}
	m.t.Fatal("not complete after 20 rounds")
}

// check compares the disk with the model.
func (m *model) check() {
	m.t.Helper()
	for i := range m.have.Indexes() {
		m.wantReads(i)
		if !m.tor.HasData(i) {
			m.t.Errorf("piece %d has no data", i)
		}
	}
	if got := m.verify(); !bytes.Equal(got.Bytes(), m.have.Bytes()) {
		// A piece of pads alone is right without any write.
		for i := range m.geo.Pieces() {
			i := piece.Index(i)
			if got.Has(i) != m.have.Has(i) && !m.tor.padded(m.geo.Offset(i), m.geo.Length(i)) {
				m.t.Errorf("piece %d: verify says %v, want %v", i, got.Has(i), m.have.Has(i))
			}
		}
	}
	for n, f := range m.info.Files {
		switch {
		case f.Pad, !m.chosen[n]:
			m.wantAbsent(m.path(n))
		case !m.skip[n] && f.Length > 0:
			m.wantFile(n)
		}
	}
	if m.t.Failed() {
		m.t.FailNow()
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 99))
			x := randomFixture(t, rng)
			m := &model{rng: rng, have: piece.NewBitfield(x.geo.Pieces()), chosen: make([]bool, len(x.info.Files))}
			m.rig = &rig{fixture: x}
			m.choose(m.randomSkip())
			cfg := Config{Memory: []int64{0, 256 << 10, 1 << 20}[rng.IntN(3)], MaxOpenFiles: 1 + rng.IntN(20), RunBytes: 16 << 10 << rng.IntN(5)}
			m.rig = newRig(t, x, cfg, Options{Skip: m.skip, Prealloc: rng.IntN(4) == 0})
			for range 4 {
				m.download()
				m.check()
				switch rng.IntN(3) {
				case 0:
					if err := m.tor.Sync(); err != nil {
						t.Fatal(err)
					}
				case 1:
					m.tor.Close()
					m.choose(m.randomSkip())
					m.open(Options{Skip: m.skip})
				}
				m.choose(m.randomSkip())
				if err := m.tor.SetSkip(m.skip); err != nil {
					t.Fatal(err)
				}
			}
			m.choose(make([]bool, len(x.info.Files)))
			if err := m.tor.SetSkip(nil); err != nil {
				t.Fatal(err)
			}
			m.download()
			m.check()
			if err := m.tor.Sync(); err != nil {
				t.Fatal(err)
			}
			m.wantAbsent(filepath.Join(m.dir, m.tor.partsName()))
		})
	}
}

// TestConcurrentUse has every method called at once. The race detector and the
// final comparison are the judges.
func TestConcurrentUse(t *testing.T) {
	var files []file
	for i := range 40 {
		files = append(files, file{path: fmt.Sprintf("d%d/f%d", i%5, i), length: int64(i*1000 + 1)})
	}
	x := makeFixture(t, 40_000, files...)
	r := newRig(t, x, Config{Memory: 1 << 20, MaxOpenFiles: 4, RunBytes: 32 << 10}, Options{})
	var others, writers sync.WaitGroup
	stop := make(chan struct{})
	loop := func(f func(rng *rand.Rand)) {
		others.Go(func() {
			rng := rand.New(rand.NewPCG(3, 4))
			for n := 0; n < 10_000; n++ {
				select {
				case <-stop:
					return
				default:
					f(rng)
				}
			}
		})
	}
	fine := func(err error) {
		if err != nil && !missing(err) && !short(err) {
			t.Error(err)
		}
	}
	loop(func(*rand.Rand) { fine(r.tor.Sync()) })
	loop(func(rng *rand.Rand) {
		i := piece.Index(rng.IntN(x.geo.Pieces()))
		fine(r.tor.Read(i, 0, make([]byte, x.geo.Length(i))))
		r.tor.HasData(i)
	})
	loop(func(rng *rand.Rand) {
		skip := make([]bool, len(files))
		for i := range skip {
			skip[i] = rng.IntN(2) == 0
		}
		fine(r.tor.SetSkip(skip))
	})
	loop(func(*rand.Rand) {
		_, err := r.tor.Stat()
		fine(err)
		r.s.Stats()
		r.s.trim()
	})
	loop(func(rng *rand.Rand) {
		want := piece.NewBitfield(x.geo.Pieces())
		want.Set(piece.Index(rng.IntN(x.geo.Pieces())))
		fine(r.tor.Verify(context.Background(), want, func(piece.Index, bool) {}))
		_, err := r.tor.BlockSums(piece.Index(rng.IntN(x.geo.Pieces())))
		fine(err)
		fine(r.tor.Probe())
		r.tor.Release()
	})
	for n := range 2 {
		writers.Go(func() {
			for i := n; i < x.geo.Pieces(); i += 2 {
				r.block(piece.Index(i), 0, true)
				r.tor.Abandon(piece.Index(i))
				r.write(piece.Index(i))
			}
		})
	}
	writers.Wait()
	r.tor.Flush()
	close(stop)
	others.Wait()
	r.wantAll()
	if err := r.tor.SetSkip(nil); err != nil {
		t.Fatal(err)
	}
	if have := r.verify(); !have.All() {
		t.Errorf("verify found %d of %d", have.Count(), have.Len())
	}
	for i := range files {
		r.wantFile(i)
	}
}

func TestCloseWhileInUse(t *testing.T) {
	x := makeFixture(t, 40_000, file{path: "a", length: 1 << 20})
	for range 10 {
		r := newRig(t, x, Config{Memory: 1 << 20}, Options{})
		var wg sync.WaitGroup
		calls := []func() error{
			func() error { return r.tor.Sync() },
			func() error { return r.tor.Read(0, 0, make([]byte, 100)) },
			func() error { return r.tor.SetSkip([]bool{true}) },
			func() error { return r.tor.Verify(context.Background(), nil, func(piece.Index, bool) {}) },
			func() error { r.write(1); return nil },
			func() error { r.tor.Flush(); return nil },
			func() error { return r.tor.Close() },
		}
		for _, f := range calls {
			wg.Go(func() {
				for range 20 {
					if err := f(); err != nil && !errors.Is(err, ErrClosed) && !short(err) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := r.tor.Sync(); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if in, _ := os.ReadDir(r.dir); len(in) > 1 {
			t.Errorf("%d entries", len(in))
		}
	}
}
