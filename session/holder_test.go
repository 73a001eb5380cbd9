package session

import (
	"testing"

	"btd/peerwire"
	"btd/piece"
)

// TestHolderThatChokes: a piece whose hash was wrong is left to one peer. If that
// one chokes us and sends what it still owes, another is asked for the rest.
func TestHolderThatChokes(t *testing.T) {
	const blocks = 8
	c := makeContent(t, blocks*piece.BlockSize, map[string]int{"": blocks * piece.BlockSize})
	s := started(t, c)
	first, second := acceptRaw(t, s, c, fastPeer), acceptRaw(t, s, c, fastPeer)
	for _, p := range []*rawPeer{first, second} {
		p.send(peerwire.AppendHaveAll(nil))
		p.until(peerwire.Interested)
	}
	inLoop(t, s, c, func(t *torrent) {
		for _, p := range t.peers.all {
			p.ext.ReqQ, p.down.depth = 2, 2
		}
	})
	asked := func(p *rawPeer, n int) (list []peerwire.Message) {
		for range n {
			list = append(list, p.until(peerwire.Request))
		}
		return list
	}
	first.send(peerwire.AppendUnchoke(nil))
	for _, m := range asked(first, 2) {
		first.give(m)
	}
	out := peerwire.AppendChoke(nil)
	for _, m := range asked(first, 2) {
		out = peerwire.AppendReject(out, piece.Block{Piece: piece.Index(m.Index), Begin: m.Begin, Length: m.Length})
	}
	first.send(out)

	// The rest comes from the second, one block of it wrong.
	second.send(peerwire.AppendUnchoke(nil))
	second.data[3*piece.BlockSize] ^= 1
	for range blocks - 2 {
		second.give(second.until(peerwire.Request))
	}
	second.data[3*piece.BlockSize] ^= 1
	owed := asked(second, 2)
	second.send(peerwire.AppendChoke(nil))
	for _, m := range owed {
		second.give(m)
	}

	first.send(peerwire.AppendUnchoke(nil))
	// The liar is banned by its address, which is the same one.
	first.deadline(patience)
	for m, err := first.next(); err == nil && m.ID != peerwire.NotInterested; m, err = first.next() {
		if m.ID == peerwire.Request {
			first.give(m)
		}
	}
	await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
}

// wants is how many bytes the only peer of a torrent waits for in the scheduler
// of one direction, and how many it may use.
func wants(t *testing.T, s *Session, c content, up bool) (waits, grant int64) {
	t.Helper()
	inLoop(t, s, c, func(t *torrent) {
		for _, p := range t.peers.all {
			f := &t.flow.down
			if grant = p.down.grant; up {
				f, grant = &t.flow.up, p.up.grant
			}
			f.d.mu.Lock()
			waits = f.leafs[p].Wanted()
			f.d.mu.Unlock()
		}
	})
	return waits, grant
}

// TestNoShareForWhoWantsNothing: who takes its requests back, or is choked, has
// no share of an upload limit any more.
func TestNoShareForWhoWantsNothing(t *testing.T) {
	c := makeContent(t, peerwire.MaxRequest, map[string]int{"": 8 * peerwire.MaxRequest})
	whole := piece.Block{Length: peerwire.MaxRequest}
	const n = 1000
	for name, x := range map[string]struct {
		can rawReserved // with the fast extension some pieces are served all the same
		end func(r *rawPeer)
	}{
		"cancels": {fastPeer, func(r *rawPeer) {
			var out []byte
			for range n {
				out = peerwire.AppendCancel(out, whole)
			}
			r.send(out)
		}},
		"is choked": {plainPeer, func(r *rawPeer) { r.send(peerwire.AppendNotInterested(nil)) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := seedOf(t, c, func(cfg *Config) { cfg.Limits.Up = 64 << 10 })
			r := dialRaw(t, s, c, "123456789012", x.can).unchoked()
			var out []byte
			for range n {
				out = peerwire.AppendRequest(out, whole)
			}
			r.send(out)
			until(t, "demand for the limit", func() bool {
				waits, _ := wants(t, s, c, true)
				return waits > n/2*peerwire.MaxRequest
			})
			x.end(r)
			until(t, "end of the demand", func() bool {
				waits, grant := wants(t, s, c, true)
				return waits == 0 && grant == 0
			})
		})
	}
}

// TestNoShareForWhoChokes: who chokes us has no share of a download limit.
func TestNoShareForWhoChokes(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 4 << 20})
	s := open(t, func(cfg *Config) { cfg.Limits.Down = 32 << 10 })
	add(t, s, c, AddOptions{})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	p := acceptRaw(t, s, c, fastPeer)
	p.send(peerwire.AppendUnchoke(peerwire.AppendHaveAll(nil)))
	until(t, "demand for the limit", func() bool {
		waits, _ := wants(t, s, c, false)
		return waits > 0
	})
	p.send(peerwire.AppendChoke(nil))
	choked := func() (is bool) {
		inLoop(t, s, c, func(t *torrent) {
			for _, p := range t.peers.all {
				p.down.hungry = true // as every second
				t.feed(p)
				is = p.down.choked
			}
		})
		return is
	}
	until(t, "end of the demand", func() bool {
		waits, grant := wants(t, s, c, false)
		return choked() && waits == 0 && grant == 0
	})
	choked()
	if waits, _ := wants(t, s, c, false); waits != 0 {
		t.Errorf("a peer that chokes us waits for %d bytes", waits)
	}
}
