//go:build interop && linux

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// TestLiar: a liar and an honest peer serve the same torrent. The liar alone
// is banned, and the content is right in the end.
func TestLiar(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	thirds := func(_, begin uint32, block []byte) {
		if begin/(16<<10)%3 == 1 {
			block[len(block)/2] ^= 1
		}
	}
	var first atomic.Int64
	for _, tc := range []struct {
		name        string
		pieceLength int64
		corrupt     func(piece, begin uint32, block []byte)
	}{
		// With one piece in all, its blocks come from both.
		{"they share a piece, a byte of every third block is wrong", 4 << 20, thirds},
		{"they share a piece, every block is wrong", 4 << 20, func(_, _ uint32, block []byte) { clear(block) }},
		// The second attempt at the piece is good whoever sends it, and only the comparison of blocks tells who lied.
		{"they share a piece, three blocks are wrong", 4 << 20, func(_, _ uint32, block []byte) {
			if first.Add(1) <= 3 {
				block[0] ^= 0x80
			}
		}},
		{"many pieces, a byte of every third block is wrong", 256 << 10, thirds},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			l := newLab(t)
			tor := makeTorrent(t, l.Dir, "shared", []contentFile{{[]string{"a"}, 4<<20 - 77}}, tc.pieceLength, 3)
			liar := newSeeder(l.Host("liar"), tor, "-LI0000-")
			liar.rate, liar.corrupt = 512<<10, tc.corrupt // so slow that the other has its part even if it begins seconds later
			l.Must(liar.listen())
			honest := &libtorrent{host: l.Host("honest"), upLimit: 512 << 10}
			l.Must(honest.start(ctx))
			l.Must(honest.seed(ctx, tor, tor.source))
			b := newBtd(l.Host("btd"))
			l.Must(b.start(ctx))
			t.Cleanup(func() {
				if t.Failed() {
					b.describe(t, tor)
				}
			})
			dest := filepath.Join(l.Dir, "downloads")
			l.Must(os.MkdirAll(dest, 0o755))
			l.Must(b.add(ctx, tor, client.AddRequest{Dir: dest, Peers: []string{
				peerAddr(liar.host, false).String(), peerAddr(honest.host, false).String(),
			}}))
			l.Must(waitDone(ctx, b, tor, "btd downloads in spite of the liar"))
			if err := tor.compare(dest, false); err != nil {
				t.Error(err)
			}
			l.checkLiar(ctx, b, liar, honest, tor)
		})
	}
}

// checkLiar says what btd made of the liar and of the honest peer.
func (l *lab) checkLiar(ctx context.Context, b *btd, liar *seeder, honest *libtorrent, tor *torrent) {
	t := l.T
	t.Helper()
	blocks := liar.log(0)
	lies := 0
	for _, s := range blocks {
		if s.altered {
			lies++
		}
	}
	up, err := honest.uploaded(ctx, tor)
	l.Must(err)
	// Of the one piece, the honest peer sent a part of the first attempt, and all or nothing of the second.
	if lies == 0 || up == 0 || (len(tor.hashes) == 1 && up == tor.size) {
		t.Fatalf("the liar sent %d wrong blocks and the honest peer %s: they shared nothing", lies, mib(up))
	}
	got, err := b.torrent(ctx, tor)
	l.Must(err)
	if got.Corrupt == 0 || got.Corrupt > 8*tor.pieceLength {
		t.Errorf("btd counts %d corrupt bytes, want those of one to a few pieces of %d", got.Corrupt, tor.pieceLength)
	}
	// The ban may come a moment after the last piece: the guilty are named once the good piece is known.
	addr := peerAddr(b.host, false)
	err = netns.Poll(ctx, 100*time.Millisecond, "the liar is banned", func() (bool, error) {
		ok, err := welcome(ctx, liar.host, addr, tor.hash)
		return !ok, err
	})
	if err != nil {
		t.Error(err)
	}
	l.Must(netns.Poll(ctx, 20*time.Millisecond, "the liar has no connection", func() (bool, error) {
		open, _ := liar.connections()
		return open == 0, nil
	}))
	if ok, err := welcome(ctx, honest.host, addr, tor.hash); err != nil || !ok {
		t.Errorf("the honest peer is not welcome (%v)", err)
	}
	if ok, err := welcome(ctx, l.Hub, addr, tor.hash); err != nil || !ok {
		t.Errorf("a stranger is not welcome (%v)", err)
	}
	t.Logf("the liar sent %d blocks, %d of them wrong; the honest peer sent %s; %s were thrown away",
		len(blocks), lies, mib(up), mib(got.Corrupt))
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// TestTwoSeeds: a leecher fed by two seeds takes a fair part from each.
func TestTwoSeeds(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "opentracker", "aria2c")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := newLab(t)
	tor := makeTorrent(t, l.Dir, "twice", oddFiles, 128<<10, 4, httpTracker)
	l.startOpentracker(ctx, tor)
	// So slow that each has its part even if it begins seconds after the other.
	const limit = 768 << 10
	second := &aria2{host: l.Host("aria2"), upLimit: limit}
	second.http = second.host.HTTP()
	seeds := []program{&libtorrent{host: l.Host("libtorrent"), upLimit: limit}, second}
	for i, s := range seeds {
		l.Must(s.start(ctx))
		l.Must(s.seed(ctx, tor, tor.source))
		l.waitSwarm(ctx, httpTracker, tor, i+1, 0)
	}
	b := newBtd(l.Host("btd"))
	l.Must(b.start(ctx))
	dest := filepath.Join(l.Dir, "downloads")
	l.Must(b.leech(ctx, tor, dest))
	l.Must(waitDone(ctx, b, tor, "btd downloads from two seeds"))
	if err := tor.compare(dest, false); err != nil {
		t.Error(err)
	}
	for i, s := range seeds {
		up, err := s.uploaded(ctx, tor)
		l.Must(err)
		name := []string{"libtorrent", "aria2"}[i]
		t.Logf("%s gave %s, %d %%", name, mib(up), up*100/tor.size)
		if up < tor.size/4 {
			t.Errorf("%s gave %s of %s, want a quarter or more", name, mib(up), mib(tor.size))
		}
	}
}
