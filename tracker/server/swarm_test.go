package server

import (
	"net/netip"
	"testing"
	"time"
)

// Memory is given back without a timer: swarms that nobody asks for go while
// others are used, however old those are.
func TestSilentSwarmsAreForgotten(t *testing.T) {
	st := newStore(Config{Expire: time.Hour}.withDefaults())
	now := time.Unix(1_800_000_000, 0)
	enter := func(torrent byte, port uint16) {
		st.update(announce{hash: [20]byte{torrent}, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 2, 3, 4}), port), left: 1}, now)
	}
	enter(0, 1)
	for torrent := byte(1); torrent < 200; torrent++ {
		enter(torrent, 1)
		enter(torrent, 2)
	}
	for range 5 {
		now = now.Add(25 * time.Minute)
		enter(0, 1)
	}
	for range 10 { // each forgets a bounded number
		enter(0, 1)
	}
	if len(st.swarms) != 1 || st.peers != 1 || st.recent.Len() != 1 {
		t.Errorf("%d swarms and %d peers left, want one of each", len(st.swarms), st.peers)
	}
	enter(0, 2)
	now = now.Add(59 * time.Minute)
	enter(7, 1) // nothing in it is old, and it is the first in line
	enter(0, 3)
	now = now.Add(2 * time.Minute)
	if _, leechers, _ := st.current([20]byte{0}, now).counts(); leechers != 1 {
		t.Errorf("%d leechers left, want the one that was heard of lately", leechers)
	}
}
