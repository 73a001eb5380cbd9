package session

import (
	"net/netip"

	"btd/piece"
)

// blame finds out who sent a wrong block. While a piece is fetched it notes
// who sent what. When the piece fails, the blocks that came are hashed one by
// one before the piece is fetched again; when it passes later, the blocks
// that differ name the liars.
type blame struct {
	senders map[piece.Index]*attempt // pieces that are being fetched
	failed  map[piece.Index][]*evidence
	spare   []*attempt // for the next pieces
}

// attempt is who sent which block of a piece.
type attempt struct {
	by     []netip.AddrPort // per block; the zero value is ourselves (pad files)
	sole   netip.AddrPort   // the only sender so far
	shared bool             // there is more than one
}

// evidence is what a failed attempt left.
type evidence struct {
	attempt
	sums [][20]byte // SHA-1 of each block
}

// maxEvidence bounds the failed pieces that are remembered.
const maxEvidence = 256

func newBlame() blame {
	return blame{senders: map[piece.Index]*attempt{}, failed: map[piece.Index][]*evidence{}}
}

func (b *blame) received(p *peer, blk piece.Block) {
	a := b.senders[blk.Piece]
	if a == nil {
		if n := len(b.spare); n > 0 {
			a = b.spare[n-1]
			b.spare = b.spare[:n-1]
		} else {
			a = new(attempt)
		}
		*a = attempt{by: a.by[:0], sole: p.addr}
		b.senders[blk.Piece] = a
	}
	a.shared = a.shared || a.sole != p.addr
	for len(a.by) <= blk.Number() {
		a.by = append(a.by, netip.AddrPort{})
	}
	a.by[blk.Number()] = p.addr
}

// suspects tells whether an earlier attempt at piece i failed with several
// senders.
func (b *blame) suspects(i piece.Index) bool { return len(b.failed[i]) > 0 }

func (b *blame) forget(i piece.Index) {
	b.passed(i)
	delete(b.failed, i)
}

// maxSpare bounds the memory that is kept for pieces to come.
const maxSpare = 32

// passed forgets who sent what of piece i.
func (b *blame) passed(i piece.Index) {
	if a := b.senders[i]; a != nil && len(b.spare) < maxSpare {
		b.spare = append(b.spare, a)
	}
	delete(b.senders, i)
}

// liars compares the evidence against the blocks of the good piece.
func (b *blame) liars(i piece.Index, good [][20]byte) []netip.AddrPort {
	seen := map[netip.AddrPort]bool{}
	var out []netip.AddrPort
	for _, ev := range b.failed[i] {
		for n, sum := range ev.sums {
			if n >= len(good) || n >= len(ev.by) || sum == good[n] || !ev.by[n].IsValid() || seen[ev.by[n]] {
				continue
			}
			seen[ev.by[n]] = true
			out = append(out, ev.by[n])
		}
	}
	return out
}

// onFailed handles a piece whose hash is wrong; sums are the SHA-1 of its
// blocks, if they are known. A sole sender is guilty. Of several, the hashes
// are kept until the good piece is known.
func (t *torrent) onFailed(i piece.Index, sums [][20]byte) {
	t.e.tot.corrupt.Add(t.geo.Length(i))
	t.s.count("hash_failures")
	a := t.blame.senders[i]
	delete(t.blame.senders, i)
	t.log.Debug("piece failed its hash", "piece", i)
	switch {
	case a == nil:
	case !a.shared:
		t.banLiar(a.sole, i)
	case len(t.blame.failed) < maxEvidence && sums != nil:
		t.blame.failed[i] = append(t.blame.failed[i], &evidence{attempt: *a, sums: sums})
	}
	t.pick.Failed(i)
	t.feedAll()
}

// settle names the liars once piece i is good.
func (t *torrent) settle(i piece.Index) {
	if !t.blame.suspects(i) {
		t.blame.passed(i)
		return
	}
	t.spawn(func() {
		good, err := t.disk.files.BlockSums(i)
		t.tell(func(t *torrent) {
			if err == nil {
				for _, addr := range t.blame.liars(i, good) {
					t.banLiar(addr, i)
				}
			}
			t.blame.forget(i)
		})
	})
}

// banLiar closes the connection of the address that sent a wrong block and
// never speaks to that host again.
func (t *torrent) banLiar(addr netip.AddrPort, i piece.Index) {
	if t.book.Banned(addr.Addr()) {
		return
	}
	t.log.Info("peer banned: it sent a wrong block", "peer", addr, "piece", i)
	t.banHost(addr.Addr())
}

// banHost closes all connections of a host and never speaks to it again.
func (t *torrent) banHost(ip netip.Addr) {
	t.s.count("peers_banned")
	t.book.Ban(ip)
	t.s.bans.add(ip)
	for k := len(t.peers.all) - 1; k >= 0; k-- {
		if p := t.peers.all[k]; p.addr.Addr() == ip {
			t.drop(p, errBanned)
		}
	}
}
