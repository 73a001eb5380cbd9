package session

import (
	"bytes"
	"fmt"
	"testing"

	"btd/peerwire"
	"btd/piece"
)

// TestSuperSeedingSendsLittleMoreThanOneCopy lets a seed and five downloaders
// meet: by itself the seed shows each other pieces, and stops when it is over.
func TestSuperSeedingSendsLittleMoreThanOneCopy(t *testing.T) {
	url, _ := startTracker(t)
	c := makeContent(t, 256<<10, map[string]int{"": 64<<20 + 1}, url)
	seed := seedOf(t, c, nil)
	limit := func(up int64) {
		if err := seed.SetLimits(t.Context(), c.meta.Hash, Limits{Up: up}); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // nobody gets anything to speak of before all are here
	var all []*Session
	for range 5 {
		s := open(t, nil)
		add(t, s, c, AddOptions{Peers: addrs(append(all, seed)...)})
		all = append(all, s)
	}
	await(t, seed, c, "super-seeding", func(v Torrent) bool { return v.SuperSeeding && v.Peers == len(all) })
	limit(0)
	for _, s := range all {
		await(t, s, c, "completion", complete)
		c.same(t, s.cfg.Dir)
	}
	v := await(t, seed, c, "the end of super-seeding", func(v Torrent) bool { return !v.SuperSeeding })
	// It is 1.0 to 1.1, more where peers get no turn to trade in, and 3 without
	// super-seeding.
	if ratio := float64(v.Uploaded) / float64(v.Size); ratio > 2 || ratio < 0.99 {
		t.Errorf("the seed sent %.2f times the content, want 1 to 2", ratio)
	}
}

// shown reads what the seed tells until it has told of n pieces.
func (r *rawPeer) shown(n int, seen map[piece.Index]bool) {
	r.t.Helper()
	r.deadline(patience)
	for len(seen) < n {
		m, err := r.next()
		if err != nil {
			r.t.Fatalf("told of %d pieces, want %d: %v", len(seen), n, err)
		}
		switch m.ID {
		case peerwire.Have:
			seen[piece.Index(m.Index)] = true
		case peerwire.HaveAll, peerwire.Bitfield:
			r.t.Fatalf("told of everything: %v", m.ID)
		}
	}
}

// answered reads on to the answer to the one request that is open, and adds the
// pieces that it is told of before to seen.
func (r *rawPeer) answered(seen map[piece.Index]bool) peerwire.ID {
	r.t.Helper()
	r.deadline(patience)
	for {
		m, err := r.next()
		if err != nil {
			r.t.Fatalf("the request is not answered: %v", err)
		}
		switch m.ID {
		case peerwire.Have:
			seen[piece.Index(m.Index)] = true
		case peerwire.Piece, peerwire.Reject:
			return m.ID
		}
	}
}

// covered is a super-seeding seed and a peer of it that was alone for a while.
func covered(t *testing.T, pieces int, edit func(*Config)) (*Session, content, *rawPeer) {
	t.Helper()
	c := makeContent(t, 256<<10, map[string]int{"": pieces * 256 << 10})
	seed := seedOf(t, c, edit)
	first := dialRaw(t, seed, c, "first", rawReserved{fast: true})
	first.until(peerwire.HaveAll)
	return seed, c, first
}

func TestSuperSeedingHidesFromWhoComesLater(t *testing.T) {
	seed, c, _ := covered(t, 100, nil)
	for n, can := range []rawReserved{{}, {fast: true}, {fast: true, extended: true}} {
		r := dialRaw(t, seed, c, fmt.Sprint("later ", n), can)
		seen := map[piece.Index]bool{}
		if can.fast {
			r.until(peerwire.HaveNone)
		}
		if can.extended {
			m := r.until(peerwire.Extended)
			if bytes.Contains(m.Payload, []byte("upload_only")) {
				t.Error("a peer that has nothing says that it only uploads")
			}
		}
		r.shown(1, seen)
		r.unchoked()
		r.shown(8, seen)
		var hidden piece.Index
		for seen[hidden] {
			hidden++
		}
		if can.fast {
			r.send(requestAll([]piece.Block{rawBlock(hidden, 0)}))
			if r.answered(seen) == peerwire.Piece && !seen[hidden] { // it may be told of at that moment
				t.Error("a piece was sent that the peer was not told of")
			}
		}
		r.Close()
		await(t, seed, c, "the end of the connection", func(v Torrent) bool { return v.Peers <= 1 })
	}
}

func TestSuperSeedingServesWhatItShows(t *testing.T) {
	seed, c, _ := covered(t, 40, nil)
	r := dialRaw(t, seed, c, "later", rawReserved{})
	seen, had := map[piece.Index]bool{}, map[piece.Index]bool{}
	r.shown(1, seen)
	r.unchoked()
	for len(had) < 20 { // it passes nothing on: the seed goes on all the same
		r.shown(len(had)+1, seen)
		for i := range seen {
			if had[i] {
				continue
			}
			var ask []piece.Block
			for n := range uint32(16) {
				ask = append(ask, rawBlock(i, n))
			}
			r.send(requestAll(ask))
			r.deadline(patience)
			// More may be shown between the blocks.
			for range ask {
				for {
					m, err := r.next()
					if err != nil {
						t.Fatal(err)
					}
					if m.ID == peerwire.Have {
						seen[piece.Index(m.Index)] = true
					}
					if m.ID == peerwire.Piece {
						break
					}
				}
			}
			r.send(peerwire.AppendHave(nil, i))
			had[i] = true
		}
	}
	await(t, seed, c, "super-seeding to be seen", func(v Torrent) bool { return v.SuperSeeding })
}

// TestSuperSeedingEndsWithASecondCopy: those who were shown a little are told
// of the rest. The copy is spread over two peers: a seed would not stay.
func TestSuperSeedingEndsWithASecondCopy(t *testing.T) {
	seed, c, first := covered(t, 60, nil)
	r := dialRaw(t, seed, c, "later", rawReserved{fast: true})
	seen := map[piece.Index]bool{}
	r.shown(1, seen)
	most := piece.NewBitfield(60)
	most.Fill()
	most.Clear(7)
	first.send(peerwire.AppendBitfield(nil, most.Bytes()))
	dialRaw(t, seed, c, "second", rawReserved{fast: true}).send(peerwire.AppendHave(nil, 7))
	r.shown(60, seen)
	await(t, seed, c, "the end", func(v Torrent) bool { return !v.SuperSeeding })
	third := dialRaw(t, seed, c, "third", rawReserved{fast: true})
	third.until(peerwire.HaveAll)
}

func TestSuperSeedingTakesBackWhatTheFirstWasTold(t *testing.T) {
	c := makeContent(t, 256<<10, map[string]int{"": 40 * 256 << 10})
	seed := seedOf(t, c, nil)
	first := dialRaw(t, seed, c, "first", rawReserved{fast: true, extended: true})
	first.until(peerwire.HaveAll)
	h := peerwire.ExtHandshake{M: peerwire.ExtIDs{peerwire.ExtDontHave: 9}}
	first.send(peerwire.AppendExtended(nil, 0, h.Append(nil)))
	first.send(peerwire.AppendInterested(nil))
	first.until(peerwire.Unchoke)
	dialRaw(t, seed, c, "later", rawReserved{fast: true})
	lacks := map[uint32]bool{}
	first.deadline(patience)
	for len(lacks) < 30 {
		m, err := first.next()
		if err != nil {
			t.Fatalf("%d pieces taken back: %v", len(lacks), err)
		}
		if m.ID == peerwire.Extended && m.Ext == 9 {
			n, err := peerwire.ParseDontHave(m.Payload)
			if err != nil {
				t.Fatal(err)
			}
			lacks[n] = true
		}
	}
	// It may have asked before it knew.
	for n := range lacks {
		ask := []piece.Block{rawBlock(piece.Index(n), 0)}
		first.send(requestAll(ask))
		if served, _ := first.answers(ask); len(served) != 1 {
			t.Errorf("a request that crossed the news was rejected")
		}
		break
	}
}

// TestSuperSeedingSurvivesWhoVanishes: a peer leaves with pieces that nobody
// else has, and another comes late.
func TestSuperSeedingSurvivesWhoVanishes(t *testing.T) {
	seed, c, _ := covered(t, 60, nil)
	gone := dialRaw(t, seed, c, "gone", rawReserved{fast: true})
	seen := map[piece.Index]bool{}
	gone.shown(1, seen)
	gone.unchoked()
	gone.shown(4, seen)
	for i := range seen {
		gone.send(peerwire.AppendHave(nil, i))
	}
	early := open(t, nil)
	add(t, early, c, AddOptions{Peers: addrs(seed)})
	await(t, early, c, "the first bytes", func(v Torrent) bool { return v.Have > 0 })
	gone.Close()
	late := open(t, nil)
	add(t, late, c, AddOptions{Peers: addrs(seed, early)})
	for _, s := range []*Session{early, late} {
		await(t, s, c, "completion", complete)
		c.same(t, s.cfg.Dir)
	}
}

func TestSuperSeedingModes(t *testing.T) {
	c := makeContent(t, 256<<10, map[string]int{"": 60 * 256 << 10})
	off := seedOf(t, c, func(cfg *Config) { cfg.SuperSeeding = SuperOff })
	for _, id := range []string{"a", "b"} {
		dialRaw(t, off, c, id, rawReserved{fast: true}).until(peerwire.HaveAll)
	}
	on := seedOf(t, c, func(cfg *Config) { cfg.SuperSeeding = SuperOn })
	alone := dialRaw(t, on, c, "a", rawReserved{fast: true})
	alone.until(peerwire.HaveNone)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(on)})
	await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
}
