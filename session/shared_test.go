package session

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"btd/peerwire"
)

// TestTwoTorrentsOneFile: a torrent never writes over what belongs to another,
// and removing one leaves the files of the other alone.
func TestTwoTorrentsOneFile(t *testing.T) {
	t.Parallel()
	first := makeContent(t, 32<<10, map[string]int{"x": 400000})
	other := makeContent(t, 64<<10, map[string]int{"x": 400001})
	same := makeContent(t, 16<<10, map[string]int{"x": 400000}) // the same bytes in other pieces
	seed := seedOf(t, other, nil)

	s := open(t, nil)
	add(t, s, first, AddOptions{Dir: first.dir})
	await(t, s, first, "the first", complete)
	before, err := os.ReadFile(filepath.Join(first.dir, "content", "x"))
	if err != nil {
		t.Fatal(err)
	}

	add(t, s, other, AddOptions{Dir: first.dir, Peers: addrs(seed)})
	v := await(t, s, other, "the error", func(v Torrent) bool { return v.State == StateError })
	if !strings.Contains(v.Error, "content/x") || !strings.Contains(v.Error, first.meta.Hash.String()) {
		t.Errorf("the error names neither file nor torrent: %q", v.Error)
	}
	// Another torrent of the same bytes is welcome: it has nothing to write.
	add(t, s, same, AddOptions{Dir: first.dir})
	await(t, s, same, "the one with the same bytes", complete)

	if err := s.Remove(t.Context(), same.meta.Hash, true); err == nil || !strings.Contains(err.Error(), "kept") {
		t.Errorf("removing with data said %v, want that the files are kept", err)
	}
	if err := s.Remove(t.Context(), other.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	// One that skips the file, and has it listed all the same.
	beside := makeContent(t, 32<<10, map[string]int{"x": 32 << 13, "y": 300000})
	third := seedOf(t, beside, nil)
	add(t, s, beside, AddOptions{Dir: first.dir, Peers: addrs(third), Only: []int{indexOf(t, third, beside, "/y")}})
	await(t, s, beside, "the one that skips it", complete)
	if err := s.Remove(t.Context(), beside.meta.Hash, true); err != nil {
		t.Errorf("removing it with its data: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(first.dir, "content", "x"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the file has changed: %d bytes, %v", len(after), err)
	}
	if err := s.Remove(t.Context(), first.meta.Hash, true); err != nil {
		t.Errorf("removing the last one with its data: %v", err)
	}
}

// refused waits until c is in error over a file that it shares with by.
func refused(t *testing.T, s *Session, c, by content) {
	t.Helper()
	v := await(t, s, c, "the error", failed)
	if !strings.Contains(v.Error, "content/x") || !strings.Contains(v.Error, by.meta.Hash.String()) {
		t.Errorf("the error names neither file nor torrent: %q", v.Error)
	}
}

// prefer sets the priority of files of c.
func prefer(t *testing.T, s *Session, c content, want map[int]Priority) {
	t.Helper()
	if err := s.SetPriorities(t.Context(), c.meta.Hash, want); err != nil {
		t.Fatal(err)
	}
}

// give tells s of peers of c.
func give(t *testing.T, s *Session, c content, seed *Session) {
	t.Helper()
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
}

// TestFileOfAnotherIsChosenLater: neither what a torrent needs of a skipped
// file, nor what it wants of it later, is written over another's.
func TestFileOfAnotherIsChosenLater(t *testing.T) {
	t.Parallel()
	first := makeContent(t, 32<<10, map[string]int{"x": 400000})
	other := makeContent(t, 64<<10, map[string]int{"w": 50000, "x": 400000, "y": 300000})
	seed := seedOf(t, other, nil)
	s := open(t, nil)
	dir := first.dir
	add(t, s, first, AddOptions{Dir: dir})
	await(t, s, first, "the first", complete)
	before := read(t, filepath.Join(dir, "content", "x"))
	kept := func(when string) {
		t.Helper()
		if !bytes.Equal(read(t, filepath.Join(dir, "content", "x")), before) {
			t.Fatalf("the first one's file has changed %s", when)
		}
	}

	add(t, s, other, AddOptions{Dir: dir, Peers: addrs(seed), Only: []int{2}})
	await(t, s, other, "the file of its own", complete)
	kept("for a piece that it shares")
	if !bytes.Equal(read(t, filepath.Join(dir, "content", "y")), read(t, filepath.Join(other.dir, "content", "y"))) {
		t.Error("the file of its own is not as it should be")
	}

	prefer(t, s, other, map[int]Priority{1: Normal})
	refused(t, s, other, first)
	kept("when it was chosen")
	prefer(t, s, other, map[int]Priority{1: Skip})
	await(t, s, other, "the end of the error", complete)
	prefer(t, s, other, map[int]Priority{1: Normal})
	refused(t, s, other, first)

	s = reopen(t, s)
	refused(t, s, other, first)
	if err := s.Stop(t.Context(), other.meta.Hash); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), other.meta.Hash); err != nil {
		t.Fatal(err)
	}
	give(t, s, other, seed)
	refused(t, s, other, first)
	kept("after a restart")

	if err := s.Remove(t.Context(), first.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	give(t, s, other, seed)
	await(t, s, other, "the rest, once nobody else has the file", complete)
	other.same(t, dir, "content/x", "content/y")
}

// TestTwoEmptyTorrentsOneFile: only one of two that begin with nothing writes,
// and the other one goes on when that is gone.
func TestTwoEmptyTorrentsOneFile(t *testing.T) {
	t.Parallel()
	both := [2]content{
		makeContent(t, 32<<10, map[string]int{"x": 400000}),
		makeContent(t, 64<<10, map[string]int{"w": 50000, "x": 400000}),
	}
	seeds := [2]*Session{seedOf(t, both[0], nil), seedOf(t, both[1], nil)}
	s := open(t, nil)
	for _, c := range both {
		add(t, s, c, AddOptions{})
	}
	won := -1
	until(t, "error of one of the two", func() bool {
		var states [2]State
		for i, c := range both {
			v, err := s.Torrent(c.meta.Hash)
			if err != nil {
				t.Fatal(err)
			}
			states[i] = v.State
		}
		switch states {
		case [2]State{StateDownloading, StateError}:
			won = 0
		case [2]State{StateError, StateDownloading}:
			won = 1
		}
		return won >= 0
	})
	winner, loser := both[won], both[1-won]
	give(t, s, loser, seeds[1-won])
	give(t, s, winner, seeds[won])
	await(t, s, winner, "the one that may", complete)
	refused(t, s, loser, winner)
	winner.same(t, s.cfg.Dir)

	if err := s.Remove(t.Context(), winner.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	give(t, s, loser, seeds[1-won])
	await(t, s, loser, "the other one, by itself", complete)
	loser.same(t, s.cfg.Dir)
}

// TestTwoTorrentsDoNotBothLose: one that only wishes for a file does not keep
// the one that has it from going on, after a restart either.
func TestTwoTorrentsDoNotBothLose(t *testing.T) {
	t.Parallel()
	first := makeContent(t, 32<<10, map[string]int{"x": 400000, "z": 200000})
	other := makeContent(t, 64<<10, map[string]int{"w": 50000, "x": 400000, "y": 300000})
	seeds := [2]*Session{seedOf(t, first, nil), seedOf(t, other, nil)}
	s := open(t, nil)
	x := filepath.Join(s.cfg.Dir, "content", "x")
	if err := os.Mkdir(filepath.Dir(x), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(x, read(t, filepath.Join(first.dir, "content", "x")), 0o644); err != nil {
		t.Fatal(err)
	}
	lacking := func(v Torrent) bool { return v.State == StateDownloading && v.Have > 300000 }
	add(t, s, first, AddOptions{})
	await(t, s, first, "what is there", lacking)
	add(t, s, other, AddOptions{Peers: addrs(seeds[1]), Only: []int{2}})
	await(t, s, other, "the file of its own", complete)
	prefer(t, s, other, map[int]Priority{1: Normal})
	refused(t, s, other, first)

	s = reopen(t, s)
	refused(t, s, other, first)
	await(t, s, first, "the first, which has the file", lacking)
	give(t, s, first, seeds[0])
	await(t, s, first, "all of the first", complete)
	first.same(t, s.cfg.Dir)
	refused(t, s, other, first)

	// Its own files go, another's stay.
	prefer(t, s, other, map[int]Priority{1: Skip})
	await(t, s, other, "the end of the error", complete)
	if err := s.Remove(t.Context(), other.meta.Hash, true); err != nil {
		t.Error(err)
	}
	first.same(t, s.cfg.Dir)
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, "content", "y")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of its own: %v, want it gone", err)
	}
}

// TestDataThatIsStillToBeFound: a torrent does not write to a file while another
// one, whose data it is, has not been verified.
func TestDataThatIsStillToBeFound(t *testing.T) {
	t.Parallel()
	for round := range 4 {
		first := makeContent(t, 32<<10, map[string]int{"x": 400000, "z": 200000})
		other := makeContent(t, 64<<10, map[string]int{"w": 50000, "x": 400000})
		seed := seedOf(t, other, nil)
		s := open(t, nil)
		x := filepath.Join(s.cfg.Dir, "content", "x")
		if err := os.Mkdir(filepath.Dir(x), 0o755); err != nil {
			t.Fatal(err)
		}
		before := read(t, filepath.Join(first.dir, "content", "x"))
		if err := os.WriteFile(x, before, 0o644); err != nil {
			t.Fatal(err)
		}
		// Both are about to be verified. Which is first is left to chance.
		begin := make(chan struct{})
		var held sync.WaitGroup
		for range cap(s.checks) {
			began := make(chan struct{})
			held.Go(func() { _ = s.checks.do(t.Context(), func() error { close(began); <-begin; return nil }) })
			<-began
		}
		checking := func(v Torrent) bool { return v.State == StateChecking }
		add(t, s, first, AddOptions{})
		add(t, s, other, AddOptions{Peers: addrs(seed)})
		await(t, s, first, "its turn", checking)
		await(t, s, other, "its turn", checking)
		close(begin)
		held.Wait()
		refused(t, s, other, first)
		await(t, s, first, "the data that is there", func(v Torrent) bool { return v.State == StateDownloading && v.Have > 300000 })
		refused(t, s, other, first)
		if !bytes.Equal(read(t, x), before) {
			t.Errorf("round %d: the file has changed", round)
		}
	}
}

// TestLoserGivesUpWhatItFetches: a torrent that is in the middle of a download
// when it loses asks for nothing any more, and the other one goes on.
func TestLoserGivesUpWhatItFetches(t *testing.T) {
	t.Parallel()
	first := makeContent(t, 32<<10, map[string]int{"x": 400000, "y": 300000})
	other := makeContent(t, 64<<10, map[string]int{"w": 50000, "x": 400000, "y": 300000})
	seeds := [2]*Session{seedOf(t, first, nil), seedOf(t, other, nil)}
	s := open(t, nil)
	add(t, s, first, AddOptions{Peers: addrs(seeds[0]), Only: []int{0}})
	await(t, s, first, "the file of its own", complete)
	add(t, s, other, AddOptions{Only: []int{2}})
	await(t, s, other, "the start", func(v Torrent) bool { return v.State == StateDownloading })

	flat := other // as a peer of the test has it
	flat.dir = t.TempDir()
	var all []byte
	for _, name := range []string{"w", "x", "y"} {
		all = append(all, read(t, filepath.Join(other.dir, "content", name))...)
	}
	if err := os.WriteFile(filepath.Join(flat.dir, "content"), all, 0o644); err != nil {
		t.Fatal(err)
	}
	p := acceptRaw(t, s, flat, fastPeer)
	p.until(peerwire.HaveNone)
	p.send(peerwire.AppendUnchoke(peerwire.AppendHaveAll(nil)))
	p.give(p.until(peerwire.Request)) // the other requests stay open
	await(t, s, other, "the first block", func(v Torrent) bool { return v.Downloaded > 0 })

	prefer(t, s, first, map[int]Priority{1: Normal})
	await(t, s, first, "the error, since the other one fetches the file", failed)
	prefer(t, s, other, map[int]Priority{1: Normal})
	p.untilClosed()
	await(t, s, other, "its error", failed)
	give(t, s, first, seeds[0])
	await(t, s, first, "the rest of the first", complete)
	first.same(t, s.cfg.Dir)

	if err := s.Remove(t.Context(), first.meta.Hash, false); err != nil {
		t.Fatal(err)
	}
	give(t, s, other, seeds[1])
	await(t, s, other, "all of the other one", complete)
	other.same(t, s.cfg.Dir, "content/x", "content/y")
}
