package metainfo

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"
)

func seeds(t testing.TB) [][]byte {
	pad := file(16383, ".pad", "x").with(dict{"attr": "p"})
	return [][]byte{
		encode(t, single()),
		encode(t, single().with(dict{"private": 1, "source": "S", "name.utf-8": "film.mkv", "attr": "hx"})),
		encode(t, multi(file(1, "a"), pad, file(5, "d", "b").with(dict{"path.utf-8": list{"d", "ü"}}), file(0, "\xff"))),
		encode(t, multi(file(1, "a"), file(1, "A"))),
		encode(t, multi(file(1, "a"), dict{"attr": "l", "path": list{"l"}, "symlink path": list{"a"}})),
		encode(t, single().with(dict{"meta version": 2, "file tree": dict{}})),
		encode(t, dict{"meta version": 2, "name": "a"}),
		[]byte("d6:pieces20:" + sums(1) + "4:name1:a12:piece lengthi16384e6:lengthi5ee"),
	}
}

func FuzzParse(f *testing.F) {
	for _, info := range seeds(f) {
		f.Add(info, []byte("8:announce17:http://t.example/"))
		f.Add(info, []byte("13:announce-listll18:udp://t.example:80eel19:https://t.example/ee5:nodesll1:xi1eee8:url-list0:"))
		f.Add(info, []byte("7:comment1:\xff13:creation datei1e7:privatei1e"))
	}
	f.Fuzz(func(t *testing.T, info, rest []byte) {
		in := []byte("d4:info" + string(info) + string(rest) + "e")
		m, err := Parse(in)
		if err != nil {
			return
		}
		if !bytes.Contains(in, m.Raw) {
			t.Fatal("the info dictionary is not in the input")
		}
		checkInfo(t, &m.Info, m.Raw)
		checkExtras(t, in)
		b := m.Bytes()
		again, err := Parse(b)
		if err != nil {
			t.Fatalf("Bytes makes what Parse refuses: %v\n%q", err, b)
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("got\n%+v, read back\n%+v", m, again)
		}
		if err := bencode.Unmarshal(b, new(struct {
			Info bencode.Bytes `bencode:"info"`
		})); err != nil {
			t.Fatalf("the library refuses what Bytes makes: %v", err)
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	for _, info := range seeds(f) {
		f.Add(info)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := ParseInfo(raw)
		if err == nil {
			checkInfo(t, info, raw)
			if m, err := Parse((&Metainfo{Raw: raw}).Bytes()); err != nil || !reflect.DeepEqual(&m.Info, info) {
				t.Fatalf("in a file it is %+v, %v; alone %+v", m, err, info)
			}
		}
	})
}

// checkExtras: what is shown of unknown keys is bounded and fit for a terminal.
func checkExtras(t *testing.T, in []byte) {
	t.Helper()
	extras, err := Extras(in)
	if err != nil || len(extras) > maxExtras {
		t.Fatalf("%d unknown keys, %v", len(extras), err)
	}
	for _, e := range extras {
		for _, s := range []string{e.Key, e.Value} {
			// A byte may take ten characters where it is escaped.
			if len(s) > 10*maxExtraText+100 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				t.Fatalf("%q is shown", s)
			}
		}
	}
}

// checkInfo checks what everybody relies on.
func checkInfo(t *testing.T, info *Info, raw []byte) {
	t.Helper()
	if v1, ok := info.Hash.V1(); !ok || v1 != sha1.Sum(raw) {
		t.Fatal("the info-hash is not that of the bytes")
	}
	// The library's own view of the same bytes.
	var lib struct {
		Name        string `bencode:"name"`
		Name8       string `bencode:"name.utf-8"`
		PieceLength int64  `bencode:"piece length"`
		Pieces      []byte `bencode:"pieces"`
	}
	if bencode.Unmarshal(raw, &lib) == nil {
		if lib.PieceLength != info.PieceLength || !bytes.Equal(lib.Pieces, info.Sums) || info.Name != toUTF8(lib.Name) && info.Name != lib.Name8 {
			t.Fatalf("the library has %+v, we have %+v", lib, info)
		}
	}
	total := int64(0)
	for i, f := range info.Files {
		if f.Offset != total || f.Length < 0 {
			t.Fatalf("%+v is not at %d", f, total)
		}
		total += f.Length
		top, _, below := strings.Cut(f.Path, "/")
		if top != info.Name || below == info.Single || !fs.ValidPath(f.Path) || !utf8.ValidString(f.Path) || len(f.Path) > maxPath {
			t.Fatalf("path %q of torrent %q", f.Path, info.Name)
		}
		if strings.ContainsAny(f.Path, "\\\x00\n\x1b") {
			t.Fatalf("path %q", f.Path)
		}
		for _, g := range info.Files[:min(i, 50)] {
			if !f.Pad && !g.Pad && (strings.EqualFold(f.Path, g.Path) || strings.HasPrefix(f.Path, g.Path+"/") || strings.HasPrefix(g.Path, f.Path+"/")) {
				t.Fatalf("%q and %q", f.Path, g.Path)
			}
		}
	}
	if total != info.Total || total == 0 || len(info.Sums)%20 != 0 || info.PieceLength < 1 {
		t.Fatalf("total %d, %d bytes of sums: %+v", total, len(info.Sums), info)
	}
	if n := int64(info.Pieces()); n*info.PieceLength < total || (n-1)*info.PieceLength >= total {
		t.Fatalf("%d pieces of %d for %d bytes", n, info.PieceLength, total)
	}
}

// FuzzPaths fuzzes names with their lengths kept right: \x01 stands between
// names and \x02 between files.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{
		"a", "a\x02b", "a\x02A", "a\x01b\x02a", "a\x02a.", "..\x01x", "\xff\x02%FF", "con\x02COM1.x", "ß\x02ſs\x02ẞ", "a/b", "\u212a\x01x\x02k\x01X",
		"a!\x02a\x01b\x02a\x02a ", "İ\x02i\x02ı\x02I", "e\u0301\x02\u00e9", "\u0085",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var files []any
		for _, p := range strings.Split(in, "\x02") {
			var names []any
			for _, n := range strings.Split(p, "\x01") {
				names = append(names, n)
			}
			files = append(files, file(1, names...))
		}
		raw := encode(t, multi(files...))
		info, err := ParseInfo(raw)
		if err != nil {
			var pe *PathError
			if !errors.As(err, &pe) && len(files) < 16384 {
				t.Fatalf("%q: %v, not a PathError", in, err)
			}
			return
		}
		checkInfo(t, info, raw)
	})
}
