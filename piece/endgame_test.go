package piece

import (
	"slices"
	"testing"
	"time"
)

// last is a swarm of n peers that all have the last missing piece, of four
// blocks, all of which are requested from the first peer.
func last(t *testing.T, n int) (*drawn, []Block) {
	d := swarm(t, string(rune('0'+n))+"1", " *", "")
	if d.p.Endgame() {
		t.Fatal("endgame before anything is requested")
	}
	l := d.p.Pick(d.peers[0], 4, nil)
	if !d.p.Endgame() {
		t.Fatal("no endgame though everything is requested")
	}
	return d, l
}

// pick is Pick and, if that gives too little, Duplicate for a peer that is at
// once expected to deliver what is late at all others.
func (d *drawn) pick(pr *Peer, n int) []Block {
	l := d.p.Pick(pr, n, nil)
	return d.p.Duplicate(pr, n-len(l), allLateBut(pr), l)
}

// allLateBut is when all peers but pr are in no hurry.
func allLateBut(pr *Peer) func(*Peer) Pace {
	return func(o *Peer) Pace {
		if o == pr {
			return Pace{}
		}
		return Pace{Delay: time.Hour, Each: time.Second}
	}
}

// Four blocks are requested from one peer; how many of them, from the end,
// another is asked for as well.
func TestDuplicatesOnlyWhatIsLate(t *testing.T) {
	for _, tt := range []struct {
		name          string
		holder, asker Pace
		want, more    int // at once, and when that is requested
	}{
		{"the last ones of a slow peer", Pace{Each: 100 * ms}, Pace{Each: 20 * ms}, 3, 0},
		{"until both meet", Pace{Each: 100 * ms}, Pace{Each: 50 * ms}, 2, 0},
		{"two peers alike", Pace{Each: 100 * ms}, Pace{Each: 100 * ms}, 1, 0},
		{"two fast peers", Pace{Each: 5 * ms}, Pace{Each: ms}, 0, 0},
		{"what is far away comes no sooner", Pace{Each: 100 * ms}, Pace{Latency: 200 * ms, Each: ms}, 0, 0},
		{"far away, but still sooner", Pace{Each: time.Second}, Pace{Latency: 500 * ms, Each: ms}, 3, 0},
		{"all of one that fell silent", Pace{Delay: time.Second, Each: ms}, Pace{Latency: 50 * ms, Each: ms}, 4, 0},
		{"nothing from one that is silent", Pace{Each: 100 * ms}, Pace{Delay: time.Second, Each: ms}, 0, 0},
		{"a fast one when the other has just paused", Pace{Delay: 15 * ms, Each: ms / 10}, Pace{Each: ms / 10}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, l := last(t, 2)
			pace := func(pr *Peer) Pace {
				if pr == d.peers[0] {
					return tt.holder
				}
				return tt.asker
			}
			got := d.p.Duplicate(d.peers[1], 9, pace, nil)
			if !slices.Equal(got, l[4-tt.want:]) {
				t.Errorf("duplicates %v, want %v", got, l[4-tt.want:])
			}
			if got := d.p.Duplicate(d.peers[1], 9, pace, nil); len(got) != tt.more {
				t.Errorf("then %v, want %d", got, tt.more)
			}
			d.check()
		})
	}
}

// The last ones of all are helped first, and no block that is on its way from
// somebody who is in time.
func TestHelpsTheLastPeer(t *testing.T) {
	d := swarm(t, "41", " *", "")
	a, b, c, e := d.peers[0], d.peers[1], d.peers[2], d.peers[3]
	l := d.p.Pick(a, 2, nil)
	l = d.p.Pick(b, 2, l)
	each := map[*Peer]time.Duration{a: time.Second, b: 2 * time.Second, c: time.Millisecond, e: time.Millisecond}
	pace := func(pr *Peer) Pace { return Pace{Each: each[pr]} }
	if got := d.p.Duplicate(c, 3, pace, nil); !slices.Equal(got, []Block{l[2], l[3], l[1]}) {
		t.Errorf("duplicates %v of %v", got, l)
	}
	if got := d.p.Duplicate(e, 9, pace, nil); !slices.Equal(got, l[:1]) {
		t.Errorf("%v of %v, want only what is not duplicated", got, l)
	}
	if got := d.p.Duplicate(e, 9, pace, nil); len(got) != 0 {
		t.Errorf("%v though somebody sends them in time", got)
	}
	each[c] = time.Second
	if got := d.p.Duplicate(e, 9, pace, nil); len(got) != 1 {
		t.Errorf("%v, want one more since its second peer is late too", got)
	}
	d.check()
}

func TestEndgameCancels(t *testing.T) {
	d, l := last(t, 3)
	a, b, c := d.peers[0], d.peers[1], d.peers[2]
	for range 9 {
		d.pick(b, 9)
		d.pick(c, 9)
	}
	if a.Outstanding() != 4 || b.Outstanding() != 4 || c.Outstanding() != 4 {
		t.Fatalf("outstanding %d, %d, %d; want everything from everybody", a.Outstanding(), b.Outstanding(), c.Outstanding())
	}
	fresh, cancel := d.p.Received(b, l[2])
	if !fresh || len(cancel) != 2 || !slices.Contains(cancel, a) || !slices.Contains(cancel, c) {
		t.Errorf("fresh %v, cancels at %d peers, want the two others", fresh, len(cancel))
	}
	if a.Outstanding() != 3 || c.Outstanding() != 3 {
		t.Errorf("outstanding %d and %d after the cancels", a.Outstanding(), c.Outstanding())
	}
	if fresh, cancel := d.p.Received(a, l[2]); fresh || len(cancel) != 0 {
		t.Errorf("the same again: fresh %v, %d cancels", fresh, len(cancel))
	}
	d.p.Dropped(a, l[0])
	d.p.DroppedAll(c)
	if !d.p.Endgame() {
		t.Error("endgame is over though all is still requested from one peer")
	}
	d.p.Dropped(b, l[0])
	if d.p.Endgame() {
		t.Error("endgame though one block is not requested")
	}
	if got := d.p.Pick(c, 1, nil); !slices.Equal(got, l[:1]) {
		t.Errorf("picked %v, want the block that is not requested, %v", got, l[0])
	}
	d.check()
}

func TestEndgameFewestDuplicatesFirst(t *testing.T) {
	d, l := last(t, 4)
	b, c, e := d.peers[1], d.peers[2], d.peers[3]
	if got := d.pick(b, 2); !slices.Equal(got, l[2:]) {
		t.Errorf("%v, want the last two of %v", got, l)
	}
	if got := d.pick(c, 1); !slices.Equal(got, l[1:2]) {
		t.Errorf("%v, want the last of %v", got, l[:2])
	}
	if got := d.pick(e, 2); !slices.Equal(got, l[:1]) {
		t.Errorf("%v, want the only one that is not duplicated, %v", got, l[0])
	}
	if got := d.pick(e, 4); len(got) != 1 || got[0] == l[0] {
		t.Errorf("%v, want one more", got)
	}
	d.check()
}

func TestEndgameHasALimit(t *testing.T) {
	d, _ := last(t, 2)
	for range 20 {
		pr := d.peer("**")
		for range 9 {
			d.pick(pr, 9)
		}
	}
	for k := range 4 {
		n := 0
		for q := d.p.lookup(0).who[k]; q != 0; q = d.p.requests.all[q].same {
			n++
		}
		if n != maxCopies {
			t.Errorf("block %d is requested from %d peers, want %d", k, n, maxCopies)
		}
	}
	d.check()
}

// What nobody has cannot be requested and does not keep the rest waiting.
func TestEndgameWithoutTheUnavailable(t *testing.T) {
	d := swarm(t, "2001", "   *", "")
	gone := d.peer("  * ")
	d.p.Pick(gone, 1, nil)
	if l := d.p.Pick(gone, 1, nil); len(l) != 1 {
		t.Fatalf("picked %v", l)
	}
	d.arrive(gone, []Block{d.p.geo.Block(2, 0)})
	d.p.Pick(d.peers[0], 4, nil)
	if d.p.Endgame() {
		t.Error("endgame though piece 2 has free blocks and somebody has it")
	}
	d.p.Leave(gone)
	if !d.p.Endgame() || len(d.pick(d.peers[1], 4)) == 0 {
		t.Error("no endgame though nothing else can be requested")
	}
	d.p.PeerHas(d.peer("    "), 1)
	if d.p.Endgame() {
		t.Error("endgame though piece 1 can be requested now")
	}
	d.check()
}

// Blocks that we supply ourselves are fresh even in a piece that failed.
func TestOwnBlocks(t *testing.T) {
	d, l := last(t, 1)
	a := d.peers[0]
	for range 2 {
		fresh, cancel := d.p.Received(nil, l[3])
		if !fresh || len(cancel) != 1 || cancel[0] != a || a.Outstanding() != 3 {
			t.Errorf("fresh %v, %d cancels, %d outstanding", fresh, len(cancel), a.Outstanding())
		}
		if fresh, _ := d.p.Received(nil, l[3]); fresh {
			t.Error("fresh twice")
		}
		d.check()
		d.p.Failed(0)
		d.p.Pick(a, 4, nil)
	}
	d.p.Failed(0)
	if fresh, _ := d.p.Received(nil, l[0]); !fresh || d.p.Exclusive(0) != nil {
		t.Error("not fresh before anybody is asked")
	}
	d.p.SetPriority(0, 0)
	if fresh, _ := d.p.Received(nil, l[1]); fresh {
		t.Error("fresh though not wanted")
	}
	d.check()
}

func TestFailedPieceIsOnePeersAlone(t *testing.T) {
	d, l := last(t, 3)
	a, b, c := d.peers[0], d.peers[1], d.peers[2]
	d.p.Pick(b, 2, nil)
	for _, blk := range l {
		d.p.Received(a, blk)
	}
	d.p.Failed(0)
	if d.p.Exclusive(0) != nil || d.p.Missing() != 1 {
		t.Fatalf("held by %v, missing %d after it failed", d.p.Exclusive(0), d.p.Missing())
	}
	if fresh, _ := d.p.Received(a, l[0]); fresh {
		t.Error("a late block of a failed piece is fresh")
	}
	d.p.Pick(b, 2, nil)
	if d.p.Exclusive(0) != b {
		t.Fatal("who was asked first does not hold it")
	}
	if got := d.pick(c, 4); len(got) != 0 {
		t.Errorf("another peer is asked for %v", got)
	}
	if got := d.p.PickPiece(c, 0, 4, nil); len(got) != 0 {
		t.Errorf("another peer is asked for %v", got)
	}
	d.p.Received(b, l[0])
	d.p.Received(b, l[1])
	if d.p.Exclusive(0) != b || len(d.p.Pick(c, 4, nil)) != 0 {
		t.Error("it is not its holder's between two picks")
	}
	rest := d.p.Pick(b, 4, nil)
	if !slices.Equal(rest, l[2:]) {
		t.Fatalf("the holder gets %v, want %v", rest, l[2:])
	}
	if got := d.pick(c, 4); len(got) != 0 {
		t.Errorf("endgame duplicates %v of a failed piece", got)
	}
	d.p.Dropped(b, l[2])
	if d.p.Exclusive(0) != b {
		t.Error("it is let go with a request under way")
	}
	d.p.Dropped(b, l[3])
	if got := d.p.Pick(c, 1, nil); len(got) != 1 || d.p.Exclusive(0) != c {
		t.Errorf("dropped by its holder it is not picked for another: %v", got)
	}
	d.p.DroppedAll(c)
	if got := d.p.Pick(b, 4, nil); len(got) != 2 || d.p.Exclusive(0) != b {
		t.Errorf("%v after the holder choked us", got)
	}
	d.p.Leave(b)
	if got := d.p.Pick(a, 4, nil); len(got) != 2 || d.p.Exclusive(0) != a {
		t.Errorf("%v after the holder left", got)
	}
	d.p.Passed(0)
	if d.p.Exclusive(0) != nil || a.Outstanding() != 0 || d.p.held != 0 {
		t.Error("it is still held after it passed")
	}
	d.p.Lost(0)
	d.p.Pick(a, 1, nil)
	if got := d.p.Pick(c, 1, nil); len(got) != 1 {
		t.Error("once it passed it is a piece like others")
	}
	d.check()
}

// TestLetGo: a piece that is one peer's alone is let go when that peer cannot
// be asked for the rest of it.
func TestLetGo(t *testing.T) {
	d, l := last(t, 3)
	a, b, c := d.peers[0], d.peers[1], d.peers[2]
	fail := func() {
		for _, blk := range l {
			d.p.Received(a, blk)
		}
		d.p.Failed(0)
	}
	fail()
	d.p.Pick(b, 2, nil)
	if d.p.LetGo(b, true) || d.p.LetGo(c, true) || d.p.Exclusive(0) != b {
		t.Error("let go with requests under way, or by another peer")
	}
	d.p.Received(b, l[0])
	d.p.Received(b, l[1])
	if d.p.LetGo(b, false) || d.p.Exclusive(0) != b {
		t.Error("let go by a peer that can be asked")
	}
	if !d.p.LetGo(b, true) || d.p.Exclusive(0) != nil {
		t.Error("not let go by a peer that cannot be asked")
	}
	if got := d.p.Pick(c, 1, nil); len(got) != 1 || d.p.Exclusive(0) != c {
		t.Errorf("another peer is asked for %v", got)
	}
	d.p.Received(c, l[2])
	d.p.PeerLacks(c, 0)
	if !d.p.LetGo(c, false) || d.p.Exclusive(0) != nil {
		t.Error("not let go by a peer that lost the piece")
	}
	if got := d.p.Pick(b, 4, nil); len(got) != 1 || d.p.Exclusive(0) != b {
		t.Errorf("in the end %v is asked for", got)
	}
	d.check()
}
