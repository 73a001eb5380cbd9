package metainfo

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
)

// dict and list are bencoded by the library, which shares no code with ours.
type (
	dict map[string]any
	list []any
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := bencode.Marshal(v)
	if err != nil {
		t.Fatalf("encoding %v: %v", v, err)
	}
	return b
}

// sums is n made-up piece hashes.
func sums(n int) string {
	var b []byte
	for i := range n {
		h := sha1.Sum([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		b = append(b, h[:]...)
	}
	return string(b)
}

// with is a copy of d with other values; nil removes a key.
func (d dict) with(changes dict) dict {
	c := dict{}
	for k, v := range d {
		c[k] = v
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func single() dict {
	return dict{"name": "film.mkv", "length": 100_000, "piece length": 32768, "pieces": sums(4)}
}

func file(length int, path ...any) dict { return dict{"length": length, "path": list(path)} }

func multi(files ...any) dict {
	total := 0
	for _, f := range files {
		if n, ok := f.(dict)["length"].(int); ok && n > 0 {
			total += n
		}
	}
	return dict{"name": "album", "files": list(files), "piece length": 16384, "pieces": sums((total + 16383) / 16384)}
}

func TestParseSingleFile(t *testing.T) {
	info := single().with(dict{"private": 1, "source": "TRK", "attr": "x"})
	raw := encode(t, info)
	m, err := Parse(encode(t, dict{
		"announce": "http://tracker.example/announce", "info": info, "comment": "a film",
		"created by": "maker 1.0", "creation date": 1_700_000_000, "url-list": "http://mirror.example/film.mkv",
		"nodes":   list{list{"router.example", 6881}, list{"2001:db8::1", 7}, list{"bad host", 1}, list{"x", 0}, list{"x", 70000}, "x"},
		"unknown": dict{"a": list{1, 2}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Metainfo{
		Info: Info{
			Hash: V1(sha1.Sum(raw)), Name: "film.mkv", PieceLength: 32768, Total: 100_000, Sums: []byte(sums(4)),
			Files:  []File{{Path: "film.mkv", Length: 100_000, Executable: true}},
			Single: true, Private: true, Source: "TRK",
		},
		Raw:      raw,
		Trackers: [][]string{{"http://tracker.example/announce"}},
		WebSeeds: []string{"http://mirror.example/film.mkv"},
		Nodes:    []string{"router.example:6881", "[2001:db8::1]:7"},
		Comment:  "a film", CreatedBy: "maker 1.0", Created: time.Unix(1_700_000_000, 0).UTC(),
	}
	if !reflect.DeepEqual(*m, want) {
		t.Errorf("got\n%+v\nwant\n%+v", *m, want)
	}
}

func TestParseMultiFile(t *testing.T) {
	info := multi(
		file(40_000, "CD1", "01 - Ouverture.flac"),
		file(9152, ".pad", "9152").with(dict{"attr": "p"}),
		file(0, "CD1", "empty"),
		file(1, "run.sh").with(dict{"attr": "hx?"}),
		dict{"attr": "l", "path": list{"link"}, "symlink path": list{"CD1", "empty"}},
		file(16383, ".pad", "9152").with(dict{"attr": "p", "path": nil}),
		file(100, "CD2", "01.flac").with(dict{"path.utf-8": list{"CD2", "01 – Schluß.flac"}, "md5sum": "x"}),
		file(9, ".pad", "..").with(dict{"attr": "p"}),
	)
	m, err := Parse(encode(t, dict{"info": info}))
	if err != nil {
		t.Fatal(err)
	}
	want := []File{
		{Path: "album/CD1/01 - Ouverture.flac", Length: 40_000},
		{Path: "album/.pad/9152", Length: 9152, Offset: 40_000, Pad: true},
		{Path: "album/CD1/empty", Offset: 49_152},
		{Path: "album/run.sh", Length: 1, Offset: 49_152, Executable: true, Hidden: true},
		{Path: "album/link", Offset: 49_153, Symlink: true},
		{Path: "album/.pad/16383", Length: 16383, Offset: 49_153, Pad: true},
		{Path: "album/CD2/01 – Schluß.flac", Length: 100, Offset: 65_536},
		{Path: "album/.pad/9", Length: 9, Offset: 65_636, Pad: true},
	}
	if !reflect.DeepEqual(m.Files, want) {
		t.Errorf("files are\n%+v, want\n%+v", m.Files, want)
	}
	if m.Total != 65_645 || m.Single || m.Pieces() != 5 {
		t.Errorf("total %d, single %v, %d pieces", m.Total, m.Single, m.Pieces())
	}
}

func TestParseTakesTheHashOfTheBytesAsTheyStand(t *testing.T) {
	// Keys out of order, at the top and in info.
	raw := "d6:pieces20:" + sums(1) + "4:name1:a12:piece lengthi16384e6:lengthi5ee"
	b := []byte("d4:info" + raw + "8:announce18:http://t.example/a1:bd1:zi1e1:ai2eee")
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if want := V1(sha1.Sum([]byte(raw))); m.Hash != want {
		t.Errorf("hash %s, want %s", m.Hash, want)
	}
	clear(b)
	if string(m.Raw) != raw || string(m.Sums) != sums(1) || m.Name != "a" {
		t.Error("the result shares memory with the input")
	}
}

func TestParseHybrid(t *testing.T) {
	info := single().with(dict{"meta version": 2, "file tree": dict{"film.mkv": dict{"": dict{"length": 100_000}}}})
	raw := encode(t, info)
	m, err := Parse(encode(t, dict{"info": info, "piece layers": dict{}}))
	if err != nil {
		t.Fatal(err)
	}
	if want := V1(sha1.Sum(raw)).WithV2(sha256.Sum256(raw)); m.Hash != want {
		t.Errorf("hash %+v, want %+v", m.Hash, want)
	}
}

func TestParseRefusesWhatItCantUse(t *testing.T) {
	v2 := dict{"name": "a", "piece length": 16384, "meta version": 2, "file tree": dict{}}
	for _, tt := range []struct {
		info dict
		want string
	}{
		{v2, "v2-only torrents are not supported yet"},
		{single().with(dict{"meta version": 3}), "meta version 3"},
	} {
		_, err := Parse(encode(t, dict{"info": tt.info}))
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want ErrUnsupported with %q", err, tt.want)
		}
	}
}

func TestParseRefusesContent(t *testing.T) {
	one := file(1, "a")
	for name, tt := range map[string]struct {
		info any
		want string
	}{
		"info not a dictionary":   {list{}, "info is a list, not a dictionary"},
		"no name":                 {single().with(dict{"name": nil}), "name is missing"},
		"name a list":             {single().with(dict{"name": list{"a"}}), "name is a list, not a string"},
		"no pieces":               {single().with(dict{"pieces": nil}), "pieces is missing"},
		"pieces of numbers":       {single().with(dict{"pieces": list{1, 2}}), "pieces is a list, not a string"},
		"ragged pieces":           {single().with(dict{"pieces": sums(4) + "x"}), "81 bytes, not a multiple of 20"},
		"no piece length":         {single().with(dict{"piece length": nil}), "piece length is missing"},
		"piece length 0":          {single().with(dict{"piece length": 0}), "piece length 0, want 1 to 536870912"},
		"piece length negative":   {single().with(dict{"piece length": -1}), "piece length -1"},
		"piece length huge":       {single().with(dict{"piece length": 512<<20 + 1}), "piece length 536870913"},
		"piece length past int64": {single().with(dict{"piece length": uint64(1 << 63)}), "piece length: "},
		"one hash too few":        {single().with(dict{"pieces": sums(3)}), "3 piece hashes, but 100000 bytes in pieces of 32768 bytes make 4"},
		"one hash too many":       {single().with(dict{"pieces": sums(5)}), "5 piece hashes"},
		"too many pieces":         {single().with(dict{"piece length": 1, "length": 1<<20 + 1}), "1048577 pieces, at most 1048576"},
		"empty file":              {single().with(dict{"length": 0, "pieces": ""}), "holds no data"},
		"empty files":             {multi(file(0, "a"), file(0, "b")), "holds no data"},
		"only padding":            {multi(file(9, "a").with(dict{"attr": "p"})), "holds no data"},
		"no files":                {multi(), "holds no data"},
		"neither length nor list": {single().with(dict{"length": nil}), "length is missing"},
		"both length and list":    {multi(one).with(dict{"length": 1}), "both length and files"},
		"length a string":         {single().with(dict{"length": "1"}), "length is a string, not an integer"},
		"length in a list":        {single().with(dict{"length": list{100_000}}), "length is a list"},
		"files a dictionary":      {multi(one).with(dict{"files": dict{}}), "files is a dictionary, not a list"},
		"file a string":           {multi(one).with(dict{"files": list{"a"}}), "file 0 is not a dictionary"},
		"second file no length":   {multi(one, file(1, "b").with(dict{"length": nil})), "file 1 has no length"},
		"length of a file a list": {multi(one, file(1, "b").with(dict{"length": list{1}})), "file 1 has no length"},
		"no path":                 {multi(one, dict{"length": 1}), "file 1 has no path"},
		"path a string":           {multi(one, dict{"length": 1, "path": "a"}), "file 1 has no path that is a list of strings"},
		"path of lists":           {multi(one, file(1, list{"a"})), "file 1 has no path that is a list of strings"},
		"meta version a string":   {single().with(dict{"meta version": "2"}), "meta version is a string"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(encode(t, dict{"info": tt.info}))
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrMalformed with %q", err, tt.want)
			}
		})
	}
	if _, err := Parse([]byte("de")); err == nil || !strings.Contains(err.Error(), "info is missing") {
		t.Errorf("without info: %v", err)
	}
}

func TestParseLimitsAreInclusive(t *testing.T) {
	for name, info := range map[string]dict{
		"piece of 1 byte":   {"name": "a", "length": 3, "piece length": 1, "pieces": sums(3)},
		"piece of 512 MiB":  {"name": "a", "length": 1<<29 + 1, "piece length": 1 << 29, "pieces": sums(2)},
		"2^20 pieces":       {"name": "a", "length": 1 << 40, "piece length": 1 << 20, "pieces": strings.Repeat(sums(1), 1<<20)},
		"name of 255 bytes": single().with(dict{"name": strings.Repeat("n", 255)}),
	} {
		if _, err := Parse(encode(t, dict{"info": info})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseSumOfLengthsOverflows(t *testing.T) {
	const half = 1 << 62
	info := multi(file(half, "a"), file(half, "dir", "b")).with(dict{"pieces": sums(1)})
	_, err := Parse(encode(t, dict{"info": info}))
	wantPathError(t, err, "album/dir/b", "too much for the sum of all lengths")
}

func wantPathError(t *testing.T, err error, path, reason string) {
	t.Helper()
	var pe *PathError
	if !errors.As(err, &pe) || !errors.Is(err, ErrMalformed) {
		t.Fatalf("got %v, want a PathError", err)
	}
	if pe.Path != path || !strings.Contains(pe.Reason, reason) {
		t.Errorf("path %q: %s\nwant %q: %s", pe.Path, pe.Reason, path, reason)
	}
	if !strings.Contains(err.Error(), quote(path)) {
		t.Errorf("%q does not name %s", err, quote(path))
	}
}

func TestParseRefusesNames(t *testing.T) {
	long := strings.Repeat("é", 128)
	for name, reason := range map[string]string{
		"": "empty name", ".": `the name "."`, "..": `the name ".."`, "...": "dots and spaces", " . ": "dots and spaces",
		"a/b": `separator '/'`, "/etc": `separator '/'`, `a\b`: `separator '\\'`, "a\x00b": "control character U+0000",
		"a\nb": "control character U+000A", "\x7f": "U+007F", "a\u0085": "U+0085", long: "256 bytes",
		"CON": "a device on Windows", "nul.txt": "a device", "Aux.tar.gz": "a device", "com1": "a device", "LPT9.x": "a device",
		"lpt¹": "a device", "prn .x": "a device", "nul:x": "a device", "conout$": "a device",
	} {
		t.Run(quote(name), func(t *testing.T) {
			_, err := Parse(encode(t, dict{"info": multi(file(1, "ok"), file(1, "dir", name))}))
			wantPathError(t, err, "album/dir/"+name, reason)
			_, err = Parse(encode(t, dict{"info": multi(file(1, name, "x"), file(1, "ok"))}))
			wantPathError(t, err, "album/"+name+"/x", reason)
			_, err = Parse(encode(t, dict{"info": single().with(dict{"name": name})}))
			wantPathError(t, err, name, reason)
			_, err = Parse(encode(t, dict{"info": multi(file(1, "a")).with(dict{"name": name})}))
			wantPathError(t, err, name, reason)
		})
	}
	_, err := Parse(encode(t, dict{"info": multi(file(1, "ok"), file(1))}))
	wantPathError(t, err, "album/", "empty path")
	_, err = Parse(encode(t, dict{"info": multi(file(1, strings.Repeat("y", 3995)))}))
	wantPathError(t, err, ("album/" + strings.Repeat("y", 3995))[:4000], "path of more than 4000 bytes")
	var deep []any
	for range 3000 {
		deep = append(deep, "d")
	}
	_, err = Parse(encode(t, dict{"info": multi(file(1, deep...))}))
	wantPathError(t, err, ("album" + strings.Repeat("/d", 3000))[:4000], "path of more than 4000 bytes")
}

func TestParseAcceptsNames(t *testing.T) {
	names := []any{
		"Vol. 1.", " x", "x y ", "What?.txt", "a:b", "a*b<c>|\"", ".hidden", "..a", "CONSOLE", "com10", "com", "nul_", "auxiliary.c",
		"日本語", "e\u0301", "\u202e", strings.Repeat("n", 255),
	}
	var files []any
	for _, n := range names {
		files = append(files, file(1, n))
	}
	info, err := ParseInfo(encode(t, multi(files...)))
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		if want := "album/" + n.(string); info.Files[i].Path != want {
			t.Errorf("path %q, want %q", info.Files[i].Path, want)
		}
	}
}

func TestParseOtherEncodings(t *testing.T) {
	// GBK for "中文", once with and once without a key that says it in UTF-8.
	gbk := "\xd6\xd0\xce\xc4"
	info := multi(
		file(1, gbk, "1").with(dict{"path.utf-8": list{"中文", "1"}}),
		file(1, gbk, "2"),
		file(1, gbk, "3").with(dict{"path.utf-8": list{"\xff"}}),
		file(1, "4").with(dict{"path.utf-8": "中文"}),
		file(1, "5").with(dict{"path.utf-8": list{}}),
	).with(dict{"name": gbk, "name.utf-8": "专辑"})
	got, err := ParseInfo(encode(t, info))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"中文/1", "%D6%D0%CE%C4/2", "%D6%D0%CE%C4/3", "4", "5"} {
		if got.Files[i].Path != "专辑/"+want {
			t.Errorf("path %q, want 专辑/%s", got.Files[i].Path, want)
		}
	}
	// Invalid bytes are no way round the rules, and neither is path.utf-8.
	_, err = ParseInfo(encode(t, multi(file(1, "ok"), file(1, "\xff/x"))))
	wantPathError(t, err, "album/\xff/x", "separator")
	_, err = ParseInfo(encode(t, multi(file(1, "ok").with(dict{"path.utf-8": list{"..", "x"}}))))
	wantPathError(t, err, "album/../x", `".."`)
	_, err = ParseInfo(encode(t, multi(file(1, strings.Repeat("\xff", 86)))))
	wantPathError(t, err, "album/"+strings.Repeat("\xff", 86), "258 bytes")
}

func TestParseRefusesClashes(t *testing.T) {
	pad := func(n int, p ...any) dict { return file(n, p...).with(dict{"attr": "p"}) }
	for name, tt := range map[string]struct {
		files        []any
		path, reason string
	}{
		"same":             {list{file(1, "a", "b"), file(1, "c"), file(1, "a", "b")}, "album/a/b", "twice"},
		"ASCII case":       {list{file(1, "a", "b"), file(1, "c"), file(1, "A", "B")}, "album/A/B", `the same as "album/a/b"`},
		"Unicode case":     {list{file(1, "straſſe"), file(1, "STRASSE")}, "album/STRASSE", `the same as "album/straſſe"`},
		"Kelvin":           {list{file(1, "\u212a"), file(1, "k")}, "album/k", `the same as`},
		"Greek":            {list{file(1, "ΣΣ"), file(1, "σς")}, "album/σς", "the same as"},
		"trailing dot":     {list{file(1, "a"), file(1, "a. ")}, "album/a. ", `the same as "album/a"`},
		"file under file":  {list{file(1, "a", "b"), file(1, "a b"), file(1, "a!"), file(1, "a")}, "album/a", `is a file, but also a directory of "album/a/b"`},
		"by case too":      {list{file(1, "A"), file(1, "a-"), file(1, "a", "b", "c")}, "album/A", `a directory of "album/a/b/c"`},
		"empty files too":  {list{file(1, "x"), file(0, "a"), file(0, "a")}, "album/a", "twice"},
		"link and file":    {list{file(1, "x"), dict{"attr": "l", "path": list{"x"}}}, "album/x", "twice"},
		"link as parent":   {list{dict{"attr": "l", "path": list{"d"}}, file(1, "d", "x")}, "album/d", "a directory of"},
		"after other pads": {list{pad(3, ".pad", "3"), file(1, "a"), pad(3, ".pad", "3"), file(1, "a")}, "album/a", "twice"},
		"8 bytes alike":    {list{file(1, "12345678-9"), file(1, "12345678-8"), file(1, "12345678-9")}, "album/12345678-9", "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseInfo(encode(t, multi(tt.files...)))
			wantPathError(t, err, tt.path, tt.reason)
		})
	}
	for name, files := range map[string][]any{
		"directories that differ in case": {file(1, "Cover", "1"), file(1, "cover", "2")},
		"pads repeat":                     {pad(3, ".pad", "3"), file(1, "a"), pad(3, ".pad", "3")},
		"a pad like a file":               {pad(3, "a"), file(1, "a"), file(1, ".pad", "3"), file(1, ".pad", "4", "x"), pad(4, "b")},
		"prefix of a name":                {file(1, "a"), file(1, "ab"), file(1, "a b", "c"), file(1, "a.b")},
	} {
		if _, err := ParseInfo(encode(t, multi(files...))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRefusesFiles(t *testing.T) {
	_, err := ParseInfo(encode(t, multi(file(1, "a"), file(-1, "b", "c"))))
	wantPathError(t, err, "album/b/c", "length -1")
	_, err = ParseInfo(encode(t, single().with(dict{"length": -5})))
	wantPathError(t, err, "film.mkv", "length -5")
	_, err = ParseInfo(encode(t, multi(file(1, "a"), file(7, "b").with(dict{"attr": "l"}))))
	wantPathError(t, err, "album/b", "a symbolic link that has a length")
}

func TestErrorsArePrintable(t *testing.T) {
	evil := "\x1b[2J" + strings.Repeat("x", 10_000)
	_, err := Parse(encode(t, dict{"info": single().with(dict{"name": evil})}))
	if err == nil || strings.ContainsRune(err.Error(), '\x1b') || len(err.Error()) > 600 {
		t.Errorf("error of %d bytes: %.100q", len(fmt.Sprint(err)), err)
	}
}

func TestParseReadsPrivateAnywhere(t *testing.T) {
	for _, tt := range []struct {
		outer, inner any
		want         bool
	}{{nil, nil, false}, {nil, 0, false}, {nil, 1, true}, {1, nil, true}, {1, 0, true}, {nil, "1", false}, {nil, list{1}, false}} {
		m, err := Parse(encode(t, dict{"x": 1}.with(dict{"private": tt.outer, "info": single().with(dict{"private": tt.inner})})))
		if err != nil {
			t.Fatal(err)
		}
		if m.Private != tt.want {
			t.Errorf("outside %v, in info %v: private %v", tt.outer, tt.inner, m.Private)
		}
		again, err := Parse(m.Bytes())
		if err != nil || again.Private != m.Private {
			t.Errorf("read back: private %v, %v", again.Private, err)
		}
	}
}

func TestParseIgnoresOddExtras(t *testing.T) {
	m, err := Parse(encode(t, dict{
		"info": single().with(dict{"source": 5}), "announce": list{}, "announce-list": "x", "comment": 1, "comment.utf-8": "",
		"created by": list{"a"}, "creation date": "yesterday", "nodes": 1, "url-list": dict{}, "private": list{},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if m.Trackers != nil || m.WebSeeds != nil || m.Nodes != nil || m.Comment != "" || m.CreatedBy != "" || m.Source != "" || !m.Created.IsZero() {
		t.Errorf("got %+v", m)
	}
	for _, date := range []any{0, -1, int64(1) << 62} {
		m, err := Parse(encode(t, dict{"info": single(), "creation date": date}))
		if err != nil || !m.Created.IsZero() {
			t.Errorf("creation date %v: %v, %v", date, m.Created, err)
		}
	}
	m, err = Parse(encode(t, dict{"info": single(), "comment": "old", "comment.utf-8": strings.Repeat("é", 40_000)}))
	if err != nil || m.Comment != strings.Repeat("é", 32<<10) {
		t.Errorf("comment of %d bytes, %v", len(m.Comment), err)
	}
}

func TestBytesReadsBack(t *testing.T) {
	for name, m := range map[string]dict{
		"bare": {"info": single()},
		"full": {
			"info": multi(file(1, "a"), file(2, "b")), "comment": "c\xff", "created by": "me", "creation date": 5,
			"announce":      "http://ignored.example/",
			"announce-list": list{list{"udp://a.example:1", "http://b.example/x?k=%20"}, list{"https://c.example:8443/"}},
			"url-list":      list{"http://m.example/a b/", "ftp://f.example"},
			"nodes":         list{list{"::1", 65535}, list{"n.example", 1}},
		},
		"one tier": {"info": single(), "announce-list": list{list{"udp://a.example:1", "udp://b.example:1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := Parse(encode(t, m))
			if err != nil {
				t.Fatal(err)
			}
			b := want.Bytes()
			var any any
			if err := bencode.Unmarshal(b, &any); err != nil {
				t.Errorf("the library, which wants sorted keys: %v", err)
			}
			got, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, want)
			}
			if !bytes.Equal(got.Bytes(), b) {
				t.Error("a second round differs")
			}
		})
	}
}

func TestParseInfoAgreesWithParse(t *testing.T) {
	info := multi(file(1, "a"), file(70_000, "b", "c"))
	raw := encode(t, info)
	got, err := ParseInfo(raw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(encode(t, dict{"info": info}))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, m.Info) {
		t.Errorf("got %+v, want %+v", got, m.Info)
	}
	if !slices.Equal(raw, encode(t, info)) {
		t.Error("the input was changed")
	}
}
