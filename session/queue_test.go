package session

import (
	"testing"

	"btd/peerwire"
)

// three makes torrents that differ, and a session that seeds them.
func three(t *testing.T) (all [3]content, seed *Session) {
	t.Helper()
	seed = open(t, nil)
	for i := range all {
		all[i] = makeContent(t, 32<<10, map[string]int{"": 300000 + i})
		add(t, seed, all[i], AddOptions{Dir: all[i].dir})
	}
	for _, c := range all {
		await(t, seed, c, "seeding", complete)
	}
	return all, seed
}

func TestQueueOfDownloads(t *testing.T) {
	all, seed := three(t)
	s := open(t, func(cfg *Config) { cfg.ActiveDownloads = 1 })
	var dirs []string // one each: they go by the same name
	for _, c := range all {
		dirs = append(dirs, t.TempDir())
		add(t, s, c, AddOptions{Dir: dirs[len(dirs)-1]})
	}
	const down, wait, stopped, done = StateDownloading, StateQueued, StateStopped, StateSeeding
	awaitStates(t, s, all, down, wait, wait)
	ctx := t.Context()
	if err := s.Stop(ctx, all[0].meta.Hash); err != nil {
		t.Fatal(err)
	}
	awaitStates(t, s, all, stopped, down, wait)
	if err := s.Start(ctx, all[0].meta.Hash); err != nil {
		t.Fatal(err)
	}
	awaitStates(t, s, all, down, wait, wait) // it was there first

	s = reopen(t, s, func(cfg *Config) { cfg.ActiveDownloads = 1 })
	awaitStates(t, s, all, down, wait, wait)
	// A torrent that waits keeps the addresses for its turn.
	if err := s.AddPeers(ctx, all[2].meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	if err := s.AddPeers(ctx, all[0].meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	awaitStates(t, s, all, done, down, wait)
	all[0].same(t, dirs[0])
	if err := s.Remove(ctx, all[1].meta.Hash, true); err != nil {
		t.Fatal(err)
	}
	await(t, s, all[2], "completion", complete)
	if n := s.Stats().Torrents; n[done] != 2 || len(n) != 1 {
		t.Errorf("torrents by state: %v", n)
	}
}

// TestQueueOfSeeds: seeds without peers do not count; of those with peers the
// later one has to wait.
func TestQueueOfSeeds(t *testing.T) {
	t.Parallel()
	all, _ := three(t)
	s := open(t, func(cfg *Config) { cfg.ActiveSeeds = 1 })
	for _, c := range all {
		add(t, s, c, AddOptions{Dir: c.dir})
	}
	const seeding, wait = StateSeeding, StateQueued
	awaitStates(t, s, all, seeding, seeding, seeding)
	busy := func(v Torrent) bool { return v.Peers == 1 }
	second := dialRaw(t, s, all[1], "second", fastPeer)
	await(t, s, all[1], "the peer", busy)
	s.queue.kick()
	awaitStates(t, s, all, seeding, seeding, seeding)
	first := dialRaw(t, s, all[0], "first", fastPeer)
	await(t, s, all[0], "the peer", busy)
	s.queue.kick()
	awaitStates(t, s, all, seeding, wait, seeding)
	second.untilClosed()
	first.unchoked()
	first.send(peerwire.AppendRequest(nil, rawBlock(3, 1)))
	first.until(peerwire.Piece)
	first.Close()
	await(t, s, all[0], "the end of the connection", func(v Torrent) bool { return v.Peers == 0 })
	s.queue.kick()
	awaitStates(t, s, all, seeding, seeding, seeding)
	dialRaw(t, s, all[1], "second", fastPeer).unchoked()
}
