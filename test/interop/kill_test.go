//go:build interop && linux

package interop

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/api/client"
	"btd/metainfo"
	"btd/storage/resume"
	"btd/test/netns"
)

// kills is how often TestKill ends btd with SIGKILL.
const kills = 20

// TestKill kills btd at random moments of a download and starts it again.
// After each kill no piece that the resume database claims is bad, none that
// it claims is fetched again, and none that was whole on disk is either.
func TestKill(t *testing.T) {
	t.Parallel()
	needNetwork(t)
	need(t, "opentracker")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := newLab(t)
	files := append([]contentFile{{[]string{"00 large.bin"}, 36 << 20}}, oddFiles...)
	tor := makeTorrent(t, l.Dir, "killed", files, 64<<10, 5, httpTracker)
	l.startOpentracker(ctx, tor) // it gives the seed's address again after each start
	s := newSeeder(l.Host("seeder"), tor, "-SE0000-")
	s.rate = 2 << 20
	l.Must(s.listen())
	l.Must(s.announce(ctx, httpTracker))
	b := newBtd(l.Host("btd"))
	b.more = append(b.more, "--sync-every", "1s")
	dest := filepath.Join(l.Dir, "downloads")
	k := &killer{lab: l, btd: b, seeder: s, torrent: tor, dest: dest, rng: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pieces claimed at each kill: %v", k.claims)
			b.describe(t, tor)
		}
	})
	l.Must(b.start(ctx))
	l.Must(b.leech(ctx, tor, dest))
	for n := range kills + 2 {
		k.once(ctx, n%11 == 6) // two of them are clean stops
		if t.Failed() {
			return
		}
	}
	l.Must(b.start(ctx))
	l.Must(waitDone(ctx, b, tor, "btd completes the download after the last kill"))
	k.checkServed()
	l.Must(b.stop(ctx))
	if err := tor.compare(dest, false); err != nil {
		t.Error(err)
	}
	var total int64
	for _, x := range s.log(0) {
		total += int64(x.length)
	}
	t.Logf("%d kills, %s served for %s of content; pieces claimed at each kill: %v", kills, mib(total), mib(tor.size), k.claims)
}

// killer is one run of TestKill.
type killer struct {
	lab     *lab
	btd     *btd
	seeder  *seeder
	torrent *torrent
	dest    string
	rng     *rand.Rand

	at      int    // entries of the seeder's log that were looked at
	before  int    // connections to the seeder until the last kill
	claimed []bool // by the resume database at the last kill
	whole   []bool // good on disk at the last kill
	claims  []int  // count of claimed, for each kill
}

// once lets btd run for a while, kills it or stops it in a clean way, and
// looks at what is left.
func (k *killer) once(ctx context.Context, clean bool) {
	t := k.lab.T
	t.Helper()
	// From before the API is up to two seconds of downloading: the database is written once a second here.
	pause := time.Duration(k.rng.Int64N(int64(2 * time.Second)))
	if k.btd.process.Exited() {
		k.lab.Must(k.btd.launch())
		if k.rng.IntN(4) > 0 {
			k.lab.Must(netns.Up(ctx, k.btd.process, func() error {
				_, err := k.btd.api.Version(ctx)
				return err
			}))
			k.checkHave(ctx)
		} else {
			pause /= 5
		}
	}
	select {
	case <-time.After(pause):
	case <-k.btd.process.Gone:
		t.Fatalf("btd ended by itself: %v", k.btd.process.Alive())
	}
	if clean {
		k.lab.Must(k.btd.stop(ctx))
	} else {
		k.btd.process.Kill()
	}
	k.checkServed()
	_, k.before = k.seeder.connections()

	k.claimed = k.readClaims()
	k.whole = make([]bool, len(k.torrent.hashes))
	for i := range k.torrent.hashes {
		k.whole[i] = k.torrent.pieceGood(k.dest, i)
		if clean && k.whole[i] && !k.claimed[i] {
			t.Errorf("after a clean stop the resume database does not claim piece %d, which is whole on disk", i)
		}
		if k.claimed[i] && !k.whole[i] {
			t.Errorf("kill %d: the resume database claims piece %d, whose data on disk is bad", len(k.claims)+1, i)
		}
	}
	k.claims = append(k.claims, count(k.claimed))
}

// checkHave holds what a freshly started btd says it has against the disk and
// against what was claimed.
func (k *killer) checkHave(ctx context.Context) {
	t := k.lab.T
	t.Helper()
	err := netns.Poll(ctx, 20*time.Millisecond, "btd has looked at the data after its start", func() (bool, error) {
		got, err := k.btd.torrent(ctx, k.torrent)
		return got.State != client.StateChecking && got.State != client.StateQueued, err
	})
	k.lab.Must(err)
	have, err := k.btd.have(ctx, k.torrent)
	k.lab.Must(err)
	for i := range have {
		if have[i] && !k.torrent.pieceGood(k.dest, i) {
			t.Errorf("after kill %d, btd says it has piece %d, whose data on disk is bad", len(k.claims), i)
		}
		if k.claimed[i] && !have[i] {
			t.Errorf("after kill %d, btd does not have piece %d, which was stored", len(k.claims), i)
		}
	}
}

// readClaims reads the pieces that the resume database of a dead btd claims.
func (k *killer) readClaims() []bool {
	t := k.lab.T
	t.Helper()
	n := len(k.torrent.hashes)
	path := filepath.Join(k.btd.state(), "resume.db")
	if _, err := os.Stat(path); os.IsNotExist(err) && len(k.claims) == 0 {
		return make([]bool, n)
	}
	db, err := resume.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open the resume database after the kill: %v", err)
	}
	defer db.Close()
	bits, err := db.Pieces(metainfo.V1(k.torrent.hash), n)
	if err != nil {
		t.Fatalf("read the claimed pieces after the kill: %v", err)
	}
	return unpack(bits.Bytes(), n)
}

// checkServed looks at what was fetched since the last kill.
func (k *killer) checkServed() {
	t := k.lab.T
	t.Helper()
	log := k.seeder.log(k.at)
	k.at += len(log)
	if k.claimed == nil {
		return
	}
	again, lost := map[uint32]bool{}, map[uint32]bool{}
	for _, s := range log {
		switch {
		case s.connection <= k.before: // asked for by the dead, answered late
		case k.claimed[s.piece]:
			again[s.piece] = true
		case k.whole[s.piece]:
			lost[s.piece] = true
		}
	}
	if len(again) > 0 {
		t.Errorf("after kill %d, %d pieces were fetched again that were stored: %v", len(k.claims), len(again), keys(again))
	}
	if len(lost) > 0 {
		t.Errorf("after kill %d, %d pieces were fetched again that were whole on disk, and only had to be hashed: %v",
			len(k.claims), len(lost), keys(lost))
	}
}

func keys(set map[uint32]bool) (list []uint32) {
	for i := range set {
		list = append(list, i)
	}
	return list
}
