package resume

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"btd/piece"
)

const (
	crashEnv     = "BTD_TEST_RESUME_CRASH"
	crashWorkers = 4
	crashFiles   = 100
	crashPieces  = 100_000
)

// TestCrashChild is the process that TestKill kills. Each worker claims the
// pieces of its torrent in order and says so on standard output once they are
// durable, and adds and removes another torrent.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(crashEnv)
	if path == "" {
		t.Skip("runs only as the child of TestKill")
	}
	d := testOpen(t, path)
	ended := make(chan error)
	for w := range crashWorkers {
		go func() { ended <- crashWork(d, w) }()
	}
	t.Fatal(<-ended)
}

func crashWork(d *DB, w int) error {
	h := testHash(w)
	have, err := d.Pieces(h, crashPieces)
	if err != nil {
		return err
	}
	for i := have.Count(); i < crashPieces; i++ {
		aside := testRecord(1000 + w)
		if i%7 == 0 {
			_ = d.Remove(aside.Hash)
			if err := d.Add(aside, bytes.Repeat([]byte{byte(i)}, 10_000)); err != nil {
				return err
			}
		}
		if err := d.MarkDirty(h, []int{i % crashFiles}); err != nil {
			return err
		}
		err := d.Commit([]Commit{{
			Hash: h, Changed: []piece.Index{piece.Index(i)}, Stats: &Counters{Downloaded: int64(i)},
			Clean: []Clean{{File: (i + crashFiles/2) % crashFiles, Size: int64(i)}},
		}})
		if err != nil {
			return err
		}
		if _, err := fmt.Printf("%d %d\n", w, i+1); err != nil { // one write
			return err
		}
	}
	return nil
}

// TestKill kills a process at random moments and expects all that it was told
// to be durable, and no more than it was doing.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	path := testPath(t)
	d := testOpen(t, path)
	for w := range crashWorkers {
		must(t, d.Add(testRecord(w), []byte("raw")))
	}
	must(t, d.Close())
	rng := rand.New(rand.NewPCG(1, 2))
	var acked [crashWorkers]int
	for round := range 20 {
		acked = killOnce(t, path, rng, acked)
		d := testOpen(t, path)
		checkPages(t, d)
		records := all(t, d)
		for w, told := range acked {
			f, err := d.Pieces(testHash(w), crashPieces)
			must(t, err)
			n := f.Count()
			if n < told || n > told+1 {
				t.Errorf("round %d, worker %d: %d claims, told of %d", round, w, n, told)
			}
			for i := range n {
				if !f.Has(piece.Index(i)) {
					t.Fatalf("round %d, worker %d: claim %d is missing", round, w, i)
				}
			}
			files, err := d.Files(testHash(w), crashFiles)
			must(t, err)
			// The file of the last claim was marked before and not cleaned since.
			if n > 0 && !files[(n-1)%crashFiles].Dirty {
				t.Errorf("round %d, worker %d: file %d is not dirty", round, w, (n-1)%crashFiles)
			}
			if got := records[testHash(w)].Downloaded; n > 0 && got != int64(n-1) {
				t.Errorf("round %d, worker %d: counter %d with %d claims", round, w, got, n)
			}
			acked[w] = n
		}
		for h := range records {
			if _, err := d.Metainfo(h); err != nil {
				t.Errorf("round %d: a torrent without metainfo: %v", round, err)
			}
		}
		must(t, d.Close())
	}
	if acked == [crashWorkers]int{} {
		t.Error("nothing was ever written")
	}
}

// killOnce runs the child until it has told of some claims, kills it, and
// returns all it told of.
func killOnce(t *testing.T, path string, rng *rand.Rand, acked [crashWorkers]int) [crashWorkers]int {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run=^TestCrashChild$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	cmd.Dir = filepath.Dir(path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	target, pause := 1+rng.IntN(60), time.Duration(rng.IntN(1000))*time.Microsecond
	for n := 0; lines.Scan(); n++ {
		var w, i int
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &w, &i); err != nil {
			t.Errorf("the child says %q", lines.Text())
			target = n
		} else {
			acked[w] = i
		}
		if n == target {
			time.AfterFunc(pause, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return acked
}
