package metainfo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func noise(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// hashes is the plain way to the same sums.
func hashes(content []byte, pieceLength int) []byte {
	var sums []byte
	for len(content) > 0 {
		n := min(pieceLength, len(content))
		h := sha1.Sum(content[:n])
		sums, content = append(sums, h[:]...), content[n:]
	}
	return sums
}

func album() fstest.MapFS {
	return fstest.MapFS{
		"x/album/a/one.bin": {Data: noise(100_000)},
		"x/album/a.txt":     {Data: noise(7)},
		"x/album/empty":     {Data: nil},
		"x/album/a/b/two":   {Data: noise(65_536)},
		"x/album/z":         {Data: noise(300_001)},
		"x/other":           {Data: noise(3)},
	}
}

func TestCreateDirectory(t *testing.T) {
	fsys := album()
	o := CreateOptions{
		PieceLength: 5000, Private: true, Source: "SRC", Comment: "c", CreatedBy: "me", Created: time.Unix(1e9, 0).UTC(),
		Trackers: [][]string{{"http://a.example/", "udp://b.example:1"}, {"http://c.example/"}}, WebSeeds: []string{"http://m.example/"},
	}
	b, err := Create(t.Context(), fsys, "x/album", o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var (
		content []byte
		want    []File
	)
	for _, p := range []string{"album/a.txt", "album/a/b/two", "album/a/one.bin", "album/empty", "album/z"} {
		data := fsys["x/"+p].Data
		want = append(want, File{Path: p, Length: int64(len(data)), Offset: int64(len(content))})
		content = append(content, data...)
	}
	if !reflect.DeepEqual(m.Files, want) {
		t.Errorf("files are %+v, want %+v", m.Files, want)
	}
	if !bytes.Equal(m.Sums, hashes(content, 5000)) {
		t.Error("wrong piece hashes")
	}
	if !m.Private || m.Source != "SRC" || m.Comment != "c" || m.CreatedBy != "me" || !m.Created.Equal(o.Created) ||
		!reflect.DeepEqual(m.Trackers, o.Trackers) || !reflect.DeepEqual(m.WebSeeds, o.WebSeeds) {
		t.Errorf("got %+v", m)
	}
}

func TestCreateFromDiskIsTheSame(t *testing.T) {
	dir := t.TempDir()
	fsys := album()
	for name, f := range fsys {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "x/album/nothing in here"), 0o755); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for name, fsys := range map[string]fs.FS{"memory": fsys, "disk": os.DirFS(dir), "stream": streams{fsys}} {
		b, err := Create(t.Context(), fsys, "x/album", CreateOptions{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Errorf("%s: another torrent", name)
		}
	}
	// Fixed for ever: the same content must make this info-hash everywhere.
	m, err := Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Hash.String(); got != "8b4f74e7238ad785304af0f9d5b637e07bda557b" {
		t.Errorf("info-hash %s", got)
	}
}

// streams is a file system whose files can only be read from the start.
type streams struct{ fs.FS }

type stream struct{ fs.File }

func (s streams) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	if _, isDir := f.(fs.ReadDirFile); err != nil || isDir {
		return f, err
	}
	return stream{f}, nil
}

func TestCreateSingleFile(t *testing.T) {
	data := noise(1_000_003)
	for _, pieceLength := range []int64{0, 1000, 16384, 300_000, 2_000_000, 512 << 20} {
		for _, fsys := range []fs.FS{fstest.MapFS{"f.bin": {Data: data}}, streams{fstest.MapFS{"f.bin": {Data: data}}}} {
			b, err := Create(t.Context(), fsys, "f.bin", CreateOptions{PieceLength: pieceLength})
			if err != nil {
				t.Fatal(err)
			}
			m, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			want := int(pieceLength)
			if want == 0 {
				want = 16384
			}
			if !m.Single || m.Files[0] != (File{Path: "f.bin", Length: 1_000_003}) || !bytes.Equal(m.Sums, hashes(data, want)) {
				t.Errorf("piece length %d: got %+v", pieceLength, m.Files)
			}
		}
	}
}

func TestCreatePieceLength(t *testing.T) {
	for total, want := range map[int64]int64{
		1:                16 << 10,
		2000 * 16 << 10:  16 << 10,
		2000*16<<10 + 1:  32 << 10,
		1 << 30:          1 << 20,
		4 << 30:          4 << 20,
		31 << 30:         16 << 20,
		1 << 44:          16 << 20,
		1<<44 + 1:        32 << 20,
		1 << 49:          512 << 20,
		1<<63 - 1:        512 << 20,
		2000 * 512 << 10: 512 << 10,
	} {
		if got := pieceLength(total); got != want {
			t.Errorf("%d bytes: pieces of %d, want %d", total, got, want)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	data := &fstest.MapFile{Data: []byte("x")}
	for name, tt := range map[string]struct {
		fsys fstest.MapFS
		root string
		o    CreateOptions
		want string
	}{
		"nothing there":   {fstest.MapFS{}, "a", CreateOptions{}, "file does not exist"},
		"dot":             {fstest.MapFS{"a": data}, ".", CreateOptions{}, `"." can't give a torrent its name`},
		"not a path":      {fstest.MapFS{"a": data}, "../a", CreateOptions{}, `"a" can't give`},
		"bad root":        {fstest.MapFS{"nul.x": data}, "nul.x", CreateOptions{}, `"nul.x" can't give`},
		"empty file":      {fstest.MapFS{"a": {}}, "a", CreateOptions{}, "nothing but empty files"},
		"empty directory": {fstest.MapFS{"a": {Mode: fs.ModeDir}}, "a", CreateOptions{}, "nothing but empty files"},
		"bad name":        {fstest.MapFS{"a/b": data, `a/c/d\e`: data}, "a", CreateOptions{}, `"a/c/d\\e" has the separator`},
		"device":          {fstest.MapFS{"a/aux/x": data}, "a", CreateOptions{}, `"a/aux" has the name "aux" in it`},
		"not UTF-8":       {fstest.MapFS{"a/b": data, "a/\xff": {}}, "a", CreateOptions{}, `"a/\xff" has a name that is not UTF-8`},
		"clash":           {fstest.MapFS{"a/b": data, "a/B": data}, "a", CreateOptions{}, `"a/b" is the same as "a/B"`},
		"link":            {fstest.MapFS{"a/b": data, "a/l": {Mode: fs.ModeSymlink}}, "a", CreateOptions{}, `"a/l" is neither a file nor a directory`},
		"device file":     {fstest.MapFS{"d": {Mode: fs.ModeDevice}}, "d", CreateOptions{}, "neither a file nor a directory"},
		"piece length":    {fstest.MapFS{"a": data}, "a", CreateOptions{PieceLength: 512<<20 + 1}, "piece length 536870913"},
		"too many pieces": {fstest.MapFS{"a": {Data: make([]byte, 1<<20+1)}}, "a", CreateOptions{PieceLength: 1}, "1048577 pieces of 1 bytes"},
		"tracker":         {fstest.MapFS{"a": data}, "a", CreateOptions{Trackers: [][]string{{"x"}}}, `"x"`},
		"web seed":        {fstest.MapFS{"a": data}, "a", CreateOptions{WebSeeds: []string{"udp://x:1"}}, `"udp://x:1"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Create(t.Context(), tt.fsys, tt.root, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// cancelling cancels a context when a file is opened for the second time.
type cancelling struct {
	fs.FS
	opened int
	cancel context.CancelFunc
}

func (c *cancelling) Open(name string) (fs.File, error) {
	if name == "f" {
		if c.opened++; c.opened == 2 {
			c.cancel()
		}
	}
	return c.FS.Open(name)
}

func TestCreateStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fsys := &cancelling{FS: streams{fstest.MapFS{"f": {Data: make([]byte, 1<<20)}}}, cancel: cancel}
	if _, err := Create(ctx, fsys, "f", CreateOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("while hashing: %v", err)
	}
	if _, err := Create(ctx, album(), "x/album", CreateOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("while listing: %v", err)
	}
}

// growing gives a file another length each time it is asked.
type growing struct {
	fs.FS
	by int64
}

func (g *growing) Stat(name string) (fs.FileInfo, error) {
	i, err := fs.Stat(g.FS, name)
	return longer{i, g.by}, err
}

type longer struct {
	fs.FileInfo
	by int64
}

func (l longer) Size() int64 { return l.FileInfo.Size() + l.by }

func TestCreateNoticesChange(t *testing.T) {
	fsys := fstest.MapFS{"f": {Data: make([]byte, 100_000)}}
	for _, by := range []int64{-1, 1} {
		_, err := Create(t.Context(), &growing{fsys, by}, "f", CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), "changed while the torrent was made") {
			t.Errorf("%+d bytes: %v", by, err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	fsys := fstest.MapFS{"f": {Data: make([]byte, 64<<20)}}
	b.SetBytes(64 << 20)
	for b.Loop() {
		if _, err := Create(b.Context(), fsys, "f", CreateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
