package session

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"btd/metainfo/create"
)

// small makes n torrents of one file each, with their data in one directory.
func small(t testing.TB, n int) (dir string, files [][]byte) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		name := fmt.Sprintf("small-%05d", i)
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "%05d %s", i, make([]byte, 20000)), 0o644); err != nil {
			t.Fatal(err)
		}
		raw, err := create.Torrent(t.Context(), os.DirFS(dir), name, create.Options{PieceLength: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, raw)
	}
	return dir, files
}

// TestAddsInParallelSurviveAKill: what Add answered is in the file at once,
// complete content as complete, in an order that a restart keeps.
func TestAddsInParallelSurviveAKill(t *testing.T) {
	t.Parallel()
	const n = 120
	dir, files := small(t, n)
	s := open(t, func(cfg *Config) { cfg.adoptTime = patience })
	var wg sync.WaitGroup
	next := make(chan []byte)
	for range 12 {
		wg.Go(func() {
			for f := range next {
				v, existed, err := s.Add(t.Context(), f, AddOptions{Dir: dir})
				if err != nil || existed || v.State != StateSeeding {
					t.Errorf("added as %s, existed %v, %v", v.State, existed, err)
				}
			}
		})
	}
	for _, f := range files {
		next <- f
	}
	close(next)
	wg.Wait()
	// What a kill leaves is what is in the file now.
	state := t.TempDir()
	db, err := os.ReadFile(filepath.Join(s.cfg.StateDir, "resume.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "resume.db"), db, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, func(cfg *Config) { cfg.StateDir = state })
	want, got := s.Torrents(), again.Torrents()
	if len(got) != n || !slices.EqualFunc(want, got, func(a, b Torrent) bool { return a.Hash == b.Hash }) {
		t.Fatalf("%d torrents, want %d in the same order", len(got), n)
	}
	for i, v := range got {
		if v.State != StateSeeding || v.Have != v.Size || v.PiecesHave != v.Pieces {
			t.Errorf("torrent %d is %s and has %d of %d bytes", i, v.State, v.Have, v.Size)
		}
		e := again.byWire(v.Hash.Wire())
		if e.running() != nil {
			t.Errorf("torrent %d has a loop", i)
		}
		if have, _, err := again.Pieces(v.Hash); err != nil || !have.All() {
			t.Errorf("torrent %d: claims %v, %v", i, have, err)
		}
	}
}

// TestOnlyGoodContentIsAdopted: anything but the whole content, as it should
// be, takes the long way.
func TestOnlyGoodContentIsAdopted(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"missing": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"changed": func(t *testing.T, path string) { flip(t, path, 17000) },
		"short": func(t *testing.T, path string) {
			if err := os.Truncate(path, 17000); err != nil {
				t.Fatal(err)
			}
		},
		"long": func(t *testing.T, path string) {
			if err := os.Truncate(path, 90000); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, files := small(t, 1)
			spoil(t, filepath.Join(dir, "small-00000"))
			s := open(t, nil)
			v, _, err := s.Add(t.Context(), files[0], AddOptions{Dir: dir})
			if err != nil || v.State != StateQueued || v.Have != 0 {
				t.Fatalf("added as %s with %d bytes, %v", v.State, v.Have, err)
			}
			rec, _ := s.byWire(v.Hash.Wire()).record()
			if rec.Complete && name != "long" {
				t.Error("it is taken for complete")
			}
		})
	}
}

// TestCloseWaitsForNoDeadDisk: content on a disk that hangs is looked at for
// ever, and the session ends all the same.
func TestCloseWaitsForNoDeadDisk(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{StateDir: t.TempDir(), Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	hangs, back := make(chan struct{}), make(chan struct{})
	defer close(back)
	s.wg.Go(func() {
		_ = s.adoptions.do(t.Context(), func() error {
			close(hangs)
			<-back
			return nil
		})
	})
	<-hangs
	ended := make(chan error, 1)
	go func() { ended <- s.Close() }()
	select {
	case err := <-ended:
		if !errors.Is(err, errStuck) {
			t.Errorf("ended with %v, want %v", err, errStuck)
		}
	case <-time.After(closeTimeout + time.Minute):
		t.Error("the session does not end")
	}
}

// BenchmarkAdd adds 500 torrents of 20 KB whose data is there, 32 at a time.
func BenchmarkAdd(b *testing.B) {
	dir, files := small(b, 500)
	for b.Loop() {
		s, err := Open(Config{StateDir: b.TempDir(), Dir: dir, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		var wg sync.WaitGroup
		next := make(chan []byte)
		for range 32 {
			wg.Go(func() {
				for f := range next {
					if _, _, err := s.Add(b.Context(), f, AddOptions{}); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for _, f := range files {
			next <- f
		}
		close(next)
		wg.Wait()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
