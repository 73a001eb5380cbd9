package session

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/piece"
	"btd/storage"
	"btd/storage/resume"
)

// right is the set of pieces whose bytes below dir are what they should be.
func (c content) right(t *testing.T, dir string) *piece.Bitfield {
	t.Helper()
	all := make([]byte, c.meta.Total)
	for _, x := range c.meta.Files {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(x.Path)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		copy(all[x.Offset:x.Offset+x.Length], b)
	}
	out := piece.NewBitfield(c.meta.Pieces())
	for n := range c.meta.Pieces() {
		from := int64(n) * c.meta.PieceLength
		if sha1.Sum(all[from:min(from+c.meta.PieceLength, c.meta.Total)]) == c.meta.Sum(n) {
			out.Set(piece.Index(n))
		}
	}
	return out
}

// claimsAreRight fails the test if a piece is claimed whose bytes are wrong, or,
// with all set, if one is not claimed whose bytes are right.
func claimsAreRight(t *testing.T, s *Session, c content, all bool) {
	t.Helper()
	claimed := claims(t, s, c)
	right := c.right(t, s.cfg.Dir)
	for n := range c.meta.Pieces() {
		i := piece.Index(n)
		if claimed.Has(i) && !right.Has(i) {
			t.Errorf("piece %d is claimed, and its bytes are wrong", i)
		}
		if all && right.Has(i) && !claimed.Has(i) {
			t.Errorf("piece %d is here, and not claimed", i)
		}
	}
}

// wholeThenClosed is a session that had all of c, and was closed.
func wholeThenClosed(t *testing.T, c content) *Session {
	t.Helper()
	s := open(t, nil)
	copyOf(t, c, s.cfg.Dir)
	add(t, s, c, AddOptions{})
	await(t, s, c, "the whole content", complete)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// damages are what may happen to a file while the daemon does not run.
var damages = []struct {
	name   string
	damage func(t *testing.T, path string)
	bad    int // pieces of 64 KiB
}{
	{"gone", func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}, 16},
	{"changed", func(t *testing.T, path string) {
		for n := range int64(10) {
			scribble(t, path, n<<16+5)
		}
		age(t, path)
	}, 10},
	{"cut short", func(t *testing.T, path string) {
		if err := os.Truncate(path, 300_000); err != nil {
			t.Fatal(err)
		}
		age(t, path)
	}, 12},
}

// onRecord waits until the database says of all pieces that they are here, and
// of all files what they are.
func onRecord(t *testing.T, s *Session, c content) {
	t.Helper()
	until(t, "record of pieces and files", func() bool {
		files, err := s.db.Files(c.meta.Hash, len(c.meta.Files))
		if err != nil {
			t.Fatal(err)
		}
		known := claims(t, s, c).All()
		for _, f := range files {
			known = known && f.Known && !f.Dirty
		}
		return known
	})
}

// age gives a file a time of its own, before the next start: the clock of a file
// system may stand still for some milliseconds.
func age(t *testing.T, path string) {
	t.Helper()
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// TestRepairCutShort: of a file that was damaged between two runs, what is not
// repaired yet when the daemon stops is still missing at the next start, and at
// no moment does the database claim it once something was written.
func TestRepairCutShort(t *testing.T) {
	for _, x := range damages {
		for _, blocks := range []int{0, 25} {
			name := x.name + ", nothing given"
			if blocks > 0 {
				name = x.name + ", some given"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := makeContent(t, 64<<10, map[string]int{"x": 1 << 20, "y": 1 << 20})
				s := wholeThenClosed(t, c)
				x.damage(t, filepath.Join(s.cfg.Dir, "content", "x"))
				seed := rationedSeed(t, c)
				s = reopen(t, s)
				// A seed is looked at when somebody asks for it.
				if err := s.AddPeers(t.Context(), c.meta.Hash, addrsOf(seed.fakeSeed)); err != nil {
					t.Fatal(err)
				}
				seed.give(blocks)
				least := c.meta.Pieces() - x.bad + blocks/4/2 // the others may be begun
				v := await(t, s, c, "the repair to begin", func(v Torrent) bool {
					return v.State == StateDownloading && v.PiecesHave >= least
				})
				if v.PiecesHave >= c.meta.Pieces() {
					t.Errorf("%d of %d pieces are had, with %d blocks given", v.PiecesHave, v.Pieces, blocks)
				}
				if blocks > 0 { // a daemon that is killed now has these claims
					claimsAreRight(t, s, c, false)
				}
				seed.l.Close() // it is not to be called again

				s = reopen(t, s)
				v = await(t, s, c, "the loop", func(v Torrent) bool {
					return v.State == StateDownloading || v.State == StateSeeding
				})
				claimsAreRight(t, s, c, true)
				if have := c.right(t, s.cfg.Dir).Count(); v.State != StateDownloading || v.PiecesHave != have {
					t.Errorf("%s with %d pieces, of which %d are right", v.State, v.PiecesHave, have)
				}
				if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seedOf(t, c, nil))); err != nil {
					t.Fatal(err)
				}
				await(t, s, c, "completion", complete)
				c.same(t, s.cfg.Dir)
			})
		}
	}
}

// TestStopDuringTheCheckOfDamage: what a check has found bad before it was cut
// short stays found, and the rest is looked at by the next one.
func TestStopDuringTheCheckOfDamage(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"x": 1 << 20, "y": 1 << 20})
	s := wholeThenClosed(t, c)
	damages[0].damage(t, filepath.Join(s.cfg.Dir, "content", "x"))
	seed := rationedSeed(t, c)
	s = reopen(t, s, func(cfg *Config) { cfg.ActiveChecks = 1 })
	s.checks <- struct{}{} // no check gets its turn
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrsOf(seed.fakeSeed)); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "the check", func(v Torrent) bool { return v.State == StateChecking })
	loop := s.byWire(c.meta.Hash.Wire()).running()
	inLoop(t, s, c, func(t *torrent) {
		(&checked{c: t.disk.check, bad: []piece.Index{0, 1, 2}}).apply(t)
		t.stop()
		(&checked{c: t.disk.check, end: true, err: context.Canceled}).apply(t)
	})
	<-loop.done
	if claimed := claims(t, s, c); claimed.Has(0) || claimed.Has(2) || !claimed.Has(3) || !claimed.Has(16) {
		t.Errorf("claimed are %08b, want all but the three that were found bad", claimed.Bytes())
	}
	s = reopen(t, s)
	if err := s.AddPeers(t.Context(), c.meta.Hash, addrsOf(seed.fakeSeed)); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "the end of the check", func(v Torrent) bool { return v.State == StateDownloading && v.PiecesHave == 16 })
	seed.l.Close()
	s = reopen(t, s)
	claimsAreRight(t, s, c, true)
	if v := await(t, s, c, "the loop", func(v Torrent) bool { return v.State == StateDownloading }); v.PiecesHave != 16 {
		t.Errorf("%d pieces are had, want 16", v.PiecesHave)
	}
}

// TestDirtyMarkComesAfterLosses: the claims of a dirty file are trusted, so what
// is to be taken back of them is taken back before the mark.
func TestDirtyMarkComesAfterLosses(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"x": 1 << 20, "y": 1 << 20})
	s := seedOf(t, c, nil)
	onRecord(t, s, c)
	e := s.byWire(c.meta.Hash.Wire())
	e.log.revoke(3) // the persister is not told: it would do so by itself, some time
	if err := s.persist.markDirty(e, []int{0}); err != nil {
		t.Fatal(err)
	}
	if claimed := claims(t, s, c); claimed.Has(3) || claimed.Count() != c.meta.Pieces()-1 {
		t.Errorf("claimed are %08b, want all but piece 3", claimed.Bytes())
	}
	files, err := s.db.Files(c.meta.Hash, 2)
	if err != nil || !files[0].Dirty {
		t.Errorf("the files are %+v, %v; want the first one dirty", files, err)
	}
}

// TestMarkDuringACheck: a file that was changed between two runs is not trusted
// after a file that shares a piece with it was written to during its check.
func TestMarkDuringACheck(t *testing.T) {
	for _, how := range []string{"chosen during the check", "chosen before, and verified"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := makeContent(t, 64<<10, map[string]int{"x": 1<<20 + 1000, "y": 300_000})
			seed := seedOf(t, c, nil)
			x, y := indexOf(t, seed, c, "/x"), indexOf(t, seed, c, "/y")
			s := open(t, nil)
			add(t, s, c, AddOptions{Peers: addrs(seed), Only: []int{x}})
			await(t, s, c, "the one file", complete)
			if how == "chosen before, and verified" {
				if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
					t.Fatal(err)
				}
				prefer(t, s, c, map[int]Priority{y: Normal})
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(s.cfg.Dir, "content", "x")
			for n := range int64(8) {
				scribble(t, path, n<<16+5)
			}
			age(t, path)
			right := c.right(t, s.cfg.Dir).Count() + 1 // the last one of x: what it has of y is in the parts file

			s = reopen(t, s, func(cfg *Config) { cfg.ActiveChecks = 1 })
			s.checks <- struct{}{} // no check gets its turn
			quiet := rationedSeed(t, c)
			checking := func(v Torrent) bool { return v.State == StateChecking }
			if how == "chosen before, and verified" {
				if err := s.Verify(t.Context(), c.meta.Hash); err != nil {
					t.Fatal(err)
				}
				await(t, s, c, "the check", checking)
				until(t, "files to be forgotten", func() bool {
					files, err := s.db.Files(c.meta.Hash, len(c.meta.Files))
					return err == nil && !files[x].Known
				})
				// As the check does when it has its turn, before it has read anything.
				inLoop(t, s, c, func(r *torrent) {
					if err := r.disk.files.SetSkip(nil); err != nil {
						t.Error(err)
					}
				})
			} else {
				if err := s.AddPeers(t.Context(), c.meta.Hash, addrsOf(quiet.fakeSeed)); err != nil {
					t.Fatal(err)
				}
				await(t, s, c, "the check", checking)
				prefer(t, s, c, map[int]Priority{y: Normal})
			}
			if fi, err := os.Stat(filepath.Join(s.cfg.Dir, "content", "y")); err != nil || fi.Size() == 0 {
				t.Fatalf("y: %v; want it to have what the parts file had", err)
			}

			s = reopen(t, s)
			if err := s.Start(t.Context(), c.meta.Hash); err != nil {
				t.Fatal(err)
			}
			if err := s.AddPeers(t.Context(), c.meta.Hash, addrsOf(quiet.fakeSeed)); err != nil {
				t.Fatal(err)
			}
			await(t, s, c, "the end of the check", func(v Torrent) bool { return v.State == StateDownloading && v.PiecesHave == right })
			quiet.l.Close()
			s = reopen(t, s)
			claimsAreRight(t, s, c, true)
		})
	}
}

// TestLossThatIsNotRecordedYet: the next loop does not trust a claim that the one
// before could not take back.
func TestLossThatIsNotRecordedYet(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	onRecord(t, s, c)
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	s.byWire(c.meta.Hash.Wire()).log.revoke(3)
	if err := s.Start(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	inLoop(t, s, c, func(x *torrent) {
		if have := x.pick.Have(); have.Has(3) || have.Count() != c.meta.Pieces()-1 {
			t.Errorf("had are %08b, want all but piece 3", have.Bytes())
		}
	})
	until(t, "claim to be taken back", func() bool { return !claims(t, s, c).Has(3) })
}

// TestFilesAreNotKnownDuringACheck: what was about to be recorded of the files
// when a check began is not recorded, or the check would not be taken up again.
func TestFilesAreNotKnownDuringACheck(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	onRecord(t, s, c)
	e := s.byWire(c.meta.Hash.Wire())
	known := func() bool {
		files, err := s.db.Files(c.meta.Hash, 1)
		if err != nil {
			t.Error(err)
		}
		return err == nil && files[0].Known
	}
	inLoop(t, s, c, func(x *torrent) {
		if err := s.db.Commit([]resume.Commit{{Hash: e.hash, Clean: []resume.Clean{{Size: -1}}}}); err != nil {
			t.Error(err)
		}
		e.checking.Store(true)
		if err := s.persist.flush(e, x.disk.files, true); !errors.Is(err, errChecking) {
			t.Errorf("recording the files during a check: %v", err)
		}
		if known() {
			t.Error("the files were recorded as they are, during a check")
		}
		e.checking.Store(false)
		if err := s.persist.flush(e, x.disk.files, true); err != nil || !known() {
			t.Errorf("after the check: known is %t, %v", known(), err)
		}
	})
}

// TestCheckForgetsUnfinishedPieces: what was received of a piece before a check
// may be gone with the file. It does not count as a part of the piece any more.
func TestCheckForgetsUnfinishedPieces(t *testing.T) {
	for _, x := range []struct {
		name  string
		check func(t *testing.T, s *Session, c content, path string)
	}{
		{"of a file that is gone", func(t *testing.T, s *Session, c content, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context(), c.meta.Hash); err != nil {
				t.Fatal(err)
			}
		}},
		{"of the piece alone", func(t *testing.T, s *Session, c content, path string) {
			for n := range int64(4) {
				scribble(t, path, n<<22+1000)
			}
			inLoop(t, s, c, func(x *torrent) {
				begun := piece.NewBitfield(x.geo.Pieces())
				for i := range x.blame.senders {
					begun.Set(i)
				}
				x.startCheck(begun)
			})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := makeContent(t, 4<<20, map[string]int{"": 16 << 20})
			seed := rationedSeed(t, c)
			s := open(t, nil)
			add(t, s, c, AddOptions{Peers: addrsOf(seed.fakeSeed)})
			seed.give(100) // of the 256 of a piece
			until(t, "first run to be written", func() bool { return s.store.Stats().Written >= 1<<20 })
			x.check(t, s, c, filepath.Join(s.cfg.Dir, "content"))
			until(t, "end of the check", func() bool {
				ended := false
				inLoop(t, s, c, func(x *torrent) { ended = x.disk.check == nil })
				return ended
			})
			if err := s.AddPeers(t.Context(), c.meta.Hash, addrs(seedOf(t, c, nil))); err != nil {
				t.Fatal(err)
			}
			await(t, s, c, "completion", complete)
			c.same(t, s.cfg.Dir)
			onRecord(t, s, c)
			claimsAreRight(t, s, c, true)
		})
	}
}

// TestVerifyOfOnePieceWithoutItsDisk: a torrent of one piece waits for its
// directory as any other does, and keeps its claim.
func TestVerifyOfOnePieceWithoutItsDisk(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 1<<20, map[string]int{"": 700_000})
	s := seedOf(t, c, nil)
	onRecord(t, s, c)
	away := c.dir + "-away"
	if err := os.Rename(c.dir, away); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, s, c, "the error", func(v Torrent) bool { return v.State == StateError })
	if !claims(t, s, c).All() {
		t.Error("the claim was dropped")
	}
	if err := os.Rename(away, c.dir); err != nil {
		t.Fatal(err)
	}
	if v := await(t, s, c, "all pieces", complete); v.PiecesHave != 1 || v.Downloaded != 0 {
		t.Errorf("%d pieces, %d bytes downloaded; want 1 and none", v.PiecesHave, v.Downloaded)
	}
}

// TestPieceThatCannotBeRead: it is lost when a look at it alone fails too, but
// not if that is a matter of the directory; a check of everything that was asked
// for meanwhile is made.
func TestPieceThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	s := seedOf(t, c, nil)
	onRecord(t, s, c)
	broken := errors.New("the disk is broken")
	for _, x := range []struct {
		name string
		lone bool
		err  error
		lost bool
	}{
		{"found for a peer", true, broken, true},
		{"found by a check", false, broken, false},
		{"directory gone", true, fmt.Errorf("%w", &storage.Error{Op: "open directory", Path: c.dir, Err: fs.ErrNotExist}), false},
	} {
		inLoop(t, s, c, func(r *torrent) {
			one := piece.NewBitfield(r.geo.Pieces())
			one.Set(2)
			k := &check{want: one, left: one.Clone(), total: 1, lone: x.lone}
			r.disk.check, r.disk.redo = k, true
			(&checked{c: k, end: true, err: x.err}).apply(r)
			if lost := !r.pick.Have().Has(2); lost != x.lost {
				t.Errorf("%s: lost is %t", x.name, lost)
			}
			all := r.disk.check != nil && r.disk.check.want.All()
			if failed := r.disk.err != nil; all != x.lost || failed == x.lost {
				t.Errorf("%s: a check of everything goes on: %t, error: %v", x.name, all, r.disk.err)
			}
		})
		if v := await(t, s, c, "all pieces", complete); v.PiecesHave != v.Pieces || v.Downloaded != 0 {
			t.Errorf("%s: %d of %d pieces, %d bytes downloaded", x.name, v.PiecesHave, v.Pieces, v.Downloaded)
		}
	}
}
