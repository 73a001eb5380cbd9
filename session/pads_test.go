package session

import (
	"crypto/sha1"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"btd/metainfo"
	"btd/peerwire"
	"btd/piece"
)

// padFile is a file of a torrent with pad files (BEP 47), which have no name.
type padFile struct {
	name string
	size int
}

// padded makes a torrent with pad files. flat has all of it as one file, pads
// included.
func padded(t *testing.T) (c, flat content, pad func(off, n int64) bool) {
	t.Helper()
	return paddedOf(t, 64<<10, []padFile{
		{"a", 40000},
		{"", 25536}, // a block that is all pad
		{"b", 100000},
		{"", 31072},
		{"c", 5000},
		{"", 126072}, // a piece that is all pad
		{"d", 70000},
		{"", 10}, // pads that align nothing
		{"e", 20000},
		{"", 70000}, // at the end
	})
}

// aligned makes a torrent of small files, each of which has a piece to itself.
func aligned(t *testing.T, files, size, pieceLength int) (c, flat content) {
	t.Helper()
	var list []padFile
	for i := range files {
		list = append(list, padFile{fmt.Sprintf("f%03d", i), size}, padFile{size: pieceLength - size})
	}
	c, flat, _ = paddedOf(t, pieceLength, list)
	return c, flat
}

func paddedOf(t *testing.T, pieceLength int, files []padFile) (c, flat content, pad func(off, n int64) bool) {
	t.Helper()
	c.dir, flat.dir = t.TempDir(), t.TempDir()
	random := rand.NewChaCha8([32]byte{4, 7})
	var data []byte
	var isPad []bool
	var list string
	for i, f := range files {
		b := make([]byte, f.size)
		if f.name == "" {
			list += padEntry(f.size)
		} else {
			random.Read(b)
			list += fileEntry(f.name, f.size)
			path := filepath.Join(c.dir, "content", f.name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		data = append(data, b...)
		for range f.size {
			isPad = append(isPad, files[i].name == "")
		}
	}
	if err := os.WriteFile(filepath.Join(flat.dir, "content"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	var sums []byte
	for off := 0; off < len(data); off += pieceLength {
		sum := sha1.Sum(data[off:min(off+pieceLength, len(data))])
		sums = append(sums, sum[:]...)
	}
	c.describe(t, list, pieceLength, sums)
	flat.file, flat.meta = c.file, c.meta
	return c, flat, func(off, n int64) bool {
		for _, p := range isPad[off : off+n] {
			if !p {
				return false
			}
		}
		return true
	}
}

// padEntry is a pad file in the list of a .torrent.
func padEntry(size int) string {
	return fmt.Sprintf("d4:attr1:p6:lengthi%de4:pathl4:.pad%d:%dee", size, len(fmt.Sprint(size)), size)
}

// fileEntry is a file that is none.
func fileEntry(name string, size int) string {
	return fmt.Sprintf("d6:lengthi%de4:pathl%d:%see", size, len(name), name)
}

// describe makes c's .torrent of a list of files.
func (c *content) describe(t *testing.T, list string, pieceLength int, sums []byte) {
	t.Helper()
	c.file = fmt.Appendf(nil, "d4:infod5:filesl%se4:name7:content12:piece lengthi%de6:pieces%d:%see", list, pieceLength, len(sums), sums)
	var err error
	if c.meta, err = metainfo.Parse(c.file); err != nil {
		t.Fatal(err)
	}
}

// noPads fails the test if dir holds anything but the content.
func noPads(t *testing.T, dir string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if strings.Contains(path, "pad") {
			t.Errorf("%s is on disk", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

const paddedSize = 40000 + 100000 + 5000 + 70000 + 20000

func TestPadFilesBetweenSessions(t *testing.T) {
	c, _, _ := padded(t)
	seed := seedOf(t, c, nil) // the data on disk has no pads, its pieces do
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	v := await(t, leech, c, "completion", complete)
	c.same(t, leech.cfg.Dir)
	noPads(t, leech.cfg.Dir)
	if v.Size != paddedSize || v.Have != paddedSize {
		t.Errorf("%d of %d bytes; the content has %d", v.Have, v.Size, paddedSize)
	}
	leech = reopen(t, leech)
	await(t, leech, c, "seeding after a restart", complete)
}

// TestPieceThatIsAllPad: such a piece is had by whoever has the rest, or a
// complete torrent would not count as a seed.
func TestPieceThatIsAllPad(t *testing.T) {
	c, flat, _ := padded(t)
	seed := seedOf(t, c, nil)
	leech := open(t, nil)
	add(t, leech, c, AddOptions{Peers: addrs(seed)})
	await(t, leech, c, "completion", complete)
	leech = reopen(t, leech)
	for name, s := range map[string]*Session{"seed": seed, "leech": leech} {
		v := await(t, s, c, "seeding", complete)
		if v.PiecesHave != v.Pieces {
			t.Errorf("%s: %d of %d pieces", name, v.PiecesHave, v.Pieces)
		}
		p := dialRaw(t, s, flat, name, fastPeer)
		if m, err := p.next(); err != nil || m.ID != peerwire.HaveAll {
			t.Errorf("%s: greets with %v, %v; want have all", name, m.ID, err)
		}
	}
}

func TestPadBlocksAreNotRequested(t *testing.T) {
	c, flat, pad := padded(t)
	f := newFakeSeed(t, flat, "127.0.0.1")
	var mu sync.Mutex
	asked := map[[2]uint32]int{}
	f.lie = func(index, begin uint32) bool {
		mu.Lock()
		defer mu.Unlock()
		asked[[2]uint32{index, begin}]++
		return false
	}
	go f.run()
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrsOf(f)})
	await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
	noPads(t, s.cfg.Dir)
	geo, err := piece.NewGeometry(c.meta.Total, c.meta.PieceLength)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	pads := 0
	for i := range piece.Index(geo.Pieces()) {
		for n := range geo.Blocks(i) {
			b := geo.Block(i, n)
			want := 1
			if pad(geo.Offset(i)+int64(b.Begin), int64(b.Length)) {
				want = 0
				pads++
			}
			if got := asked[[2]uint32{uint32(i), b.Begin}]; got != want {
				t.Errorf("block %d of piece %d was requested %d times, want %d", n, i, got, want)
			}
		}
	}
	if pads < 8 {
		t.Errorf("only %d blocks are all pad", pads)
	}
}

// TestSkippedBesidePads downloads one file of a torrent with pads.
func TestSkippedBesidePads(t *testing.T) {
	c, _, _ := padded(t)
	seed := seedOf(t, c, nil)
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrs(seed), Only: []int{indexOf(t, seed, c, "/c")}})
	v := await(t, s, c, "the one file", complete)
	c.same(t, s.cfg.Dir, "content/c")
	noPads(t, s.cfg.Dir)
	if v.Wanted != 5000 || v.Downloaded > 16<<10 {
		t.Errorf("wanted %d bytes, downloaded %d", v.Wanted, v.Downloaded)
	}
}

// TestPadsTakeNoPlaceInThePipeline: where most blocks are padding, as many of the
// others are asked for at a time as anywhere else.
func TestPadsTakeNoPlaceInThePipeline(t *testing.T) {
	t.Parallel()
	const files = 100
	c, flat := aligned(t, files, 10_000, 256<<10)
	f := newFakeSeed(t, flat, "127.0.0.1")
	f.waits = make(chan struct{})
	release := sync.OnceFunc(func() { close(f.waits) })
	t.Cleanup(release)
	go f.run()
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrsOf(f)})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	var asked []request
	until(t, "first requests", func() bool {
		inLoop(t, s, c, func(t *torrent) {
			for _, p := range t.peers.all {
				asked = slices.Clone(p.down.reqs)
			}
		})
		return len(asked) > 0
	})
	together := 0 // nothing is answered, so that later ones are of other causes
	for _, r := range asked {
		if r.at.Equal(asked[0].at) {
			together++
		}
	}
	if together != firstDepth {
		t.Errorf("%d blocks were asked for in one go, want %d", together, firstDepth)
	}
	release()
	v := await(t, s, c, "completion", complete)
	c.same(t, s.cfg.Dir)
	noPads(t, s.cfg.Dir)
	if v.Downloaded != files*piece.BlockSize {
		t.Errorf("downloaded %d bytes, want a block of each of %d files", v.Downloaded, files)
	}
}

// TestPadsAreFreeOfTheLimit: only what is asked for counts.
func TestPadsAreFreeOfTheLimit(t *testing.T) {
	t.Parallel()
	c, flat := aligned(t, 50, 10_000, 256<<10)
	f := newFakeSeed(t, flat, "127.0.0.1")
	f.silentAfter(t, 0)
	go f.run()
	s := open(t, nil)
	add(t, s, c, AddOptions{Peers: addrsOf(f), Limits: Limits{Down: 1}})
	await(t, s, c, "the start", func(v Torrent) bool { return v.State == StateDownloading })
	const most = 5
	asked, rest := 0, int64(-1)
	until(t, "peer that serves", func() (served bool) {
		inLoop(t, s, c, func(t *torrent) {
			for _, p := range t.peers.all {
				if served = p.down.interested && !p.down.choked; served {
					before := p.down.live
					p.down.grant, p.down.hungry = most*piece.BlockSize, true
					t.feed(p)
					asked, rest = p.down.live-before, p.down.grant
				}
			}
		})
		return served
	})
	if asked != most || rest != 0 {
		t.Errorf("%d blocks were asked for, which leaves %d bytes; the limit allowed %d blocks", asked, rest, most)
	}
}

// TestPadsDoNotHoldUpTheLoop: of a piece that is huge and nearly all padding,
// only so much is supplied at a time, and the rest comes by itself.
func TestPadsDoNotHoldUpTheLoop(t *testing.T) {
	t.Parallel()
	const pieces = 3
	c := content{dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.dir, "content"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	list := ""
	for i := range pieces {
		list += fileEntry(fmt.Sprint(i), 1) + padEntry(piece.MaxPieceLength-1)
	}
	c.describe(t, list, piece.MaxPieceLength, make([]byte, 20*pieces))
	s := started(t, c)
	r := dialRaw(t, s, c, "silent", fastPeer)
	r.send(peerwire.AppendHaveAll(nil))
	supplied, more := 0, false
	until(t, "interest", func() (interested bool) {
		inLoop(t, s, c, func(t *torrent) {
			for _, p := range t.peers.all {
				if interested = p.down.interested; interested {
					p.down.choked, p.down.hungry = false, true
					supplied = t.pick.Left()
					t.feed(p)
					supplied -= t.pick.Left()
					more = p.down.hungry && t.clock.starved
				}
			}
		})
		return interested
	})
	if supplied < maxPads || supplied > maxPads+firstDepth || !more {
		t.Errorf("%d blocks were supplied in one go, goes on: %v; want about %d, and that it does", supplied, more, maxPads)
	}
	for range pieces {
		r.until(peerwire.Request)
	}
}
