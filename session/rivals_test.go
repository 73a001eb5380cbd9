package session

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"btd/metainfo"
	"btd/metainfo/create"
	"btd/piece"
)

// twin is c under another info-hash.
func (c content) twin(t *testing.T) content {
	t.Helper()
	o := content{dir: c.dir}
	var err error
	if o.file, err = create.Torrent(t.Context(), os.DirFS(c.dir), c.meta.Name, create.Options{PieceLength: c.meta.PieceLength, Source: "twin"}); err != nil {
		t.Fatal(err)
	}
	if o.meta, err = metainfo.Parse(o.file); err != nil {
		t.Fatal(err)
	}
	return o
}

// part puts the first n bytes of a file of c where s would have it.
func (c content) part(t *testing.T, s *Session, name string, n int) {
	t.Helper()
	path := filepath.Join(s.cfg.Dir, "content", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, read(t, filepath.Join(c.dir, "content", name))[:n], 0o644); err != nil {
		t.Fatal(err)
	}
}

// again stops c and starts it.
func again(t *testing.T, s *Session, c content) {
	t.Helper()
	if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), c.meta.Hash); err != nil {
		t.Fatal(err)
	}
}

// TestTwinsDoNotBothLose: of two torrents of the same bytes, partly there, one
// goes on whenever they ask: neither keeps the other from what both lack.
func TestTwinsDoNotBothLose(t *testing.T) {
	t.Parallel()
	const some = 5 * 32 << 10
	asks := map[string]func(t *testing.T, s *Session, c content){
		"started again": again,
		"verified": func(t *testing.T, s *Session, c content) {
			if err := s.Verify(t.Context(), c.meta.Hash); err != nil {
				t.Fatal(err)
			}
			until(t, "end of the check", func() (over bool) {
				inLoop(t, s, c, func(t *torrent) { over = t.disk.check == nil })
				return over
			})
		},
		"chosen from": func(t *testing.T, s *Session, c content) { prefer(t, s, c, map[int]Priority{0: High}) },
	}
	for name, ask := range asks {
		for _, stopped := range []bool{false, true} {
			if stopped {
				name += ", the other one stopped"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := makeContent(t, 32<<10, map[string]int{"x": 400000})
				b := a.twin(t)
				s := open(t, nil)
				a.part(t, s, "x", some)
				add(t, s, a, AddOptions{})
				await(t, s, a, "what is there", func(v Torrent) bool { return v.State == StateDownloading && v.Have == some })
				add(t, s, b, AddOptions{})
				refused(t, s, b, a)
				if stopped {
					if err := s.Stop(t.Context(), b.meta.Hash); err != nil {
						t.Fatal(err)
					}
				}
				ask(t, s, a)
				// The other one may ask while this one is stopped.
				var winner, loser content
				until(t, "one that goes on", func() bool {
					for _, pair := range [][2]content{{a, b}, {b, a}} {
						var v [2]Torrent
						for i, c := range pair {
							var err error
							if v[i], err = s.Torrent(c.meta.Hash); err != nil {
								t.Fatal(err)
							}
						}
						if v[0].State == StateDownloading && (v[1].State == StateError || v[1].State == StateStopped) {
							winner, loser = pair[0], pair[1]
							return true
						}
					}
					return false
				})
				give(t, s, winner, seedOf(t, winner, nil))
				await(t, s, winner, "the rest", complete)
				winner.same(t, s.cfg.Dir)
				if err := s.Verify(t.Context(), loser.meta.Hash); err != nil {
					t.Fatal(err)
				}
				await(t, s, loser, "all of it, found", func(v Torrent) bool { return v.HaveWanted == v.Wanted })
			})
		}
	}
}

// TestTwinsAreRepaired: what is bad in both of two whole torrents of the same
// bytes is fetched once both know of it.
func TestTwinsAreRepaired(t *testing.T) {
	t.Parallel()
	a := makeContent(t, 32<<10, map[string]int{"x": 400000})
	b := a.twin(t)
	seed := seedOf(t, b, nil)
	s := open(t, nil)
	a.part(t, s, "x", 400000)
	for _, c := range []content{a, b} {
		add(t, s, c, AddOptions{})
		await(t, s, c, "all of it", complete)
	}
	scribble(t, filepath.Join(s.cfg.Dir, "content", "x"), 100000)
	if err := s.Verify(t.Context(), a.meta.Hash); err != nil {
		t.Fatal(err)
	}
	refused(t, s, a, b) // which claims that piece
	if err := s.Verify(t.Context(), b.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, s, b, "the repair", func(v Torrent) bool { return v.State == StateDownloading })
	give(t, s, b, seed)
	await(t, s, b, "the piece", complete)
	if err := s.Verify(t.Context(), a.meta.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, s, a, "the piece, found", complete)
	a.same(t, s.cfg.Dir)
}

// TestStoppedTorrentOnlyWishes: one that is stopped, and has nothing of a file,
// does not keep the one that has most of it from going on.
func TestStoppedTorrentOnlyWishes(t *testing.T) {
	t.Parallel()
	first := makeContent(t, 32<<10, map[string]int{"x": 400000})
	other := makeContent(t, 32<<10, map[string]int{"w": 1 << 20, "x": 400000})
	seed := seedOf(t, first, nil)
	s := open(t, nil)
	first.part(t, s, "x", 300000)
	other.part(t, s, "w", 1<<20)
	lacking := func(v Torrent) bool { return v.State == StateDownloading && v.Have > 200000 }
	add(t, s, first, AddOptions{})
	await(t, s, first, "what is there", lacking)
	add(t, s, other, AddOptions{})
	refused(t, s, other, first)
	if err := s.Stop(t.Context(), other.meta.Hash); err != nil {
		t.Fatal(err)
	}
	again(t, s, first)
	give(t, s, first, seed)
	await(t, s, first, "all of the first", complete)
	first.same(t, s.cfg.Dir)
}

// TestStoppedTorrentOnlyWishesLater: nor after a restart. That it did not have the
// file when it was stopped is on record.
func TestStoppedTorrentOnlyWishesLater(t *testing.T) {
	t.Parallel()
	first := makeContent(t, 32<<10, map[string]int{"x": 400000})
	other := makeContent(t, 32<<10, map[string]int{"w": 1 << 20, "x": 400000})
	seed := seedOf(t, first, nil)
	s := open(t, nil)
	other.part(t, s, "w", 1<<20)
	add(t, s, other, AddOptions{})
	await(t, s, other, "what is there", func(v Torrent) bool { return v.State == StateDownloading && v.Have == 1<<20 })
	if err := s.Stop(t.Context(), other.meta.Hash); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	first.part(t, s, "x", 300000)
	add(t, s, first, AddOptions{})
	await(t, s, first, "what is there", func(v Torrent) bool { return v.State == StateDownloading && v.Have > 200000 })
	again(t, s, first)
	give(t, s, first, seed)
	await(t, s, first, "all of the first", complete)
	first.same(t, s.cfg.Dir)
}

// TestStoppedTorrentKeepsItsData: what a stopped torrent has of a file, or may
// have of one that was not looked at since a crash, is not written over.
func TestStoppedTorrentKeepsItsData(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"a part", "an edge", "after a crash"} {
		crashed := what == "after a crash"
		first := makeContent(t, 32<<10, map[string]int{"w": 1<<20 + 10000, "x": 400000})
		other := makeContent(t, 32<<10, map[string]int{"x": 400000})
		seed := seedOf(t, other, nil)
		s := open(t, nil)
		first.part(t, s, "w", 1<<20+10000)
		switch what {
		case "a part":
			first.part(t, s, "x", 300000)
		case "an edge":
			first.part(t, s, "x", 32<<10-10000)
		}
		add(t, s, first, AddOptions{})
		await(t, s, first, "what is there", func(v Torrent) bool { return v.State == StateDownloading && v.Have >= 1<<20 })
		if err := s.Stop(t.Context(), first.meta.Hash); err != nil {
			t.Fatal(err)
		}
		if crashed { // as if it had been stopped while it wrote x
			if err := s.db.MarkDirty(first.meta.Hash, []int{1}); err != nil {
				t.Fatal(err)
			}
			s = reopen(t, s)
			first.part(t, s, "x", 300000)
		}
		x := filepath.Join(s.cfg.Dir, "content", "x")
		before := read(t, x)
		add(t, s, other, AddOptions{Peers: addrs(seed)})
		refused(t, s, other, first)
		if !bytes.Equal(read(t, x), before) {
			t.Errorf("%s: the file has changed", what)
		}
	}
}

// TestShares: what two torrents have in common is told by the hashes of their pieces.
func TestShares(t *testing.T) {
	t.Parallel()
	const size = 4
	sums := func(s string) []byte {
		return []byte(strings.Join(strings.Split(s, ""), strings.Repeat("-", 19)) + strings.Repeat("-", 19))
	}
	bits := func(s string) *piece.Bitfield {
		b := piece.NewBitfield(len(s))
		for i, c := range s {
			if c == '1' {
				b.Set(piece.Index(i))
			}
		}
		return b
	}
	info := func(s string, before int64) *metainfo.Info {
		total := int64(len(s) * size)
		in := &metainfo.Info{PieceLength: size, Total: total, Sums: sums(s), Files: []metainfo.File{{Path: "c/F", Offset: before, Length: total - before}}}
		if before > 0 {
			in.Files = append([]metainfo.File{{Path: "c/w", Length: before}}, in.Files...)
		}
		return in
	}
	for _, c := range []struct {
		name         string
		mine, theirs string
		has, had     string
		shift        int64 // where the file begins in mine
		sure, harmed bool
	}{
		{"the same pieces", "abcd", "abcd", "1100", "1100", 0, true, false},
		{"fewer pieces", "abcd", "abcd", "1100", "1000", 0, true, false},
		{"one that x lacks", "abcd", "abcd", "1100", "1010", 0, true, true},
		{"other bytes where both have something", "abXd", "abcd", "1110", "1110", 0, true, true},
		{"other bytes where nothing is", "abXd", "abcd", "1100", "1100", 0, true, false},
		{"other bytes where nothing is said to be", "abXd", "abcd", "1100", "1100", 0, false, true},
		{"the same bytes where nothing is said to be", "abcd", "abcd", "1100", "1000", 0, false, false},
		{"further on", "wabcd", "abcd", "01100", "1100", size, true, false},
		{"further on, and lacking", "wabcd", "abcd", "01010", "1100", size, true, true},
		{"not at the edge of a piece", "abcd", "abcd", "1111", "1100", 1, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			theirs := info(c.theirs, 0)
			geo, err := piece.NewGeometry(theirs.Total, size)
			if err != nil {
				t.Fatal(err)
			}
			x := asker{info: info(c.mine, c.shift), have: bits(c.has)}
			if got := x.shares(layout{theirs, geo}, 0, bits(c.had), c.sure); got == c.harmed {
				t.Errorf("shares says %v", got)
			}
			x.have = nil
			if x.shares(layout{theirs, geo}, 0, bits(c.had), c.sure) {
				t.Error("so it says of one that does not know what it has")
			}
		})
	}
}
