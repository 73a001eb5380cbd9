package session

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"btd/peerwire"
)

// TestFullTorrentKeepsTheHighestRanks has three peers for two places, none of
// which transfers anything: who goes is the one of the lowest priority (BEP
// 40), be it the newcomer or not.
func TestFullTorrentKeepsTheHighestRanks(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	newcomers := 0
	for range 12 {
		s := seedOf(t, c, func(cfg *Config) { cfg.MaxPeersPerTorrent, cfg.SuperSeeding = 2, SuperOff })
		for n := range 2 {
			dialRaw(t, s, c, fmt.Sprintf("early %d", n), rawReserved{fast: true}).unchoked()
		}
		lowest, ours := uint32(1<<32-1), s.ourAddr()
		inLoop(t, s, c, func(t *torrent) {
			t.book.SetExternal(ours)
			for _, p := range t.peers.all {
				p.joined = p.joined.Add(-time.Hour)
				lowest = min(lowest, t.book.Rank(p.addr))
			}
		})
		late := dialRaw(t, s, c, "late", rawReserved{fast: true})
		local := netip.MustParseAddrPort(late.LocalAddr().String())
		var rank uint32
		inLoop(t, s, c, func(t *torrent) { rank = t.book.Rank(local) })
		if rank < lowest {
			late.untilClosed()
			continue
		}
		newcomers++
		late.until(peerwire.HaveAll)
	}
	t.Logf("the newcomer stayed %d times of 12", newcomers)
}
