package session

import (
	"sync/atomic"
	"testing"
	"time"
)

// silentAfter makes f stop answering after n blocks, until the test ends.
func (f *fakeSeed) silentAfter(t *testing.T, n int64) *atomic.Int64 {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	asked := new(atomic.Int64)
	f.lie = func(_, _ uint32) bool {
		if asked.Add(1) > n {
			<-end
		}
		return false
	}
	return asked
}

// TestPeerThatStopsAnswering does not hold up a download that another peer
// can finish.
func TestPeerThatStopsAnswering(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 128<<10, map[string]int{"": 6 << 20})
	mute := newFakeSeed(t, c, "127.0.0.71")
	asked := mute.silentAfter(t, 8)
	go mute.run()
	seed := seedOf(t, c, nil)
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrsOf(mute)})
	until(t, "silence", func() bool { return asked.Load() > 8 })
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seed)); err != nil {
		t.Fatal(err)
	}
	// Time in which nobody had a turn does not count.
	took, last := time.Duration(0), time.Now()
	v := await(t, s, c, "completion", func(v Torrent) bool {
		now := time.Now()
		took += min(now.Sub(last), time.Second)
		last = now
		return complete(v)
	})
	c.same(t, s.cfg.Dir)
	if took > requestLives*3/4 { // some of it was over before
		t.Errorf("took %s: the requests to the silent peer were waited for", took)
	}
	if v.Downloaded > v.Size+1<<20 {
		t.Errorf("downloaded %d bytes of %d", v.Downloaded, v.Size)
	}
}

// TestSeveralSilentPeers: most of a swarm never answers at all.
func TestSeveralSilentPeers(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 2 << 20})
	var all []*fakeSeed
	for _, ip := range []string{"127.0.0.72", "127.0.0.73", "127.0.0.74", "127.0.0.75"} {
		f := newFakeSeed(t, c, ip)
		f.silentAfter(t, 0)
		go f.run()
		all = append(all, f)
	}
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrsOf(all...)})
	await(t, s, c, "the silent ones", func(v Torrent) bool { return v.Peers == len(all) })
	good := newFakeSeed(t, c, "127.0.0.76")
	go good.run()
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrsOf(good)); err != nil {
		t.Fatal(err)
	}
	v := await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
	if v.Downloaded != v.Size {
		t.Errorf("downloaded %d bytes of %d", v.Downloaded, v.Size)
	}
}

// TestSilentPeersHoldNoMemory: peers that never answer must not keep what
// little block memory there is from one that would.
func TestSilentPeersHoldNoMemory(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 2 << 20})
	var all []*fakeSeed
	for _, ip := range []string{"127.0.0.81", "127.0.0.82", "127.0.0.83", "127.0.0.84", "127.0.0.85"} {
		f := newFakeSeed(t, c, ip)
		f.silentAfter(t, 0)
		go f.run()
		all = append(all, f)
	}
	s := open(t, func(cfg *Config) { cfg.Storage.Memory = 512 << 10 })
	add(t, s, c, AddOptions{Peers: addrsOf(all...)})
	await(t, s, c, "the silent ones", func(v Torrent) bool { return v.Peers == len(all) })
	good := newFakeSeed(t, c, "127.0.0.86")
	go good.run()
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrsOf(good)); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
	stalled := 0
	inLoop(t, s, c, func(t *torrent) {
		for _, p := range t.peers.all {
			if p.down.stalled {
				stalled++
			}
		}
	})
	if stalled == 0 {
		t.Error("no silent peer was made to give its memory back")
	}
}
