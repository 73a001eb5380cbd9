package session

import "testing"

// fetched is a session that has file a of c and skips file b, and the index of b.
func fetched(t *testing.T, c content, edit func(*Config)) (s *Session, b int) {
	t.Helper()
	seed := seedOf(t, c, nil)
	s = open(t, edit)
	a := indexOf(t, seed, c, "/a")
	add(t, s, c, AddOptions{Peers: addrs(seed), Only: []int{a}})
	await(t, s, c, "the one file", complete)
	if err := seed.Close(); err != nil { // or it may call
		t.Fatal(err)
	}
	return s, 1 - a
}

// shown fails the test unless a picture of c says that all files are wanted and
// the first alone is here.
func shown(t *testing.T, v Torrent, c content) {
	t.Helper()
	if v.Wanted != c.meta.Total || v.HaveWanted < 300000 || v.HaveWanted >= v.Wanted {
		t.Errorf("%d of %d bytes are here that are wanted, of %d", v.HaveWanted, v.Wanted, c.meta.Total)
	}
}

// TestChoiceOfAStoppedTorrent is shown when the call returns, and after a restart.
func TestChoiceOfAStoppedTorrent(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 300000, "b": 500000})
	s, b := fetched(t, c, nil)
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	prefer(t, s, c, map[int]Priority{b: Normal})
	shown(t, await(t, s, c, "a picture", stopped), c)
	s = reopen(t, s)
	shown(t, await(t, s, c, "a picture", stopped), c)
	prefer(t, s, c, map[int]Priority{b: Skip})
	if v := await(t, s, c, "a picture", stopped); v.Wanted != 300000 || v.HaveWanted != v.Wanted {
		t.Errorf("%d of %d bytes are here, the one file is wanted again", v.HaveWanted, v.Wanted)
	}
}

// stopped is true of every picture of a torrent that is.
func stopped(v Torrent) bool { return v.State == StateStopped }

// TestChoiceOfAnIdleSeed has a seed lack something, which then waits for one of
// the places for downloads.
func TestChoiceOfAnIdleSeed(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 300000, "b": 500000})
	other := makeContent(t, 64<<10, map[string]int{"": 300000})
	dir := t.TempDir()
	edit := func(cfg *Config) {
		cfg.ActiveDownloads, cfg.StateDir = 1, dir
	}
	first := open(t, edit)
	add(t, first, other, AddOptions{Stopped: true, Dir: t.TempDir()}) // before the other: the place is its own
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s, b := fetched(t, c, edit)
	if err := s.Start(t.Context(), other.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, s, other, "the place to be taken", func(v Torrent) bool { return v.State == StateDownloading })
	e := s.byWire(c.meta.Hash.Wire())
	if err := s.halt(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if e.running() != nil {
		t.Fatal("its loop runs again")
	}
	events, cancel, _ := s.Subscribe(0)
	defer cancel()
	prefer(t, s, c, map[int]Priority{b: Normal})
	v, err := s.Torrent(c.meta.Hash)
	if err != nil {
		t.Fatal(err)
	}
	shown(t, v, c)
	if v.State != StateQueued {
		t.Errorf("it is %s", v.State)
	}
	for ev := range events { // there is one at least, or the test ends by its time
		if ev.Hash == c.meta.Hash {
			if ev.Kind != EventState {
				t.Errorf("the event is %s", ev.Kind)
			}
			shown(t, *ev.Torrent, c)
			break
		}
	}
	until(t, "turn to be waited for", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.queued
	})
	shown(t, await(t, s, c, "a picture", func(v Torrent) bool { return v.State == StateQueued }), c)
}

// TestChoiceIsShownOfANewTorrent: before its first loop, if it was added by its
// file, or by a link and then its file.
func TestChoiceIsShownOfANewTorrent(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 300000, "b": 500000})
	want := c.meta.Files[1].Length
	s := open(t, nil)
	if v := add(t, s, c, AddOptions{Stopped: true, Only: []int{1}}); v.Wanted != want || v.HaveWanted != 0 {
		t.Errorf("by its file: %d of %d bytes are here, %d are wanted", v.HaveWanted, v.Wanted, want)
	}
	s = open(t, nil)
	addMagnet(t, s, c.link("so=1"), AddOptions{Stopped: true})
	if v := add(t, s, c, AddOptions{}); v.Wanted != want || v.HaveWanted != 0 {
		t.Errorf("by its link: %d of %d bytes are here, %d are wanted", v.HaveWanted, v.Wanted, want)
	}
}

// TestChoiceOfALoopThatEnds has a loop end with the new priorities in its inbox.
func TestChoiceOfALoopThatEnds(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"a": 100000, "b": 100000})
	s := open(t, nil)
	add(t, s, c, AddOptions{}) // it finds nobody
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	inLoop(t, s, c, func(*torrent) {})
	loop := s.byWire(c.meta.Hash.Wire()).running()
	gate, held := make(chan struct{}), make(chan struct{})
	loop.tell(func(*torrent) { close(held); <-gate })
	<-held
	chosen, over := make(chan error, 1), make(chan error, 1)
	go func() { chosen <- s.SetPriorities(t.Context(), c.meta.Hash, map[int]Priority{1: Skip}) }()
	posted := patient(func() bool { return loop.in.len() > 0 })
	go func() { over <- s.Stop(t.Context(), c.meta.Hash) }()
	ends := patient(func() bool { return loop.ctx.Err() != nil })
	close(gate)
	if !posted || !ends {
		t.Errorf("posted %v, ends %v", posted, ends)
	}
	if err := <-chosen; err != nil {
		t.Error(err)
	}
	if v, err := s.Torrent(c.meta.Hash); err != nil || v.Wanted != 100000 {
		t.Errorf("%d bytes are wanted, %v", v.Wanted, err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// TestAddedAgainForMoreFiles: those of the second time are wanted as well.
func TestAddedAgainForMoreFiles(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 16<<10, map[string]int{"a": 100_000, "b": 50_000, "c": 70_000})
	seed := seedOf(t, c, nil)
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrs(seed), Only: []int{0}})
	await(t, s, c, "the first file", complete)
	if _, existed, err := s.Add(t.Context(), c.file, AddOptions{Peers: addrs(seed), Only: []int{1}}); err != nil || !existed {
		t.Fatalf("again: existed %v, %v", existed, err)
	}
	both := c.meta.Files[0].Length + c.meta.Files[1].Length
	await(t, s, c, "both files", func(v Torrent) bool { return complete(v) && v.Wanted == both })
	add(t, s, c, AddOptions{}) // names none
	files, err := s.Files(c.meta.Hash)
	if err != nil || files[0].Priority != Normal || files[1].Priority != Normal || files[2].Priority != Skip {
		t.Errorf("files %+v, %v", files, err)
	}

	s = open(t, nil)
	addMagnet(t, s, c.link("so=0"), AddOptions{Stopped: true})
	if v := add(t, s, c, AddOptions{Only: []int{1}}); v.Wanted != both {
		t.Errorf("the file of a link that waits: %d bytes are wanted, want %d", v.Wanted, both)
	}
}
