//go:build interop && linux

package interop

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"

	"btd/test/netns"
)

// torrent is a .torrent file and the complete content that it describes.
type torrent struct {
	path        string // of the .torrent file
	bytes       []byte // of the .torrent file
	name        string
	source      string // source/name is the content
	hash        [20]byte
	hashes      [][20]byte // of the pieces
	pieceLength int64
	size        int64
	files       []contentFile
}

// contentFile is one file of a torrent, in the torrent's order.
type contentFile struct {
	path []string
	size int64
}

func (t *torrent) hex() string { return hex.EncodeToString(t.hash[:]) }

// on is the file's path below a download directory.
func (t *torrent) on(dir string, f contentFile) string {
	return filepath.Join(append([]string{dir, t.name}, f.path...)...)
}

// oddFiles is content with everything that trips clients up: an empty file,
// one smaller than a block, several within one piece, sizes that are no
// multiple of a block or piece, nested directories, and names with spaces and
// letters outside ASCII.
var oddFiles = []contentFile{
	{[]string{"01 big.bin"}, 9<<20 + 12345},
	{[]string{"02-empty"}, 0},
	{[]string{"03-one-byte"}, 1},
	{[]string{"sub", "04 below a block.txt"}, 5000},
	{[]string{"sub", "deeper", "05-block-and-one"}, 16<<10 + 1},
	{[]string{"sub", "deeper", "06-naïve-ünïcode.dat"}, 3<<20 + 7},
	{[]string{"sub", "07-empty-too"}, 0},
	{[]string{"zz-tail"}, 3*16<<10 + 1},
}

// makeTorrent writes random content and its .torrent. The same seed makes
// the same bytes.
func makeTorrent(t *testing.T, dir, name string, files []contentFile, pieceLength int64, seed byte, trackers ...string) *torrent {
	t.Helper()
	tor := &torrent{name: name, source: filepath.Join(dir, "source"), pieceLength: pieceLength, files: files}
	rng := rand.NewChaCha8([32]byte{seed})
	var all bytes.Buffer
	var list []map[string]any
	for _, f := range files {
		data := make([]byte, f.size)
		_, _ = rng.Read(data)
		path := tor.on(tor.source, f)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, data, 0o644))
		all.Write(data)
		list = append(list, map[string]any{"length": f.size, "path": f.path})
	}
	tor.size = int64(all.Len())
	var pieces []byte
	for b := all.Next(int(pieceLength)); len(b) > 0; b = all.Next(int(pieceLength)) {
		sum := sha1.Sum(b)
		tor.hashes = append(tor.hashes, sum)
		pieces = append(pieces, sum[:]...)
	}
	info := map[string]any{"name": name, "piece length": pieceLength, "pieces": pieces, "files": list}
	raw := bencode.MustMarshal(info)
	tor.hash = sha1.Sum(raw)
	top := map[string]any{"info": bencode.Bytes(raw)}
	if len(trackers) > 0 {
		top["announce"] = trackers[0]
		top["announce-list"] = [][]string{trackers}
	}
	tor.bytes = bencode.MustMarshal(top)
	tor.path = filepath.Join(dir, name+".torrent")
	must(t, os.WriteFile(tor.path, tor.bytes, 0o644))
	return tor
}

// compare says how dir differs from the torrent's content, nil if not at all.
// Files that no torrent has asked for are a difference, too. Empty files may be
// missing if lenient is set.
func (t *torrent) compare(dir string, lenient bool) error {
	want := map[string]bool{}
	for _, f := range t.files {
		path := t.on(dir, f)
		rel, _ := filepath.Rel(dir, path)
		want[rel] = true
		if _, err := os.Stat(path); err != nil && f.size == 0 && lenient {
			continue
		}
		if err := netns.SameFile(t.on(t.source, f), path); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if !want[rel] && !strings.HasPrefix(filepath.Base(rel), ".") && !strings.HasSuffix(rel, ".aria2") {
			return fmt.Errorf("%s: not a file of the torrent", rel)
		}
		return nil
	})
}

// readPiece reads piece i from the files below dir. Missing bytes are zeros.
func (t *torrent) readPiece(dir string, i int) []byte {
	begin := int64(i) * t.pieceLength
	buf := make([]byte, min(t.pieceLength, t.size-begin))
	var at int64
	for _, f := range t.files {
		lo, hi := max(at, begin), min(at+f.size, begin+int64(len(buf)))
		if lo < hi {
			if h, err := os.Open(t.on(dir, f)); err == nil {
				_, _ = h.ReadAt(buf[lo-begin:hi-begin], lo-at)
				h.Close()
			}
		}
		at += f.size
	}
	return buf
}

// pieceGood tells whether piece i below dir has the right hash.
func (t *torrent) pieceGood(dir string, i int) bool {
	return sha1.Sum(t.readPiece(dir, i)) == t.hashes[i]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
