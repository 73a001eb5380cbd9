package metafetch

import (
	"crypto/sha1"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestOneHostClaimsManySizes has one host hold most connections, each with a
// size of its own. An honest peer that comes later is asked all the same.
func TestOneHostClaimsManySizes(t *testing.T) {
	for _, c := range []struct{ smallest, honest int }{
		{1000, 900},
		{1000, 1031},
		{1000, 50_000},      // next to nothing: all are asked at once
		{1 << 20, 25 << 20}, // more than there is room for
		{20 << 20, 29 << 20},
		{29 << 20, 20 << 20},
	} {
		t.Run(fmt.Sprintf("%d bytes behind %d", c.honest, c.smallest), func(t *testing.T) {
			info := random(c.honest, 23)
			w := newWorld(t, info, Config{})
			for id := range uint32(79) {
				w.add(id+1, other{size: c.smallest + int(id), mute: true, host: 1})
			}
			w.run(time.Second)
			w.now = start.Add(time.Second)
			honest := w.add(100, other{data: info, delay: 10 * time.Millisecond})
			w.run(30 * time.Second) // no longer than one that is silent is waited for
			if honest.asked == 0 {
				t.Fatal("the honest peer was not asked")
			}
			w.run(10 * time.Minute)
			w.wantInfo(info)
		})
	}
}

// TestOneHostAnswersForManySizes is worse: the host gives every piece but the
// last of each, slowly, so that none of its connections is silent.
func TestOneHostAnswersForManySizes(t *testing.T) {
	info := random(29<<20, 24)
	f := New(sha1.Sum(info), Config{})
	size := func(id uint32) int { return 19<<20 + int(id) }
	for id := range uint32(79) {
		f.Join(id+1, host(1), size(id+1))
	}
	now := start
	given := func(r Request, size int) []byte {
		return make([]byte, max(0, min(PieceSize, size-r.Piece*PieceSize)))
	}
	served := map[uint32]bool{}
	for step := range 2000 {
		if step == 50 {
			f.Join(100, host(2), len(info))
		}
		reqs, _ := f.Requests(now)
		for _, r := range reqs {
			if r.Peer == 100 {
				from := r.Piece * PieceSize
				if f.Data(100, r.Piece, 0, info[from:min(from+PieceSize, len(info))], now).Info != nil {
					if len(served) < 2 {
						t.Errorf("of the host %d connections had a turn", len(served))
					}
					return
				}
				continue
			}
			served[r.Peer] = true
			if n := (size(r.Peer) + PieceSize - 1) / PieceSize; r.Piece < n-1 {
				f.Data(r.Peer, r.Piece, 0, given(r, size(r.Peer)), now)
			}
		}
		now = now.Add(time.Second)
	}
	t.Fatal("there is no end")
}

// TestThoseThatWereSilentTakeTurns has more large dictionaries than there is
// room for, all of hosts that say nothing at first.
func TestThoseThatWereSilentTakeTurns(t *testing.T) {
	info := random(29<<20, 25)
	w := newWorld(t, info, Config{})
	for id := range uint32(20) {
		w.add(id+1, other{size: 20<<20 + int(id), mute: true})
	}
	p := w.add(100, other{data: info, delay: 10 * time.Millisecond, mute: true})
	for range 3600 {
		if p.asked > 0 {
			break
		}
		w.run(time.Second)
		w.now = w.now.Add(time.Second)
	}
	if p.asked == 0 {
		t.Fatal("it was never asked")
	}
	p.mute = false // from now on it answers, but what it was asked for is lost
	w.run(2 * time.Hour)
	w.wantInfo(info)
}

// TestListsAreMadeAgain has a candidate lose its room while its peers owe
// pieces, and get it back.
func TestListsAreMadeAgain(t *testing.T) {
	const most = 8 * PieceSize
	info := random(most, 26)
	f := New(sha1.Sum(info), Config{MaxSize: most})
	f.Join(1, host(1), most)
	reqs, _ := f.Requests(start)
	if len(reqs) != 4 {
		t.Fatalf("requests %v", reqs)
	}
	for id := range uint32(8) { // smaller, and each of a host of its own
		f.Join(id+2, host(int(id)+2), most-1-int(id))
	}
	f.Requests(start)
	if f.candidates[0].pieces != nil {
		t.Fatal("there is room for all")
	}
	// An answer comes while there is no room for it. It shows that somebody is there.
	if r := f.Data(1, reqs[0].Piece, 0, info[:PieceSize], start); r.Used {
		t.Error("a piece without room was used")
	}
	for id := range uint32(8) {
		f.Leave(id + 2)
	}
	again, _ := f.Requests(start)
	if got := f.candidates[0].owed; !slices.Equal(got, []int{1, 1, 1, 1, 0, 0, 0, 0}) || len(again) != 1 || again[0].Piece != 0 {
		t.Errorf("asked for %v, owed %v: three pieces are still to come", again, got)
	}
	for range 20 {
		for n := range 8 {
			if f.Data(1, n, 0, info[n*PieceSize:][:PieceSize], start).Info != nil {
				return
			}
		}
		f.Requests(start)
	}
	t.Error("the dictionary does not come")
}
