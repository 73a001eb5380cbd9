package session

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"btd/metainfo"
	"btd/peerwire"
	"btd/piece"
)

// TestLocalPeersAreOutsideTheLimits downloads what would take hours within
// them.
func TestLocalPeersAreOutsideTheLimits(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 4 << 20})
	for _, tt := range []struct {
		scope metainfo.Scope
		free  bool
	}{{metainfo.ScopeLAN, false}, {metainfo.ScopeInternet, true}} {
		edit := func(cfg *Config) { cfg.Limits, cfg.FreeLocal = Limits{Up: 1000, Down: 1000}, tt.free }
		seed := open(t, edit)
		add(t, seed, c, AddOptions{Dir: c.dir, Scope: tt.scope})
		await(t, seed, c, "seeding", complete)
		leech := open(t, edit)
		add(t, leech, c, AddOptions{Scope: tt.scope, Peers: addrs(seed)})
		await(t, leech, c, "completion", complete)
		c.same(t, leech.cfg.Dir)
	}
}

// TestWhichLimitsHoldForWhom looks at the schedulers that peers are in.
func TestWhichLimitsHoldForWhom(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	const own, all = 5 << 20, 3 << 20
	for _, tt := range []struct {
		scope   metainfo.Scope
		free    bool
		limited bool // by the session's or the torrent's own limit
		upload  int64
	}{
		{metainfo.ScopeInternet, false, true, all},
		{metainfo.ScopeInternet, true, false, all},
		{metainfo.ScopeLAN, false, true, own},
		{metainfo.ScopeLAN, true, true, own},
	} {
		s := open(t, func(cfg *Config) { cfg.Limits.Up, cfg.FreeLocal = all, tt.free })
		add(t, s, c, AddOptions{Dir: c.dir, Scope: tt.scope, Limits: Limits{Up: 1 << 20}})
		await(t, s, c, "seeding", complete)
		dialRaw(t, s, c, "limited", rawReserved{}).unchoked()
		if err := s.SetLimits(t.Context(), c.meta.Hash, Limits{Up: own}); err != nil {
			t.Fatal(err)
		}
		inLoop(t, s, c, func(tor *torrent) {
			p := tor.peers.all[0]
			if got := tor.flow.up.unlimited(p); got == tt.limited {
				t.Errorf("scope %v, free %v: unlimited %v", tt.scope, tt.free, got)
			}
			if inNear := tor.flow.up.leafs[p].s == s.pace.up.near; inNear != (tt.free || tt.scope == metainfo.ScopeLAN) {
				t.Errorf("scope %v, free %v: outside the session's limit %v", tt.scope, tt.free, inNear)
			}
			if near := tor.flow.up.near.Limit(); (near == own) != (tt.scope == metainfo.ScopeLAN) || tor.flow.up.share.Limit() != own {
				t.Errorf("scope %v: limits %d and %d", tt.scope, near, tor.flow.up.share.Limit())
			}
			if got := tor.uploadLimit(); got != tt.upload {
				t.Errorf("scope %v: the upload limit is %d, want %d", tt.scope, got, tt.upload)
			}
			if got, want := tor.firstDepth(), map[metainfo.Scope]int{metainfo.ScopeLAN: firstDeep, metainfo.ScopeInternet: firstDepth}[tt.scope]; got != want {
				t.Errorf("scope %v: first pipeline %d, want %d", tt.scope, got, want)
			}
		})
	}
}

// TestRarePiecesAreServedFirst has two peers that have all but one piece, and
// one that asks.
func TestRarePiecesAreServedFirst(t *testing.T) {
	t.Parallel()
	const pieces, rare = 16, 9
	c := makeContent(t, 64<<10, map[string]int{"": pieces * 64 << 10})
	for _, scope := range []metainfo.Scope{metainfo.ScopeInternet, metainfo.ScopeLAN} {
		s := open(t, func(cfg *Config) { cfg.SuperSeeding = SuperOff })
		add(t, s, c, AddOptions{Dir: c.dir, Scope: scope})
		await(t, s, c, "seeding", complete)
		look := func(f func(tor *torrent)) {
			t.Helper()
			inLoop(t, s, c, f)
		}
		for _, id := range []string{"has it 1", "has it 2"} {
			r := dialRaw(t, s, c, id, rawReserved{})
			var haves []byte
			for i := range piece.Index(pieces) {
				if i != rare {
					haves = peerwire.AppendHave(haves, i)
				}
			}
			r.send(haves)
		}
		dialRaw(t, s, c, "asks", rawReserved{})
		want := 0
		if scope == metainfo.ScopeLAN {
			want = 1
		}
		until(t, "count of copies", func() bool {
			counted := false
			look(func(tor *torrent) {
				counted = tor.pick.Availability(0) == 2 && len(tor.peers.all) == 3
				if counted {
					tor.tickRare()
				}
			})
			return counted
		})
		look(func(tor *torrent) {
			if tor.rare.left != want {
				t.Errorf("scope %v: %d pieces are rare", scope, tor.rare.left)
			}
			p := &peer{}
			for _, i := range []piece.Index{3, 3, rare, rare, 4} {
				p.up.queue = append(p.up.queue, rawBlock(i, 0))
			}
			if at := tor.turn(p); at != 2*want {
				t.Errorf("scope %v: request %d is answered first", scope, at)
			}
			turns := 0
			for tor.turn(p) != 0 {
				if turns++; turns > 1000 {
					t.Error("the oldest request is never answered")
					break
				}
			}
			p.up.queue = p.up.queue[:2]
			if at := tor.turn(p); at != 0 {
				t.Errorf("without a rare piece request %d is answered first", at)
			}
		})
	}
}

// A tracker that says that we have the address of a neighbour is not believed:
// we would never connect to him.
func TestTrackerDoesNotMakeANeighbourOurself(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for ip, want := range map[string]bool{"\xc0\xa8\x01\x07": false, "\x0a\x01\x02\x03": false, "\x7f\x00\x00\x02": false, "\x09\x08\x07\x06": true} {
		f := newFakeTracker(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
			fmt.Fprintf(w, "d8:completei77e11:external ip4:%s10:incompletei1e8:intervali1800e5:peers0:e", ip)
		})
		c := makeContent(t, 16<<10, map[string]int{"": 50_000 + int(ip[0])<<8 + int(ip[3])}, f.url)
		add(t, s, c, AddOptions{})
		await(t, s, c, "the tracker's answer", func(v Torrent) bool { return v.Swarm.Seeds == 77 })
		a, _ := netip.AddrFromSlice([]byte(ip))
		if got := s.ourAddr().Addr() == a; got != want {
			t.Errorf("a tracker says that we are %v: believed %v, want %v", a, got, want)
		}
		if err := s.Remove(t.Context(), c.meta.Hash, false); err != nil {
			t.Fatal(err)
		}
	}
}
