package superseed

import (
	"math/rand/v2"
	"testing"
	"time"

	"btd/piece"
)

const mib = 1 << 20

// world is a swarm around the seed under test.
type world struct {
	*Seed
	t    *testing.T
	geo  piece.Geometry
	pick *piece.Picker
	now  time.Time
	has  map[uint32]*piece.Peer
	view map[uint32]View
}

func newWorld(t *testing.T, pieces int) *world {
	t.Helper()
	geo, err := piece.NewGeometry(int64(pieces)*mib, mib)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, uint64(pieces)))
	w := &world{t: t, geo: geo, pick: piece.NewPicker(geo, rng), now: time.Unix(1e9, 0), has: map[uint32]*piece.Peer{}, view: map[uint32]View{}}
	for i := range piece.Index(pieces) {
		w.pick.Passed(i)
	}
	w.Seed = New(geo, w.pick, rng)
	return w
}

// join adds a peer that is served and interested.
func (w *world) join(id uint32, covered bool) {
	w.has[id] = w.pick.Join()
	w.view[id] = View{ID: id, Interested: true, Served: true}
	w.Join(id, w.has[id], covered)
}

func (w *world) leave(id uint32) {
	w.pick.Leave(w.has[id])
	w.Leave(id)
	delete(w.has, id)
}

// show is what a peer is told of now.
func (w *world) show(id uint32) []piece.Index {
	w.Due(w.now, true)
	return w.Show(w.now, w.view[id], nil)
}

// gets sends a piece to a peer, which then has it.
func (w *world) gets(id uint32, list ...piece.Index) {
	for _, i := range list {
		w.Sent(w.now, id, i, w.geo.Length(i))
		w.had(id, i)
	}
}

// had is a peer's word that it has a piece, wherever it got it.
func (w *world) had(id uint32, list ...piece.Index) {
	for _, i := range list {
		if w.pick.PeerHas(w.has[id], i) {
			w.Has(id, i)
		}
	}
}

func (w *world) want(what string, got, want int) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

func TestDifferentPiecesForDifferentPeers(t *testing.T) {
	w := newWorld(t, 40)
	seen := map[piece.Index]uint32{}
	for id := uint32(1); id <= 5; id++ {
		w.join(id, true)
		got := w.show(id)
		w.want("pieces shown at first", len(got), aheadBytes/mib)
		for _, i := range got {
			if o := seen[i]; o != 0 {
				t.Errorf("piece %d was shown to %d and to %d", i, o, id)
			}
			seen[i] = id
			if w.Hidden(id, i) || w.Refused(id, i) {
				t.Errorf("piece %d is hidden from the peer it was shown to", i)
			}
		}
	}
	w.want("pieces shown again without a change", len(w.show(1)), 0)
}

func TestPaceOfTheSwarm(t *testing.T) {
	w := newWorld(t, 100)
	w.join(1, true)
	w.join(2, true)
	var held []piece.Index
	for range 20 {
		got := w.show(1)
		w.gets(1, got...)
		held = append(held, got...)
	}
	w.want("pieces sent while nobody takes them on", len(held), spreadBytes/mib)
	w.had(2, held...)
	w.want("pieces shown once they have spread", len(w.show(1)), aheadBytes/mib)
}

func TestNoPaceWithoutASwarm(t *testing.T) {
	w := newWorld(t, 100)
	w.join(1, true)
	n := 0
	for range 100 {
		got := w.show(1)
		w.gets(1, got...)
		n += len(got)
	}
	w.want("pieces sent to a peer alone", n, 100)
}

func TestPeersThatDoNotTradeAreServed(t *testing.T) {
	w := newWorld(t, 1000)
	w.join(1, true)
	w.join(2, true)
	sent := 0
	for range 40 { // ten seconds
		w.now = w.now.Add(look)
		for range 100 {
			got := w.show(1)
			w.gets(1, got...)
			sent += len(got)
		}
	}
	if sent < 400 {
		t.Errorf("a peer whose pieces nobody takes got %d MiB in 10 s, want 400 or more", sent)
	}
}

func TestSlowLinksAreNotHeldUp(t *testing.T) {
	w := newWorld(t, 1000)
	w.join(1, true)
	w.join(2, true)
	for k := range 60 { // a piece in half a second, never traded
		w.now = w.now.Add(look)
		w.show(1)
		if w.members[1].ahead == 0 {
			t.Fatalf("nothing to fetch after %d pieces", k/2)
		}
		w.Sent(w.now, 1, w.members[1].next(), mib/2)
	}
}

// next is the piece that the peer fetches now.
func (m *member) next() piece.Index {
	for _, g := range m.gifts {
		if g.left > 0 {
			return g.piece
		}
	}
	return 0
}

func TestPiecesOfThoseWhoLeave(t *testing.T) {
	w := newWorld(t, 4)
	w.join(1, true)
	w.join(2, true)
	mine := w.show(1)
	w.gets(1, mine[0])
	w.gets(2, w.show(2)...)
	w.leave(1)
	if got := w.show(2); len(got) != 2 {
		t.Errorf("after the owner left %v are shown, want %v", got, mine)
	}
}

func TestPiecesThatAreNotFetched(t *testing.T) {
	w := newWorld(t, 4)
	w.join(1, true)
	w.join(2, true)
	kept := w.show(1)
	w.gets(2, w.show(2)...)
	w.want("shown at once", len(w.show(2)), 0)
	w.now = w.now.Add(secondLook)
	w.want("shown to a second peer that waits", len(w.show(2)), 1)
	w.now = w.now.Add(giveBack)
	w.want("given to another", len(w.show(2)), 1)
	for _, i := range kept {
		if w.Hidden(2, i) || w.owner[i] == 1 {
			t.Errorf("piece %d still belongs to a peer that does not fetch it", i)
		}
	}
}

func TestPiecesThatNeverPass(t *testing.T) {
	w := newWorld(t, 2)
	w.join(1, true)
	w.join(2, true)
	for _, i := range w.show(1) {
		w.Sent(w.now, 1, i, mib) // and no word of having it
	}
	w.want("shown at once", len(w.show(2)), 0)
	w.now = w.now.Add(giveBack)
	w.want("shown to another after a while", len(w.show(2)), 2)
}

func TestBait(t *testing.T) {
	w := newWorld(t, 64)
	w.join(1, true)
	w.view[1] = View{ID: 1}
	total := 0
	for step := 1; step < 64; step *= 2 {
		got := w.show(1)
		w.want("bait", len(got), step)
		w.want("more bait at once", len(w.show(1)), 0)
		total += len(got)
		w.now = w.now.Add(baitAfter)
	}
	w.want("pieces that belong to a peer that wants nothing", len(w.members[1].gifts), 0)
	w.view[1] = View{ID: 1, UploadOnly: true}
	w.want("bait for an upload-only peer", len(w.show(1)), 0)
	w.join(2, true)
	n := 0
	for range 100 {
		got := w.show(2)
		w.gets(2, got...)
		w.had(1, got...)
		n += len(got)
	}
	w.want("pieces for the other", n, 64)
}

func TestOneThatWasToldOfEverything(t *testing.T) {
	w := newWorld(t, 20)
	w.join(1, false)
	for i := range piece.Index(18) {
		w.Asked(w.now, 1, i)
	}
	w.join(2, true)
	got := w.show(2)
	if len(got) != 2 || got[0] < 18 || got[1] < 18 {
		t.Errorf("shown %v, want what the other did not ask for", got)
	}
	w.want("shown to the one who knows", len(w.show(1)), 0)
	if w.Hidden(1, 19) || w.Covered(1) {
		t.Error("something is hidden from a peer that was told of everything")
	}
}

func TestCoverLater(t *testing.T) {
	w := newWorld(t, 20)
	w.join(1, false)
	w.Asked(w.now, 1, 7)
	keeps := w.Cover(w.now, 1)
	if !keeps.Has(7) || keeps.Count() < 2 || keeps.Count() > 4 {
		t.Errorf("may go on with %d pieces, want 7 and a few", keeps.Count())
	}
	for i := range piece.Index(20) {
		if w.Hidden(1, i) == keeps.Has(i) || w.Refused(1, i) {
			t.Errorf("piece %d: hidden %v, refused %v", i, w.Hidden(1, i), w.Refused(1, i))
		}
	}
}

func TestDone(t *testing.T) {
	w := newWorld(t, 3)
	w.join(1, true)
	w.join(2, true)
	done := func(want bool) {
		t.Helper()
		if got := w.Done(w.now); got != want {
			t.Errorf("done: %v, want %v", got, want)
		}
	}
	w.had(1, 0, 1)
	done(false)
	w.had(2, 2)
	done(false)
	w.now = w.now.Add(linger)
	done(true)
	w.leave(1)
	done(false)
	f := piece.NewBitfield(3)
	f.Fill()
	w.pick.PeerBitfield(w.has[2], f)
	w.Resync()
	done(false)
	w.now = w.now.Add(linger)
	done(true)
}

// counted counts the looks at a swarm.
type counted struct {
	Swarm
	looks int
}

func (c *counted) Availability(i piece.Index) int {
	c.looks++
	return c.Swarm.Availability(i)
}

// TestPiecesThatComeAndGo: a peer that has a piece, lacks it, has it again and
// so on costs a look at that piece each time, and no memory.
func TestPiecesThatComeAndGo(t *testing.T) {
	const pieces = 1000
	w := newWorld(t, pieces)
	c := &counted{Swarm: w.pick}
	w.swarm = c
	w.join(1, true)
	w.join(2, true)
	for n := range 5 * pieces {
		i := piece.Index(n % pieces)
		w.had(1, i)
		if !w.pick.PeerLacks(w.has[1], i) {
			t.Fatalf("piece %d is not lost", i)
		}
		w.Lacks(i)
	}
	if c.looks > 4*5*pieces {
		t.Errorf("%d looks at pieces for %d that came and went", c.looks, 5*pieces)
	}
	w.want("pieces to give away", len(w.pool), pieces)
	w.want("pieces that nobody has", w.absent, pieces)

	w.had(1, 3)
	w.had(2, 3)
	w.pick.PeerLacks(w.has[1], 3)
	w.Lacks(3)
	w.want("pieces that nobody has while one does", w.absent, pieces-1)
	w.now = w.now.Add(time.Hour)
	if w.Done(w.now) || w.Done(w.now.Add(time.Hour)) {
		t.Error("the swarm is said to have everything")
	}
}
