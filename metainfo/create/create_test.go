package create

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"btd/metainfo"
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
	o := Options{
		PieceLength: 5000, Private: true, Source: "SRC", Comment: "c", CreatedBy: "me", Created: time.Unix(1e9, 0).UTC(),
		Trackers: [][]string{{"http://a.example/", "udp://b.example:1"}, {"http://c.example/"}}, WebSeeds: []string{"http://m.example/"},
	}
	b, err := Torrent(t.Context(), fsys, "x/album", o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var (
		content []byte
		want    []metainfo.File
	)
	for _, p := range []string{"album/a.txt", "album/a/b/two", "album/a/one.bin", "album/empty", "album/z"} {
		data := fsys["x/"+p].Data
		want = append(want, metainfo.File{Path: p, Length: int64(len(data)), Offset: int64(len(content))})
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
	for name, fsys := range map[string]fs.FS{"memory": fsys, "disk": os.DirFS(dir), "backwards": backwards{fsys}} {
		b, err := Torrent(t.Context(), fsys, "x/album", Options{})
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
	m, err := metainfo.Parse(first)
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
		b, err := Torrent(t.Context(), fstest.MapFS{"f.bin": {Data: data}}, "f.bin", Options{PieceLength: pieceLength})
		if err != nil {
			t.Fatal(err)
		}
		m, err := metainfo.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		want := int(pieceLength)
		if want == 0 {
			want = 16384
		}
		if !m.Single || m.Files[0] != (metainfo.File{Path: "f.bin", Length: 1_000_003}) || !bytes.Equal(m.Sums, hashes(data, want)) {
			t.Errorf("piece length %d: got %+v", pieceLength, m.Files)
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

// backwards is a file system that gives the names in a directory last to first.
type backwards struct{ fs.FS }

func (b backwards) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(b.FS, name)
	slices.Reverse(list)
	return list, err
}

func TestCreateRefuses(t *testing.T) {
	data := &fstest.MapFile{Data: []byte("x")}
	long := strings.Repeat("c", 64<<10+1)
	many := make([]string, 129)
	for i := range many {
		many[i] = fmt.Sprintf("http://t.example/%d", i)
	}
	for name, tt := range map[string]struct {
		fsys fs.FS
		root string
		o    Options
		want string
	}{
		"nothing there":    {fstest.MapFS{}, "a", Options{}, "file does not exist"},
		"dot":              {fstest.MapFS{"a": data}, ".", Options{}, `"." can't give a torrent its name`},
		"not a path":       {fstest.MapFS{"a": data}, "../a", Options{}, `"a" can't give`},
		"bad root":         {fstest.MapFS{"nul.x": data}, "nul.x", Options{}, `"nul.x" has the name "nul.x" in it, a device on Windows`},
		"empty file":       {fstest.MapFS{"a": {}}, "a", Options{}, "nothing but empty files"},
		"empty directory":  {fstest.MapFS{"a": {Mode: fs.ModeDir}}, "a", Options{}, "holds nothing"},
		"all excluded":     {fstest.MapFS{"a/b": data}, "a", Options{Exclude: []string{"b"}}, "holds nothing"},
		"bad name":         {fstest.MapFS{"a/b": data, `a/c/d\e`: data}, "a", Options{}, `"a/c/d\\e" has the separator`},
		"control":          {fstest.MapFS{"a/b\nc": data}, "a", Options{}, `"a/b\nc" has the control character U+000A in a name`},
		"device":           {fstest.MapFS{"a/aux/x": data}, "a", Options{}, `"a/aux/x" has the name "aux" in it`},
		"not UTF-8":        {fstest.MapFS{"a/b": data, "a/\xff": {}}, "a", Options{}, `"a/\xff" has a name that is not UTF-8`},
		"root not UTF-8":   {fstest.MapFS{"\xff": data}, "\xff", Options{}, "can't"},
		"long path":        {fstest.MapFS{strings.Repeat("a/", 2100) + "b": data}, "a", Options{}, "has a path of more than 4000 bytes"},
		"clash":            {fstest.MapFS{"a/b": data, "a/B": data}, "a", Options{}, `"a/b" is the same as "a/B"`},
		"device file":      {fstest.MapFS{"d": {Mode: fs.ModeDevice}}, "d", Options{}, `"d" is a device`},
		"socket":           {fstest.MapFS{"d/b": data, "d/s": {Mode: fs.ModeSocket}}, "d", Options{}, `"d/s" is a socket`},
		"pipe":             {fstest.MapFS{"d/b": data, "d/s": {Mode: fs.ModeNamedPipe}}, "d", Options{}, `"d/s" is a named pipe`},
		"a root to skip":   {fstest.MapFS{"d": {Mode: fs.ModeDevice}}, "d", Options{Skip: func(*UnusableError) {}}, `"d" is a device`},
		"not to be read":   {locked{fstest.MapFS{"d/b": data, "d/s": data}, "d/s"}, "d", Options{}, `"d/s" may not be read`},
		"locked directory": {locked{fstest.MapFS{"d/b": data, "d/s/x": data}, "d/s"}, "d", Options{}, `"d/s" may not be read`},
		"no ReaderAt":      {streams{fstest.MapFS{"a": data}}, "a", Options{}, `"a" can only be read from its start`},
		"piece length":     {fstest.MapFS{"a": data}, "a", Options{PieceLength: 512<<20 + 1}, "piece length 536870913"},
		"negative length":  {fstest.MapFS{"a": data}, "a", Options{PieceLength: -1}, "piece length -1"},
		"too many pieces":  {fstest.MapFS{"a": {Data: make([]byte, 1<<20+1)}}, "a", Options{PieceLength: 1}, "1048577 pieces of 1 bytes"},
		"tracker":          {fstest.MapFS{"a": data}, "a", Options{Trackers: [][]string{{"x"}}}, `"x"`},
		"many trackers":    {fstest.MapFS{"a": data}, "a", Options{Trackers: [][]string{many}}, "the list of trackers can't be kept as it is"},
		"web seed":         {fstest.MapFS{"a": data}, "a", Options{WebSeeds: []string{"udp://x:1"}}, `"udp://x:1"`},
		"long comment":     {fstest.MapFS{"a": data}, "a", Options{Comment: long}, "the comment can't be kept as it is"},
		"odd comment":      {fstest.MapFS{"a": data}, "a", Options{Comment: "\xff"}, "the comment can't be kept as it is"},
		"pattern":          {fstest.MapFS{"a/b": data}, "a", Options{Exclude: []string{"[a"}}, `pattern "[a" is malformed`},
		"empty pattern":    {fstest.MapFS{"a/b": data}, "a", Options{Exclude: []string{""}}, `pattern "" is malformed`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Torrent(t.Context(), tt.fsys, tt.root, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// locked is a file system of which nobody may read one path.
type locked struct {
	fs.FS
	path string
}

func (l locked) Open(name string) (fs.File, error) {
	if name == l.path {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return l.FS.Open(name)
}

// TestSameWordsAsParse: what package metainfo says of a torrent with such names
// is what is said when one is to be made.
func TestSameWordsAsParse(t *testing.T) {
	for _, name := range []string{`d\e`, "x\x01", "aux.c", "...", "com1", "a\u0085b", strings.Repeat("n", 256)} {
		fsys := fstest.MapFS{"a/" + name: {Data: []byte("x")}}
		_, err := Torrent(t.Context(), fsys, "a", Options{})
		raw := fmt.Sprintf("d5:filesld6:lengthi1e4:pathl%d:%seee4:name1:a12:piece lengthi16384e6:pieces20:%020de", len(name), name, 0)
		_, want := metainfo.ParseInfo([]byte(raw))
		if want == nil || err == nil || err.Error() != want.Error() {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
}

// TestCreateExcludes: patterns choose as those of btctl add --only do.
func TestCreateExcludes(t *testing.T) {
	x := &fstest.MapFile{Data: []byte("x")}
	fsys := fstest.MapFS{
		"r/a.txt": x, "r/b.bin": x, "r/sub/c.txt": x, "r/sub/d.bin": x, "r/sub/deep/e.bin": x, "r/.hidden": x, "r/.git/f": x,
		"r/link": {Mode: fs.ModeSymlink},
	}
	for name, tt := range map[string]struct {
		exclude []string
		want    string
	}{
		"names":           {[]string{"*.txt", "link"}, ".git/f .hidden b.bin sub/d.bin sub/deep/e.bin"},
		"directory":       {[]string{"sub", "link"}, ".git/f .hidden a.txt b.bin"},
		"slash at end":    {[]string{"sub/", "link"}, ".git/f .hidden a.txt b.bin"},
		"path":            {[]string{"sub/*.bin", "link"}, ".git/f .hidden a.txt b.bin sub/c.txt sub/deep/e.bin"},
		"from the top":    {[]string{"/*.bin", "link"}, ".git/f .hidden a.txt sub/c.txt sub/d.bin sub/deep/e.bin"},
		"hidden":          {[]string{".*", "link"}, "a.txt b.bin sub/c.txt sub/d.bin sub/deep/e.bin"},
		"other case":      {[]string{"*.TXT", "link", ".*", "sub"}, "a.txt b.bin"},
		"not a substring": {[]string{"a", "link", ".*", "sub"}, "a.txt b.bin"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Torrent(t.Context(), fsys, "r", Options{Exclude: tt.exclude})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(paths(t, b), "r/", ""); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// paths are the files of a torrent.
func paths(t *testing.T, b []byte) string {
	t.Helper()
	m, err := metainfo.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range m.Files {
		all = append(all, f.Path)
	}
	return strings.Join(all, " ")
}

// TestCreateSkips: what cannot be used is named, each once, and left out.
func TestCreateSkips(t *testing.T) {
	x := &fstest.MapFile{Data: []byte("x")}
	fsys := locked{fstest.MapFS{
		"r/a": x, "r/sock": {Mode: fs.ModeSocket}, "r/odd": {Mode: fs.ModeIrregular}, "r/secret": x, "r/sub/pipe": {Mode: fs.ModeNamedPipe}, "r/z": x,
	}, "r/secret"}
	var skipped []string
	b, err := Torrent(t.Context(), fsys, "r", Options{Skip: func(e *UnusableError) { skipped = append(skipped, e.Path) }})
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(t, b); got != "r/a r/z" {
		t.Errorf("files are %s", got)
	}
	if got := strings.Join(skipped, " "); got != "r/odd r/secret r/sock r/sub/pipe" {
		t.Errorf("skipped %s", got)
	}
}

// TestByteOrder: a path sorts byte for byte, separators included.
func TestByteOrder(t *testing.T) {
	fsys := fstest.MapFS{}
	for _, p := range []string{"a/b", "a.b", "a-b", "a b", "B", "a0", "é", "z", "\U0001F600", "日本/x", "a/é", "~"} {
		fsys["r/"+p] = &fstest.MapFile{Data: []byte(p)}
	}
	const want = "r/B r/a b r/a-b r/a.b r/a/b r/a/é r/a0 r/z r/~ r/é r/日本/x r/\U0001F600"
	var first []byte
	for _, fsys := range []fs.FS{fsys, backwards{fsys}} {
		b, err := Torrent(t.Context(), fsys, "r", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := paths(t, b); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if first == nil {
			first = b
		} else if !bytes.Equal(first, b) {
			t.Error("the order in which a directory is read changes the torrent")
		}
	}
}

// TestCreateHashes compares piece hashes of random trees and piece lengths with
// those made the plain way.
func TestCreateHashes(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 24 {
		fsys, noise := fstest.MapFS{}, rand.NewChaCha8([32]byte{byte(round)})
		var names []string
		for i := range 1 + rng.IntN(40) {
			n := []int{0, 1, 1000, 16 << 10, 65_536, 200_000, 1_500_000}[rng.IntN(7)]
			if n > 1 {
				n = 1 + rng.IntN(n)
			}
			names = append(names, fmt.Sprintf("r/%03d", i))
			data := make([]byte, n)
			_, _ = noise.Read(data)
			fsys[names[i]] = &fstest.MapFile{Data: data}
		}
		fsys["r/999"] = &fstest.MapFile{Data: []byte("x")} // never without data
		var content []byte
		for _, name := range append(names, "r/999") {
			content = append(content, fsys[name].Data...)
		}
		length := int64(1 + rng.IntN(3<<20))
		if round%2 == 0 {
			length = 1 << (10 + rng.IntN(13))
		}
		length = max(length, int64(len(content)/5000))
		var last Progress
		b, err := Torrent(t.Context(), fsys, "r", Options{PieceLength: length, Progress: func(p Progress) {
			if p.Done <= last.Done || p.Total != int64(len(content)) {
				t.Errorf("progress %+v after %+v", p, last)
			}
			last = p
		}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := metainfo.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Sums, hashes(content, int(length))) {
			t.Fatalf("round %d: %d files, %d bytes in pieces of %d: wrong hashes", round, len(fsys), len(content), length)
		}
		if last.Done != last.Total {
			t.Errorf("round %d: progress ended at %+v", round, last)
		}
	}
}

func TestCreateStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	_, err := Torrent(ctx, fstest.MapFS{"f": {Data: make([]byte, 8<<20)}}, "f", Options{PieceLength: 1 << 20, Progress: func(Progress) {
		seen++
		cancel()
	}})
	if !errors.Is(err, context.Canceled) || seen == 0 {
		t.Errorf("while hashing: %v", err)
	}
	if _, err := Torrent(ctx, album(), "x/album", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("while listing: %v", err)
	}
}

// TestCreateNoticesChange: a file that is not the same any more makes an error
// that names it, whenever that is noticed.
func TestCreateNoticesChange(t *testing.T) {
	size := 4 << 20
	for name, tt := range map[string]struct {
		do   func(path string) error
		want string
	}{
		"shorter":  {func(p string) error { return os.Truncate(p, 10) }, "it had 4194304 bytes, now it has 10"},
		"longer":   {func(p string) error { return os.Truncate(p, 5<<20) }, "it had 4194304 bytes, now it has 5242880"},
		"vanished": {os.Remove, "it has vanished"},
		"written to": {func(p string) error {
			return os.Chtimes(p, time.Time{}, time.Unix(1e9, 0))
		}, "it was written to at 2001-09-09"},
		"replaced": {func(p string) error {
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o755))
		}, "it is no file any more"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("a file that is open can't be taken away here")
			}
			dir := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{"a", "b"} {
				if err := os.WriteFile(filepath.Join(dir, f), make([]byte, size), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var once sync.Once
			_, err := Path(t.Context(), dir, Options{PieceLength: 64 << 10, Progress: func(Progress) {
				once.Do(func() {
					if err := tt.do(filepath.Join(dir, "a")); err != nil {
						t.Error(err)
					}
				})
			}})
			if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), `"d/a": `) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), tt.want) && !strings.Contains(err.Error(), "it has become shorter") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestLinksAreNamed: the error says where a symbolic link leads.
func TestLinksAreNamed(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "d")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"d/real", "outer"} {
		if err := os.WriteFile(filepath.Join(top, p), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "sub", "link")
	for target, want := range map[string]string{
		"../real":                   `"d/sub/link" is a symbolic link to "../real", inside "d"`,
		"../../outer":               `is a symbolic link to "../../outer", outside "d"`,
		"nowhere":                   `is a symbolic link to "nowhere", which is not there`,
		filepath.Join(dir, "real"):  `, inside "d"`,
		filepath.Join(top, "outer"): `, outside "d"`,
		dir:                         `, inside "d"`,
		top:                         `, outside "d"`,
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Skip(err)
		}
		_, err := Path(t.Context(), dir, Options{})
		var e *UnusableError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", target, err, want)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	// The path itself may be a link, to a file or a directory.
	if err := os.Symlink("d", filepath.Join(top, "other")); err != nil {
		t.Fatal(err)
	}
	b, err := Path(t.Context(), filepath.Join(top, "other"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(t, b); got != "other/real" {
		t.Errorf("through a link: %s", got)
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, length := range []int64{16 << 10, 256 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("piece=%dKiB", length>>10), func(b *testing.B) {
			const size = 256 << 20
			name := filepath.Join(b.TempDir(), "f")
			if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Path(b.Context(), name, Options{PieceLength: length}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
